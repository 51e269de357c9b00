"""Protocols for boxes: programs that score the same rows, and differ in which frames count and how; see `one_pass` too.

All of them reduce a sequence to an overlap and a center error for each frame; a frame that misses, hits or does not
count is written there as the metrics define it (-1, infinite or -1, NaN). What is particular to each program was read
in its code and is checked against numbers it gave for real trackers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import BoxTruth
from mosam.errors import DataError, MismatchError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.overlap import mean_overlap, overlap_precision
from mosam.evaluation.metrics.precision import (
    NORM_PRECISION_AT,
    NORM_PRECISION_THRESHOLDS,
    NORM_PRECISION_THRESHOLDS_EVEN,
    PRECISION_AT,
    PRECISION_THRESHOLDS,
    center_error,
    normalized_center_error,
    precision_curve,
)
from mosam.evaluation.metrics.success import (
    SUCCESS_THRESHOLDS,
    success_auc,
    success_curve,
)
from mosam.evaluation.protocols.base import Mean, Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.geometry import box_iou

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Boxes = NDArray[np.float64]
Flags = NDArray[np.bool_]

OP50, OP75 = 10, 15  # index of 0.5 and 0.75 in a success curve of 21 thresholds
MISS, HIT = np.inf, -1.0  # center errors of frames that are decided beforehand
NO_OVERLAP = -1.0
ALIKE, SAME_BOX = 0.5, 0.8  # overlap with the given box below which, or above which, rows are read otherwise
NORMALIZED = 1.5  # largest number of rows in fractions of the image
TRACKINGNET_PIXELS = np.linspace(0.0, 50.0, 21)  # TrackingNet-devkit, metrics.py
TRACKINGNET_SIZES = np.linspace(0.0, 0.5, 21)


@dataclass(frozen=True, slots=True)
class FrameErrors:
    """A sequence's frames as one program sees them, and what it divides and compares them by.

    Attributes:
        iou, center, norm: (T,) overlap, center error in pixels, and in sizes of the object.
        count: frames to divide by.
        norm_at: thresholds of `norm`.
    """

    iou: NDArray[np.float64]
    center: NDArray[np.float64]
    norm: NDArray[np.float64]
    count: int
    norm_at: NDArray[np.float64]


def curve_values(frames: FrameErrors) -> tuple[dict[str, Mean], dict[str, NDArray[np.float64]]]:
    """The three curves of one-pass evaluation, and the numbers read off them, a sequence counting 1."""
    success = success_curve(frames.iou, count=frames.count)
    precision = precision_curve(frames.center, thresholds=PRECISION_THRESHOLDS, count=frames.count)
    norm = precision_curve(frames.norm, thresholds=frames.norm_at, count=frames.count)
    values = {
        "success_auc": success_auc(success),
        "precision": precision[PRECISION_AT],
        "norm_precision": norm[NORM_PRECISION_AT],
        "norm_precision_auc": float(norm.mean()),
        "op50": success[OP50],
        "op75": success[OP75],
    }
    curves = {"success": success, "precision": precision, "norm_precision": norm}
    return {name: Mean.of([value]) for name, value in values.items()}, curves


class CurveProtocol(Protocol):
    """A protocol that reads its numbers off the three curves."""

    columns: ClassVar[tuple[cols.Column, ...]] = (
        cols.SUCCESS,
        cols.PRECISION,
        cols.NORM_PRECISION,
        cols.NORM_PRECISION_AUC,
        cols.OP50,
        cols.OP75,
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth = box_truth(sequence)
        predicted, notes = results.single(sequence, len(truth))
        frames = self.frame_errors(predicted, truth, where=results.source(sequence))
        notes += written_otherwise(predicted, truth.boxes)
        means, curves = curve_values(frames)
        return SequenceScore({**means, **self.more(frames), **speed(sequence, results)}, curves, notes=notes)

    @abstractmethod
    def frame_errors(self, predicted: Boxes, truth: BoxTruth, *, where: str = "result") -> FrameErrors:
        """What the program makes of each frame.

        Args:
            predicted: (T, 4) x, y, w, h.
            truth: T frames.
            where: the result's file, for errors.
        """

    def more(self, frames: FrameErrors) -> dict[str, Mean]:
        """Numbers of this protocol alone."""
        return {}


def box_truth(sequence: Sequence) -> BoxTruth:
    """A sequence's boxes; MismatchError where its annotation is of another kind, DataError where none counts."""
    truth = sequence.truth
    if not isinstance(truth, BoxTruth):
        raise MismatchError(f"{sequence.name}: expected annotated boxes, got masks; choose a protocol for masks")
    sized = (truth.boxes[:, 2] > 0) & (truth.boxes[:, 3] > 0)
    if not (sized & ~truth.absent).any():
        raise DataError(
            sequence.name,
            f"expected a frame that shows the object, got none in {len(truth)} annotated frames; leave it out",
        )
    return truth


