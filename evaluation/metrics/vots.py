"""VOTS 2023 and later, and DiDi: quality, accuracy, robustness, and what kind of errors a tracker makes.

A frame counts where the truth is known. On frames with the object the tracker is on it (overlap > 0), off it, or says
that it is absent; on frames without, it says so or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.supervised import FAILED, STARTED

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
QUALITY_THRESHOLDS = np.linspace(0.0, 1.0, 100)
ABSENT_FRAMES = 10  # absence detection counts where the object is absent in more frames than this


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """Frames of one object by what the tracker did.

    Attributes:
        tracked: on the object.
        drifted: elsewhere.
        missed: reported absent while the object was there.
        imagined: reported something while the object was absent.
        noticed: reported absent while it was.
    """

    tracked: float
    drifted: float
    missed: float
    imagined: float
    noticed: float

    @property
    def present(self) -> float:
        """Frames with the object."""
        return self.tracked + self.drifted + self.missed


def count_frames(overlaps: Floats, predicted_empty: Flags, truth_empty: Flags, truth_known: Flags) -> FrameCounts:
    """Frames of one object by what the tracker did.

    Args:
        overlaps: (T,) in [0, 1].
        predicted_empty, truth_empty: (T,) where there is nothing.
        truth_known: (T,) where the truth says something.
    """
    there, gone = truth_known & ~truth_empty, truth_known & truth_empty
    on = overlaps > 0
    return FrameCounts(
        float(np.count_nonzero(there & on)),
        float(np.count_nonzero(there & ~on & ~predicted_empty)),
        float(np.count_nonzero(there & ~on & predicted_empty)),
        float(np.count_nonzero(gone & ~predicted_empty)),
        float(np.count_nonzero(gone & predicted_empty)),
    )


def quality_frames(codes: NDArray[np.int64], truth_known: Flags) -> Flags:
    """(T,) frames that quality averages: with known truth and no failure code of the tracker.

    The start, which has a code instead of a region, counts with the overlap of a code: 0, as in the toolkit.
    """
    return truth_known & (codes != FAILED)


def accuracy_frames(overlaps: Floats, codes: NDArray[np.int64], truth_known: Flags, truth_empty: Flags) -> Flags:
    """(T,) frames that accuracy averages: those with the object on which the tracker is on it, and the start."""
    return truth_known & ~truth_empty & ((codes == STARTED) | ((codes != FAILED) & (overlaps > 0)))


def quality_curve(overlaps: Floats) -> Floats:
    """Share of frames (T,) with an overlap above each of `QUALITY_THRESHOLDS`, at 1 at least; NaN of no frames."""
    if not overlaps.size:
        return np.full(len(QUALITY_THRESHOLDS), np.nan)
    above = overlaps[:, None] > QUALITY_THRESHOLDS
    above[:, -1] = overlaps >= 1
    return above.mean(axis=0)


def object_robustness(counts: FrameCounts) -> float:
    """Share of the frames with the object in which the tracker is on it; NaN where it is never there."""
    return counts.tracked / counts.present if counts.present else float("nan")


def not_reported_error(counts: FrameCounts) -> float:
    """NRE: share of the frames with the object that the tracker reports absent; NaN where it is never there."""
    return counts.missed / counts.present if counts.present else float("nan")


def drift_rate_error(counts: FrameCounts) -> float:
    """DRE: share of the frames with the object in which the tracker is elsewhere; NaN where it is never there."""
    return counts.drifted / counts.present if counts.present else float("nan")


def absence_detection_quality(counts: FrameCounts) -> float:
    """ADQ: share of the frames without the object that the tracker reports so; NaN of 10 such frames or fewer."""
    absent = counts.noticed + counts.imagined
    return counts.noticed / absent if absent > ABSENT_FRAMES else float("nan")
