"""Where one object went: its previous mask moved by sparse and dense motion, merged into a box and points.

The paper states that both representations are fed from the past segmentation, warped, and give a box and points; every
number here is our choice (see `docs/policies.md`). Coordinates are fractions of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosam.motion.field import Motion, MotionPair, cell_centers, sample
from mosam.types import Forecast, MotionNeeds

ERODE_PIXELS = 2  # of the working picture: points nearer to the outline than this may belong to the background
RANSAC_PIXELS = 3.0
MIN_INLIERS = 8
MIN_TRUST = 0.5  # of either estimate, to be valid
AREA_RANGE = (0.5, 2.0)  # warped over previous area
SMALL_COMPONENT = 0.05  # share of the warped area below which a component is not part of the box
AGREE_IOU = 0.5  # the two boxes are averaged from here on
TRUST_ALONE = 0.8  # needed by the more trusted of two boxes that disagree
GROW = 0.05  # of the box, at each side
POINT_PROBABILITY = 0.7  # points lie where the warped mask is surer than this


@dataclass(frozen=True, slots=True, eq=False)
class _Estimate:
    """One of the two estimates: a box, the moved mask's probability (made when asked for), how far to trust them."""

    box: NDArray[np.float64]
    moved: Callable[[], NDArray[np.float32]]
    trust: float
    valid: bool


def forecast(pair: MotionPair, probability: NDArray[np.float32], needs: MotionNeeds) -> Forecast | None:
    """Move the previous mask to the current frame.

    Args:
        pair: motion of the last pair of frames.
        probability: (side, side) of the object on the previous frame, in [0, 1].
        needs: which motion, and how many points.
    Returns:
        The forecast, or None where there is no motion to use yet.
    """
    motion = pair.current
    if motion is None:
        return None
    mask = probability > 0.5
    previous_box = _box(mask)
    if previous_box is None:
        return Forecast(None, np.empty((0, 2)), None, 0.0, np.nan, np.nan, None, motion.survival)
    sparse, inliers = _sparse(motion, probability, mask, previous_box)
    dense = _dense(motion, probability, mask)
    box, trust, standing = _merge(sparse, dense)
    moved = None if standing is None else standing.moved()
    return Forecast(
        box=None if box is None else _grow(box),
        points=np.empty((0, 2)) if moved is None else _points(moved, inliers, needs.points),
        expected=None if moved is None else moved > 0.5,
        trust=trust,
        trust_sparse=np.nan if sparse is None else sparse.trust,
        trust_dense=np.nan if dense is None else dense.trust,
        previous_box=previous_box,
        survival=motion.survival,
    )


def _sparse(
    motion: Motion, probability: NDArray[np.float32], mask: NDArray[np.bool_], box: NDArray[np.float64]
) -> tuple[_Estimate | None, NDArray[np.float64]]:
    """A similarity through the points inside the mask, and where its inliers ended."""
    import cv2

    nowhere = np.empty((0, 2))
    if len(motion.start) == 0:
        return None, nowhere
    h, w = motion.shape
    inner = _erode(mask, motion.shape)
    side = len(inner)
    cells = np.clip((motion.start * side).astype(int), 0, side - 1)
    inside = inner[cells[:, 1], cells[:, 0]]
    start, end = motion.start[inside] * (w, h), motion.end[inside] * (w, h)
    unknown = _Estimate(box, lambda: probability, 0.0, False)
    if len(start) < MIN_INLIERS:
        return unknown, nowhere
    transform, chosen = cv2.estimateAffinePartial2D(start, end, method=cv2.RANSAC, ransacReprojThreshold=RANSAC_PIXELS)
    if transform is None:
        return unknown, nowhere
    inlier = chosen.ravel().astype(bool)
    trust = float(inlier.mean())
    corners = np.array([[box[0], box[1]], [box[2], box[1]], [box[2], box[3]], [box[0], box[3]]]) * (w, h)
    moved_corners = (corners @ transform[:, :2].T + transform[:, 2]) / (w, h)
    moved_box = np.concatenate([moved_corners.min(axis=0), moved_corners.max(axis=0)])
    determinant = transform[0, 0] * transform[1, 1] - transform[0, 1] * transform[1, 0]
    valid = int(inlier.sum()) >= MIN_INLIERS and trust >= MIN_TRUST and determinant > 0
    return _Estimate(moved_box, lambda: _carried(probability, transform, w, h), trust, valid), end[inlier] / (w, h)