@protocol("pysot", needs="boxes")
class Pysot(CurveProtocol):
    """The pysot toolkit's one-pass evaluation: as `lasot`, but boxes are taken as they are, the first one too.

    Its test of the center error is on the true center instead of the true box, for normalized precision on the center
    in sizes of the object.
    """

    def frame_errors(self, predicted: Boxes, truth: BoxTruth, *, where: str = "result") -> FrameErrors:
        """See `CurveProtocol.frame_errors`."""
        positive = all_positive(truth.boxes)
        iou = np.where(positive, toolkit_iou(predicted, truth.boxes), NO_OVERLAP)
        middle = truth.boxes[:, :2] + (truth.boxes[:, 2:] - 1) / 2
        sizes = truth.boxes[:, 2:] + 1e-16
        center = np.where((middle > 0).all(axis=1), center_error(predicted, truth.boxes), HIT)
        scaled = (predicted[:, :2] + (predicted[:, 2:] - 1) / 2) / sizes - middle / sizes
        norm = np.where((middle / sizes > 0).all(axis=1), np.sqrt((scaled**2).sum(axis=1)), HIT)
        _miss_absent(iou, center, norm, truth.absent)
        return FrameErrors(iou, center, norm, len(truth), NORM_PRECISION_THRESHOLDS)


@protocol("got10k-success", needs="boxes")
class Got10kSuccess(CurveProtocol):
    """The GOT-10k toolkit's LaSOT and OTB curves: absence is ignored; only frames annotated NaN do not count.

    Its headline normalized precision is `norm_precision_auc`, the mean of the curve.
    """

    def frame_errors(self, predicted: Boxes, truth: BoxTruth, *, where: str = "result") -> FrameErrors:
        """See `CurveProtocol.frame_errors`."""
        predicted = predicted.copy()
        predicted[0] = truth.boxes[0]
        iou = toolkit_iou(predicted, truth.boxes)
        center = center_error(predicted, truth.boxes)
        norm = normalized_center_error(predicted, truth.boxes, smallest=1.0)
        known = ~np.isnan(truth.boxes).any(axis=1)
        # a NaN prediction fails every threshold there; here NaN would mean that the frame does not count
        iou = np.where(known & np.isnan(iou), NO_OVERLAP, iou)
        center, norm = (np.where(known & np.isnan(error), MISS, error) for error in (center, norm))
        return FrameErrors(iou, center, norm, int(known.sum()), NORM_PRECISION_THRESHOLDS_EVEN)


