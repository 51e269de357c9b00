"""What the protocols of VOT's regions share: a sequence's truth, and results made comparable with it."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.vot import VotCodec
from mosam.datasets.region_truth import RegionTruth
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.evaluation.metrics.supervised import STARTED, counted_frames, supervised_accuracy
from mosam.evaluation.protocols.base import Mean, ShortResultError, TrackerResults
from mosam.regions.overlap import is_empty
from mosam.regions.trajectory import INITIALIZED, MASK, RECTANGLE, Special, Trajectory
from mosam.types import Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

Floats = NDArray[np.float64]
UNTAGGED = "empty"  # the tag of frames that have none


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

    pixels: Literal["toolkit", "unbounded", "pysot", "exact areas"] = "toolkit"
    fragments: Literal["as recorded", "after five frames"] = "as recorded"
    weights: Literal["equal", "by share"] = "equal"
    lengths: Literal["from 0", "from 1"] = "from 0"
    aggregation: Literal["sequences", "frames"] = "sequences"


def supervised_mean(
    overlaps: Listed[Floats], codes: Listed[NDArray[np.int64]], count: int, conventions: RegionConventions
) -> Mean:
    """A sequence's accuracy: the mean overlap of the frames that count.

    Args:
        overlaps: (T,) of each repetition, NaN where a frame has none.
        codes: special codes of each repetition, at least T.
        count: annotated frames.
        conventions: `aggregation` is theirs.
    """
    pairs = list(zip(overlaps, codes, strict=True))
    if conventions.aggregation == "sequences":
        accuracy = float(np.mean(np.nan_to_num([supervised_accuracy(*pair)[0] for pair in pairs])))
        return Mean(accuracy * count, count)
    rows = [np.where(counted_frames(flags)[: len(row)], row, np.nan) for row, flags in pairs]
    mean = nan_mean(np.array(rows))
    known = mean[~np.isnan(mean)]
    return Mean(float(known.sum()), float(known.size))


def region_truth(sequence: Sequence) -> RegionTruth:
    """A sequence's regions; MismatchError where its annotation is of another kind, DataError where it has none."""
    truth = sequence.truth
    if not isinstance(truth, RegionTruth):
        raise MismatchError(f"{sequence.name}: expected annotated regions (VOT), got {type(truth).__name__}")
    if not any((regions.codes < 0).any() for regions in truth.objects.values()):
        raise DataError(
            sequence.name, f"expected a frame with a region, got none in {len(truth)} annotated frames; leave it out"
        )
    return truth


def region_codec(results: TrackerResults) -> VotCodec:
    """The codec of results in VOT's layout; MismatchError where they are in another."""
    if not isinstance(results.codec, VotCodec):
        raise MismatchError(f"{results.folder}: expected results in VOT's layout; choose another protocol")
    return results.codec


def cut_to_truth(
    sequence: Sequence, trajectory: Trajectory, count: int, *, what: str = ""
) -> tuple[Trajectory, tuple[str, ...]]:
    """A result with one region a frame: longer ones cut, with a note.

    Args:
        sequence: whose.
        trajectory: the result.
        count: frames that are annotated.
        what: which of its runs, for the note.
    Raises:
        ShortResultError: fewer rows.
    """
    if len(trajectory) < count:
        raise ShortResultError(sequence.name, f"{what}{len(trajectory)} of {count} rows")
    if len(trajectory) == count:
        return trajectory, ()
    return trajectory.take(slice(0, count)), (f"{what}{len(trajectory)} rows cut to {count}",)


def image_size(sequence: Sequence, truth: RegionTruth) -> Size:
    """Height and width of a sequence's frames; MissingDataError, with its name, where they are not known."""
    try:
        return truth.size
    except MissingDataError as error:
        raise MissingDataError(f"{sequence.name}: {error}") from None


def as_the_truth(result: Trajectory, true: Trajectory, *, defects: bool = True) -> Trajectory:
    """A result of masks as boxes where the truth has none but boxes (DiDi).

    Boxes are one pixel short and those of empty masks are zeros, as its authors convert them; the first frame becomes a
    start.

    Args:
        result, true: T regions each.
        defects: masks one pixel wide or tall are empty, as in the toolkit that converts them.
    """
    if not (result.kinds == MASK).any() or not (true.kinds == RECTANGLE).any() or (true.kinds == MASK).any():
        return result
    masks = result.kinds == MASK
    boxes = np.where(masks[:, None], np.nan_to_num(result.boxes()), result.boxes())
    boxes[masks & is_empty(result, defects=defects)] = 0
    converted = Trajectory.of_boxes(boxes)
    codes = result.codes
    numbers = converted.numbers.copy()
    special = codes >= 0
    numbers[converted.starts[:-1][special]] = codes[special]
    kept = Trajectory(converted.kinds, converted.starts, numbers)
    if codes[0] == STARTED:
        return kept
    return Trajectory.of([Special(INITIALIZED), *kept.take(slice(1, len(kept)))])


def nan_mean(rows: Floats) -> Floats:
    """Mean over rows (N, T), NaN where a column has nothing."""
    known = ~np.isnan(rows)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, rows, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan)
