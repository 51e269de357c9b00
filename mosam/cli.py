"""The `mosam` command: one function a command, no logic but reading options and printing results.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 1 some sequences failed, 2 the
call or the data is wrong (one line), 130 interrupted. `MOSAM_DEBUG=1` shows the traceback behind an error.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from mosam.errors import MosamError, one_line

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.evaluation.scores import Scores
    from mosam.plan import PlannedRun, RunOptions
    from mosam.runner import RunResult

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "MOSAM_DEBUG"
PROFILE = ("jf_mean", "success_auc", "precision", "norm_precision", "ao", "presence", "fps")  # shown by attribute

# The class of every error in the call, in all versions of typer (it is exported under this child only).
_CallError = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[2])

app = typer.Typer(
    help="One engine, every tracker: run and score visual object tracking and video object segmentation.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Benchmarks: what is known, and whether a copy on disk is sound.", no_args_is_help=True)
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
Decoder = Annotated[str, typer.Option(help="auto, pillow, simplejpeg, jpeg4py or torchvision.")]
VotPrompt = Annotated[str, typer.Option("--prompt", help="auto: a mask where one is given, else a box; box; mask.")]
VotBoxFromMask = Annotated[
    str, typer.Option("--box-from-mask", help="Right edge of a mask's box: exclusive, inclusive.")
]
Keep = Annotated[float, typer.Option(help="Seconds for which the network waits for the next tracker process.", min=0)]
Protocol = Annotated[str | None, typer.Option(help="How scores are computed.  [default: the benchmark's own]")]
AllowMissing = Annotated[bool, typer.Option("--allow-missing", help="Score what is there, leave out what is not.")]
Jobs = Annotated[int | None, typer.Option(help="Processes that score.  [default: one a core]", min=1)]
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
    json_file: JsonFile = None,
) -> None:
    """Run trackers on a benchmark, score them and print the table."""
    from mosam.datasets.decoders import use_decoder
    from mosam.plan import RunOptions

    use_decoder(decoder)
    options = RunOptions(
        dataset, root, split, tracker, model, device, precision, sequences, limit, prompt, settings, seed, results,
        lanes, absent_as, box_from_mask, overwrite, log, region_files, decoder, jobs, gpus, launcher,
    )  # fmt: skip
    _check_protocol(options, protocol)
    scores, failed = [], False
    for planned, result in _track(options):
        failed = failed or bool(result.failed)
        data = planned.dataset
        if not data.has_truth:
            _note(
                f"{result.path}: {data.name} {data.split} has no published ground truth to score with; see mosam submit"
            )
        elif result.failed and not allow_missing:
            _note(f"{result.path}: not scored, {len(result.failed)} sequences failed (--allow-missing scores the rest)")
        else:
            scores.append(_score(result.path, data, protocol, allow_missing, jobs))
    if scores or json_file is not None:
        _show(scores, json_file, profile=True)
    raise typer.Exit(FAILED if failed else DONE)


@app.command()
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
) -> None:
    """Run trackers and write raw results in the benchmark's format; started again, goes on where it stopped."""
    from mosam.datasets.decoders import use_decoder
    from mosam.plan import RunOptions

    use_decoder(decoder)
    options = RunOptions(
        dataset, root, split, tracker, model, device, precision, sequences, limit, prompt, settings, seed, results,
        lanes, absent_as, box_from_mask, overwrite, log, region_files, decoder, jobs, gpus, launcher,
    )  # fmt: skip
    failed = False
    for _, result in _track(options):
        print(result.path, flush=True)
        failed = failed or bool(result.failed)
    raise typer.Exit(FAILED if failed else DONE)


@app.command()
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
    format_: Annotated[str, typer.Option("--format", help="text, markdown or csv.")] = "text",
) -> None:
    """Run every row of an experiment file, score it and print its table; what is done is kept."""
    from mosam.evaluation.tables import render
    from mosam.experiment import experiment_table, load_experiment, run_experiment
    from mosam.plan import RunOptions
    from mosam.progress import progress_view

    wanted = load_experiment(file)
    options = RunOptions(
        dataset or "", root, split, None, model, device, precision, None, limit, results=results, lanes=lanes
    )
    rows = run_experiment(wanted, options, jobs=jobs or os.cpu_count() or 1, view=progress_view)
    print(render(experiment_table(wanted, rows), format_))


@app.command()
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
    json_file: JsonFile = None,
) -> None:
    """Score raw results, ours or anyone's; needs no network and no pictures."""
    from mosam.evaluation.evaluate import find_runs
    from mosam.plan import RunOptions, choose_dataset, choose_runs
    from mosam.settings import split_list

    data = choose_dataset(RunOptions(dataset, root, split, sequences=sequences, limit=limit, seed=seed))
    folders = choose_runs(find_runs(results, data), split_list(tracker))
    _show([_score(folder, data, protocol, allow_missing, jobs) for folder in folders], json_file)


