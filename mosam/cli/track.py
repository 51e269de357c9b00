"""Commands that track: eval, run, experiment, paper."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mosam.cli.build import command
from mosam.cli.output import aligned, note, show_scores
from mosam.commands.paper.laboratory import PaperOptions
from mosam.commands.score import ScoreOptions
from mosam.system import options as shared
from mosam.system.options import option
from mosam.tracking.plan import RunOptions

if TYPE_CHECKING:
    from mosam.tracking.plan import PlannedRun
    from mosam.tracking.run import RunResult

COMMANDS: dict[str, click.Command] = {}
DONE, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Shown:
    """How a table of scores is shown."""

    paired: bool = shared.PAIRED.field()
    json: Path | None = shared.JSON.field()


@command(
    RunOptions,
    ScoreOptions,
    Shown,
    table=COMMANDS,
    name="eval",
    jobs=shared.Option(
        "Processes that track on the CPU, and that score.", None, usual="1; one per core", least=1, name="jobs"
    ),
)
def evaluate(options: RunOptions, scoring: ScoreOptions, shown: Shown) -> int:
    """Run trackers on a benchmark, score them and print the table."""
    from mosam.commands.score import score_folder

    _check_protocol(options, scoring.protocol)
    scoring = replace(scoring, intervals=scoring.intervals or shown.paired)
    rates, scores, failed = scoring.rates, [], False
    folders: list[Path] = []
    for planned, result in _track(options):
        failed = failed or bool(result.failed)
        data = planned.dataset
        if not data.has_truth:
            hidden = f"{data.name} {data.split} has no published ground truth to score with; see mosam submit"
            note(f"{result.path}: {hidden if data.split in data.info.no_truth else data.unscored()}")
        elif result.failed and not scoring.allow_missing:
            note(f"{result.path}: not scored, {len(result.failed)} sequences failed (--allow-missing scores the rest)")
        else:
            scores += [score_folder(result.path, data, scoring, rate) for rate in rates]
            folders.append(result.path)
    if scores or shown.json is not None:
        show_scores(
            scores, shown.json, profile=True, intervals=scoring.intervals, paired=shown.paired, apart=len(rates) > 1
        )
    if folders:
        note(_what_next(folders))
    return FAILED if failed else DONE


def _what_next(folders: list[Path]) -> str:
    """Where results and scores are, and what can be made of them."""
    places = " ".join(shlex.quote(str(folder)) for folder in folders)
    return f"""results and scores: {places}
next: mosam table {places} --ci
      mosam plot all {places} --out plots
      mosam report {places} --out report.html"""


@command(RunOptions, table=COMMANDS)
def run(options: RunOptions) -> int:
    """Run trackers and write raw results in the benchmark's format; the same command resumes."""
    failed = False
    for _, result in _track(options):
        print(result.path, flush=True)
        failed = failed or bool(result.failed)
    return FAILED if failed else DONE


@dataclass(frozen=True, slots=True)
class ExperimentOptions:
    """The options of `mosam experiment`."""

    file: Path = option("Experiment file, e.g. experiments/ablation.toml.", positional=True)
    dataset: str | None = shared.DATASET.field(
        positional=False, default=None, help="Benchmark to use instead of the file's."
    )
    root: Path | None = shared.ROOT.field()
    split: str | None = shared.SPLIT.field()
    model: str | None = shared.MODEL.field()
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    limit: int | None = shared.LIMIT.field()
    results: Path = shared.RESULTS.field(default=Path("results"))
    lanes: str | None = shared.LANES.field()
    jobs: int | None = shared.SCORING_JOBS.field()
    workers: int = option("Processes that track, one row and seed each.", 1, least=1)
    format: str = shared.FORMAT.field()
    plots: Path | None = option("Folder for the figures the file names.", None, usual="none")
    imports: tuple[str, ...] = option("Code the file may import.", (), name="import", metavar="MODULE:CLASS")
    trust: bool = option("Import any code that the file names.", False)


