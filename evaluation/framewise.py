"""One tracker on one sequence, frame by frame: overlap, boundary, center error and who is there, from raw results.

The numbers are what every protocol begins with, before it decides which frames count. They are kept nowhere: figures of
one sequence and the table of `mosam score --parquet` compute them from annotation and raw results when asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import CODECS
from mosam.codecs.vot import name_of_anchor
from mosam.datasets.base import BoxTruth
from mosam.datasets.region_truth import RegionTruth
from mosam.errors import MissingDataError
from mosam.evaluation.finding import find_run
from mosam.evaluation.metrics.precision import center_error
from mosam.evaluation.protocols.base import ShortResultError, TrackerResults
from mosam.evaluation.protocols.masks import frame_jf, read_pair
from mosam.evaluation.protocols.regions import as_the_truth, cut_to_truth, region_codec
from mosam.geometry import box_iou, mask_to_box
from mosam.regions.overlap import is_empty, region_overlaps
from mosam.regions.raster import region_mask
from mosam.regions.trajectory import FAILED, SPECIAL, Trajectory
from mosam.types import Box, Mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from mosam.datasets.base import Dataset, MaskTruth, Sequence

Floats: TypeAlias = NDArray[np.float64]
Flags: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = "Mask | Box"


@dataclass(frozen=True, slots=True, eq=False)
class ObjectFrames:
    """One object in one run of a tracker: a row for each annotated frame from its start on.

    Attributes:
        object_id: as annotated.
        run: which of several runs over one sequence (`pass 2`, `anchor 50`); empty where there is one.
        start: frame on which the object was given to the tracker.
        frames: (N,) int64, 0-based, ascending.
        visible: (N,) whether the object is annotated as there.
        predicted: (N,) whether the tracker says where it is.
        iou: (N,) overlap; of masks J, which is 1 where the object is gone and nothing predicted. NaN where it is not
            defined: for boxes where the object is gone, for VOT on frames without a region.
        f: (N,) boundary accuracy of masks; NaN for everything else.
        center_error: (N,) pixels between the centers of the boxes (of masks, those around them); NaN without one.
        failed: (N,) where VOT's results record a failure, after which the tracker was started again; else all False.
    """

    object_id: int
    run: str
    start: int
    frames: NDArray[np.int64]
    visible: Flags
    predicted: Flags
    iou: Floats
    f: Floats
    center_error: Floats
    failed: Flags

    @property
    def quality(self) -> Floats:
        """(N,) the mean of J and F for masks, else the overlap."""
        return np.where(np.isnan(self.f), self.iou, (self.iou + self.f) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class TrackedSequence:
    """What one tracker did on one sequence.

    Attributes:
        tracker: policy with its options, or the name of a third-party folder.
        model: network of one of our runs, else None.
        folder: of its raw results.
        objects: every object, in each of its runs.
        shapes: gives what the tracker says on a frame, a mask (H, W) or box (4,) by object id; an object it takes for
            gone is left out, and of several runs the first counts that has the frame.
    """

    tracker: str
    model: str | None
    folder: Path
    objects: tuple[ObjectFrames, ...]
    shapes: Callable[[int], Mapping[int, Shape]]

    @property
    def has_boundaries(self) -> bool:
        """Whether it was compared as masks, so that J and F are known."""
        return any(not np.isnan(item.f).all() for item in self.objects)


def read_tracked(path: str | os.PathLike[str], dataset: Dataset, name: str) -> TrackedSequence:
    """One tracker's raw results of one sequence, compared with the annotation frame by frame.

    Args:
        path: a run's folder, or any folder of one tracker in the benchmark's own layout.
        dataset: the benchmark; frames are not read.
        name: of the sequence.
    Raises:
        MissingDataError: no results of the sequence there, or they stop early.
        DataError, MismatchError: damaged results, or those of another benchmark.
    """
    tracker, folder, record = find_run(path, dataset)
    sequence, codec = dataset[name], CODECS[dataset.info.result_format]
    if name not in codec.listed(folder):
        raise MissingDataError(f"{folder}: expected results of {name}, found none; make them with --sequences {name}")
    results = TrackerResults(folder, codec)
    try:
        objects = tuple(read_object_frames(sequence, results))
    except ShortResultError as error:
        raise MissingDataError(f"{folder}: expected results of all of {name}, got {error.detail}") from None
    model = None if record is None else record.settings.model
    return TrackedSequence(tracker, model, folder, objects, partial(read_shapes, sequence, results))


def read_object_frames(sequence: Sequence, results: TrackerResults) -> Iterator[ObjectFrames]:
    """Every object of a sequence, in each run over it.

    Args:
        sequence: with published annotation.
        results: of one tracker.
    Raises:
        ShortResultError: the result stops early.
        DataError, MismatchError: a result that cannot be compared.
    """
    truth = sequence.truth
    if isinstance(truth, BoxTruth):
        yield _of_boxes(sequence, truth, results)
    elif isinstance(truth, RegionTruth):
        yield from _of_regions(sequence, truth, results)
    else:
        yield from _of_masks(sequence, truth, results)


def read_shapes(sequence: Sequence, results: TrackerResults, frame_index: int) -> dict[int, Shape]:
    """What a tracker says on one frame; see `TrackedSequence.shapes`."""
    truth = sequence.truth
    if isinstance(truth, BoxTruth):
        boxes = results.boxes(sequence, frame_index + 1)[0]
        return {key: rows[frame_index] for key, rows in boxes.items() if _there(rows[frame_index : frame_index + 1])[0]}
    if isinstance(truth, RegionTruth):
        return _region_shapes(sequence, truth, results, frame_index)
    return dict(results.masks(sequence).read(frame_index))


def true_shapes(sequence: Sequence, frame_index: int) -> dict[int, Shape]:
    """The annotation on one frame: a mask (H, W) or box (4,) by object id; absent objects are left out."""
    truth = sequence.truth
    if isinstance(truth, BoxTruth):
        known = _there(truth.boxes) & ~truth.absent
        return {sequence.object_ids[0]: truth.boxes[frame_index]} if known[frame_index] else {}
    if isinstance(truth, RegionTruth):
        return {
            key: shape for key, row in truth.objects.items() if (shape := _shape(row, frame_index, truth)) is not None
        }
    return {key: mask for key, mask in truth.read(frame_index).items() if mask.any()}


# ---- boxes -----------------------------------------------------------------------------------------------------------


def _of_boxes(sequence: Sequence, truth: BoxTruth, results: TrackerResults) -> ObjectFrames:
    predicted, _ = results.single(sequence, len(truth))
    visible, there = _there(truth.boxes) & ~truth.absent, _there(predicted)
    both = visible & there
    return ObjectFrames(
        sequence.object_ids[0],
        "",
        0,
        np.arange(len(truth)),
        visible,
        there,
        iou=np.where(visible, np.where(there, box_iou(predicted, truth.boxes), 0.0), np.nan),
        f=np.full(len(truth), np.nan),
        center_error=np.where(both, center_error(predicted, truth.boxes), np.nan),
        failed=np.zeros(len(truth), dtype=bool),
    )


def _there(boxes: Floats) -> Flags:
    """(N,) which boxes are some: finite, with width and height."""
    return np.asarray(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1))


# ---- masks -----------------------------------------------------------------------------------------------------------


def _of_masks(sequence: Sequence, truth: MaskTruth, results: TrackerResults) -> Iterator[ObjectFrames]:
    starts = {prompt.object_id: prompt.frame_index for prompt in sequence.prompts}
    result = results.masks(sequence)
    rows: dict[int, list[tuple[int, bool, bool, float, float, float]]] = {key: [] for key in starts}
    for frame_index in truth.frame_indices:
        if all(frame_index < start for start in starts.values()):
            continue
        seen, found = read_pair(truth, result, frame_index, sequence)
        for key, start in starts.items():
            if frame_index < start:
                continue
            true, predicted = seen.get(key), found.get(key)
            true = true if true is not None and true.any() else None
            predicted = predicted if predicted is not None and predicted.any() else None
            error = np.nan if true is None or predicted is None else float(center_error(_box(predicted), _box(true))[0])
            row = (frame_index, true is not None, predicted is not None, *frame_jf(predicted, true), error)
            rows[key].append(row)
    for key, start in starts.items():
        table = np.array(rows[key], dtype=np.float64).reshape(-1, 6)
        frames, visible, there, j, f, errors = table.T
        shown, said, failed = visible.astype(bool), there.astype(bool), np.zeros(len(table), dtype=bool)
        yield ObjectFrames(key, "", start, frames.astype(np.int64), shown, said, j, f, errors, failed)


def _box(mask: Mask) -> Floats:
    return mask_to_box(mask, convention="inclusive")[None]


# ---- regions ---------------------------------------------------------------------------------------------------------


def _of_regions(sequence: Sequence, truth: RegionTruth, results: TrackerResults) -> Iterator[ObjectFrames]:
    for object_id, regions in truth.objects.items():
        for run, order, result in _region_runs(sequence, truth, results, object_id):
            true = regions.take(order)
            ignore = None if truth.ignore is None else truth.ignore.take(order)
            overlaps = region_overlaps(result, true, size=truth.image_size, ignore=ignore)
            visible, predicted, failed = ~is_empty(true), ~is_empty(result), result.codes == FAILED
            # what is neither there nor a failure was not asked of the tracker: a start, or frames after a failure
            overlaps = np.where((result.codes >= 0) & ~failed | (true.codes >= 0), np.nan, overlaps)
            error = np.where(visible & predicted, center_error(result.boxes(), true.boxes()), np.nan)
            by_frame, nothing = np.argsort(order, kind="stable"), np.full(len(order), np.nan)
            yield ObjectFrames(
                object_id,
                run,
                int(order[0]),
                order[by_frame],
                visible[by_frame],
                predicted[by_frame],
                iou=overlaps[by_frame],
                f=nothing,
                center_error=error[by_frame],
                failed=failed[by_frame],
            )


def _region_runs(
    sequence: Sequence, truth: RegionTruth, results: TrackerResults, object_id: int
) -> Iterator[tuple[str, NDArray[np.int64], Trajectory]]:
    """Name, frames in the order they were played, and regions of every run over an object."""
    codec = region_codec(results)
    anchors = [
        anchor
        for anchor in truth.anchors
        if codec.find(results.folder, sequence, name_of_anchor(sequence, anchor.frame))
    ]
    for anchor in anchors:
        order = np.array(anchor.frames(len(truth)))
        result = codec.read(results.folder, sequence, name_of_anchor(sequence, anchor.frame))
        yield f"anchor {anchor.frame}", order, cut_to_truth(sequence, result, len(order))[0]
    if anchors:
        return
    for number, result in enumerate(codec.read_passes(results.folder, sequence, object_id), start=1):
        cut, _ = cut_to_truth(sequence, as_the_truth(result, truth.objects[object_id]), len(truth))
        yield f"pass {number}" if number > 1 else "", np.arange(len(truth)), cut


def _region_shapes(
    sequence: Sequence, truth: RegionTruth, results: TrackerResults, frame_index: int
) -> dict[int, Shape]:
    found: dict[int, Shape] = {}
    for object_id in truth.object_ids:
        for _, order, result in _region_runs(sequence, truth, results, object_id):
            row = np.flatnonzero(order == frame_index)
            if not row.size:
                continue
            shape = _shape(result, int(row[0]), truth)
            if shape is not None:
                found[object_id] = shape
            break
    return found


def _shape(regions: Trajectory, row: int, truth: RegionTruth) -> Shape | None:
    """One region as a mask, or as a box if the size of the image is unknown; None if there is none."""
    if regions.kinds[row] == SPECIAL:
        return None
    if truth.image_size is None:
        box = regions.take(np.array([row])).boxes()[0]
        return box if _there(box[None])[0] else None
    mask = region_mask(regions, row, truth.image_size)
    return mask if mask.any() else None
