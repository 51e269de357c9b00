"""The `mosam` command: one function a command, no logic but reading options and printing results.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 some sequences failed, 2 the
call or the data is wrong (one line), 130 interrupted (143 by SIGTERM, 129 by SIGHUP). `MOSAM_DEBUG=1` shows the
traceback behind an error.
"""

# Annotations are not postponed here: typer would compile each of some 500 of them again at every start (0.1 s).
import contextlib
import dataclasses
import logging
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from mosam.errors import MosamError, one_line, printable
from mosam.system.files import write_text
from mosam.system.processes import asked_to_end, exit_code
from mosam.quick_options import read_options_plainly

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.evaluation.scores import Scores
    from mosam.tracking.plan import PlannedRun, RunOptions
    from mosam.tracking.run import RunResult

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "MOSAM_DEBUG"
PROFILE = ("jf_mean", "success_auc", "precision", "norm_precision", "ao", "presence", "fps")  # shown by attribute

# The class of every error in the call, in all versions of typer (it is exported under this child only).
_CallError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

read_options_plainly()
app = typer.Typer(
    help="One engine, every tracker: run and score visual object tracking and video object segmentation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Benchmarks: list them, check, pack or make a copy.", no_args_is_help=True)
model_app = typer.Typer(help="Networks and checkpoints.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(model_app, name="model")
vot_app = typer.Typer(help="The VOT toolkit: workspaces for it, and the tracker it starts.", no_args_is_help=True)
app.add_typer(vot_app, name="vot")

DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="Benchmark; `mosam data list` names them.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the benchmark.  [default: $MOSAM_DATA/DATASET]")]
Split = Annotated[str | None, typer.Option(help="One of the benchmark's splits.  [default: the one papers report]")]
Trackers = Annotated[
    str | None, typer.Option("--tracker", help="One or more, as `mosam[stride=3],sam2`.  [default: mosam, else sam2]")
]
ModelName = Annotated[
    str | None,
    typer.Option("--model", help="Name, hub id, folder or .pt file.  [default: nano for toy, else large]"),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.  [default: what suits the device]")]
Compile = Annotated[bool, typer.Option("--compile", help="Compile the network; slow to start, for long runs on a GPU.")]
Sequences = Annotated[str | None, typer.Option(help="Only these sequences, comma-separated.")]
Limit = Annotated[int | None, typer.Option(help="Only the first N sequences.", min=1)]
PromptKind = Annotated[str | None, typer.Option("--prompt", help="box or mask.  [default: the benchmark's usual]")]
Settings = Annotated[str, typer.Option(help="common: all trackers alike; published: each as its paper.")]
Seed = Annotated[int, typer.Option(help="Draw of a generated benchmark and of random weights.", min=0)]
Results = Annotated[Path, typer.Option(help="Where results are written: R/DATASET/TRACKER-MODEL/.")]
Lanes = Annotated[
    str | None,
    typer.Option(
        metavar="N|auto",
        help="Objects tracked together in one batch.  [default: on a GPU what fits, else 1]",
    ),
]
Gpus = Annotated[str | None, typer.Option(help="One process a GPU: all, how many, or which (0,2).")]
Launcher = Annotated[
    str, typer.Option(help="local, ray[address=HOST:PORT,gpus=1] or slurm[partition=P,jobs=8,gpus=1].")
]
TrackJobs = Annotated[int | None, typer.Option("--jobs", help="Processes that track on the processor.", min=1)]
AbsentAs = Annotated[str, typer.Option(help="Box written for an absent object: zeros, last, nan or minus_one.")]
BoxFromMask = Annotated[
    str | None, typer.Option(help="Right edge of a mask's box: exclusive or inclusive.  [default: the benchmark's]")
]
RegionFiles = Annotated[
    str, typer.Option("--region-files", help="VOT's results: text, binary or auto (boxes text, masks binary).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away results made with other settings.")]
Log = Annotated[bool, typer.Option("--log", help="Also write what was read and chosen on every frame.")]
Decoder = Annotated[str, typer.Option(help="auto, pillow, simplejpeg, jpeg4py, torchvision; torchcodec (videos).")]
VotPrompt = Annotated[str, typer.Option("--prompt", help="auto: a mask where one is given, else a box; box; mask.")]
VotBoxFromMask = Annotated[
    str, typer.Option("--box-from-mask", help="Right edge of a mask's box: exclusive, inclusive.")
]
Keep = Annotated[float, typer.Option(help="Seconds for which the network waits for the next tracker process.", min=0)]
Protocol = Annotated[str | None, typer.Option(help="How scores are computed.  [default: the benchmark's own]")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Score what is there, leave out what is not.")]
Jobs = Annotated[int | None, typer.Option(help="Processes that score.  [default: one a core]", min=1)]
Intervals = Annotated[bool, typer.Option("--ci", help="Add 95 % bootstrap intervals over sequences.")]
Paired = Annotated[bool, typer.Option("--paired", help="Add paired differences from the first row.")]
EvalJobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", help="Processes that track on the processor, and that score.  [default: 1; one a core]", min=1
    ),
]
JsonFile = Annotated[Path | None, typer.Option("--json", help="Also write the scores there, one object a tracker.")]


