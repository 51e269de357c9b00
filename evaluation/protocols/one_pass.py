"""One-pass evaluation as official programs do it: one scorer, and the switches in which the programs differ.

A program reduces each frame to an overlap and two center errors; what it makes of frames without the object, or whose
true box is no box, decides percents. Every program here divides by all frames unless asked otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import BoxTruth
from mosam.errors import DataError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.overlap import mean_overlap
from mosam.evaluation.metrics.precision import NORM_PRECISION_THRESHOLDS, center_error, normalized_center_error
from mosam.evaluation.protocols.base import Mean, protocol
from mosam.evaluation.protocols.boxes import (
    HIT,
    MISS,
    NO_OVERLAP,
    Boxes,
    CurveProtocol,
    Flags,
    FrameErrors,
    all_positive,
    repeat_last,
    shown_box,
)
from mosam.geometry import box_iou


@dataclass(frozen=True, slots=True)
class OnePassRules:
    """What a program makes of frames that are not as the others; none of them ever counts as an overlap.

    Attributes:
        absent_center, absent_norm: the two errors of a frame without the object, `MISS` or `HIT`.
        odd_center, odd_norm: those of a visible frame whose true box is odd.
        sized: a true box is odd only where its width or height is not positive; False = where any number is not.
        strict: results with NaN or negative sizes are refused; False = such rows repeat the one before.
    """

    absent_center: float = MISS
    absent_norm: float = MISS
    odd_center: float = MISS
    odd_norm: float = HIT
    sized: bool = False
    strict: bool = True


@dataclass(frozen=True, slots=True)
class _Frames:
    """Which frames are ordinary, odd or without the object; each is one of the three."""

    absent: Flags
    odd: Flags

    @property
    def valid(self) -> Flags:
        """The ordinary ones."""
        return ~(self.absent | self.odd)

    @classmethod
    def of(cls, truth: BoxTruth, rules: OnePassRules) -> _Frames:
        positive = (truth.boxes[:, 2:] > 0).all(axis=1) if rules.sized else all_positive(truth.boxes)
        return cls(truth.absent, ~positive & ~truth.absent)

    def decide(self, error: NDArray[np.float64], *, absent: float, odd: float) -> NDArray[np.float64]:
        """Errors with those of frames that are decided beforehand."""
        return np.where(self.absent, absent, np.where(self.odd, odd, error))


def prepared(predicted: Boxes, truth: BoxTruth, rules: OnePassRules, *, where: str = "result") -> Boxes:
    """Rows as a program scores them: those that are no box repeat the one before, but for frames annotated NaN, and
    the first is the truth.

    Raises:
        DataError: a row that the program refuses.
    """
    if rules.strict:
        _refuse(predicted, where)
    unusable = np.isnan(predicted).any(axis=1) | (predicted[:, 2:] <= 0).any(axis=1)
    annotated = ~np.isnan(truth.boxes).any(axis=1)
    predicted = repeat_last(predicted, np.asarray(unusable & annotated))
    predicted[0] = truth.boxes[0]
    return predicted


def one_pass_errors(predicted: Boxes, truth: BoxTruth, rules: OnePassRules, *, valid_only: bool = False) -> FrameErrors:
    """What a program makes of each frame.

    Args:
        predicted: (T, 4) x, y, w, h from `prepared`.
        truth: T frames.
        rules: the program's.
        valid_only: divide by the ordinary frames only.
    """
    frames = _Frames.of(truth, rules)
    iou = np.where(frames.valid, box_iou(predicted, truth.boxes), NO_OVERLAP)
    center = center_error(predicted, truth.boxes)
    norm = normalized_center_error(predicted, truth.boxes)
    return FrameErrors(
        iou,
        frames.decide(center, absent=rules.absent_center, odd=rules.odd_center),
        frames.decide(norm, absent=rules.absent_norm, odd=rules.odd_norm),
        int(frames.valid.sum()) if valid_only else len(truth),
        NORM_PRECISION_THRESHOLDS,
    )


class OnePassProtocol(CurveProtocol):
    """A program that is a choice of rules."""

    rules: ClassVar[OnePassRules] = OnePassRules()

    def frame_errors(self, predicted: Boxes, truth: BoxTruth, *, where: str = "result") -> FrameErrors:
        """See `CurveProtocol.frame_errors`."""
        rows = prepared(predicted, truth, self.rules, where=where)
        return one_pass_errors(rows, truth, self.rules, valid_only=getattr(self, "valid_only", False))


@protocol("pytracking", needs="boxes")
class Pytracking(OnePassProtocol):
    """PyTracking's analysis of LaSOT, by which the SAM 2 family reports it, and of OTB100 and NfS.

    The first box is replaced by the truth. A box without width or height repeats the one before; negative sizes and NaN
    are refused. A frame counts as a miss where the object is absent or one of the four true numbers is not positive
    (but in normalized precision a visible frame of that kind is a hit, since its error is set to -1); it stays in the
    denominator.

    Attributes:
        valid_only: divide by the other frames only (its `exclude_invalid_frames`).
    """

    valid_only: bool = False
    columns = (*CurveProtocol.columns, cols.MEAN_OVERLAP)

    def more(self, frames: FrameErrors) -> dict[str, Mean]:
        """`mean_overlap` of the valid frames."""
        overlap = mean_overlap(frames.iou[frames.iou != NO_OVERLAP])
        return {"mean_overlap": Mean.of([overlap])}


@protocol("pytracking-uav", needs="boxes")
class PytrackingUav(Pytracking):
    """PyTracking's analysis of UAV123: frames without the object are hits in both precisions, as are odd ones."""

    rules = OnePassRules(absent_center=HIT, absent_norm=HIT, odd_center=HIT)


@protocol("pytracking-avist", needs="boxes")
class PytrackingAvist(Pytracking):
    """PyTracking's analysis of AVisT: frames without the object are hits in normalized precision only, as odd ones."""

    rules = OnePassRules(absent_norm=HIT)


@protocol("vasttrack", needs="boxes")
class VastTrack(Pytracking):
    """VastTrack's Python toolkit: as `pytracking`, but a true box may begin at or beyond an edge of the image.

    Its MATLAB toolkit is `lasot`, and gives other numbers for the same results.
    """

    rules = OnePassRules(sized=True)


@protocol("lasot", needs="boxes")
class LasotMatlab(OnePassProtocol):
    """The LaSOT toolkit's MATLAB code, which the TNL2K and VastTrack toolkits have taken over.

    As `pytracking` but: boxes that are NaN or not positive in size repeat the one before, and a visible frame whose
    true box is not positive in all four numbers is a hit in both precisions (its error is set to -1).
    """

    rules = OnePassRules(odd_center=HIT, strict=False)


def _refuse(predicted: Boxes, where: str) -> None:
    x, y, w, h = predicted.T
    bad = ~((w >= 0) & (h >= 0)) | np.isnan(x) | np.isnan(y)
    if bad.any():
        frame = int(np.flatnonzero(bad)[0])
        raise DataError(
            where,
            f"expected w >= 0 and h >= 0, got {shown_box(predicted[frame])} (PyTracking refuses such rows); write "
            "absent objects as zeros, or choose --protocol lasot",
            line=frame + 1,
        )
