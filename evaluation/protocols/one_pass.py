"""One-pass evaluation of boxes: one scorer, and the conventions in which official programs differ.

A program reduces each frame to an overlap and two center errors, and decides some frames beforehand: they are written
as the metrics define a miss or a hit (-1, infinite or -1), or left out (NaN). What it makes of frames without the
object, or whose true box is no box, decides percents. The protocols in `boxes` are choices of these conventions, and
`--explain` changes one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import BoxTruth
from mosam.evaluation.metrics.overlap import mean_overlap
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
from mosam.evaluation.metrics.success import success_auc, success_curve
from mosam.geometry import box_iou
from mosam.types import Size

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Errors = tuple[Floats, Floats, Floats]

MISS, HIT = np.inf, -1.0  # center errors of frames that are decided beforehand
NO_OVERLAP = -1.0
TRACKINGNET_PIXELS = np.linspace(0.0, 50.0, 21)  # TrackingNet-devkit, metrics.py
TRACKINGNET_SIZES = np.linspace(0.0, 0.5, 21)


@dataclass(frozen=True, slots=True)
class BoxConventions:
    """How frames of boxes become numbers; the defaults are PyTracking's.

    Attributes:
        first_frame: the first box is replaced by the `truth`, taken `as written`, or `left out`.
        absent_frames: frames without the object are a `miss`, `scored` against whatever the annotation says there, or
            taken `as bad truth`.
        absence: the object is absent by the annotated `flag`, or where its visible share (`cover`) is 0, if known.
        denominator: `all` frames, those with an annotated box (`known`), or of those only the `valid` ones: neither
            absent nor bad.
        bad_truth: a visible frame whose true box is bad is a `miss`, but a hit in normalized precision; a `hit` in both
            precisions; or taken `as written`.
        true_boxes: a true box is bad where any of its numbers is not positive (`positive`), where its width or height
            is not (`sized`), or for the center errors where its `center` is not.
        empty_boxes: a predicted box that is NaN or without width or height `repeat`s the one before, but for frames
            annotated NaN; or counts `as written`.
        pixels: boxes are `continuous`, rounded to `whole` numbers, or cut to the `picture` for the overlap.
        formulas: whose overlap and errors: see `FORMULAS`.
        thresholds: success counts overlaps `above` a threshold, or those that reach it too (`from`).
        area: success is the `mean` of its curve and precision a value on it (20 pixels, 0.2); or all three are the
            `trapezoid` area under a curve of 21 thresholds.
        aggregation: mean over `sequences`, or over all `frames` together.
        success: `auc` of the success curve, or the `mean overlap` itself.
    """

    first_frame: Literal["truth", "as written", "left out"] = "truth"
    absent_frames: Literal["miss", "scored", "as bad truth"] = "miss"
    absence: Literal["flag", "cover"] = "flag"
    denominator: Literal["all", "known", "valid"] = "all"
    bad_truth: Literal["miss", "hit", "as written"] = "miss"
    true_boxes: Literal["positive", "sized", "center"] = "positive"
    empty_boxes: Literal["repeat", "as written"] = "repeat"
    pixels: Literal["continuous", "whole", "picture"] = "continuous"
    formulas: Literal["plain", "pysot", "got10k", "trackingnet"] = "plain"
    thresholds: Literal["above", "from"] = "above"
    area: Literal["mean", "trapezoid"] = "mean"
    aggregation: Literal["sequences", "frames"] = "sequences"
    success: Literal["auc", "mean overlap"] = "auc"


@dataclass(frozen=True, slots=True)
class FrameErrors:
    """A sequence's frames under some conventions.

    Attributes:
        iou, center, norm: (T,) overlap, center error in pixels, and in sizes of the object.
        counted: (T,) the frames of the denominator.
    """

    iou: Floats
    center: Floats
    norm: Floats
    counted: Flags

    @property
    def count(self) -> int:
        """Frames to divide by."""
        return int(self.counted.sum())

    @property
    def overlaps(self) -> Floats:
        """(T,) in [0, 1], NaN on frames that do not count."""
        return np.where(self.counted, np.maximum(self.iou, 0.0), np.nan)


def frame_errors(
    predicted: Floats, truth: BoxTruth, conventions: BoxConventions, *, size: Size | None = None
) -> FrameErrors:
    """What a program makes of each frame.

    Args:
        predicted: (T, 4) x, y, w, h as written.
        truth: T frames.
        conventions: the program's.
        size: (height, width) of the image, where known; needed only to cut boxes to it.
    """
    boxes = truth.boxes
    if conventions.pixels == "whole":
        predicted, boxes = np.round(predicted), np.round(boxes)
    known: Flags = np.asarray(~np.isnan(boxes).any(axis=1))
    predicted = prepared(predicted, boxes, conventions)
    # a NaN prediction fails every threshold; here NaN means that the frame does not count
    iou, *gone = _errors(predicted, boxes, conventions, size)
    iou = np.where(np.isnan(iou), NO_OVERLAP, iou)
    center, norm = (np.where(np.isnan(error), MISS, error) for error in gone)
    valid = known.copy()
    for frames, error in _decided(truth, boxes, conventions):
        valid &= ~frames[0]
        for values, flags, value in zip((iou, center, norm), frames, (NO_OVERLAP, *error), strict=True):
            values[flags] = value
    out = ~known if conventions.denominator == "known" else np.zeros(len(boxes), dtype=bool)
    if conventions.first_frame == "left out":
        out[0] = True
    for values in (iou, center, norm):
        values[out] = np.nan
    counted = valid & ~out if conventions.denominator == "valid" else ~out
    return FrameErrors(iou, center, norm, counted)


def prepared(predicted: Floats, boxes: Floats, conventions: BoxConventions) -> Floats:
    """A copy of predicted rows (T, 4) as a program scores them against true boxes (T, 4)."""
    if conventions.empty_boxes == "repeat":
        unusable = np.isnan(predicted).any(axis=1) | (predicted[:, 2:] <= 0).any(axis=1)
        predicted = repeat_last(predicted, np.asarray(unusable & ~np.isnan(boxes).any(axis=1)))
    predicted = predicted.copy()
    if conventions.first_frame == "truth":
        predicted[0] = boxes[0]
    return predicted


def error_curves(frames: FrameErrors, conventions: BoxConventions) -> dict[str, Floats]:
    """The three curves of one-pass evaluation: `success`, `precision` and `norm_precision`."""
    if conventions.area == "trapezoid":
        pixels, sizes = TRACKINGNET_PIXELS, TRACKINGNET_SIZES
    else:
        pixels, sizes = PRECISION_THRESHOLDS, FORMULAS[conventions.formulas].sizes
    return {
        "success": success_curve(frames.iou, count=frames.count, strict=conventions.thresholds == "above"),
        "precision": precision_curve(frames.center, thresholds=pixels, count=frames.count),
        "norm_precision": precision_curve(frames.norm, thresholds=sizes, count=frames.count),
    }


def headline(frames: FrameErrors, curves: Mapping[str, Floats], conventions: BoxConventions) -> dict[str, float]:
    """`success_auc`, `precision` and `norm_precision` from the curves of some frames."""
    if conventions.area == "trapezoid":
        success, *errors = (float(np.mean((curve[:-1] + curve[1:]) / 2)) for curve in curves.values())
    else:
        success = success_auc(curves["success"])
        errors = [float(curves["precision"][PRECISION_AT]), float(curves["norm_precision"][NORM_PRECISION_AT])]
    if conventions.success == "mean overlap":
        success = mean_overlap(frames.overlaps)
    return dict(zip(("success_auc", "precision", "norm_precision"), (success, *errors), strict=True))


# ---- frames that are decided beforehand ------------------------------------------------------------------------------


def repeat_last(boxes: Floats, unusable: Flags) -> Floats:
    """A copy with each unusable row replaced by the last usable one before it; row 0 stays as it is.

    >>> repeat_last(np.array([[1.0], [2.0], [3.0]]), np.array([False, True, False])).ravel()
    array([1., 1., 3.])
    """
    taken = np.where(unusable, 0, np.arange(len(boxes)))
    return boxes[np.maximum.accumulate(taken)]


def _decided(
    truth: BoxTruth, boxes: Floats, conventions: BoxConventions
) -> list[tuple[tuple[Flags, Flags, Flags], tuple[float, float]]]:
    """Frames, by overlap and both errors, that are decided beforehand, with the errors they get; none overlaps."""
    bad_error = (HIT if conventions.bad_truth == "hit" else MISS, HIT)
    absent = truth.absent if conventions.absence == "flag" or truth.cover is None else truth.cover <= 0
    decided = []
    if conventions.bad_truth != "as written":
        decided.append((_bad(boxes, conventions), bad_error))
    if conventions.absent_frames == "miss":
        decided.append(((absent,) * 3, (MISS, MISS)))
    elif conventions.absent_frames == "as bad truth" and conventions.bad_truth != "as written":
        decided.append(((absent,) * 3, bad_error))
    elif conventions.absent_frames == "scored":
        decided = [((bad & ~absent, center & ~absent, norm & ~absent), error) for (bad, center, norm), error in decided]
    return decided


def _bad(boxes: Floats, conventions: BoxConventions) -> tuple[Flags, Flags, Flags]:
    """(T,) frames whose true box is bad: for the overlap, the center error, and the one in sizes."""
    bad = ~(_positive(boxes[:, 2:]) if conventions.true_boxes == "sized" else _positive(boxes))
    if conventions.true_boxes != "center":
        return (bad,) * 3
    middle, sizes = _pysot_centers(boxes)
    return bad, ~_positive(middle), ~_positive(middle / sizes)


def _positive(rows: Floats) -> Flags:
    return np.asarray((rows > 0).all(axis=1))


# ---- each program's arithmetic ---------------------------------------------------------------------------------------


class Formulas(NamedTuple):
    """How a program computes from predicted and true boxes (T, 4).

    Attributes:
        overlap, center, norm: (T,) overlap, center error in pixels, and in sizes of the object.
        sizes: thresholds of normalized precision.
    """

    overlap: Callable[[Floats, Floats], Floats]
    center: Callable[[Floats, Floats], Floats] = center_error
    norm: Callable[[Floats, Floats], Floats] = normalized_center_error
    sizes: Floats = NORM_PRECISION_THRESHOLDS


def toolkit_iou(predicted: Floats, truth: Floats) -> Floats:
    """Overlap (T,) in [0, 1] of boxes (T, 4) as the GOT-10k and pysot toolkits have it; NaN where a box is NaN."""
    shared = _shared_area(predicted, truth)
    union = predicted[:, 2:].prod(axis=1) + truth[:, 2:].prod(axis=1) - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(shared / (union + np.finfo(float).eps), 0.0, 1.0)


def cut_boxes(boxes: Floats, size: Size) -> Floats:
    """Boxes (T, 4) cut to an image of `size` (height, width), negative sizes made 0, as in the GOT-10k toolkit."""
    limit = np.array([size[1], size[0]], dtype=np.float64)
    corner = np.clip(boxes[:, :2], 0, limit)
    # as the toolkit: the corner moves, the size stays, unless it reaches out of the image
    return np.concatenate([corner, np.clip(boxes[:, 2:], 0, limit - corner)], axis=1)


def _errors(predicted: Floats, boxes: Floats, conventions: BoxConventions, size: Size | None) -> Errors:
    formulas = FORMULAS[conventions.formulas]
    pair = predicted, boxes
    cut = pair if conventions.pixels != "picture" or size is None else tuple(cut_boxes(item, size) for item in pair)
    return formulas.overlap(*cut), formulas.center(*pair), formulas.norm(*pair)


def _shared_area(a: Floats, b: Floats) -> Floats:
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:])
    return np.maximum(high - low, 0).prod(axis=1)


def _pysot_centers(boxes: Floats) -> tuple[Floats, Floats]:
    return boxes[:, :2] + (boxes[:, 2:] - 1) / 2, boxes[:, 2:] + 1e-16


def _pysot_norm(predicted: Floats, truth: Floats) -> Floats:
    middle, sizes = _pysot_centers(truth)
    scaled = _pysot_centers(predicted)[0] / sizes - middle / sizes
    return np.asarray(np.sqrt((scaled**2).sum(axis=1)))


def _trackingnet_overlap(predicted: Floats, truth: Floats) -> Floats:
    shared = _shared_area(predicted, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        # areas are products as they stand: two negative sizes make a positive one, as in the kit
        return np.asarray(shared / (predicted[:, 2:].prod(axis=1) + truth[:, 2:].prod(axis=1) - shared))


def _trackingnet_offset(predicted: Floats, truth: Floats) -> Floats:
    return predicted[:, :2] + predicted[:, 2:] / 2 - truth[:, :2] - truth[:, 2:] / 2


def _trackingnet_center(predicted: Floats, truth: Floats) -> Floats:
    return np.asarray(np.sqrt((_trackingnet_offset(predicted, truth) ** 2).sum(axis=1)))


def _trackingnet_norm(predicted: Floats, truth: Floats) -> Floats:
    offset, size = _trackingnet_offset(predicted, truth), truth[:, 2:]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.sqrt((offset / size * offset / size).sum(axis=1)))  # in the kit's order, to the last bit


FORMULAS: Mapping[str, Formulas] = {
    "plain": Formulas(box_iou),
    "pysot": Formulas(toolkit_iou, norm=_pysot_norm),
    "got10k": Formulas(
        toolkit_iou, norm=partial(normalized_center_error, smallest=1.0), sizes=NORM_PRECISION_THRESHOLDS_EVEN
    ),
    "trackingnet": Formulas(_trackingnet_overlap, _trackingnet_center, _trackingnet_norm),
}