@app.command()
def table(
    scores: Annotated[
        list[Path], typer.Argument(metavar="SCORES...", help="scores.json files, files of --json, or folders of runs.")
    ],
    format_: Annotated[str, typer.Option("--format", help="text, markdown, latex or csv.")] = "text",
    columns: Annotated[str | None, typer.Option(help="Names of scores.  [default: the protocol's own]")] = None,
    rows: Annotated[str | None, typer.Option(help="Only these trackers, in this order.  [default: all]")] = None,
    by: Annotated[str, typer.Option(help="tracker, attribute or sequence.")] = "tracker",
    ci: Annotated[bool, typer.Option("--ci", help="Add 95 % bootstrap intervals over sequences.")] = False,
    paired: Annotated[bool, typer.Option("--paired", help="Add paired differences from the first row.")] = False,
    mark: Annotated[
        bool | None, typer.Option("--mark/--no-mark", help="Mark best and second.  [default: in latex only]")
    ] = None,
) -> None:
    """Print a table of scores that were computed before."""
    from mosam.evaluation import tables
    from mosam.settings import split_list

    found = _load_scores(scores)
    chosen = {"columns": split_list(columns) or None, "rows": split_list(rows) or None}
    print(tables.tabulate(found, by=by, **chosen, format=format_, mark=mark, intervals=ci, differences=paired))


@app.command()
def plot(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Figure, as success; an unknown one lists them.")],
    scores: Annotated[
        list[Path], typer.Argument(metavar="SCORES...", help="scores.json files, files of --json, or folders of runs.")
    ],
    out: Annotated[Path, typer.Option(help="Path of the files without ending.")],
    format_: Annotated[str, typer.Option("--format", help="Some of png, pdf, svg and tikz.")] = "png,pdf,svg,tikz",
    rows: Annotated[str | None, typer.Option(help="Only these trackers.  [default: all]")] = None,
) -> None:
    """Draw a figure of scores that were computed before."""
    from mosam.evaluation.figures import FIGURES, save
    from mosam.evaluation.tables import choose_rows
    from mosam.settings import split_list

    draw = FIGURES[kind]
    drawn = draw(choose_rows(_load_scores(scores), split_list(rows) or None))
    for path in save(drawn, out, formats=split_list(format_)):
        print(path)


@app.command()
def submit(
    dataset: DatasetName,
    results: Annotated[Path, typer.Option(help="A run's folder, or one of runs or of anybody's trackers.")],
    out: Annotated[Path, typer.Option(help="The zip to write.")],
    tracker: Annotated[str | None, typer.Option(help="Which one.  [default: the only one]")] = None,
    root: Root = None,
    split: Split = None,
) -> None:
    """Write the archive that the benchmark's server takes, after checking every file of it."""
    from mosam import submit as archives
    from mosam.plan import RunOptions, choose_dataset

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


