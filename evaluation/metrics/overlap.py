"""Overlap over a sequence: its mean and the share of frames above a threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def mean_overlap(iou: NDArray[np.float64]) -> float:
    """Mean overlap of the frames that count (average overlap, AO, where those are GOT-10k's).

    Args:
        iou: (T,) in [0, 1]; NaN is left out.
    Returns:
        in [0, 1]; NaN where no frame counts.

    >>> mean_overlap(np.array([0.5, 1.0, np.nan]))
    0.75
    """
    valid = iou[~np.isnan(iou)]
    return float(valid.mean()) if valid.size else float("nan")


def overlap_precision(iou: NDArray[np.float64], threshold: float) -> float:
    """Share of the frames that count with an overlap above a threshold (strictly): OP50, SR50 and their like.

    Args:
        iou: (T,) in [0, 1]; NaN is left out.
        threshold: in [0, 1].
    Returns:
        in [0, 1]; NaN where no frame counts.

    >>> overlap_precision(np.array([0.5, 0.6, np.nan]), 0.5)
    0.5
    """
    valid = iou[~np.isnan(iou)]
    return float((valid > threshold).mean()) if valid.size else float("nan")
