"""VOT 2013-2019: a tracker that is started again after each failure; accuracy, failures and reliability.

A result row is a region or a code: 1 started here, 2 failed here, 0 not evaluated (the frames skipped after a failure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN, STARTED, FAILED = range(3)
BURN_IN = 10  # frames after each start that accuracy leaves out (VOT2013, section 3.1)
SKIP_AFTER_FAILURE = 5  # frames from a failure to the next start
SENSITIVITY = 30.0  # of reliability, in frames (VOT2014 and later AR plots)


@dataclass(frozen=True, slots=True)
class Run:
    """Frames from a start to the frame before a failure, or to the end.

    Attributes:
        overlaps: (n,) in [0, 1]; the first is that of the start.
        failed: whether a failure ended it.
    """

    overlaps: NDArray[np.float64]
    failed: bool


def counted_frames(codes: NDArray[np.int64], *, burn_in: int = BURN_IN) -> NDArray[np.bool_]:
    """Frames that accuracy counts.

    Args:
        codes: (T,) special codes; -1 where the row is a region.
        burn_in: frames from each start on that do not count.
    Returns:
        (T,) bool.

    >>> counted_frames(np.array([1, -1, -1, 2, 0]), burn_in=2)
    array([False, False,  True, False, False])
    """
    counted = codes < 0
    for start in np.flatnonzero(codes == STARTED):
        counted[start : start + burn_in] = False
    return counted


def supervised_accuracy(
    overlaps: NDArray[np.float64], codes: NDArray[np.int64], *, burn_in: int = BURN_IN
) -> tuple[float, int]:
    """Mean overlap of the frames that count.

    Args:
        overlaps: (T,) in [0, 1]; NaN is left out.
        codes: (T,) special codes; -1 where the row is a region.
    Returns:
        the mean, NaN where no frame counts, and how many do.

    >>> supervised_accuracy(np.array([0.0, 0.5, 0.7]), np.array([1, -1, -1]), burn_in=1)
    (0.6, 2)
    """
    counted = overlaps[counted_frames(codes, burn_in=burn_in)]
    counted = counted[~np.isnan(counted)]
    return (float(counted.mean()) if counted.size else float("nan")), int(counted.size)


def count_failures(codes: NDArray[np.int64]) -> int:
    """How often the tracker failed, given its codes (T,)."""
    return int(np.count_nonzero(codes == FAILED))


def reliability(failures: float, frames: float, *, sensitivity: float = SENSITIVITY) -> float:
    """Probability of tracking on for `sensitivity` frames without a failure, in [0, 1].

    Args:
        failures: failures, or their mean.
        frames: frames in which they happened.
    Source: Kristan et al., VOT2013; `exp(-sensitivity * failures / frames)`.

    >>> round(reliability(1, 60), 4)
    0.6065
    """
    return math.exp(-sensitivity * failures / frames)


def split_runs(overlaps: NDArray[np.float64], codes: NDArray[np.int64]) -> list[Run]:
    """A supervised result cut into the stretches between a start and a failure.

    Args:
        overlaps: (T,) in [0, 1].
        codes: (T,) special codes.
    Raises:
        ValueError: a failure without a start before it.

    >>> [(len(run.overlaps), run.failed) for run in split_runs(np.zeros(6), np.array([1, -1, 2, 0, 1, -1]))]
    [(2, True), (2, False)]
    """
    starts, failures = np.flatnonzero(codes == STARTED), np.flatnonzero(codes == FAILED)
    if not failures.size:
        return [Run(overlaps, False)]
    if len(starts) < len(failures) or (starts[: len(failures)] > failures).any():
        raise ValueError(
            f"expected a start (1) before each failure (2), got starts in {starts}, failures in {failures}"
        )
    runs = [Run(overlaps[start:end], True) for start, end in zip(starts, failures, strict=False)]
    if len(starts) > len(failures):
        runs.append(Run(overlaps[starts[-1] :], False))
    return runs
