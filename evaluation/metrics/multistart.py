"""VOT 2020-2022: a tracker started at every anchor, forward or backward; where it failed, and how well it did.

A run has failed where the overlap stays at or below a threshold for so many frames in a row; it ends before the first
of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosam.evaluation.metrics.supervised import Run

GRACE = 10  # frames in a row below the threshold that are a failure (VOT2020, section 2.1.2)
FAILURE_OVERLAP = 0.1


@dataclass(frozen=True, slots=True)
class AnchorRun:
    """One run from an anchor, in the order it was played.

    Attributes:
        overlaps: (n,) in [0, 1].
        progress: frames before the failure; n without one.
    """

    overlaps: NDArray[np.float64]
    progress: int

    @property
    def run(self) -> Run:
        """The same with zeros from the failure on."""
        kept = np.where(np.arange(len(self.overlaps)) < self.progress, self.overlaps, 0.0)
        return Run(kept, self.progress < len(self.overlaps))


def frames_before_failure(
    overlaps: NDArray[np.float64],
    truth_empty: NDArray[np.bool_],
    *,
    threshold: float = FAILURE_OVERLAP,
    grace: int = GRACE,
) -> int:
    """How far a run got.

    Args:
        overlaps: (n,) in [0, 1].
        truth_empty: (n,) where there is nothing to find; such a frame ends a row of bad ones.
    Returns:
        frames before the first of `grace` bad ones in a row (overlap <= `threshold`); n without such a row.

    >>> frames_before_failure(np.array([1, 0, 1, 0, 0, 1.0]), np.zeros(6, bool), grace=2)
    3
    """
    bad = (overlaps <= threshold) & ~truth_empty
    good_before = np.maximum.accumulate(np.where(bad, -1, np.arange(len(bad)))) if len(bad) else np.zeros(0, np.int64)
    failed = np.flatnonzero(np.arange(len(bad)) - good_before >= grace)
    return int(failed[0]) + 1 - grace if failed.size else len(bad)


def accuracy_robustness(runs: Sequence[AnchorRun]) -> tuple[float, float, int]:
    """Accuracy and robustness of the runs of one sequence.

    Returns:
        mean overlap of the frames before failures (0 where there are none), their share of all frames, their number.
    Source: Kristan et al., VOT2020, section 2.1.2.

    >>> accuracy_robustness([AnchorRun(np.array([1.0, 0.5, 0.0, 0.0]), 2)])
    (0.75, 0.5, 2)
    """
    kept = sum(run.progress for run in runs)
    total = float(sum(run.overlaps[: run.progress].sum() for run in runs))
    return (total / kept if kept else 0.0), kept / sum(len(run.overlaps) for run in runs), kept
