"""Commands on benchmarks: data list, check, pack, make."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from mosam.cli.build import command
from mosam.cli.output import aligned, note
from mosam.datasets.select import choose_sequences
from mosam.system import options as shared
from mosam.system.options import option

COMMANDS: dict[str, click.Command] = {}
DONE, WRONG = 0, 2
HEADINGS = ("name", "benchmark", "task", "splits (the first is the default)", "prompts", "protocol", "metrics")
SHOWN_SPLITS = 5


@command(table=COMMANDS, name="list")
def data_list() -> None:
    """Name every benchmark there is a loader for."""
    from mosam.datasets.base import DATASETS

    rows = [(*HEADINGS, "license", "source")]
    for name in DATASETS:
        info = DATASETS[name].info
        splits = [info.default_split, *(split for split in info.splits if split != info.default_split)]
        counted = [f"{split} ({count})" if (count := info.official_counts.get(split)) else split for split in splits]
        about = (", ".join(info.prompts), info.protocol, ", ".join(info.metrics), info.license, info.source)
        rows.append((name, info.title, info.task, _shorten(counted), *about))
    print(aligned(rows))


def _shorten(splits: list[str]) -> str:
    return ", ".join(splits if len(splits) <= SHOWN_SPLITS else [*splits[: SHOWN_SPLITS - 1], f"... {splits[-1]}"])


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy of a benchmark on disk."""

    dataset: str = shared.DATASET.field()
    root: Path | None = shared.ROOT.field()
    split: str | None = shared.SPLIT.field()
    sequences: str | None = shared.SEQUENCES.field()
    limit: int | None = shared.LIMIT.field()


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """What is demanded of a copy."""

    official: bool = option("Demand every sequence of the official split.", False)


@command(Copy, CheckOptions, table=COMMANDS)
def check(copy: Copy, options: CheckOptions) -> int:
    """Look for everything wrong with a copy on disk, one line each."""
    from mosam.datasets.check import Note, find_problems

    data = choose_sequences(copy.dataset, copy.root, copy.split, sequences=copy.sequences, limit=copy.limit)
    problems = 0
    for problem in find_problems(data, official=options.official):
        print(problem, flush=True)
        problems += not isinstance(problem, Note)
    subset = f" ({data.subset})" if data.subset else ""
    state = f"{problems} problems" if problems else "sound"
    note(f"{data.name} {data.split}: {len(data)} sequences{subset}, {state}")
    return WRONG if problems else DONE


@dataclass(frozen=True, slots=True)
class PackOptions:
    """Where a packed copy goes."""

    out: Path = option("A new or empty folder.")


@command(Copy, PackOptions, table=COMMANDS)
def pack(copy: Copy, options: PackOptions) -> None:
    """Put frames and annotation, as they are, into one LMDB that --root takes in place of the tree."""
    from mosam.datasets import pack as packing

    data = choose_sequences(copy.dataset, copy.root, copy.split, sequences=copy.sequences, limit=copy.limit)
    folder = packing.pack(data, options.out, progress=lambda name, done, total: note(f"[{done + 1}/{total}] {name}"))
    print(folder)


@dataclass(frozen=True, slots=True)
class MakeOptions:
    """The options of `mosam data make`."""

    dataset: str = shared.DATASET.field()
    out: Path = option("A new or empty folder.")
    split: str | None = shared.SPLIT.field()
    limit: int | None = shared.LIMIT.field(help="How many videos.", usual="2; of toy all")
    frames: int = option("Frames of each; toy's are written whole.", 12, least=6)
    layout: str = option("For toy: davis or lasot.", "davis", complete="davis,lasot")
    seed: int = shared.SEED.field()


@command(MakeOptions, table=COMMANDS)
def make(options: MakeOptions) -> None:
    """Write a small generated tree, laid out as the benchmark is; of toy, all of it in another's layout."""
    from mosam.datasets.base import DATASETS
    from mosam.datasets.make import SEQUENCES, make_tree
    from mosam.datasets.toy import export

    if DATASETS.canonical(options.dataset) == "toy":
        data = choose_sequences("toy", None, options.split, limit=options.limit, seed=options.seed)
        export(data, options.out, options.layout)
    else:
        count = options.limit or SEQUENCES
        make_tree(
            options.dataset, options.out, split=options.split, sequences=count, frames=options.frames, seed=options.seed
        )
    print(options.out)