@app.callback(invoke_without_command=True)
def _mosam(version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False) -> None:
    if version:
        from mosam import __version__

        print(f"mosam {__version__}")
        raise typer.Exit(DONE)


@app.command("eval")
def eval_(
    dataset: DatasetName = "toy",
    root: Root = None,
    split: Split = None,
    tracker: Trackers = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: Precision = None,
    sequences: Sequences = None,
    limit: Limit = None,
    prompt: PromptKind = None,
    settings: Settings = "common",
    seed: Seed = 0,
    results: Results = Path("results"),
    lanes: Lanes = None,
    absent_as: AbsentAs = "zeros",
    box_from_mask: BoxFromMask = None,
    region_files: RegionFiles = "auto",
    overwrite: Overwrite = False,
    log: Log = False,
    decoder: Decoder = "auto",
    protocol: Protocol = None,
    allow_missing: AllowMissing = False,
    jobs: EvalJobs = None,
    gpus: Gpus = None,
    launcher: Launcher = "local",
    compile: Compile = False,
    ci: Intervals = False,
    paired: Paired = False,
    json_file: JsonFile = None,
) -> None:
    """Run trackers on a benchmark, score them and print the table."""
    from mosam.datasets.decoders import use_decoder
    from mosam.tracking.plan import RunOptions
    from mosam.commands.score import ScoreOptions, score_folder

    use_decoder(decoder)
    options = RunOptions(
        dataset, root, split, tracker, model, device, precision, sequences, limit, prompt, settings, seed, results,
        lanes, absent_as, box_from_mask, overwrite, log, region_files, decoder, jobs, gpus, launcher, compile,
    )  # fmt: skip
    _check_protocol(options, protocol)
    scores, failed = [], False
    for planned, result in _track(options):
        failed = failed or bool(result.failed)
        data = planned.dataset
        if not data.has_truth:
            hidden = f"{data.name} {data.split} has no published ground truth to score with; see mosam submit"
            _note(f"{result.path}: {hidden if data.split in data.info.no_truth else data.unscored()}")
        elif result.failed and not allow_missing:
            _note(f"{result.path}: not scored, {len(result.failed)} sequences failed (--allow-missing scores the rest)")
        else:
            scores.append(score_folder(result.path, data, ScoreOptions(protocol, allow_missing, jobs, ci or paired)))
    if scores or json_file is not None:
        _show(scores, json_file, profile=True, intervals=ci, paired=paired)
    raise typer.Exit(FAILED if failed else DONE)


@app.command(short_help="Run trackers and write raw results; resumes.")
def run(
    dataset: DatasetName = "toy",
    root: Root = None,
    split: Split = None,
    tracker: Trackers = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: Precision = None,
    sequences: Sequences = None,
    limit: Limit = None,
    prompt: PromptKind = None,
    settings: Settings = "common",
    seed: Seed = 0,
    results: Results = Path("results"),
    lanes: Lanes = None,
    absent_as: AbsentAs = "zeros",
    box_from_mask: BoxFromMask = None,
    region_files: RegionFiles = "auto",
    overwrite: Overwrite = False,
    log: Log = False,
    decoder: Decoder = "auto",
    jobs: TrackJobs = None,
    gpus: Gpus = None,
    launcher: Launcher = "local",
    compile: Compile = False,
) -> None:
    """Run trackers and write raw results in the benchmark's format; started again, goes on where it stopped."""
    from mosam.datasets.decoders import use_decoder
    from mosam.tracking.plan import RunOptions

    use_decoder(decoder)
    options = RunOptions(
        dataset, root, split, tracker, model, device, precision, sequences, limit, prompt, settings, seed, results,
        lanes, absent_as, box_from_mask, overwrite, log, region_files, decoder, jobs, gpus, launcher, compile,
    )  # fmt: skip
    failed = False
    for _, result in _track(options):
        print(result.path, flush=True)
        failed = failed or bool(result.failed)
    raise typer.Exit(FAILED if failed else DONE)


