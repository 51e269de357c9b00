"""Commands on benchmarks: data list, fetch, check, pack, make."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosam.cli.build import command
from mosam.cli.output import aligned, note
from mosam.datasets.obtain import Obtain
from mosam.datasets.select import choose_sequences
from mosam.system import options as shared
from mosam.system.options import option

if TYPE_CHECKING:
    from mosam.datasets.base import DatasetInfo

COMMANDS: dict[str, click.Command] = {}
DONE, WRONG = 0, 2
HEADINGS = ("name", "task", "splits, sequences", "prompts", "protocol", "GB", "get")
WIDTH = 100  # columns of the list, whatever the terminal's
SHOWN_SPLITS = 2


@command(table=COMMANDS, name="list")
def data_list() -> None:
    """List every benchmark that mosam can load, its size on disk, and how to get it.

    The first split is the one papers report. `fetch` is what `mosam data fetch` downloads; it also tells what to do for
    what only a person can get: by a form, from a cloud drive, or from links on a page.
    """
    from mosam.datasets.base import DATASETS

    rows = [(name, *_facts(DATASETS[name].info)) for name in DATASETS]
    lines = iter(aligned([HEADINGS, *rows]).splitlines())
    print(next(lines))
    for name, line in zip(DATASETS, lines, strict=True):
        info = DATASETS[name].info
        print(line)
        for text in (f"{info.title}: {', '.join(info.metrics)}", f"{info.license}; {info.source}"):
            for part in textwrap.wrap(text, WIDTH - 4, break_long_words=False, break_on_hyphens=False):
                print(f"    {part}")


def _facts(info: DatasetInfo) -> tuple[str, ...]:
    """The cells of a benchmark."""
    splits = [info.default_split, *(split for split in info.splits if split != info.default_split)]
    counted = [f"{split} {count}" if (count := info.official_counts.get(split)) else split for split in splits]
    get = info.obtain or Obtain("-", "")
    size = "" if get.gigabytes is None else f"{get.gigabytes:.3g}"
    return info.task, _shorten(counted), ",".join(info.prompts), info.protocol, size, get.how


def _shorten(splits: list[str]) -> str:
    more = len(splits) - SHOWN_SPLITS
    return ", ".join([*splits[:SHOWN_SPLITS], *([f"{more} more"] if more > 0 else [])])


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """What is fetched, and where it goes."""

    dataset: str = shared.DATASET.field()
    root: Path | None = shared.ROOT.field(help="Target folder; new, or of an interrupted fetch.")
    split: str | None = shared.SPLIT.field()
    yes: bool = option("Do not ask for confirmation.", False)
    keep_archives: bool = option("Keep archives after unpacking them, in ROOT/.mosam-fetch.", False)


@command(FetchOptions, table=COMMANDS)
def fetch(options: FetchOptions) -> int:
    """Download a benchmark and lay it out as it is read; resumes after an interruption."""
    from mosam.commands.fetch import run
    from mosam.commands.progress import download_view

    wish = run.choose(options.dataset, options.root, options.split)
    if run.is_there(wish):
        note(f"{wish.name} {wish.split}: is there already")
        print(wish.root)
        return DONE
    plan = run.plan_for(wish)
    for line in run.describe(wish, plan):
        note(line)
    if not options.yes and not _agreed():
        return WRONG
    data = run.fetch(wish, plan, view=download_view, tell=note, keep=options.keep_archives)
    note(f"{data.name} {data.split}: {len(data)} sequences{f' ({data.subset})' if data.subset else ''}")
    print(wish.root)
    return DONE


def _agreed() -> bool:
    """Whether the person at the terminal wants it; where nobody is, nothing is fetched."""
    if not sys.stdin.isatty():
        note("mosam: nothing was fetched: nobody is there to ask; pass --yes if you accept the license")
        return False
    return click.confirm("Accept the license and fetch?", default=False, err=True)


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

    official: bool = option("Require every sequence of the official split.", False)


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
