"""Options, each declared once: a field of a dataclass that also says how the command line shows it.

The field's name, type and default are those of Python; `Option` adds what only a person needs. `mosam.cli.build` makes
command lines of such dataclasses, and the reference of commands in the docs comes from them as well.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

KEY = "option"  # of a field's metadata
REQUIRED: Any = ...


@dataclass(frozen=True, slots=True)
class Option:
    """How an option is shown.

    Attributes:
        help: one short sentence or list of values.
        default: what it is where nobody says; `REQUIRED` = it must be given.
        usual: what the default means, in words, where the value does not say it.
        metavar: what stands for the value in the help; None = by its type.
        least, most: range of a number.
        name: on the command line, without dashes; None = the field's, with dashes.
        positional: an argument, not an option.
        joined: may be given again; what is given is one list with commas.
        complete: what the shell offers: `dataset`, `tracker`, `model`, `protocol`, `figure`, or words with commas.
    """

    help: str
    default: Any = REQUIRED
    usual: str | None = None
    metavar: str | None = None
    least: float | None = None
    most: float | None = None
    name: str | None = None
    positional: bool = False
    complete: str | None = None
    joined: bool = False

    def field(self, **changes: Any) -> Any:
        """A dataclass field declared by this option, with some of its attributes replaced."""
        option = dataclasses.replace(self, **changes) if changes else self
        if isinstance(option.default, (list, dict, set)):
            raise TypeError(f"option {option.name or option.help!r}: expected a default that cannot be changed")
        default = dataclasses.MISSING if option.default is REQUIRED else option.default
        return dataclasses.field(default=default, metadata={KEY: option})


def option(help: str, default: Any = REQUIRED, **more: Any) -> Any:
    """A dataclass field that is an option of one command; see `Option`."""
    return Option(help, default, **more).field()


# Options that several commands share.
PLUGINS = Option(
    "File or module that registers datasets, trackers ...; again for more.", (), usual="$MOSAM_PLUGINS",
    metavar="FILE|MODULE", name="plugin",
)  # fmt: skip
DATASET = Option("Benchmark; `mosam data list` names them.", positional=True, complete="dataset")
ROOT = Option("Folder of the benchmark.", None, usual="$MOSAM_DATA/DATASET")
SPLIT = Option("One of the benchmark's splits.", None, usual="the one papers report")
SEQUENCES = Option("Only these sequences, comma-separated.", None)
LIMIT = Option("Only the first N sequences.", None, least=1, metavar="N")
SEED = Option("Seed of a generated benchmark and of random weights.", 0, least=0)
TRACKERS = Option(
    "Trackers, e.g. `mosam[stride=3],sam2`; again for more.",
    None,
    usual="mosam, else sam2",
    name="tracker",
    complete="tracker",
    joined=True,
)
MODEL = Option("Name, hub id, folder or .pt file.", None, usual="nano for toy, else large", complete="model")
DEVICE = Option("auto, cpu, cuda, cuda:N or mps.", "auto", complete="auto,cpu,cuda,mps")
PRECISION = Option("fp32, bf16 or fp16.", None, usual="what suits the device", complete="fp32,bf16,fp16")
COMPILE = Option("Compile the network: slow to start, for long runs on a GPU.", False)
SETTINGS = Option("common: all trackers alike; published: each as in its paper.", "common", complete="common,published")
LANES = Option("Objects tracked together in one batch.", None, usual="on a GPU what fits, else 1", metavar="N|auto")
RESULTS = Option("Where results are written: R/DATASET/TRACKER-MODEL/.", "results")
PROTOCOL = Option("How scores are computed.", None, usual="the benchmark's own", complete="protocol")
ALLOW_MISSING = Option("Score the sequences that have results, leave out the others.", False)
SCORING_JOBS = Option("Processes that score.", None, usual="one per core", least=1, name="jobs")
INTERVALS = Option("Add 95 % bootstrap intervals over sequences.", False, name="ci")
PAIRED = Option("Add paired differences from the first row.", False)
JSON = Option("Also write the scores to this file, one object per tracker.", None, name="json")
FORMAT = Option("text, markdown, latex or csv.", "text", name="format", complete="text,markdown,latex,csv")
LABELS = Option("TOML file with names to show for trackers, or an experiment.", None, metavar="FILE")
ROWS = Option("Only these trackers, in this order.", None, usual="all")