def _carried(probability: NDArray[np.float32], transform: NDArray[np.float64], w: int, h: int) -> NDArray[np.float32]:
    """A square grid over a picture of w x h pixels, moved by a (2, 3) transform of its pixels; 0 comes in."""
    import cv2

    side = len(probability)
    to_cells = np.array([[side / w, 0, -0.5], [0, side / h, -0.5], [0, 0, 1]])
    of_cells = to_cells @ np.vstack([transform, (0, 0, 1)]) @ np.linalg.inv(to_cells)
    return cv2.warpAffine(probability, of_cells[:2], (side, side), flags=cv2.INTER_LINEAR)


def _dense(motion: Motion, probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> _Estimate | None:
    """The previous probability pulled along the backward flow."""
    if motion.backward is None or motion.consistent is None:
        return None
    moved = sample(probability, cell_centers(len(mask)) + motion.backward, outside=0.0)
    here = moved > 0.5
    box = _box(_large_components(here))
    if box is None:  # nothing is left, or crumbs of which none is large
        return _Estimate(np.full(4, np.nan), lambda: moved, 0.0, False)
    trust = float(motion.consistent[here].mean())
    ratio = int(here.sum()) / int(mask.sum())
    return _Estimate(box, lambda: moved, trust, trust >= MIN_TRUST and AREA_RANGE[0] <= ratio <= AREA_RANGE[1])


def _merge(
    sparse: _Estimate | None, dense: _Estimate | None
) -> tuple[NDArray[np.float64] | None, float, _Estimate | None]:
    """One box of the two with its trust, and whose mask goes with it: None where they contradict each other.

    Their average where they agree (and the mask of the flow, which bends), else the one that can stand alone.
    """
    valid = [e for e in (sparse, dense) if e is not None and e.valid]
    if not valid:
        return None, 0.0, None
    if len(valid) == 1:
        return valid[0].box, valid[0].trust, valid[0]
    a, b = valid
    if _corner_iou(a.box, b.box) >= AGREE_IOU:
        weight = a.trust / (a.trust + b.trust)
        return weight * a.box + (1 - weight) * b.box, max(a.trust, b.trust), b
    better = a if a.trust >= b.trust else b
    return (better.box, better.trust, better) if better.trust >= TRUST_ALONE else (None, 0.0, None)


def _points(moved: NDArray[np.float32], inliers: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Up to `count` followed points well inside the moved mask: the deepest, then the farthest from those chosen."""
    import cv2

    side = len(moved)
    depth = cv2.distanceTransform((moved > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    if depth.max() == 0:
        return np.empty((0, 2))
    cells = np.clip((inliers * side).astype(int), 0, side - 1)
    good = inliers[moved[cells[:, 1], cells[:, 0]] > POINT_PROBABILITY] if len(inliers) else inliers
    if len(good) == 0:
        y, x = np.unravel_index(int(depth.argmax()), depth.shape)
        return np.array([[(x + 0.5) / side, (y + 0.5) / side]])
    cells = np.clip((good * side).astype(int), 0, side - 1)
    chosen = [int(depth[cells[:, 1], cells[:, 0]].argmax())]
    distance = np.linalg.norm(good - good[chosen[0]], axis=1)
    while len(chosen) < min(count, len(good)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(good - good[chosen[-1]], axis=1))
    return good[chosen]


def _box(mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """(4,) x0, y0, x1, y1 of a square mask as fractions (right and bottom edges exclusive), None where empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if columns.size == 0:
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64) / len(mask)


def _erode(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask without a rim of `ERODE_PIXELS` pixels of the working picture; as it is where nothing would be left."""
    import cv2

    side = len(mask)
    reach = max(1, round(ERODE_PIXELS * side / max(shape)))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    inner = cv2.erode(mask.astype(np.uint8), kernel, borderType=cv2.BORDER_CONSTANT, borderValue=1).astype(bool)
    return inner if inner.any() else mask


def _large_components(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= SMALL_COMPONENT * mask.sum()
    keep[0] = False
    return keep[labels]


def _corner_iou(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    overlap = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    union = np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap
    return float(overlap / union) if union > 0 else 0.0


def _grow(box: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = GROW * (box[2:] - box[:2])
    return np.clip(np.concatenate([box[:2] - reach, box[2:] + reach]), 0.0, 1.0)
