"""Boxes and masks in numpy: conversions with their convention in the name, and overlaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.types import Box, Mask, Size

BOX_FROM_MASK = ("exclusive", "inclusive")
BEYOND = 0.1  # share of a picture by which a given box may reach out of it


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


def box_fault(box: Box, size: Size) -> str | None:
    """What is wrong with a box that somebody gave as x, y, w, h on a picture, and what it would be if read otherwise.

    Returns:
        `expected ..., got ...`; None for a box that is on the picture, or reaches a little out of it.

    >>> box_fault(np.array([30.0, 20.0, 60.0, 44.0]), (48, 64))
    'expected x,y,w,h, got a box that reaches to 90,64 of the 64x48 picture; if these are two corners, give 30,20,30,24'
    >>> box_fault(np.array([0.25, 0.5, 0.5, 0.25]), (48, 64))
    'expected x,y,w,h in pixels, got a tiny box; if these are fractions of the 64x48 picture, give 16,24,32,12'
    """
    height, width = size
    x, y, w, h = (float(value) for value in box)
    picture = f"the {width}x{height} picture"
    if x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return f"expected a box x,y,w,h on {picture}, got one that lies beside it"
    if 0 <= x <= 1 and 0 <= y <= 1 and w <= 1 and h <= 1 and (w < 1 or h < 1):
        meant = ",".join(f"{value:g}" for value in (x * width, y * height, w * width, h * height))
        return f"expected x,y,w,h in pixels, got a tiny box; if these are fractions of {picture}, give {meant}"
    beyond = x + w > width * (1 + BEYOND) or y + h > height * (1 + BEYOND)
    if beyond and x < w <= width and y < h <= height:
        meant = ",".join(f"{value:g}" for value in (x, y, w - x, h - y))
        return (
            f"expected x,y,w,h, got a box that reaches to {x + w:g},{y + h:g} of {picture}; if these are two corners, "
            f"give {meant}"
        )
    if beyond or x < -BEYOND * width or y < -BEYOND * height:
        low = ",".join(f"{value:g}" for value in (max(x, 0), max(y, 0)))
        high = f"{min(x + w, width) - max(x, 0):g},{min(y + h, height) - max(y, 0):g}"
        return (
            f"expected a box x,y,w,h on {picture}, got one from {x:g},{y:g} to {x + w:g},{y + h:g}; "
            f"{low},{high} is what of it is on the picture"
        )
    return None
