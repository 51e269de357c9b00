"""What `mosam plot` draws: figures of scores, and of one sequence from raw results."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.datasets.select import split_list
from mosam.errors import MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.results.folder import SCORES
from mosam.results.frame_log import read_frame_log
from mosam.results.record import RECORD, read_record
from mosam.system import options as shared
from mosam.system.options import option
from mosam.tracking.plan import RunOptions, choose_dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from mosam.commands.gather import Group
    from mosam.datasets.base import Dataset
    from mosam.evaluation.framewise import TrackedSequence
    from mosam.evaluation.scores import Scores

ALL = "all"
SLOTS = 7  # frames of a memory that a caption names


@dataclass(frozen=True, slots=True)
class PlotOptions:
    """What a figure shows; None = the usual."""

    rows: str | None = shared.ROWS.field()
    sequence: str | None = option("For frames and jf-time: the sequence.", None)
    dataset: str | None = shared.DATASET.field(
        positional=False, default=None, help="Benchmark of results that are not runs of mosam."
    )
    root: Path | None = shared.ROOT.field()
    split: str | None = shared.SPLIT.field()
    object_id: int | None = option("For jf-time: the object.", None, usual="mean over all", name="object")
    frames: str | None = option("For frames: which ones, e.g. 0,25,80.", None, usual="start, losses, returns")
    log: bool = option("For frames: add values from the run's log.", False)
    labels: Path | None = shared.LABELS.field()
    title: str | None = option("Above the figure.", None, usual="the benchmark")
    width: str | None = option("column or page, of a paper.", None, usual="the figure's own", complete="column,page")
    metric: str | None = option("Number it shows.", None, usual="the protocol's main one")


def draw(kind: str, paths: Sequence[Path], options: PlotOptions) -> Figure:
    """A figure.

    Args:
        kind: of `FIGURES` or `SEQUENCE_FIGURES`.
        paths: scores files or folders of runs; for a figure of a sequence folders of raw results.
        options: see the command.
    Raises:
        MosamError: an unknown name, or data that are missing or do not go together.
    """
    from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES
    from mosam.evaluation.tables import choose_rows

    if kind in SEQUENCE_FIGURES:
        return _draw_sequence(kind, paths, options)
    if kind not in FIGURES:
        raise UnknownNameError("figure", kind, [*FIGURES, *SEQUENCE_FIGURES, ALL])
    if options.sequence is not None:
        raise MosamError(f"figure {kind}: expected no --sequence, got {options.sequence}; it shows all of them")
    scores = choose_rows(load_all_scores(paths, options.labels), split_list(options.rows) or None)
    return FIGURES[kind](scores, title=options.title, width=_inches(options.width), metric=options.metric)


def draw_all(paths: Sequence[Path], options: PlotOptions) -> Iterator[tuple[str, Figure | MosamError]]:
    """Every figure that some scores allow, and those of a sequence where one is named.

    Args:
        paths, options: see `draw`; for figures of a sequence those of `paths` that are folders are taken.
    Returns:
        each kind with its figure, or with the reason why it cannot be drawn.
    Raises:
        MosamError: scores that do not go together, or data that are missing.
    """
    from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES
    from mosam.evaluation.tables import choose_rows, require_comparable

    chosen = choose_rows(load_all_scores(paths, options.labels), split_list(options.rows) or None)
    scores = require_comparable(chosen, where="figures")
    for kind in FIGURES:
        try:
            metric = options.metric if FIGURES[kind].has_metric else None
            yield kind, FIGURES[kind](scores, title=options.title, width=_inches(options.width), metric=metric)
        except MosamError as error:
            yield kind, error
    if options.sequence is not None:
        folders = [path for path in paths if path.is_dir()]
        for kind in SEQUENCE_FIGURES:
            yield kind, _draw_sequence(kind, folders, options)


def load_all_scores(paths: Sequence[Path], labels: Path | None = None) -> list[Scores]:
    """The scores of files, of folders of runs, and of runs at any depth below folders, in order.

    Args:
        paths: of them.
        labels: file of names to show, or None.
    Raises:
        MismatchError: several benchmarks below the folders.
    """
    groups, _ = load_groups(paths, labels)
    if len(groups) > 1:
        shown = "; ".join(sorted({f"{items[0].dataset} {items[0].split} {items[0].protocol}" for items in groups}))
        raise MismatchError(
            f"{', '.join(map(str, paths))}: expected scores of one benchmark, split, draw and protocol, got "
            f"{len(groups)} ({shown}); name the runs of one of them"
        )
    return [item for items in groups for item in items]


def load_groups(paths: Sequence[Path], labels: Path | None = None) -> tuple[list[list[Scores]], list[str]]:
    """Scores that may stand side by side: files and runs that are named are one group, what is found below a folder
    is brought together by benchmark, split, draw and protocol.

    Args:
        paths, labels: see `load_all_scores`.
    Returns:
        the groups, and what was left out.
    """
    from mosam.commands.gather import Gatherer
    from mosam.commands.labels import label_scores, load_labels
    from mosam.evaluation.scores import load_scores

    named, notes = load_labels(labels), []
    if any(path.is_dir() and not (path / SCORES).is_file() for path in paths):
        gatherer = Gatherer(records=False, score=False)
        groups = [_with_draw(group) for group in gatherer.gather(paths)]
        notes = gatherer.notes
        if not groups:
            raise MissingDataError(f"{paths[0]}: expected scores at any depth, found none; {'; '.join(notes[:3])}")
    else:
        groups = [[item for path in paths for item in load_scores(path / SCORES if path.is_dir() else path)]]
    return [label_scores(items, named) for items in groups], notes


def _with_draw(group: Group) -> list[Scores]:
    """Scores of a group, whose split says which draw of a generated benchmark it is."""
    draw = f", draw {group.seed}" if group.seed else ""
    return [replace(entry.scores, split=f"{entry.scores.split}{draw}") for entry in group.entries]


def load_tracked(
    paths: Sequence[Path], options: PlotOptions, *, kind: str = "frames"
) -> tuple[Dataset, str, list[TrackedSequence]]:
    """What trackers did on one sequence.

    Args:
        paths: folders of runs, or anybody's folders of a tracker or of several.
        options: `dataset`, `split` and `root` are taken from the first run's record where they are not said; `rows`
            chooses trackers.
        kind: of the figure, for errors.
    Returns:
        the dataset, the sequence's name, and the trackers in order of the folders.
    Raises:
        MosamError: no dataset or sequence named, or one that is not there; runs of different benchmarks.
    """
    from mosam.evaluation.finding import find_runs
    from mosam.evaluation.framewise import read_tracked

    for path in paths:
        if not path.is_dir():
            raise MissingDataError(f"figure {kind}: expected folders of raw results, got {path}")
    dataset = _dataset(paths, options, kind)
    name = options.sequence
    if name is None:
        raise MosamError(f"figure {kind}: expected --sequence, got none; one of {', '.join(list(dataset)[:5])} ...")
    runs = [run for path in paths for run in find_runs(path, dataset)]
    rows = split_list(options.rows)
    chosen = [run for run in runs if not rows or run[0] in rows or run[1].name in rows]
    if not chosen:
        raise UnknownNameError("row", rows[0], {tracker for tracker, _ in runs})
    return dataset, name, [replace(read_tracked(folder, dataset, name), tracker=tracker) for tracker, folder in chosen]


def _draw_sequence(kind: str, paths: Sequence[Path], options: PlotOptions) -> Figure:
    from mosam.evaluation.figures import SEQUENCE_FIGURES
    from mosam.evaluation.figures.base import adjusted

    dataset, name, items = load_tracked(paths, options, kind=kind)
    if options.metric is not None:
        raise MosamError(f"figure {kind}: expected no --metric, got {options.metric}; it always shows the same number")
    title = options.title or f"{dataset.name} {dataset.split}, {name}"
    figure = SEQUENCE_FIGURES[kind]
    chosen: dict[str, Any] = {"title": title, "object_id": options.object_id}
    if options.frames is not None and "picks" in figure.takes:
        chosen["picks"] = _picks(options.frames)
    if options.log and "captions" in figure.takes:
        chosen["captions"] = log_captions(items, name)
    return adjusted(figure(dataset[name], items, **chosen), None, _inches(options.width))


def _inches(width: str | None) -> float | None:
    """Inches of `--width`."""
    from mosam.evaluation.figures.style import WIDTHS

    if width is not None and width not in WIDTHS:
        raise UnknownNameError("width", width, WIDTHS)
    return None if width is None else WIDTHS[width]


def log_captions(items: Sequence[TrackedSequence], name: str) -> Callable[[TrackedSequence, int], str]:
    """What the per-frame logs of runs say, for a line below each panel: predicted overlap, and frames in the memory.

    Args:
        items: runs made with `--log`.
        name: of the sequence.
    Raises:
        MissingDataError: a run without a log.
    """
    logs: dict[int, dict[int, dict[str, Any]]] = {}
    for item in items:
        first: dict[int, dict[str, Any]] = {}
        for line in read_frame_log(item.folder, name):
            first.setdefault(line["frame"], line)  # of several objects the first
        logs[id(item)] = first

    def caption(item: TrackedSequence, frame: int) -> str:
        line = logs[id(item)].get(frame)
        if line is None:
            return ""
        if "prompt" in line:
            return f"given as a {line['prompt']}"
        memory = sorted({slot[0] for slot in line.get("slots", ())})
        more = " ..." if len(memory) > SLOTS else ""
        expected = line.get("iou")
        expects = "" if expected is None else f"expects {100 * expected:.0f}; "
        return f"{expects}memory {' '.join(map(str, memory[:SLOTS]))}{more}"

    return caption


def _picks(text: str) -> list[Any]:
    from mosam.evaluation.failures import Pick

    try:
        return [Pick(int(part)) for part in text.split(",")]
    except ValueError:
        raise MosamError(f"--frames: expected numbers from 0 on with commas between, got {text!r}") from None


def _dataset(paths: Sequence[Path], options: PlotOptions, kind: str) -> Dataset:
    """The benchmark of the runs: what the options say, else what the first record says."""
    record = next((read_record(path) for path in _record_folders(paths)), None)
    name = options.dataset or (record.settings.dataset if record else None)
    if name is None:
        raise MismatchError(f"figure {kind}: expected --dataset, since {paths[0]} holds no run of ours that would tell")
    known = record.settings if record is not None and record.settings.dataset == name else None
    split = options.split or (known.split if known else None)
    return choose_dataset(RunOptions(name, options.root, split, seed=known.seed if known else 0))


def _record_folders(paths: Sequence[Path]) -> list[Path]:
    folders = [folder for path in paths for folder in (path, *sorted(path.iterdir())) if folder.is_dir()]
    return [folder for folder in folders if (folder / RECORD).is_file()]
