"""Boxes and masks in numpy: conversions with their convention in the name, and overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.types import Box, Mask, Size

BOX_FROM_MASK = ("exclusive", "inclusive")


def box_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Continuous intersection over union of boxes, row by row.

    Args:
        a: (..., 4) x, y, w, h.
        b: (..., 4) x, y, w, h, broadcast against `a`.
    Returns:
        (...,) in [0, 1]; 0 where the union has no area; NaN where either box is NaN.

    >>> box_iou(np.array([0.0, 0, 2, 2]), np.array([1.0, 0, 2, 2])).round(3)
    0.333
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    # side by side: products and tests over an axis of two or four take several times as long
    ax, ay, aw, ah = (a[..., side] for side in range(4))
    bx, by, bw, bh = (b[..., side] for side in range(4))
    wide = np.clip(np.minimum(ax + aw, bx + bw) - np.maximum(ax, bx), 0.0, None)
    tall = np.clip(np.minimum(ay + ah, by + bh) - np.maximum(ay, by), 0.0, None)
    intersection = wide * tall
    areas = [np.clip(w, 0.0, None) * np.clip(h, 0.0, None) for w, h in ((aw, ah), (bw, bh))]
    union = areas[0] + areas[1] - intersection
    missing = np.isnan(ax) | np.isnan(ay) | np.isnan(aw) | np.isnan(ah)
    missing = missing | np.isnan(bx) | np.isnan(by) | np.isnan(bw) | np.isnan(bh)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(union > 0, intersection / union, 0.0)
    return np.where(missing, np.nan, iou)[()]


def inside_share(box: Box, size: Size) -> float:
    """Share of a box's area that lies in a picture.

    Args:
        box: (4,) x, y, w, h with an area.
        size: (height, width).

    >>> inside_share(np.array([-5.0, 0, 10, 10]), (20, 20))
    0.5
    """
    x, y, w, h = (float(value) for value in box)
    wide = max(0.0, min(x + w, size[1]) - max(x, 0.0))
    tall = max(0.0, min(y + h, size[0]) - max(y, 0.0))
    return wide * tall / (w * h)


def mask_to_box(mask: Mask, *, convention: str = "exclusive") -> Box:
    """Tight box around a mask.

    Two conventions are in use for the same mask and move scores of small targets; their names say what becomes of the
    last column: `exclusive` leaves it out of the width (`w = x_max - x_min`, one pixel short: SAMURAI, VOT toolkit
    0.7), `inclusive` counts it (`w = x_max - x_min + 1`: DAM4SAM, and the true area).

    Args:
        mask: (H, W) bool.
        convention: `exclusive` or `inclusive`.
    Returns:
        (4,) float64 x, y, w, h; NaN where the mask is empty.

    >>> mask_to_box(np.array([[0, 1, 1]], dtype=bool), convention="inclusive")
    array([1., 0., 2., 1.])
    """
    if convention not in BOX_FROM_MASK:
        raise ValueError(f"mask_to_box: expected a convention of {BOX_FROM_MASK}, got {convention!r}")
    columns = np.flatnonzero(mask.any(axis=0))
    if columns.size == 0:
        return np.full(4, np.nan)
    rows = np.flatnonzero(mask.any(axis=1))
    extra = 1 if convention == "inclusive" else 0
    x, y = columns[0], rows[0]
    return np.array([x, y, columns[-1] - x + extra, rows[-1] - y + extra], dtype=np.float64)


def mask_iou(a: Mask, b: Mask) -> float:
    """Intersection over union of two masks of one size; 1 when both are empty.

    >>> mask_iou(np.array([[1, 1]], bool), np.array([[1, 0]], bool))
    0.5
    """
    if a.shape != b.shape:
        raise ValueError(f"mask_iou: expected masks of one size, got {a.shape} and {b.shape}")
    union = np.count_nonzero(a | b)
    return 1.0 if union == 0 else np.count_nonzero(a & b) / union