@app.command()
def demo(
    video: Annotated[str, typer.Argument(metavar="INPUT", help="Video file, folder of pictures or camera's number.")],
    box: Annotated[
        list[str] | None, typer.Option(metavar="X,Y,W,H", help="Box on the first frame; again for another object.")
    ] = None,
    box_file: Annotated[list[Path] | None, typer.Option(metavar="FILE", help="Lines x,y,w,h, an object each.")] = None,
    point: Annotated[
        list[str] | None, typer.Option(metavar="X,Y", help="On the object; x,y,0 off it; N:x,y of object N.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="PNG of the first frame's objects.")] = None,
    pick: Annotated[bool, typer.Option("--pick", help="Draw the objects in a page on this machine.")] = False,
    port: Annotated[int, typer.Option(help="Of that page; 0 = any free one.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    out: Annotated[Path | None, typer.Option(help="Folder to write.  [default: results/demo/NAME]")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what a demo left there.")] = False,
    tracker: Annotated[str | None, typer.Option(help="One, as `mosam[stride=3]`.  [default: mosam]")] = None,
    compare: Annotated[str | None, typer.Option(help="Several side by side, as sam2,mosam.")] = None,
    show_motion: Annotated[bool, typer.Option("--show-motion", help="Also draw motion and memory.")] = False,
    model: Annotated[str | None, typer.Option(help="Network.  [default: large; on a CPU tiny]")] = None,
    device: Device = "auto",
    precision: Precision = None,
    start: Annotated[int, typer.Option(help="Frame to begin with, which the prompts are on.", min=0)] = 0,
    frames: Annotated[int | None, typer.Option(help="Only N frames from there.", min=1)] = None,
    fps: Annotated[float | None, typer.Option(help="Of a folder of pictures.  [default: 24]", min=0.1)] = None,
    masks: Annotated[bool, typer.Option("--masks/--no-masks", help="Write masks as PNG.")] = True,
) -> None:
    """Track objects in a video of your own and look at the result."""
    from mosam.commands.demo.run import DemoOptions, run_demo
    from mosam.commands.demo.write import OVERLAY
    from mosam.commands.progress import FrameView

    options = DemoOptions(
        video, box or (), box_file or (), point or (), mask, pick, port, browser, out, overwrite, tracker, compare,
        show_motion, model, device, precision, frames, fps, masks, start,
    )  # fmt: skip
    result = run_demo(options, FrameView)
    for summary in result.trackers:
        print("\n".join(summary.lines()))
    print(result.out / OVERLAY)
    if result.problem is not None:
        _note(f"{result.problem}; what was tracked before is kept")
    elif result.interrupted:
        _note(f"stopped after {result.frames} frames, which are kept")
    raise typer.Exit(FAILED if result.problem is not None else DONE)


@app.command(short_help="Run, score and tabulate every row of a file.")
def experiment(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As experiments/ablation.toml.")],
    dataset: Annotated[str | None, typer.Option(help="Another benchmark than the file's.")] = None,
    root: Root = None,
    split: Split = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: Precision = None,
    limit: Limit = None,
    results: Results = Path("results"),
    lanes: Lanes = None,
    jobs: Jobs = None,
    workers: Annotated[int, typer.Option(help="Processes that track, a row and draw each.", min=1)] = 1,
    format_: Annotated[str, typer.Option("--format", help="text, markdown, latex or csv.")] = "text",
    plots: Annotated[Path | None, typer.Option(help="Folder for the figures the file names.  [default: none]")] = None,
    imports: Annotated[
        list[str] | None, typer.Option("--import", metavar="MODULE:CLASS", help="Code the file may import.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Import whatever code the file names.")] = False,
) -> None:
    """Run every row of an experiment file, score it and print its tables; what is done is kept."""
    from mosam.evaluation.tables import render
    from mosam.commands.experiment.study import draw_figures, experiment_table, load_study, run_experiment
    from mosam.commands.experiment.tables import group_tables
    from mosam.commands.experiment.workers import track_rows
    from mosam.tracking.plan import RunOptions
    from mosam.commands.progress import progress_view

    study = load_study(file, trust=trust or imports or ()).with_model(model)
    options = RunOptions(
        dataset or "", root, split, None, model, device, precision, None, limit, results=results, lanes=lanes
    )
    done = []
    for wanted in study.experiments:
        if workers > 1:
            track_rows(wanted, options, workers=workers, tell=_note)
        rows = run_experiment(wanted, options, jobs=jobs or os.cpu_count() or 1, view=progress_view)
        if rows:
            for table in (experiment_table(wanted, rows), *group_tables(wanted, rows)):
                print(render(table, format_), end="\n\n", flush=True)
            done.append(rows)
    for path in draw_figures(study, done, plots) if plots is not None else ():
        _note(f"{path}")


@app.command(short_help="Published tables beside our numbers; runs the rest.")
def paper(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="Published tables; --list names them.")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Name the tables and stop.")] = False,
    results: Results = Path("results"),
    data: Annotated[Path | None, typer.Option(help="Folder with DATASET/ folders.  [default: $MOSAM_DATA]")] = None,
    checkpoints: Annotated[Path | None, typer.Option(help="Folder of sam2.1_hiera_*.pt.  [default: the hub]")] = None,
    model: Annotated[str | None, typer.Option(help="One network for every size, for a trial.")] = None,
    device: Device = "auto",
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.  [default: as published]")] = None,
    limit: Limit = None,
    lanes: Lanes = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Track what is missing, or score what is there.")] = True,
    jobs: Jobs = None,
    format_: Annotated[str, typer.Option("--format", help="text, markdown, latex or csv.")] = "text",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write every number there.")] = None,
) -> None:
    """Print published tables beside our numbers, with a verdict on each; run and score what is missing."""
    from mosam.commands import paper as published
    from mosam.evaluation.layouts import render
    from mosam.commands.progress import progress_view

    if list_:
        print(_aligned([(name, published.load_table(name).study.title) for name in published.table_names()]))
        raise typer.Exit(DONE)
    chosen = [published.load_table(name) for name in tables or published.table_names()]
    options = published.PaperOptions(
        results, data, checkpoints, model, device, precision, lanes, limit, run, jobs or os.cpu_count() or 1
    )
    laboratory, done = published.Laboratory(options, progress_view), []
    for table in chosen:
        done.append(laboratory.fill(table))
        print(render(published.paper_table(done[-1]), format_), end="\n\n", flush=True)
    print(published.summary(done))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_text(json_file, published.to_json(done))
    failed = any(obstacle.kind == "failed" for table in done for cell in table.cells for obstacle in cell.obstacles)
    raise typer.Exit(FAILED if failed else DONE)


@app.command(short_help="Score raw results, ours or anyone's; no network.")
def score(
    dataset: DatasetName,
    results: Annotated[Path, typer.Option(help="Our results, one run, or anyone's folder of trackers or of one.")],
    root: Root = None,
    split: Split = None,
    tracker: Annotated[str | None, typer.Option(help="Only these trackers.  [default: all found]")] = None,
    sequences: Sequences = None,
    limit: Limit = None,
    seed: Seed = 0,
    protocol: Protocol = None,
    allow_missing: AllowMissing = False,
    jobs: Jobs = None,
    ci: Intervals = False,
    paired: Paired = False,
    explain: Annotated[bool, typer.Option("--explain", help="Every protocol, and what moves the numbers.")] = False,
    cache: Annotated[bool, typer.Option(help="Use and keep scores of the very same results.")] = True,
    json_file: JsonFile = None,
    parquet: Annotated[Path | None, typer.Option(help="Also write a table there, a row a frame.")] = None,
) -> None:
    """Score raw results, ours or anyone's; needs no network and no pictures."""
    from mosam.datasets.select import choose_sequences
    from mosam.commands.score import ScoreOptions, explained, found, score_folder

    data = choose_sequences(dataset, root, split, sequences=sequences, limit=limit, seed=seed)
    folders = found(results, data, tracker)
    options = ScoreOptions(protocol, allow_missing, jobs, ci or paired, cache)
    if explain:
        print(explained(folders, data, options))
        return
    scores = [score_folder(folder, data, options) for folder in folders]
    if parquet is not None:
        _write_frames(parquet, data, list(zip(folders, scores, strict=True)), jobs)
    _show(scores, json_file, intervals=ci, paired=paired)


@app.command()
def table(
    scores: Annotated[
        list[Path], typer.Argument(metavar="SCORES...", help="scores.json files, files of --json, or folders of runs.")
    ],
    format_: Annotated[str, typer.Option("--format", help="text, markdown, latex or csv.")] = "text",
    columns: Annotated[str | None, typer.Option(help="Names of scores, or all.  [default: the protocol's own]")] = None,
    rows: Annotated[str | None, typer.Option(help="Only these trackers, in this order.  [default: all]")] = None,
    by: Annotated[str, typer.Option(help="tracker, attribute or sequence.")] = "tracker",
    ci: Intervals = False,
    paired: Paired = False,
    mark: Annotated[
        bool | None, typer.Option("--mark/--no-mark", help="Mark best and second.  [default: in latex only]")
    ] = None,
) -> None:
    """Print a table of scores that were computed before."""
    from mosam.datasets.select import split_list
    from mosam.evaluation import tables
    from mosam.commands.plot import load_all_scores

    found = load_all_scores(scores)
    chosen = {"columns": split_list(columns) or None, "rows": split_list(rows) or None}
    print(tables.tabulate(found, by=by, **chosen, format=format_, mark=mark, intervals=ci, differences=paired))


@app.command(short_help="Draw a figure of scores, or of one sequence.")
def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Figure, as success, or all; an unknown one lists them.")],
    scores: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCORES...",
            help="scores.json files, files of --json, or folders of runs; for frames and jf-time runs.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Path of the files without ending; all adds -KIND.")],
    format_: Annotated[str, typer.Option("--format", help="Some of png, pdf, svg and tikz.")] = "png,pdf,svg,tikz",
    rows: Annotated[str | None, typer.Option(help="Only these trackers.  [default: all]")] = None,
    sequence: Annotated[str | None, typer.Option(help="For frames and jf-time: which one.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Benchmark of results that are no runs of ours.")] = None,
    root: Root = None,
    split: Split = None,
    object_id: Annotated[int | None, typer.Option("--object", help="For jf-time.  [default: mean over all]")] = None,
    frames: Annotated[str | None, typer.Option(help="For frames: which, as 0,25,80.  [default: telling ones]")] = None,
    log: Annotated[bool, typer.Option("--log", help="For frames: add what the run's log says.")] = False,
) -> None:
    """Draw a figure of scores that were computed before, or of one sequence from raw results."""
    from mosam.datasets.select import split_list
    from mosam.evaluation.figures import save
    from mosam.commands.plot import ALL, PlotOptions, draw, draw_all

    options = PlotOptions(split_list(rows), sequence, dataset, root, split, object_id, frames, log)
    if kind != ALL:
        drawn = [(out, draw(kind, scores, options))]
    else:
        drawn = []
        for name, found in draw_all(scores, options):
            if isinstance(found, MosamError):
                _note(f"left out: {found}")
            else:
                drawn.append((out.with_name(f"{out.name}-{name}"), found))
    for stem, figure in drawn:
        for path in save(figure, stem, formats=split_list(format_)):
            print(path)