@app.command()
def bench(
    tracker: Trackers = None,
    model: ModelName = None,
    device: Device = "auto",
    precision: Precision = None,
    objects: Annotated[str, typer.Option(help="Objects of a clip; several with commas.")] = "1",
    lanes: Annotated[str, typer.Option(help="Clips tracked together; several with commas.")] = "1",
    frames: Annotated[int, typer.Option(help="Frames of a clip that are timed.", min=1)] = 20,
    size: Annotated[str, typer.Option(help="Of the pictures, WIDTHxHEIGHT.")] = "1280x720",
    json_file: JsonFile = None,
) -> None:
    """Measure speed from pictures to result files, by stage, and against what the device can do."""
    from mosam.bench import parse_numbers, parse_size, render_bench, run_bench

    results = run_bench(
        tracker, model, device, precision, objects=parse_numbers("--objects", objects),
        lanes=parse_numbers("--lanes", lanes), frames=frames, size=parse_size(size), json_file=json_file,
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
    from mosam.datasets.check import find_problems
    from mosam.plan import RunOptions, choose_dataset

    data = choose_dataset(RunOptions(dataset, root, split, sequences=sequences, limit=limit))
    problems = 0
    for problem in find_problems(data, official=official):
        print(problem, flush=True)
        problems += 1
    subset = f" ({data.subset})" if data.subset else ""
    state = f"{problems} problems" if problems else "sound"
    _note(f"{data.name} {data.split}: {len(data)} sequences{subset}, {state}")
    raise typer.Exit(WRONG if problems else DONE)


@data_app.command("pack")
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
    from mosam.plan import RunOptions, choose_dataset

    data = choose_dataset(RunOptions(dataset, root, split, sequences=sequences, limit=limit))
    folder = pack(data, out, progress=lambda name, done, total: _note(f"[{done + 1}/{total}] {name}"))
    print(folder)


@data_app.command("make")
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
    from mosam.plan import RunOptions, choose_dataset

    if DATASETS.canonical(dataset) == "toy":
        export(choose_dataset(RunOptions("toy", split=split, limit=limit, seed=seed)), out, layout)
    else:
        make_tree(dataset, out, split=split, sequences=limit or SEQUENCES, frames=frames, seed=seed)
    print(out)


@model_app.command("list")
def model_list() -> None:
    """Name the models."""
    from mosam.model.checkpoints import list_models

    rows = [("name", "input", "source", "licence")]
    rows += [(info.name, f"{info.image}" if info.image else "", info.source, info.licence) for info in list_models()]
    print(_aligned(rows))
    _note("also: a hub id, a folder, a sam2.1_hiera_*.pt file, or random:NAME for weights drawn from a seed")


@model_app.command("info")
def model_info(name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Model, folder or checkpoint.")]) -> None:
    """Say what a model is and where its weights come from."""
    from mosam.model import checkpoints

    info = checkpoints.model_info(name)
    for field in dataclasses.fields(info):
        value = getattr(info, field.name)
        print(f"{field.name.replace('_', ' ')}: {'not on this machine' if value is None else value}")


@vot_app.command("init")
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


@vot_app.command("track")
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


@vot_app.command("evaluate")
def vot_evaluate(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="As `mosam vot init` makes it.")],
    toolkit: Annotated[Path, typer.Option(help="Environment that holds vot-toolkit; `make vot` makes it.")],
    tracker: Annotated[str | None, typer.Option(help="Names in trackers.ini.  [default: all]")] = None,
    experiments: Annotated[str | None, typer.Option(help="Only these of the stack, comma-separated.")] = None,
    only_analysis: Annotated[bool, typer.Option("--only-analysis", help="Analyse the results that are there.")] = False,
) -> None:
    """Have the toolkit run and analyse the trackers of a workspace, and print its numbers."""
    from mosam.settings import split_list
    from mosam.vot.toolkit import evaluate

    print(evaluate(workspace, toolkit, split_list(tracker), experiments=experiments, run=not only_analysis))


def _track(options: RunOptions) -> Iterator[tuple[PlannedRun, RunResult]]:
    """Does what was asked for, one tracker after the other, and shows how it goes."""
    from mosam.launch.start import check_options, prepare
    from mosam.model.checkpoints import load_model
    from mosam.plan import plan_runs, remembering
    from mosam.progress import progress_view

    check_options(options)
    load = remembering(load_model)
    for planned in plan_runs(options):
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


def _score(folder: Path, dataset: Dataset, protocol: str | None, allow_missing: bool, jobs: int | None) -> Scores:
    """Scores of one tracker, kept beside its results where those are a run of ours."""
    from mosam.evaluation.evaluate import evaluate
    from mosam.evaluation.scores import save_scores
    from mosam.progress import scoring_view
    from mosam.store import RECORD, SCORES

    with scoring_view(folder.name, len(dataset)) as view:
        jobs = jobs or os.cpu_count() or 1
        scores = evaluate(folder, dataset, protocol=protocol, allow_missing=allow_missing, jobs=jobs, progress=view)
    if (folder / RECORD).is_file() and os.access(folder, os.W_OK):
        save_scores(folder / SCORES, scores)
    return scores


def _load_scores(paths: list[Path]) -> list[Scores]:
    from mosam.evaluation.scores import load_scores
    from mosam.store import SCORES

    return [item for path in paths for item in load_scores(path / SCORES if path.is_dir() else path)]


def _show(scores: list[Scores], json_file: Path | None, *, profile: bool = False) -> None:
    """Prints the table, with `profile` one by attribute too where the benchmark has one, and writes the scores."""
    from mosam.evaluation import tables
    from mosam.evaluation.scores import save_scores

    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        save_scores(json_file, scores)
    if scores:
        print(tables.compare(scores))
    for item in scores if profile else ():
        columns = [name for name in PROFILE if name in item.overall]
        if item.attributes and columns:
            print(f"\n{tables.render(tables.profile_table(item, columns), 'text')}")


def _aligned(rows: Collection[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _note(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Entry point of the `mosam` command."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: list[str]) -> int:
    """Runs one command and returns its exit code; every error the user can mend becomes one line.

    Args:
        arguments: the words after `mosam`.
    """
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
