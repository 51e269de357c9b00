"""What programs disagree on when they score the same results, one convention at a time.

Every protocol for boxes and masks is a choice of a few conventions. Here each can be chosen alone, so that the way from
one protocol's number to another's becomes a sum of steps, each measured on the results at hand. The protocols do not
use this module: their numbers are what it is checked against.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import BoxTruth
from mosam.evaluation.metrics.precision import (
    NORM_PRECISION_AT,
    NORM_PRECISION_THRESHOLDS,
    PRECISION_AT,
    PRECISION_THRESHOLDS,
    center_error,
    normalized_center_error,
    precision_curve,
)
from mosam.evaluation.metrics.success import SUCCESS_THRESHOLDS, success_curve
from mosam.evaluation.protocols.boxes import all_positive, repeat_last, toolkit_iou
from mosam.geometry import box_iou

if TYPE_CHECKING:
    from mosam.evaluation.protocols.masks import FrameScores
    from mosam.types import Size

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class BoxConventions:
    """How frames of boxes become numbers; the defaults are PyTracking's.

    Attributes:
        first_frame: the first box is replaced by the `truth`, taken `as written`, or `left out`.
        absent_frames: frames without the object are a `miss`, `left out` (of the denominator too), `scored` against
            whatever the annotation says there, or taken `as bad truth`.
        bad_truth: a visible frame whose true box is not positive in all numbers is a `miss`, but a hit in normalized
            precision; a `hit` in both precisions; or taken `as written`.
        true_boxes: a true box is bad where any of its numbers is not positive (`positive`), or where its width or
            height is not (`sized`).
        empty_boxes: a box without width or height `repeat`s the one before, or counts `as written`.
        pixels: boxes are `continuous`, rounded to `whole` numbers, or cut to the `picture`.
        thresholds: success counts overlaps `above` a threshold, or those that reach it too (`from`).
        area: success is the `mean` of its curve and precision a value on it (20 pixels, 0.2); or all three are the
            `trapezoid` area under a curve of 21 thresholds.
        aggregation: mean over `sequences`, or over all `frames` together.
        success: `auc` of the success curve, or the `mean overlap` itself.
    """

    first_frame: str = "truth"
    absent_frames: str = "miss"
    bad_truth: str = "miss"
    true_boxes: str = "positive"
    empty_boxes: str = "repeat"
    pixels: str = "continuous"
    thresholds: str = "above"
    area: str = "mean"
    aggregation: str = "sequences"
    success: str = "auc"


BOXES: Mapping[str, BoxConventions] = {
    "pytracking": BoxConventions(),
    "pytracking[valid_only]": BoxConventions(absent_frames="left out"),
    "pytracking-uav": BoxConventions(absent_frames="as bad truth", bad_truth="hit"),
    "pytracking-avist": BoxConventions(absent_frames="as bad truth"),
    "vasttrack": BoxConventions(true_boxes="sized"),
    "lasot": BoxConventions(bad_truth="hit"),
    "pysot": BoxConventions(first_frame="as written", bad_truth="hit", empty_boxes="as written"),
    "got10k-success": BoxConventions(absent_frames="scored", bad_truth="as written", empty_boxes="as written"),
    "trackingnet": BoxConventions(
        absent_frames="scored",
        bad_truth="as written",
        empty_boxes="as written",
        pixels="whole",
        thresholds="from",
        area="trapezoid",
    ),
    "got10k": BoxConventions(
        first_frame="left out",
        absent_frames="left out",
        bad_truth="as written",
        empty_boxes="as written",
        pixels="picture",
        aggregation="frames",
        success="mean overlap",
    ),
}
BOX_CHOICES: Mapping[str, tuple[str, ...]] = {
    "first_frame": ("truth", "as written", "left out"),
    "absent_frames": ("miss", "left out", "scored", "as bad truth"),
    "bad_truth": ("miss", "hit", "as written"),
    "true_boxes": ("positive", "sized"),
    "empty_boxes": ("repeat", "as written"),
    "pixels": ("continuous", "whole", "picture"),
    "thresholds": ("above", "from"),
    "area": ("mean", "trapezoid"),
    "aggregation": ("sequences", "frames"),
    "success": ("auc", "mean overlap"),
}
BOX_VALUES = ("success_auc", "precision", "norm_precision")
_AREA_PIXELS, _AREA_SIZES = np.linspace(0.0, 50.0, 21), np.linspace(0.0, 0.5, 21)


@dataclass(slots=True)
class Sums:
    """Numbers of several sequences under some conventions.

    Attributes:
        total: by value, what was averaged.
        count: by value, how much it was.
    """

    total: dict[str, float] = field(default_factory=dict)
    count: dict[str, float] = field(default_factory=dict)

    def add(self, values: Mapping[str, float], weight: float) -> None:
        """One sequence's; an undefined value adds nothing."""
        for name, value in values.items():
            if not np.isnan(value) and weight:
                self.total[name] = self.total.get(name, 0.0) + value * weight
                self.count[name] = self.count.get(name, 0.0) + weight

    @property
    def values(self) -> dict[str, float]:
        """The means."""
        return {name: self.total[name] / self.count[name] for name in self.total}