@app.command(short_help="Write one self-contained page of everything.")
def report(
    results: Annotated[
        list[Path], typer.Argument(metavar="RESULTS...", help="Folders of runs or of those, or scores files.")
    ],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    title: Annotated[str, typer.Option(help="Its heading.")] = "mosam report",
    root: Annotated[
        Path | None, typer.Option(help="Folder of the only benchmark.  [default: $MOSAM_DATA/DATASET]")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder with DATASET/ folders.  [default: $MOSAM_DATA]")] = None,
    dataset: Annotated[str | None, typer.Option(help="Benchmark of results that are no runs of ours.")] = None,
    split: Split = None,
    strips: Annotated[bool, typer.Option("--strips/--no-strips", help="Show frames of each sequence.")] = True,
    frames: Annotated[
        bool, typer.Option("--curves/--no-curves", help="Read raw results, for curves and frames.")
    ] = True,
    jobs: Jobs = None,
) -> None:
    """Write one self-contained page: tables, figures, every sequence, settings and raw scores."""
    from mosam.commands.progress import scoring_view
    from mosam.commands.report import ReportOptions, build_report
    from mosam.commands.report.gather import Places

    options = ReportOptions(title, Places(root, data), dataset, split, strips, frames, jobs or os.cpu_count() or 1)
    page = build_report(results, options, progress=scoring_view)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    print(out)


@app.command(short_help="Say what this installation has and lacks.")
def doctor() -> None:
    """Say what this installation has: versions, devices, decoders, optional parts, checkpoints, data, and advice."""
    from mosam.commands.doctor import examine, report

    findings = list(examine())
    print(report(findings))
    raise typer.Exit(FAILED if any(finding.state == "bad" for finding in findings) else DONE)


@app.command(short_help="Write the archive that a benchmark's server takes.")
def submit(
    dataset: DatasetName,
    results: Annotated[Path, typer.Option(help="A run's folder, or one of runs or of anybody's trackers.")],
    out: Annotated[Path, typer.Option(help="The zip to write.")],
    tracker: Annotated[str | None, typer.Option(help="Which one.  [default: the only one]")] = None,
    root: Root = None,
    split: Split = None,
) -> None:
    """Write the archive that the benchmark's server takes, after checking every file of it."""
    from mosam.commands import submit as archives
    from mosam.tracking.plan import RunOptions, choose_dataset

    data = choose_dataset(RunOptions(dataset, root, archives.server_split(dataset) if split is None else split))
    done = archives.submit(data, results, tracker, out)
    subset = f"; {done.subset}, which the server will not take" if done.subset else ""
    _note(f"{data.name} {data.split}: {done.sequences} sequences, {done.files} files{subset}")
    print(done.path)


_DATA_COLUMNS = (
    "name", "benchmark", "task", "splits (the first is the default)", "prompts", "protocol", "metrics", "licence",
    "source",
)  # fmt: skip


def _shorten_splits(names: list[str], most: int = 5) -> str:
    return ", ".join(names if len(names) <= most else [*names[: most - 1], f"... {names[-1]}"])


@app.command(short_help="Measure speed by stage.")
def bench(
    tracker: Trackers = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: Precision = None,
    objects: Annotated[str, typer.Option(help="Objects of a clip; several with commas.")] = "1",
    lanes: Annotated[str, typer.Option(help="Clips tracked together; several with commas.")] = "1",
    frames: Annotated[
        int | None, typer.Option(help="Frames of a clip that are timed: 20, on a GPU 100.", min=1)
    ] = None,
    size: Annotated[str, typer.Option(help="Of the pictures, WIDTHxHEIGHT.")] = "1280x720",
    compile: Compile = False,
    json_file: JsonFile = None,
) -> None:
    """Measure speed from pictures to result files, by stage, and against what the device can do."""
    from mosam.commands.bench import parse_numbers, parse_size, render_bench, run_bench

    results = run_bench(
        tracker, model, device, precision, objects=parse_numbers("--objects", objects),
        lanes=parse_numbers("--lanes", lanes), frames=frames, size=parse_size(size), compile=compile,
        json_file=json_file,
    )  # fmt: skip
    print(render_bench(results))


@data_app.command("list")
def data_list() -> None:
    """Name every benchmark there is a loader for."""
    from mosam.datasets.base import DATASETS

    rows = [_DATA_COLUMNS]
    for name in DATASETS:
        info = DATASETS[name].info
        splits = [info.default_split, *(split for split in info.splits if split != info.default_split)]
        counted = [f"{split} ({count})" if (count := info.official_counts.get(split)) else split for split in splits]
        about = (", ".join(info.prompts), info.protocol, ", ".join(info.metrics), info.licence, info.source)
        rows.append((name, info.title, info.task, _shorten_splits(counted), *about))
    print(_aligned(rows))


@data_app.command("check")
def data_check(
    dataset: DatasetName,
    root: Root = None,
    split: Split = None,
    sequences: Sequences = None,
    limit: Limit = None,
    official: Annotated[bool, typer.Option("--official", help="Demand every sequence of the official split.")] = False,
) -> None:
    """Look for everything wrong with a copy on disk, one line each."""
    from mosam.datasets.check import Note, find_problems
    from mosam.tracking.plan import RunOptions, choose_dataset

    data = choose_dataset(RunOptions(dataset, root, split, sequences=sequences, limit=limit))
    problems = 0
    for problem in find_problems(data, official=official):
        print(problem, flush=True)
        problems += not isinstance(problem, Note)
    subset = f" ({data.subset})" if data.subset else ""
    state = f"{problems} problems" if problems else "sound"
    _note(f"{data.name} {data.split}: {len(data)} sequences{subset}, {state}")
    raise typer.Exit(WRONG if problems else DONE)


@data_app.command("pack", short_help="Put frames and annotation into one LMDB.")
def data_pack(
    dataset: DatasetName,
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    root: Root = None,
    split: Split = None,
    sequences: Sequences = None,
    limit: Limit = None,
) -> None:
    """Put frames and annotation, as they are, into one LMDB that --root takes in place of the tree."""
    from mosam.datasets.pack import pack
    from mosam.tracking.plan import RunOptions, choose_dataset

    data = choose_dataset(RunOptions(dataset, root, split, sequences=sequences, limit=limit))
    folder = pack(data, out, progress=lambda name, done, total: _note(f"[{done + 1}/{total}] {name}"))
    print(folder)


@data_app.command("make", short_help="Write a small generated tree of a benchmark.")
def data_make(
    dataset: DatasetName,
    out: Annotated[Path, typer.Option(help="A new or empty folder.")],
    split: Split = None,
    limit: Annotated[int | None, typer.Option(help="How many videos.  [default: 2; of toy all]", min=1)] = None,
    frames: Annotated[int, typer.Option(help="Frames of each; toy's are written whole.", min=6)] = 12,
    layout: Annotated[str, typer.Option(help="For toy: davis or lasot.")] = "davis",
    seed: Seed = 0,
) -> None:
    """Write a small generated tree, laid out as the benchmark is; of toy, all of it in another's layout."""
    from mosam.datasets.base import DATASETS
    from mosam.datasets.make import SEQUENCES, make_tree
    from mosam.datasets.toy import export
    from mosam.tracking.plan import RunOptions, choose_dataset

    if DATASETS.canonical(dataset) == "toy":
        export(choose_dataset(RunOptions("toy", split=split, limit=limit, seed=seed)), out, layout)
    else:
        make_tree(dataset, out, split=split, sequences=limit or SEQUENCES, frames=frames, seed=seed)
    print(out)


@model_app.command("list")
def model_list() -> None:
    """Name the models."""
    from mosam.model.checkpoints import SHIPPED, list_models

    rows = [("name", "input", "MB", "here", "source", "licence")]
    for info in list_models():
        here = "shipped" if info.name == SHIPPED and info.here else "yes" if info.here else "no"
        size = f"{info.bytes / 1e6:.0f}" if info.bytes else ""
        rows.append((info.name, f"{info.image}", size, here, info.source.removeprefix("hub: "), info.licence))
    print(_aligned(rows))
    _note("also: a hub id, a folder, a sam2.1_hiera_*.pt file, or random:NAME for weights drawn from a seed")


@model_app.command("fetch", short_help="Download a checkpoint and check it; resumes.")
def model_fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="tiny, small, base-plus, large, or a hub id.")],
    origin: Annotated[str, typer.Option("--from", help="hub, or meta for Meta's .pt file.")] = "hub",
) -> None:
    """Download a checkpoint into the user's cache and check it; goes on where it was interrupted."""
    from mosam.model.checkpoints import fetch_model
    from mosam.commands.progress import download_view

    with download_view(name) as watch:
        path = fetch_model(name, origin, watch)
    print(path)


