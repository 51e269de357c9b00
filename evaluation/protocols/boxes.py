"""Protocols for boxes: programs that score the same rows, each a choice of the conventions in `one_pass`.

What is particular to each program was read in its code and is checked against numbers it gave for real trackers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.base import BoxTruth
from mosam.errors import DataError, MismatchError
from mosam.evaluation import columns as cols
from mosam.evaluation.metrics.overlap import mean_overlap, overlap_precision
from mosam.evaluation.metrics.success import success_curve
from mosam.evaluation.protocols.base import Mean, Protocol, SequenceScore, TrackerResults, protocol, speed
from mosam.evaluation.protocols.one_pass import (
    NO_OVERLAP,
    BoxConventions,
    FrameErrors,
    error_curves,
    frame_errors,
    headline,
)
from mosam.geometry import box_iou

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence
    from mosam.types import Size

Boxes = NDArray[np.float64]
Found = tuple[Mapping[str, Mean], Mapping[str, NDArray[np.float64]], float]

OP50, OP75 = 10, 15  # index of 0.5 and 0.75 in a success curve of 21 thresholds
ALIKE, SAME_BOX = 0.5, 0.8  # overlap with the given box below which, or above which, rows are read otherwise
NORMALIZED = 1.5  # largest number of rows in fractions of the image


class BoxProtocol(Protocol):
    """A program that is a choice of conventions.

    Attributes:
        rules: the program's.
        strict: results with NaN or negative sizes are refused.
    """

    rules: ClassVar[BoxConventions] = BoxConventions()
    strict: ClassVar[bool] = False

    @property
    def conventions(self) -> BoxConventions:
        """See `Protocol.conventions`."""
        return self.rules

    def score(self, sequence: Sequence, results: TrackerResults) -> SequenceScore:
        """See `Protocol.score`."""
        truth = box_truth(sequence)
        repetitions, notes = self.rows(sequence, results, len(truth))
        size = sequence.size if self.conventions.pixels == "picture" else None
        where = results.source(sequence)
        frames = [self.frame_errors(rows, truth, where=where, size=size) for rows in repetitions]
        means, curves, weight = self.values(frames)
        notes += written_otherwise(repetitions[0], truth.boxes)
        return SequenceScore({**means, **speed(sequence, results)}, curves, curve_weight=weight, notes=notes)

    def rows(self, sequence: Sequence, results: TrackerResults, count: int) -> tuple[list[Boxes], tuple[str, ...]]:
        """The boxes (count, 4) to score, of one repetition or several, and notes."""
        rows, notes = results.single(sequence, count)
        return [rows], notes

    def frame_errors(
        self, predicted: Boxes, truth: BoxTruth, *, where: str = "result", size: Size | None = None
    ) -> FrameErrors:
        """What the program makes of each frame; see `one_pass.frame_errors`.

        Args:
            where: the result's file, for errors.
        Raises:
            DataError: a row that the program refuses.
        """
        if self.strict:
            _refuse(predicted, where)
        return frame_errors(predicted, truth, self.conventions, size=size)

    @abstractmethod
    def values(self, repetitions: list[FrameErrors]) -> Found:
        """Numbers and curves of one sequence, and what its curves weigh."""


class CurveProtocol(BoxProtocol):
    """A program that reads its numbers off the three curves."""

    columns: ClassVar[tuple[cols.Column, ...]] = (
        cols.SUCCESS,
        cols.PRECISION,
        cols.NORM_PRECISION,
        cols.NORM_PRECISION_AUC,
        cols.OP50,
        cols.OP75,
    )

    def values(self, repetitions: list[FrameErrors]) -> Found:
        """See `BoxProtocol.values`."""
        curves = error_curves(repetitions[0], self.conventions)
        values = {
            **headline(repetitions[0], curves, self.conventions),
            "norm_precision_auc": float(curves["norm_precision"].mean()),
            "op50": curves["success"][OP50],
            "op75": curves["success"][OP75],
        }
        return {name: Mean.of([value]) for name, value in values.items()}, curves, 1.0


@protocol("pytracking", needs="boxes")
class Pytracking(CurveProtocol):
    """PyTracking's analysis of LaSOT, by which the SAM 2 family reports it, and of OTB100 and NfS.

    The first box is replaced by the truth. A box without width or height repeats the one before; negative sizes and NaN
    are refused. A frame counts as a miss where the object is absent or one of the four true numbers is not positive
    (but in normalized precision a visible frame of that kind is a hit, since its error is set to -1); it stays in the
    denominator.

    Attributes:
        valid_only: divide by the other frames only (its `exclude_invalid_frames`).
    """

    valid_only: bool = False
    strict = True
    columns = (*CurveProtocol.columns, cols.MEAN_OVERLAP)

    @property
    def conventions(self) -> BoxConventions:
        """See `Protocol.conventions`."""
        return replace(self.rules, denominator="valid") if self.valid_only else self.rules

    def values(self, repetitions: list[FrameErrors]) -> Found:
        """See `BoxProtocol.values`; `mean_overlap` is that of the valid frames."""
        means, curves, weight = super().values(repetitions)
        iou = repetitions[0].iou
        return {**means, "mean_overlap": Mean.of([mean_overlap(iou[iou != NO_OVERLAP])])}, curves, weight


@protocol("pytracking-uav", needs="boxes")
class PytrackingUav(Pytracking):
    """PyTracking's analysis of UAV123: frames without the object or with a bad true box are hits in both precisions."""

    rules = BoxConventions(absent_frames="as bad truth", bad_truth="hit")