def box_values(
    predicted: Floats, truth: BoxTruth, conventions: BoxConventions, *, size: Size | None = None
) -> tuple[dict[str, float], float]:
    """The numbers of one sequence.

    Args:
        predicted: (T, 4) x, y, w, h as written; NaN is a miss.
        truth: T frames.
        conventions: how to score.
        size: (height, width) that boxes are cut to where the pixels are those of the picture.
    Returns:
        `BOX_VALUES` by name, and what the sequence weighs in the mean.
    """
    boxes, predicted = truth.boxes, predicted.copy()
    if conventions.pixels == "whole":
        boxes, predicted = np.round(boxes), np.round(predicted)
    if conventions.empty_boxes == "repeat":
        empty = ~((predicted[:, 2] > 0) & (predicted[:, 3] > 0))
        predicted = repeat_last(predicted, np.asarray(empty & ~np.isnan(boxes).any(axis=1)))
    if conventions.first_frame == "truth":
        predicted[0] = boxes[0]
    iou, center, norm = _errors(predicted, boxes, conventions, size)
    absent = truth.absent if truth.cover is None else truth.cover <= 0
    unknown = np.isnan(boxes).any(axis=1)
    counted = np.ones(len(boxes), dtype=bool)
    if conventions.bad_truth != "as written":
        odd = _odd(boxes, absent, conventions)
        iou[odd], norm[odd] = -1.0, -1.0
        center[odd] = -1.0 if conventions.bad_truth == "hit" else np.inf
        if conventions.absent_frames == "left out" and conventions.bad_truth == "miss":
            counted &= ~odd
    if conventions.absent_frames == "miss":
        iou[absent], center[absent], norm[absent] = -1.0, np.inf, np.inf
    elif conventions.absent_frames == "left out":
        iou[absent], center[absent], norm[absent] = -1.0, np.inf, np.inf
        counted &= ~absent
    if conventions.absent_frames == "scored" or conventions.bad_truth == "as written":
        counted &= ~unknown
    if conventions.first_frame == "left out":
        counted[0] = False
    if conventions.first_frame == "left out" or conventions.bad_truth == "as written":
        iou, center, norm = iou[counted], center[counted], norm[counted]
    return _summary(iou, center, norm, int(counted.sum()), conventions)


Conventions = TypeVar("Conventions", BoxConventions, "MaskConventions", "RegionConventions")


def steps(first: Conventions, last: Conventions) -> list[tuple[str, str, str]]:
    """The conventions in which two choices differ: name, what it was, what it becomes."""
    return [
        (item.name, getattr(first, item.name), getattr(last, item.name))
        for item in fields(first)
        if getattr(first, item.name) != getattr(last, item.name)
    ]


def walk(first: Conventions, last: Conventions) -> list[Conventions]:
    """From one choice to the other, one convention more at each step; both ends included."""
    path = [first]
    for name, _, after in steps(first, last):
        path.append(replace(path[-1], **{name: after}))
    return path


@dataclass(frozen=True, slots=True)
class MaskConventions:
    """How J and F of frames become numbers; the defaults are those of DAVIS 2017.

    Attributes:
        first_frame: `left out` or `counted`.
        last_frame: `left out` or `counted`.
        begin: an object counts from the `sequence`'s start, or from its own `appearance`.
        absent_frames: frames on which neither truth nor result show the object are `right` (1), or `left out`.
        aggregation: mean over `objects`, over `sequences`, or over all `frames` of all objects.
    """

    first_frame: str = "left out"
    last_frame: str = "left out"
    begin: str = "sequence"
    absent_frames: str = "right"
    aggregation: str = "objects"


MASKS: Mapping[str, MaskConventions] = {
    "davis2017": MaskConventions(),
    "vos-benchmark": MaskConventions(begin="appearance"),
    "vos-benchmark[all_frames]": MaskConventions(first_frame="counted", last_frame="counted", begin="appearance"),
}
MASK_CHOICES: Mapping[str, tuple[str, ...]] = {
    "first_frame": ("left out", "counted"),
    "last_frame": ("left out", "counted"),
    "begin": ("sequence", "appearance"),
    "absent_frames": ("right", "left out"),
    "aggregation": ("objects", "sequences", "frames"),
}
MASK_VALUES = ("jf_mean", "j_mean", "f_mean")


@dataclass(frozen=True, slots=True)
class RegionConventions:
    """How supervised results of VOT become EAO and accuracy; the defaults are the VOT toolkit's.

    Attributes:
        pixels: regions are drawn as the `toolkit` does; `unbounded`, also outside of the image; as `pysot` does, a
            column and a row more; or not at all, but compared by `exact areas`.
        fragments: a new one begins where the result says (`as recorded`) and ends before the failure, or begins `after
            five frames` and ends with the failure.
        weights: all fragments are `equal`, or each counts `by share` of its frames that have the tag.
        lengths: the interval of lengths counts `from 0` or `from 1`.
        aggregation: accuracy is a mean over `sequences` weighted by length, or over all `frames` together.
    """

    pixels: str = "toolkit"
    fragments: str = "as recorded"
    weights: str = "equal"
    lengths: str = "from 0"
    aggregation: str = "sequences"