@model_app.command("info")
def model_info(name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Model, folder or checkpoint.")]) -> None:
    """Say what a model is and where its weights come from."""
    from mosam.model import checkpoints

    info = checkpoints.model_info(name)
    for field in dataclasses.fields(info):
        value = getattr(info, field.name)
        print(f"{field.name.replace('_', ' ')}: {'not on this machine' if value is None else value}")


@vot_app.command("init", short_help="Write a workspace of the VOT toolkit.")
def vot_init(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="A new folder, or a workspace of that stack.")],
    stack: Annotated[
        str | None, typer.Option(help="As vot2022/shortterm, vot2022-st, or a file.  [default: the workspace's]")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Sequences on disk.  [default: the workspace's, else they are downloaded]")
    ] = None,
    tracker: Annotated[str | None, typer.Option(help="One or more.  [default: all]")] = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: Precision = None,
    sequences: Sequences = None,
    limit: Limit = None,
    prompt: VotPrompt = "auto",
    settings: Settings = "common",
    seed: Seed = 0,
    box_from_mask: VotBoxFromMask = "exclusive",
    keep: Keep = 60.0,
    results: Annotated[Path | None, typer.Option(help="Also copy runs of ours there, as results to analyse.")] = None,
) -> None:
    """Write a workspace of the VOT toolkit with our trackers registered."""
    from mosam.vot.setup import InitOptions, init

    options = InitOptions(
        workspace, stack, root, tracker, model, device, precision, sequences, limit, prompt, settings, seed,
        box_from_mask, keep, results,
    )  # fmt: skip
    made = init(options)
    count = "sequences to be downloaded" if made.sequences is None else f"{made.sequences} sequences"
    _note(f"{made.stack.name} (vot-toolkit {made.stack.toolkit}): {count}, trackers {', '.join(made.trackers)}")
    print(made.path)


