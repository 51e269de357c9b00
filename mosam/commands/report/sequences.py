"""What a report shows of one sequence: curves over its frames, and a strip of the frames that tell most.

Everything is small: a curve has at most `POINTS` points, a strip at most its share of `STRIP_BYTES`, so that a page of
hundreds of sequences can still be sent by mail.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image as PillowImage

from mosam.codecs import CODECS
from mosam.datasets.base import BoxTruth
from mosam.errors import MosamError, one_line
from mosam.evaluation.failures import absences, first_loss, pick_frames
from mosam.evaluation.figures.strips import Panel, outlines, read_panels
from mosam.evaluation.figures.style import TRUTH_COLOR
from mosam.evaluation.figures.timeline import mean_quality
from mosam.evaluation.framewise import ObjectFrames, TrackedSequence, read_object_frames, read_shapes
from mosam.evaluation.protocols.base import TrackerResults
from mosam.system.processes import map_in_processes

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.datasets.base import Sequence as Video

POINTS = 160
WIDTH, HEIGHT = 800, 120  # of a chart, in its own units
PANELS = 5
PANEL_PIXELS = 224
GAP = 4
STRIP_BYTES = 6_000_000  # of all strips of a page
SMALLEST, LARGEST = 6_000, 60_000  # bytes of one
QUALITIES = (70, 50, 35, 20, 10)


@dataclass(frozen=True, slots=True)
class Curve:
    """One tracker's line: an SVG path, where it first lost an object, and its mean."""

    number: int
    path: str
    lost: int | None
    crosses: tuple[tuple[int, int], ...]
    mean: float