@dataclass(frozen=True, slots=True)
class ShownScores:
    """J and F of one object on all annotated frames.

    Attributes:
        scores: (T,) each.
        true, predicted: (T,) whether truth and result show the object.
    """

    scores: FrameScores
    true: Flags
    predicted: Flags


def mask_values(
    objects: Mapping[int, ShownScores], conventions: MaskConventions
) -> list[tuple[dict[str, float], float]]:
    """Numbers of one sequence with what they weigh: one entry an object, or one of the sequence."""
    found = []
    for item in objects.values():
        there = item.true | item.predicted
        kept = np.ones(len(there), dtype=bool)
        if conventions.first_frame == "left out":
            kept[0] = False
        if conventions.last_frame == "left out":
            kept[-1] = False
        if conventions.begin == "appearance":
            inside = np.flatnonzero(there & kept)
            kept[: inside[0] if inside.size else len(kept)] = False
        if conventions.absent_frames == "left out":
            kept &= there
        if not kept.any() or (not (item.true & kept).any() and conventions.begin == "appearance"):
            continue
        j, f = float(item.scores.j[kept].mean()), float(item.scores.f[kept].mean())
        weight = float(kept.sum()) if conventions.aggregation == "frames" else 1.0
        found.append(({"jf_mean": (j + f) / 2, "j_mean": j, "f_mean": f}, weight))
    if conventions.aggregation == "sequences" and found:
        return [({name: float(np.mean([values[name] for values, _ in found])) for name in MASK_VALUES}, 1.0)]
    return found


def _odd(boxes: Floats, absent: Flags, conventions: BoxConventions) -> Flags:
    """(T,) frames of which the true box is bad."""
    bad = ~(all_positive(boxes) if conventions.true_boxes == "positive" else (boxes[:, 2:] > 0).all(axis=1))
    return np.asarray(bad | absent if conventions.absent_frames == "as bad truth" else bad & ~absent)


def _errors(
    predicted: Floats, boxes: Floats, conventions: BoxConventions, size: Size | None
) -> tuple[Floats, Floats, Floats]:
    """Overlap and both center errors of each frame, -1 and inf where the result says nothing."""
    if conventions.pixels == "picture":
        iou = toolkit_iou(predicted, boxes, size=size)
    elif conventions.bad_truth == "as written":
        iou = toolkit_iou(predicted, boxes)
    else:
        iou = box_iou(predicted, boxes)
    smallest = 1.0 if conventions.bad_truth == "as written" and conventions.pixels != "whole" else None
    center = center_error(predicted, boxes)
    norm = normalized_center_error(predicted, boxes, smallest=smallest)
    if conventions.area == "trapezoid":  # TrackingNet's centers lie half a pixel further; their distance is the same
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = (predicted[:, :2] + predicted[:, 2:] / 2 - boxes[:, :2] - boxes[:, 2:] / 2) / boxes[:, 2:]
        norm = np.sqrt((offset**2).sum(axis=1))
    nothing = np.isnan(predicted).any(axis=1)
    iou = np.where(nothing | np.isnan(iou), -1.0, iou)
    gone = [np.where(nothing | np.isnan(error), np.inf, error) for error in (center, norm)]
    return iou, gone[0], gone[1]


def _summary(
    iou: Floats, center: Floats, norm: Floats, count: int, conventions: BoxConventions
) -> tuple[dict[str, float], float]:
    weight = float(count) if conventions.aggregation == "frames" else 1.0
    if not count:
        return {}, 0.0
    if conventions.area == "trapezoid":
        errors = ((center, _AREA_PIXELS), (norm, _AREA_SIZES))
        curves = [precision_curve(error, thresholds=limits, count=count) for error, limits in errors]
        areas = [float(np.mean((curve[:-1] + curve[1:]) / 2)) for curve in (_success(iou, count, conventions), *curves)]
        return dict(zip(BOX_VALUES, areas, strict=True)), weight
    success = (
        float(np.maximum(iou, 0.0).sum() / count)
        if conventions.success == "mean overlap"
        else float(_success(iou, count, conventions).mean())
    )
    at_20 = precision_curve(center, thresholds=PRECISION_THRESHOLDS, count=count)[PRECISION_AT]
    at_02 = precision_curve(norm, thresholds=NORM_PRECISION_THRESHOLDS, count=count)[NORM_PRECISION_AT]
    return dict(zip(BOX_VALUES, (success, float(at_20), float(at_02)), strict=True)), weight


def _success(iou: Floats, count: int, conventions: BoxConventions) -> Floats:
    if conventions.thresholds == "from":
        return (iou[:, None] >= SUCCESS_THRESHOLDS).sum(axis=0) / count
    return success_curve(iou, count=count)