@vot_app.command("track", short_help="Be the tracker the toolkit starts.")
def vot_track(
    tracker: Annotated[str, typer.Option(help="As `mosam[stride=3]`.")],
    model: Annotated[str, typer.Option("--model", help="Name, hub id, folder or .pt file.")] = "large",
    device: Device = "auto",
    precision: Precision = None,
    settings: Settings = "common",
    seed: Seed = 0,
    prompt: VotPrompt = "auto",
    box_from_mask: VotBoxFromMask = "exclusive",
    keep: Keep = 60.0,
) -> None:
    """Be the tracker process that the VOT toolkit starts, as `mosam vot init` registers it."""
    from mosam.vot.service import Order
    from mosam.vot.trax_process import track

    track(Order(tracker, model, device, precision, settings, seed, prompt, box_from_mask), keep=keep)


@vot_app.command("evaluate", short_help="Have the toolkit run and analyse.")
def vot_evaluate(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="As `mosam vot init` makes it.")],
    toolkit: Annotated[Path, typer.Option(help="Environment that holds vot-toolkit; `make vot` makes it.")],
    tracker: Annotated[str | None, typer.Option(help="Names in trackers.ini.  [default: all]")] = None,
    experiments: Annotated[str | None, typer.Option(help="Only these of the stack, comma-separated.")] = None,
    only_analysis: Annotated[bool, typer.Option("--only-analysis", help="Analyse the results that are there.")] = False,
) -> None:
    """Have the toolkit run and analyse the trackers of a workspace, and print its numbers."""
    from mosam.tracking.presets import split_list
    from mosam.vot.toolkit import evaluate

    print(evaluate(workspace, toolkit, split_list(tracker), experiments=experiments, run=not only_analysis))


