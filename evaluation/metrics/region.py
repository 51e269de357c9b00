"""Region similarity J: intersection over union of two masks."""

from __future__ import annotations

import numpy as np

from mosam.types import Mask


def region_similarity(predicted: Mask, truth: Mask, *, void: Mask | None = None) -> float:
    """J of one object on one frame.

    Args:
        predicted: (H, W) bool.
        truth: (H, W) bool.
        void: (H, W) pixels that do not count, or None.
    Returns:
        in [0, 1]; 1 where both masks are empty.
    Raises:
        ValueError: masks of different sizes.
    Source: Perazzi et al., DAVIS, CVPR 2016.

    >>> region_similarity(np.array([[True, True, False]]), np.array([[True, False, False]]))
    0.5
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"region_similarity: expected a mask of {truth.shape}, got {predicted.shape}")
    if void is not None:
        predicted, truth = predicted & ~void, truth & ~void
    both = np.count_nonzero(predicted & truth)
    union = np.count_nonzero(predicted) + np.count_nonzero(truth) - both
    return both / union if union else 1.0