@protocol("pytracking-avist", needs="boxes")
class PytrackingAvist(Pytracking):
    """PyTracking's analysis of AVisT: absent frames are hits in normalized precision only, as are bad true boxes."""

    rules = BoxConventions(absent_frames="as bad truth")


@protocol("vasttrack", needs="boxes")
class VastTrack(Pytracking):
    """VastTrack's Python toolkit: as `pytracking`, but a true box may begin at or beyond an edge of the image.

    Its MATLAB toolkit is `lasot`, and gives other numbers for the same results.
    """

    rules = BoxConventions(true_boxes="sized")


@protocol("lasot", needs="boxes")
class LasotMatlab(CurveProtocol):
    """The LaSOT toolkit's MATLAB code, which the TNL2K and VastTrack toolkits have taken over.

    As `pytracking` but: boxes that are NaN or not positive in size repeat the one before, and a visible frame whose
    true box is not positive in all four numbers is a hit in both precisions (its error is set to -1).
    """

    rules = BoxConventions(bad_truth="hit")


@protocol("pysot", needs="boxes")
class Pysot(CurveProtocol):
    """The pysot toolkit's one-pass evaluation: as `lasot`, but boxes are taken as they are, the first one too.

    Its test of the center error is on the true center instead of the true box, for normalized precision on the center
    in sizes of the object.
    """

    rules = BoxConventions(
        first_frame="as written", bad_truth="hit", true_boxes="center", empty_boxes="as written", formulas="pysot"
    )


@protocol("got10k-success", needs="boxes")
class Got10kSuccess(CurveProtocol):
    """The GOT-10k toolkit's LaSOT and OTB curves: absence is ignored; only frames annotated NaN do not count.

    Its headline normalized precision is `norm_precision_auc`, the mean of the curve.
    """

    rules = BoxConventions(
        absent_frames="scored", bad_truth="as written", empty_boxes="as written", formulas="got10k", denominator="known"
    )


@protocol("got10k", needs="boxes")
class Got10k(BoxProtocol):
    """GOT-10k: average overlap and success rates over the frames of all sequences and repetitions together.

    The first frame does not count, nor do frames in which the object is absent (`cover` 0, or the absence flag where a
    benchmark has no cover). Both boxes are cut to the image if its size is known.
    """

    rules = BoxConventions(
        first_frame="left out",
        absence="cover",
        bad_truth="as written",
        empty_boxes="as written",
        pixels="picture",
        formulas="got10k",
        success="mean overlap",
        denominator="valid",
        aggregation="frames",
    )
    columns = (
        cols.AO,
        cols.Column("sr50", "SR50"),
        cols.Column("sr75", "SR75"),
    )

    def rows(self, sequence: Sequence, results: TrackerResults, count: int) -> tuple[list[Boxes], tuple[str, ...]]:
        """See `BoxProtocol.rows`."""
        return results.repetitions(sequence, count)

    def values(self, repetitions: list[FrameErrors]) -> Found:
        """See `BoxProtocol.values`."""
        iou = np.concatenate([frames.overlaps for frames in repetitions])
        count = float(sum(frames.count for frames in repetitions))
        values = {"ao": mean_overlap(iou), "sr50": overlap_precision(iou, 0.5), "sr75": overlap_precision(iou, 0.75)}
        means = {name: Mean(value * count if count else 0.0, count) for name, value in values.items()}
        return means, {"success": success_curve(iou)}, count


@protocol("trackingnet", needs="boxes")
class TrackingNet(BoxProtocol):
    """TrackingNet's development kit: whole pixels, and all three numbers are areas under curves of 21 thresholds.

    Every number of both boxes is rounded first, row 0 is replaced by the truth, success is not strict (`>=`), and the
    curves are integrated with trapezoids over thresholds scaled to 0..1.
    """

    rules = BoxConventions(
        absent_frames="scored",
        bad_truth="as written",
        empty_boxes="as written",
        pixels="whole",
        formulas="trackingnet",
        thresholds="from",
        area="trapezoid",
    )
    columns = (  # one name means another number under some protocols; it must not look the same
        cols.SUCCESS,
        replace(cols.PRECISION, heading="P area"),
        replace(cols.NORM_PRECISION, heading="Pnorm area"),
    )

    def values(self, repetitions: list[FrameErrors]) -> Found:
        """See `BoxProtocol.values`."""
        curves = error_curves(repetitions[0], self.conventions)
        values = headline(repetitions[0], curves, self.conventions)
        return {name: Mean.of([value]) for name, value in values.items()}, curves, 1.0


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


def _refuse(predicted: Boxes, where: str) -> None:
    x, y, w, h = predicted.T
    bad = ~((w >= 0) & (h >= 0)) | np.isnan(x) | np.isnan(y)
    if bad.any():
        frame = int(np.flatnonzero(bad)[0])
        shown = ",".join(f"{value:g}" for value in predicted[frame])
        raise DataError(
            where,
            f"expected w >= 0 and h >= 0, got {shown} (PyTracking refuses such rows); write "
            "absent objects as zeros, or choose --protocol lasot",
            line=frame + 1,
        )