def _track(options: "RunOptions") -> "Iterator[tuple[PlannedRun, RunResult]]":
    """Does what was asked for, one tracker after the other, and shows how it goes."""
    from mosam.tracking.launch.start import check_options, prepare
    from mosam.model.checkpoints import load_model
    from mosam.tracking.plan import plan_runs, remembering
    from mosam.commands.progress import progress_view

    check_options(options)
    load = remembering(load_model)
    for planned in plan_runs(options):
        go = prepare(planned, load)
        with progress_view() as view:
            view.note(f"{planned.title} -> {planned.out}")
            result = go(view)
        yield planned, result


def _check_protocol(options: "RunOptions", protocol: str | None) -> None:
    """An unknown protocol is an error before hours of tracking, not after them."""
    from mosam.datasets.base import DATASETS
    from mosam.evaluation.protocols.base import parse_protocol

    info = DATASETS[options.dataset].info
    if (options.split or info.default_split) not in info.no_truth:
        parse_protocol(protocol or info.protocol)


def _write_frames(path: Path, dataset: "Dataset", runs: "list[tuple[Path, Scores]]", jobs: int | None) -> None:
    """Writes the table of frames, and says what is not in it."""
    from mosam.evaluation.frame_table import write_frame_table
    from mosam.commands.progress import scoring_view

    with scoring_view(path.name, sum(len(scores.sequences) for _, scores in runs)) as view:
        rows = write_frame_table(path, dataset, runs, jobs=jobs or os.cpu_count() or 1, progress=view)
    _note(f"{path}: {rows} rows")
    for folder, scores in runs:
        if scores.missing:
            _note(f"{path}: {folder.name} has no rows of {', '.join(scores.missing)}, which it has no results of")


