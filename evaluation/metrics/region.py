"""Region similarity J: intersection over union of two masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

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


def region_table(predicted: Sequence[Mask], truths: Sequence[Mask], *, void: Mask | None = None) -> NDArray[np.float64]:
    """J of every predicted mask with every true one on one frame.

    Args:
        predicted: P masks (H, W) bool.
        truths: N masks of the same size.
        void: see `region_similarity`.
    Returns:
        (P, N) in [0, 1], as `region_similarity` gives for each pair.
    """
    table = np.ones((len(predicted), len(truths)))
    rows, columns = ([mask if void is None else mask & ~void for mask in masks] for masks in (predicted, truths))
    areas = [np.count_nonzero(mask) for mask in rows]
    for n, truth in enumerate(columns):
        area, inside = np.count_nonzero(truth), np.flatnonzero(truth.any(axis=1))
        part = slice(inside[0], inside[-1] + 1) if inside.size else slice(0)  # the rows that can hold an intersection
        for p, mask in enumerate(rows):
            both = np.count_nonzero(mask[part] & truth[part])
            union = areas[p] + area - both
            table[p, n] = both / union if union else 1.0
    return table


def smoothed_similarity(predicted: Mask, truth: Mask) -> float:
    """J of one object on one frame as MOSE v2 has it: one pixel is added to intersection and union.

    Args:
        predicted, truth: (H, W) bool.
    Returns:
        in (0, 1]; 1 where both masks are empty.
    Source: `metricsv2.py` of MOSE-api.

    >>> smoothed_similarity(np.array([[True, True, False]]), np.array([[True, False, False]]))
    0.6666666666666666
    """
    both = np.count_nonzero(predicted & truth)
    union = np.count_nonzero(predicted) + np.count_nonzero(truth) - both
    return (both + 1) / (union + 1)
