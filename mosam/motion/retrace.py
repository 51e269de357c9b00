"""Whether a mask shows what was shown some frames ago: its points are followed back and compared with the mask there.

Source: `sam2/utils/cot_filter.py` of LouisFinner/HiM2SAM at 9e7d3fc, with any point tracker in place of CoTracker3.
Points are spread over the union of the candidates, away from its edge. Those of one candidate that are seen in the
oldest picture make a heat map there, which is compared with the mask that was shown on that frame, softly (Dice) and
by boxes. All sizes are those of the program, in pixels of a square grid over the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mosam.motion.base import PointTracker
from mosam.types import Retraced

SIDE = 1 << 10  # of the program's grid; the network's own pictures may have another
POINTS = 100
LEAST_AREA = 100  # of the union
LEAST_INSIDE = 10  # pixels of the union away from its edge
LEAST_SEEN = 10  # points of a candidate
ERODE_RANGE, ERODE_SHARE = (5, 21), 3.5 * 1.2  # kernel: a share of the union's radius
BANDWIDTH_SHARE = 0.8  # of the kernel less 2
LARGE_AREA, LARGE_STEP = 150_000, 6  # of a union above this, only each sixth pixel may be a point
FAINT_HEAT, FAINT_LOGIT, FAINT_MASK = 0.4, 0.15, 0.1
LEAST_SUM = 0.1  # of the old mask's logits
NOTHING = Retraced(0.0, 0.0)


def retraced(
    masks: NDArray[np.bool_], old: NDArray[np.float32], clip: Sequence[NDArray[np.uint8]], tracker: PointTracker
) -> list[Retraced]:
    """Each candidate against the old mask.

    Args:
        masks: (K, SIDE, SIDE) the candidates.
        old: (SIDE, SIDE) logits of the mask on the frame of the last picture.
        clip: RGB pictures (h, w, 3) from the one the points are placed on back to the old frame.
        tracker: follows the points.
    Returns:
        K values; zeros where there are too few points to say anything.
    """
    union = np.logical_or.reduce(masks, axis=0)
    area = int(union.sum())
    kernel = min(max(int(math.sqrt(area / math.pi) / ERODE_SHARE), ERODE_RANGE[0]), ERODE_RANGE[1])
    points = _spread(union, kernel) if area >= LEAST_AREA else None
    shown = np.where(old < FAINT_LOGIT, 0, old).astype(np.float64)
    if points is None or shown.sum() < LEAST_SUM:
        return [NOTHING] * len(masks)
    shown /= shown.max() + 1e-5
    h, w = clip[0].shape[:2]
    scale = np.array([w / SIDE, h / SIDE], np.float32)
    places, seen = tracker.follow(clip, (points + np.float32(0.5)) * scale - np.float32(0.5))
    ends = (places[-1] + 0.5) / scale - 0.5
    x, y = np.clip(points.astype(int), 0, SIDE - 1).T
    return [_meeting(ends[seen[-1] & mask[y, x]], shown, int((kernel - 2) * BANDWIDTH_SHARE)) for mask in masks]


def _spread(union: NDArray[np.bool_], kernel: int) -> NDArray[np.float32] | None:
    """(POINTS, 2) x, y far from each other and from the edge of a mask; None where next to nothing is left.

    An even kernel moves them by half a pixel, and one may lie at SIDE; missing ones are at 0, 0. So does the program.
    """
    import cv2

    more = 1 - kernel % 2
    padded = cv2.copyMakeBorder(union.astype(np.uint8), 0, more, 0, more, cv2.BORDER_CONSTANT, value=1)
    square, anchor = np.ones((kernel, kernel), np.uint8), (kernel // 2, kernel // 2)
    inside = cv2.erode(padded, square, anchor=anchor, borderType=cv2.BORDER_CONSTANT, borderValue=1)
    y, x = np.nonzero(inside)
    if len(x) < LEAST_INSIDE:
        return None
    step = LARGE_STEP if union.sum() > LARGE_AREA else 1
    pixels = np.stack([x, y], axis=1)[::step]
    points = np.zeros((POINTS, 2), np.float32)
    chosen = farthest(pixels, POINTS)
    points[: len(chosen)] = pixels[chosen]
    return points


def farthest(points: NDArray[np.int64], count: int) -> list[int]:
    """Up to `count` indices of points (N, 2), each the farthest from those before it, the first one first.

    >>> farthest(np.array([[0, 0], [1, 0], [5, 0], [3, 0]]), 3)
    [0, 2, 3]
    """
    chosen, nearest = [0], np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    return chosen


def _meeting(points: NDArray[np.floating], old: NDArray[np.float64], bandwidth: int) -> Retraced:
    """Points (N, 2) against an old mask (SIDE, SIDE) with values in [0, 1)."""
    heat = np.zeros_like(old) if len(points) < LEAST_SEEN else _heat(points, bandwidth)
    dice = 2 * (heat * old).sum() / (heat.sum() + old.sum() + 0.01)
    return Retraced(float(dice), _box_iou(heat > FAINT_MASK, old > FAINT_MASK))


def _heat(points: NDArray[np.floating], bandwidth: int) -> NDArray[np.float64]:
    """(SIDE, SIDE) in [0, 1]: mean of Gaussians at the points, its peaks cut and its faint parts removed.

    A Gaussian is the product of one along x and one along y. What 32 bits cannot tell from 0 does not count in the
    mean, as in the program.
    """
    line = np.linspace(0, SIDE, SIDE)[:, None]
    x, y = (np.exp(-0.5 * ((line - points[:, axis]) / bandwidth) ** 2) for axis in (0, 1))
    density = (y @ x.T) / (len(points) * 2 * np.pi * bandwidth**2)
    positive = density[density.astype(np.float32) > 0]
    if len(positive) < 2:
        return np.zeros((SIDE, SIDE))
    density = np.minimum(density, positive.mean() + 2 * positive.std(ddof=1))
    density /= density.max()
    return np.where(density < FAINT_HEAT, 0, density)


def _box_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """IoU of the boxes between the first and last pixels of two masks; an empty one is a point at 0, 0."""
    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = _ends(a), _ends(b)
    width, height = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    overlap = width * height if width > 0 and height > 0 else 0
    union = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0) - overlap
    return overlap / union if union > 0 else 0.0


def _ends(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])) if columns.size else (0, 0, 0, 0)