@dataclass(frozen=True, slots=True)
class Strip:
    """An image of some frames side by side.

    Attributes:
        source: as a data URL.
        width, height: pixels.
        frames: each frame with why it is shown.
    """

    source: str
    width: int
    height: int
    frames: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class SequenceView:
    """What is shown of one sequence.

    Attributes:
        what: the number of its curves, `J&F` or `overlap`; empty where there are none.
        first, last: frames at the ends of the axis.
        gaps: x and width of the stretches without the object.
        curves: one a tracker that has results.
        strip: None where no frames are on disk.
        notes: what could not be read.
        attributes: what makes the sequence hard.
    """

    what: str = ""
    first: int = 0
    last: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    curves: tuple[Curve, ...] = ()
    strip: Strip | None = None
    notes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What is the same for all sequences of a group.

    Attributes:
        dataset: with annotation; frames where there are.
        runs: tracker's name, model, folder, color, for each entry; a folder of None has no raw results.
        strips: whether frames are wanted.
        strip_bytes: of one strip at most.
    """

    dataset: Dataset
    runs: tuple[tuple[str, str | None, Path | None, str], ...]
    strips: bool = True
    strip_bytes: int = LARGEST
    listed: Mapping[Path, frozenset[str]] = field(default_factory=dict)


def view_sequences(
    job: Job, names: Sequence[str], *, jobs: int = 1, progress: Callable[[str], None] | None = None
) -> dict[str, SequenceView]:
    """What to show of each sequence.

    Args:
        job: dataset and runs.
        names: of the sequences.
        jobs: processes.
        progress: called with the name of each.
    """
    codec = CODECS[job.dataset.info.result_format]
    listed = {folder: frozenset(codec.listed(folder)) for _, _, folder, _ in job.runs if folder is not None}
    budget = int(min(LARGEST, max(SMALLEST, STRIP_BYTES / max(len(names), 1))))
    job = replace(job, strip_bytes=min(job.strip_bytes, budget), listed=listed)
    found = {}
    for name, view in zip(names, map_in_processes(partial(view_sequence, job), names, jobs), strict=True):
        found[name] = view
        if progress is not None:
            progress(name)
    return found


def view_sequence(job: Job, name: str) -> SequenceView:
    """What to show of one sequence; what cannot be read is said in its notes."""
    try:
        sequence = job.dataset[name]
    except MosamError as error:
        return SequenceView(notes=(one_line(error),))
    items: list[tuple[int, TrackedSequence]] = []
    notes: list[str] = []
    for number, (tracker, model, folder, _) in enumerate(job.runs):
        if folder is None or name not in job.listed.get(folder, ()):
            continue
        try:
            results = TrackerResults(folder, CODECS[job.dataset.info.result_format])
            objects = tuple(read_object_frames(sequence, results))
            items.append((number, TrackedSequence(tracker, model, folder, objects, _shapes(sequence, results))))
        except MosamError as error:
            notes.append(f"{tracker}: {one_line(error)}")
    attributes = tuple(sorted(sequence.attributes))
    if not items:
        return SequenceView(notes=tuple(notes), attributes=attributes)
    strip = None
    if job.strips and len(sequence.source):
        try:
            strip = _strip(job, sequence, items)
        except MosamError as error:
            notes.append(one_line(error))
    return replace(_with_curves(items, strip, notes), attributes=attributes)


def _shapes(sequence: Video, results: TrackerResults) -> Callable[[int], Mapping[int, Any]]:
    """As `read_shapes`; box files are read once."""
    if not isinstance(sequence.truth, BoxTruth):
        return partial(read_shapes, sequence, results)
    boxes, _ = results.boxes(sequence, len(sequence.truth))

    def shapes(frame: int) -> Mapping[int, NDArray[np.float64]]:
        rows = {key: value[frame] for key, value in boxes.items()}
        return {key: row for key, row in rows.items() if np.isfinite(row).all() and (row[2:] > 0).all()}

    return shapes


# ---------------------------------------------------------------------------------------------- curves


def _with_curves(items: Sequence[tuple[int, TrackedSequence]], strip: Strip | None, notes: list[str]) -> SequenceView:
    chosen = {number: _longest(item) for number, item in items}
    rows = {number: mean_quality(objects) for number, objects in chosen.items() if objects}
    if not rows:
        return SequenceView(strip=strip, notes=tuple(notes))
    first = min(int(frames[0]) for frames, _ in rows.values())
    last = max(int(frames[-1]) for frames, _ in rows.values())
    scale = WIDTH / max(last - first, 1)
    curves = []
    for number, (frames, values) in rows.items():
        lost = [frame for one in chosen[number] if (frame := first_loss(one)) is not None]
        crosses = []
        for frame in sorted(set(lost)):
            value = values[min(int(np.searchsorted(frames, frame)), len(values) - 1)]
            crosses.append((round((frame - first) * scale), _y(0.0 if np.isnan(value) else float(value))))
        mean = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
        path = _path(np.asarray((frames - first) * scale, dtype=np.float64), values)
        curves.append(Curve(number, path, min(lost, default=None), tuple(crosses), mean))
    gaps = [
        (round((a - first) * scale), max(1, round((b - a + 1) * scale)))
        for a, b, share in absences(next(iter(chosen.values())))
        if share >= 0.5
    ]
    what = "J&F" if any(item.has_boundaries for _, item in items) else "overlap"
    return SequenceView(what, first, last, tuple(gaps), tuple(curves), strip, tuple(notes))


def _longest(item: TrackedSequence) -> list[ObjectFrames]:
    """One run of each object: the longest."""
    best: dict[int, ObjectFrames] = {}
    for one in item.objects:
        if len(one.frames) and (one.object_id not in best or len(one.frames) > len(best[one.object_id].frames)):
            best[one.object_id] = one
    return list(best.values())


def _path(x: NDArray[np.float64], values: NDArray[np.float64]) -> str:
    """An SVG path through the values, at most `POINTS` of them: means of as many stretches; NaN breaks the line."""
    bins = np.minimum((np.arange(len(values)) * POINTS) // max(len(values), POINTS), POINTS - 1)
    known = ~np.isnan(values)
    counts = np.bincount(bins, minlength=POINTS)
    hits = np.bincount(bins, weights=known, minlength=POINTS)
    sums = np.bincount(bins, weights=np.where(known, values, 0.0), minlength=POINTS)
    middles = np.bincount(bins, weights=x, minlength=POINTS)
    parts, pen = [], False
    for place in np.flatnonzero(counts):
        if not hits[place]:
            pen = False
            continue
        at = f"{round(middles[place] / counts[place])} {_y(sums[place] / hits[place])}"
        parts.append(f"{'L' if pen else 'M'}{at}")
        pen = True
    return "".join(parts)


def _y(value: float) -> int:
    return round((1 - value) * HEIGHT)


# ---------------------------------------------------------------------------------------------- strips


def _strip(job: Job, sequence: Video, items: Sequence[tuple[int, TrackedSequence]]) -> Strip:
    tracked = [item for _, item in items]
    picks = pick_frames(tracked, count=PANELS)
    panels = read_panels(sequence, tracked, picks, pixels=PANEL_PIXELS)
    colors = [_rgb(job.runs[number][3]) for number, _ in items]
    pictures = [_draw(panel, colors) for panel in panels]
    height = max(picture.shape[0] for picture in pictures)
    width = sum(picture.shape[1] for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = np.full((height, width, 3), 255, dtype=np.uint8)
    x = 0
    for picture in pictures:
        canvas[: picture.shape[0], x : x + picture.shape[1]] = picture
        x += picture.shape[1] + GAP
    data = _encode(canvas, job.strip_bytes)
    frames = tuple((pick.frame, "; ".join(pick.reasons)) for pick in picks)
    return Strip(f"data:image/webp;base64,{base64.b64encode(data).decode()}", width, height, frames)


def _draw(panel: Panel, colors: Sequence[tuple[int, ...]]) -> NDArray[np.uint8]:
    """A panel with outlines of every tracker, then of the annotation; each on a wider line, so that it always shows."""
    canvas = np.ascontiguousarray(panel.image)
    layers = [
        (shape, color, (255, 255, 255))
        for said, color in zip(panel.said, colors, strict=True)
        for shape in said.values()
    ]
    layers += [(shape, _rgb(TRUTH_COLOR), (0, 0, 0)) for shape in panel.truth.values()]
    for shape, color, casing in layers:
        lines = [np.round(points * 8).astype(np.int32) for points in outlines(shape, panel.scale)]
        cv2.polylines(canvas, lines, True, casing, 4, cv2.LINE_AA, shift=3)
        cv2.polylines(canvas, lines, True, color, 2, cv2.LINE_AA, shift=3)
    return np.asarray(canvas, dtype=np.uint8)


def _encode(canvas: NDArray[np.uint8], limit: int) -> bytes:
    """WebP of at most so many bytes where a lower quality can reach it."""
    image, data = PillowImage.fromarray(canvas), b""
    for quality in QUALITIES:
        out = io.BytesIO()
        image.save(out, "WEBP", quality=quality, method=2)
        data = out.getvalue()
        if len(data) <= limit:
            break
    return data


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(round(255 * part) for part in to_rgb(color))