def _show(
    scores: "list[Scores]",
    json_file: Path | None,
    *,
    profile: bool = False,
    intervals: bool = False,
    paired: bool = False,
) -> None:
    """Prints the table, with `profile` one by attribute too where the benchmark has one, and writes the scores."""
    from mosam.evaluation import tables
    from mosam.evaluation.scores import save_scores

    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        save_scores(json_file, scores)
    if scores:
        print(tables.tabulate(scores, intervals=intervals, differences=paired))
    for item in scores if profile else ():
        columns = [name for name in PROFILE if name in item.overall]
        if item.attributes and columns:
            print(f"\n{tables.render(tables.profile_table(item, columns), 'text')}")


def _aligned(rows: Collection[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _note(line: str) -> None:
    print(printable(line, keep="\n\t"), file=sys.stderr, flush=True)


class _Unread:
    """A standard stream whose reader may go (`| head`): what is written then is lost, and the command goes on."""

    def __init__(self, stream: TextIO | None):
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes a text."""
        if self._stream is not None:  # None: the stream was closed before the command began
            try:
                self._stream.write(text)
            except BrokenPipeError:
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except BrokenPipeError:
                self._lose()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream is not None and self._stream.isatty()

    def _lose(self) -> None:
        """Lets the rest, what the stream still holds included, go nowhere; the interpreter flushes it at its end."""
        assert self._stream is not None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Shown(_Unread):
    """Standard output that takes any text: what would steer a terminal, or it has no letters for, becomes escapes."""

    def write(self, text: str) -> int:
        """Writes a text."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        super().write(printable(text, keep="\n\t\r").encode(encoding, "backslashreplace").decode(encoding))
        return len(text)


def main() -> None:
    """Entry point of the `mosam` command."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; every error the user can mend becomes one line.

    Args:
        arguments: the words after `mosam`.
    """
    shown, told = cast("TextIO", _Shown(sys.stdout)), cast("TextIO", _Unread(sys.stderr))
    with asked_to_end() as asked, contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
        code = _run_command(arguments)
        told.flush()
        try:
            shown.flush()
        except OSError as error:  # a full disk behind `> file`
            _note(f"mosam: the output cannot be written: {error.strerror or error}")
            code = WRONG
    return exit_code(asked[0]) if asked and code == INTERRUPTED else code


def _run_command(arguments: list[str]) -> int:
    debug = bool(os.environ.get(DEBUG_VARIABLE))
    if debug:
        logging.basicConfig(level=logging.DEBUG)
    try:
        code = app(arguments, prog_name="mosam", standalone_mode=False)
        if code != INTERRUPTED:  # typer gives this code for Ctrl-C itself
            return code if isinstance(code, int) else DONE
    except (KeyboardInterrupt, typer.Abort):
        pass
    except _CallError as error:
        message = error.format_message()
        _note(message if message.startswith("Usage:") else f"mosam: {message}")  # a bare command shows its help
        return WRONG
    except (MosamError, ValueError, OSError) as error:
        if debug:
            raise
        _note(str(error) if isinstance(error, MosamError) else one_line(error))
        return WRONG
    _note("interrupted; finished sequences are kept, the same command goes on from there")
    return INTERRUPTED
