"""Success: how many frames overlap the ground truth by more than each threshold, and the area under that curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# PyTracking, pysot-toolkit and MATLAB step by 0.05, got-10k/toolkit takes linspace: the same values to the last bit,
# which decides, since the overlap of boxes of whole pixels can be exactly 3/20.
SUCCESS_THRESHOLDS = np.linspace(0.0, 1.0, 21)


def success_curve(
    iou: NDArray[np.float64],
    *,
    thresholds: NDArray[np.float64] = SUCCESS_THRESHOLDS,
    count: int | None = None,
    strict: bool = True,
) -> NDArray[np.float64]:
    """Fraction of frames whose overlap exceeds each threshold.

    Args:
        iou: (T,) overlap in [0, 1]; -1 counts as a miss, NaN (no ground truth) is left out. Which frames get which is
            what the protocols differ in.
        thresholds: (N,) ascending.
        count: denominator; None = the frames that are not left out.
        strict: False = an overlap that equals a threshold reaches it too (TrackingNet).
    Returns:
        (N,) fractions; NaN where the denominator is 0.
    Source: Wu et al., CVPR 2013; strict `>` in the LaSOT, GOT-10k, pysot and PyTracking programs.

    >>> success_curve(np.array([1.0, 0.5, np.nan]))[[0, 9, 10, 20]]
    array([1. , 1. , 0.5, 0. ])
    """
    valid = iou[~np.isnan(iou)]
    below = np.searchsorted(thresholds, valid, side="left" if strict else "right")  # thresholds each value exceeds
    reached = len(valid) - np.cumsum(np.bincount(below, minlength=len(thresholds) + 1))[:-1]
    return _share(reached, len(valid) if count is None else count)


def success_auc(curve: NDArray[np.float64]) -> float:
    """Area under a success curve, as the benchmarks take it: the plain mean of its values.

    >>> success_auc(success_curve(np.array([1.0])))
    0.952...
    """
    return float(np.mean(curve))


def _share(reached: NDArray[np.integer], count: int) -> NDArray[np.float64]:
    return reached / count if count > 0 else np.full(len(reached), np.nan)