@protocol("got10k", needs="boxes")
class Got10k(Protocol):
    """GOT-10k: average overlap and success rates over the frames of all sequences and repetitions together.

    The first frame does not count, nor do frames in which the object is absent (`cover` 0, or the absence flag where a
    benchmark has no cover). Both boxes are cut to the image if its size is known.
    """

    columns = (
        cols.AO,
        cols.Column("sr50", "SR50"),
        cols.Column("sr75", "SR75"),
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth = box_truth(sequence)
        repetitions, notes = results.repetitions(sequence, len(truth))
        seen = ~truth.absent if truth.cover is None else truth.cover > 0
        counted = seen[1:] & ~np.isnan(truth.boxes[1:]).any(axis=1)
        overlaps = [toolkit_iou(boxes[1:], truth.boxes[1:], size=sequence.size) for boxes in repetitions]
        iou = np.concatenate([np.where(counted, np.nan_to_num(one, nan=0.0), np.nan) for one in overlaps])
        count = float(counted.sum() * len(repetitions))
        notes += written_otherwise(repetitions[0], truth.boxes)
        values = {"ao": mean_overlap(iou), "sr50": overlap_precision(iou, 0.5), "sr75": overlap_precision(iou, 0.75)}
        means = {name: Mean(value * count if count else 0.0, count) for name, value in values.items()}
        curves = {"success": success_curve(iou)}
        return SequenceScore({**means, **speed(sequence, results)}, curves, curve_weight=count, notes=notes)


@protocol("trackingnet", needs="boxes")
class TrackingNet(Protocol):
    """TrackingNet's development kit: whole pixels, and all three numbers are areas under curves of 21 thresholds.

    Every number of both boxes is rounded first, row 0 is replaced by the truth, success is not strict (`>=`), and the
    curves are integrated with trapezoids over thresholds scaled to 0..1.
    """

    columns = (  # one name means another number under some protocols; it must not look the same
        cols.SUCCESS,
        replace(cols.PRECISION, heading="P area"),
        replace(cols.NORM_PRECISION, heading="Pnorm area"),
    )

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        boxes = np.round(box_truth(sequence).boxes)
        predicted, notes = results.single(sequence, len(boxes))
        notes += written_otherwise(predicted, boxes)
        predicted = np.round(predicted)
        predicted[0] = boxes[0]
        curves = self.areas(predicted, boxes)
        values = {name: float(np.mean((curve[:-1] + curve[1:]) / 2)) for name, curve in curves.items()}
        names = {"success": "success_auc", "precision": "precision", "norm_precision": "norm_precision"}
        means = {names[name]: Mean.of([value]) for name, value in values.items()}
        return SequenceScore({**means, **speed(sequence, results)}, curves, notes=notes)

    @staticmethod
    def areas(predicted: Boxes, truth: Boxes) -> dict[str, NDArray[np.float64]]:
        """The three curves (21,) of rounded boxes (T, 4); a comparison with NaN fails."""
        shared = _shared_area(predicted, truth)
        offset = predicted[:, :2] + predicted[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2
        size = truth[:, 2:]
        with np.errstate(divide="ignore", invalid="ignore"):
            # areas are products as they stand: two negative sizes make a positive one, as in the kit
            iou = shared / (predicted[:, 2:].prod(axis=1) + size.prod(axis=1) - shared)
            norm = np.sqrt((offset / size * offset / size).sum(axis=1))  # in the kit's order, to the last bit
            center = np.sqrt((offset**2).sum(axis=1))
            return {
                "success": (iou[:, None] >= SUCCESS_THRESHOLDS).mean(axis=0),
                "precision": (center[:, None] <= TRACKINGNET_PIXELS).mean(axis=0),
                "norm_precision": (norm[:, None] <= TRACKINGNET_SIZES).mean(axis=0),
            }


def written_otherwise(predicted: Boxes, truth: Boxes) -> tuple[str, ...]:
    """A note where boxes are hardly x, y, w, h in pixels, which the first one shows: it should be the box given.

    Args:
        predicted: (T, 4) as in the file.
        truth: (T, 4) x, y, w, h.
    """
    row, given = predicted[0], truth[0]
    if not (np.isfinite(row).all() and np.isfinite(given).all() and (given[2:] > 0).all()):
        return ()
    if box_iou(row, given) >= ALIKE or not row.any():  # zeros are what many write on the first frame
        return ()
    x, y, w, h = row
    readings = {
        "x0,y0,x1,y1": np.array([x, y, w - x, h - y]),
        "center x,y and w,h": np.array([x - w / 2, y - h / 2, w, h]),
        "y,x,h,w": np.array([y, x, h, w]),
    }
    for name, box in readings.items():
        if box_iou(box, given) >= SAME_BOX:
            return (f"row 1 is the given box if read as {name}: expected x,y,w,h; convert the rows",)
    if np.abs(predicted[np.isfinite(predicted)]).max(initial=0.0) <= NORMALIZED:
        return ("all numbers are near 0 to 1: expected x,y,w,h in pixels; multiply by width and height",)
    return (f"row 1 overlaps the given box by {box_iou(row, given):.2f}: expected x,y,w,h in pixels of these frames",)


def all_positive(boxes: Boxes) -> Flags:
    """(T,) whether all four numbers of a box are."""
    x, y, w, h = boxes.T > 0
    return x & y & w & h


def repeat_last(boxes: Boxes, unusable: Flags) -> Boxes:
    """A copy with each unusable row replaced by the last usable one before it; row 0 stays as it is.

    >>> repeat_last(np.array([[1.0], [2.0], [3.0]]), np.array([False, True, False])).ravel()
    array([1., 1., 3.])
    """
    taken = np.where(unusable, 0, np.arange(len(boxes)))
    return boxes[np.maximum.accumulate(taken)]


def toolkit_iou(predicted: Boxes, truth: Boxes, *, size: tuple[int, int] | None = None) -> NDArray[np.float64]:
    """Overlap as the GOT-10k toolkit has it.

    Args:
        predicted, truth: (T, 4) x, y, w, h.
        size: (height, width) of the image that both boxes are cut to, or None; cutting also makes negative sizes 0.
    Returns:
        (T,) in [0, 1]; NaN where a box is NaN.
    """
    if size is not None:
        predicted, truth = _cut(predicted, size), _cut(truth, size)
    shared = _shared_area(predicted, truth)
    union = predicted[:, 2:].prod(axis=1) + truth[:, 2:].prod(axis=1) - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(shared / (union + np.finfo(float).eps), 0.0, 1.0)


def _shared_area(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    return np.maximum(high - low, 0).prod(axis=1)


def _cut(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    limit = np.array([size[1], size[0]], dtype=np.float64)
    corner = np.clip(boxes[:, :2], 0, limit)
    # as the toolkit: the corner moves, the size stays, unless it reaches out of the image
    return np.concatenate([corner, np.clip(boxes[:, 2:], 0, limit - corner)], axis=1)


def _miss_absent(iou: Boxes, center: Boxes, norm: Boxes, absent: Flags) -> None:
    iou[absent], center[absent], norm[absent] = NO_OVERLAP, MISS, MISS


def shown_box(box: NDArray[np.float64]) -> str:
    """A box for a message."""
    return ",".join(f"{value:g}" for value in box)
