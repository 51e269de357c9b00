"""Commands on results and scores: score, table, submit."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosam.cli.build import command
from mosam.cli.output import note, show_scores
from mosam.commands.score import ScoreOptions
from mosam.errors import MosamError
from mosam.system import options as shared
from mosam.system.options import option

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.evaluation.scores import Scores

COMMANDS: dict[str, click.Command] = {}
SCORES = "scores.json files, files of --json, runs, or folders above them."


@dataclass(frozen=True, slots=True)
class WhichResults:
    """Results to be scored, and what else is made of their scores."""

    dataset: str = shared.DATASET.field()
    results: Path = option("A results folder, a run, or a folder of one or more trackers' results.")
    root: Path | None = shared.ROOT.field()
    split: str | None = shared.SPLIT.field()
    tracker: str | None = shared.TRACKERS.field(help="Only these trackers.", usual="all found")
    sequences: str | None = shared.SEQUENCES.field()
    limit: int | None = shared.LIMIT.field()
    seed: int = shared.SEED.field()
    paired: bool = shared.PAIRED.field()
    explain: bool = option("Score by every protocol and show the effect of each convention.", False)
    json: Path | None = shared.JSON.field()
    parquet: Path | None = option("Also write a table to this file, one row per frame.", None)


@command(WhichResults, ScoreOptions, table=COMMANDS)
def score(which: WhichResults, options: ScoreOptions) -> None:
    """Score raw results of any tracker; needs no network, no GPU and no images."""
    from mosam.commands.score import explained, found, score_folder
    from mosam.datasets.select import choose_sequences
    from mosam.evaluation.finding import describe_found

    data = choose_sequences(
        which.dataset, which.root, which.split, sequences=which.sequences, limit=which.limit, seed=which.seed
    )
    runs = found(which.results, data, which.tracker)
    folders = [folder for _, folder in runs]
    for line in describe_found(which.results, runs, data):
        note(line)
    intervals = options.intervals
    options = replace(options, intervals=intervals or which.paired)
    if options.realtime is not None and (which.explain or which.parquet is not None):
        raise MosamError("score: expected --realtime without --explain and --parquet, which show results as they are")
    if which.explain:
        print(explained(folders, data, options))
        return
    rates = options.rates
    scores = [score_folder(folder, data, options, rate, tracker=name) for rate in rates for name, folder in runs]
    if which.parquet is not None:
        _write_frames(which.parquet, data, list(zip(folders, scores, strict=True)), options.jobs)
    show_scores(scores, which.json, intervals=intervals, paired=which.paired, apart=len(rates) > 1)


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What a table shows."""

    scores: tuple[Path, ...] = option(SCORES, positional=True)
    format: str = shared.FORMAT.field()
    columns: str | None = option("Score names, or all.", None, usual="the protocol's own")
    rows: str | None = shared.ROWS.field()
    by: str = option("tracker, attribute or sequence.", "tracker", complete="tracker,attribute,sequence")
    intervals: bool = shared.INTERVALS.field()
    paired: bool = shared.PAIRED.field()
    mark: bool | None = option("Mark best and second.", None, usual="in latex only")
    labels: Path | None = shared.LABELS.field()


@command(TableOptions, table=COMMANDS)
def table(options: TableOptions) -> None:
    """Print a table of scores computed before."""
    from mosam.commands.plot import load_groups
    from mosam.datasets.select import split_list
    from mosam.evaluation import tables

    groups, notes = load_groups(options.scores, options.labels)
    for line in notes:
        note(line)
    rows = split_list(options.rows) or None
    if rows and len(groups) > 1:  # tables of the other benchmarks need not have them
        groups = [items for items in groups if tables.has_rows(items, rows)] or groups
    print(
        "\n\n".join(
            tables.tabulate(
                found,
                by=options.by,
                columns=split_list(options.columns) or None,
                rows=rows,
                format=options.format,
                mark=options.mark,
                intervals=options.intervals,
                differences=options.paired,
            )
            for found in groups
        )
    )


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """The options of `mosam submit`."""

    dataset: str = shared.DATASET.field()
    results: Path = option("A run, or a folder of runs or of trackers' results.")
    out: Path = option("The zip to write.")
    tracker: str | None = shared.TRACKERS.field(help="Which one.", usual="the only one")
    root: Path | None = shared.ROOT.field()
    split: str | None = shared.SPLIT.field()


@command(SubmitOptions, table=COMMANDS)
def submit(options: SubmitOptions) -> None:
    """Write the archive that the benchmark's server takes, after checking every file of it."""
    from mosam.commands import submit as archives
    from mosam.datasets.select import choose_sequences

    split = archives.server_split(options.dataset) if options.split is None else options.split
    data = choose_sequences(options.dataset, options.root, split)
    done = archives.submit(data, options.results, options.tracker, options.out)
    subset = f"; {done.subset}, which the server will not take" if done.subset else ""
    note(f"{data.name} {data.split}: {done.sequences} sequences, {done.files} files{subset}")
    print(done.path)


def _write_frames(path: Path, dataset: Dataset, runs: list[tuple[Path, Scores]], jobs: int | None) -> None:
    """Writes the table of frames, and says what is not in it."""
    from mosam.commands.progress import scoring_view
    from mosam.evaluation.frame_table import write_frame_table

    with scoring_view(path.name, sum(len(scores.sequences) for _, scores in runs)) as view:
        rows = write_frame_table(path, dataset, runs, jobs=jobs or os.cpu_count() or 1, progress=view)
    note(f"{path}: {rows} rows")
    for folder, scores in runs:
        if scores.missing:
            note(f"{path}: {folder.name} has no rows of {', '.join(scores.missing)}, which it has no results of")