@command(ExperimentOptions, table=COMMANDS)
def experiment(options: ExperimentOptions) -> None:
    """Run every row of an experiment file, score it and print its tables; finished rows are kept."""
    from mosam.commands.experiment.study import draw_figures, load_study, run_experiment
    from mosam.commands.experiment.tables import experiment_table, group_tables
    from mosam.commands.experiment.workers import track_rows
    from mosam.commands.progress import progress_view
    from mosam.evaluation.tables import render

    study = load_study(options.file, trust=options.trust or options.imports).with_model(options.model)
    common = RunOptions(
        dataset=options.dataset or "",
        root=options.root,
        split=options.split,
        model=options.model,
        device=options.device,
        precision=options.precision,
        limit=options.limit,
        results=options.results,
        lanes=options.lanes,
    )
    done = []
    for wanted in study.experiments:
        if options.workers > 1:
            track_rows(wanted, common, workers=options.workers, report=note)
        rows = run_experiment(wanted, common, jobs=options.jobs or os.cpu_count() or 1, view=progress_view)
        if rows:
            for table in (experiment_table(wanted, rows), *group_tables(wanted, rows)):
                print(render(table, options.format), end="\n\n", flush=True)
            done.append(rows)
    for path in draw_figures(study, done, options.plots) if options.plots is not None else ():
        note(f"{path}")


@dataclass(frozen=True, slots=True)
class WhichTables:
    """Which published tables, and how they are shown."""

    tables: tuple[str, ...] = option("Published tables; --list names them.", (), positional=True, metavar="[TABLE]...")
    list: bool = option("List the tables and exit.", False)
    format: str = shared.FORMAT.field()
    json: Path | None = shared.JSON.field(help="Also write every number to this file.")


@command(WhichTables, PaperOptions, table=COMMANDS)
def paper(which: WhichTables, options: PaperOptions) -> int:
    """Print published tables next to our numbers, with a verdict on each; run and score what is missing."""
    from mosam.commands.paper.cells import load_table
    from mosam.commands.paper.laboratory import Laboratory
    from mosam.commands.paper.numbers import table_names
    from mosam.commands.paper.tables import paper_table, summary, to_json
    from mosam.commands.progress import progress_view
    from mosam.evaluation.layouts import render
    from mosam.system.files import write_text

    if which.list:
        print(aligned([(name, load_table(name).study.title) for name in table_names()]))
        return DONE
    chosen = [load_table(name) for name in which.tables or table_names()]
    laboratory, done = Laboratory(options, progress_view), []
    for table in chosen:
        done.append(laboratory.fill(table))
        print(render(paper_table(done[-1]), which.format), end="\n\n", flush=True)
    print(summary(done))
    if which.json is not None:
        which.json.parent.mkdir(parents=True, exist_ok=True)
        write_text(which.json, to_json(done))
    failed = any(obstacle.kind == "failed" for table in done for cell in table.cells for obstacle in cell.obstacles)
    return FAILED if failed else DONE


def _track(options: RunOptions) -> Iterator[tuple[PlannedRun, RunResult]]:
    """Does what was asked for, one tracker after the other, and shows how it goes."""
    from mosam.commands.progress import progress_view, waiting

    network = f"network {options.model}" if options.model else "the network"
    with waiting(f"loading benchmark {options.dataset} and {network} ..."):  # importing torch takes seconds
        from mosam.datasets.decoders import use_decoder
        from mosam.model.checkpoints import load_model
        from mosam.tracking.launch.start import check_options, prepare
        from mosam.tracking.plan import plan_runs, remembering

        use_decoder(options.decoder)
        check_options(options)
        load = remembering(load_model)
        runs = plan_runs(options)
    for planned in runs:
        with waiting(f"loading {network} ..."):
            go = prepare(planned, load)
        with progress_view() as view:
            view.note(f"{planned.title} -> {planned.out}")
            result = go(view)
        yield planned, result


def _check_protocol(options: RunOptions, protocol: str | None) -> None:
    """An unknown protocol is an error before hours of tracking, not after them."""
    from mosam.datasets.base import DATASETS
    from mosam.evaluation.protocols.base import parse_protocol

    info = DATASETS[options.dataset].info
    if (options.split or info.default_split) not in info.no_truth:
        parse_protocol(protocol or info.protocol)
