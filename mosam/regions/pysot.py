"""Overlap of boxes and polygons as the pysot toolkit computes it, and the exact overlap it approximates.

Boxes become polygons through `x, y` and `x + w, y + h`. Corners are counted from the window's corner and then rounded
(halves away from zero); rows along a flat edge alone are not filled, nor are spans whose two crossings are equal. So a
box covers one column and one row more than in `mosam.regions.overlap`, and numbers differ in the third decimal.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mosam.regions.raster import FillRule, polygon_spans
from mosam.regions.spans import Ints, Windows, clip_to_rectangles, shared_area
from mosam.regions.trajectory import POLYGON, RECTANGLE, Trajectory
from mosam.types import Size

Singles = NDArray[np.float32]
PYSOT_FILL = FillRule(flat_edges=False, last_pair_counts=False)
SMALLEST_RATIO = 1e-10  # of the two windows' areas, below which the overlap is 0


def pysot_overlaps(first: Trajectory, second: Trajectory, size: Size) -> NDArray[np.float64]:
    """Overlap of two trajectories, row by row, in 32-bit floats as in the C code behind the toolkit.

    Args:
        first, second: T regions each: boxes, polygons and codes.
        size: (height, width) that regions are cut to; columns 0 to `width` count, one more than the image has.
    Returns:
        (T,) in [0, 1]; NaN where either is a code.
    Raises:
        ValueError: masks or points, or different lengths.
    Source: STVIR/pysot, `toolkit/utils/src/region.c`; written from its behavior and checked against its numbers.
    """
    overlaps = np.full(len(first), np.nan)
    for rows, a, b in _polygon_groups(first, second):
        overlaps[rows] = _overlaps(a.astype(np.float32), b.astype(np.float32), size)
    return overlaps


def exact_overlaps(first: Trajectory, second: Trajectory, size: Size) -> NDArray[np.float64]:
    """Overlap of the areas of boxes and polygons within an image, without pixels.

    Args:
        first, second: T regions each: boxes, polygons and codes.
        size: (height, width) of the image.
    Returns:
        (T,) in [0, 1]; NaN where either is a code, 0 where neither has area in the image.
    Raises:
        ValueError: masks or points, or different lengths.
    """
    overlaps = np.full(len(first), np.nan)
    for rows, a, b in _polygon_groups(first, second):
        frame = np.array([[0, 0], [size[1], 0], [size[1], size[0]], [0, size[0]]], dtype=np.float64)
        frames = np.broadcast_to(frame, (len(rows), 4, 2))
        a, b = clip_polygons(a, frames), clip_polygons(b, frames)
        shared = intersection_area(a, b)
        union = np.abs(signed_area(a)) + np.abs(signed_area(b)) - shared
        overlaps[rows] = np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)
    return overlaps


def signed_area(polygons: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area of polygons (N, C, 2), positive where x turns towards y.

    >>> signed_area(np.array([[[0.0, 0], [2, 0], [2, 3], [0, 3]]]))
    array([6.])
    """
    x, y = polygons[..., 0], polygons[..., 1]
    following_x, following_y = np.roll(x, -1, axis=1), np.roll(y, -1, axis=1)
    return (x * following_y - following_x * y).sum(axis=1) / 2


def intersection_area(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that polygons have in common, pair by pair.

    Args:
        a: (N, C, 2) corners.
        b: (N, D, 2) corners.
    Returns:
        (N,). Where a polygon crosses itself, each part counts as often as it is gone round.

    >>> square = np.array([[[0.0, 0], [2, 0], [2, 2], [0, 2]]])
    >>> intersection_area(square, square + 1)
    array([1.])
    """
    total = np.zeros(len(a))
    # b as a fan of triangles from its first corner, each with its sign, holds for polygons that are not convex too
    for corner in range(1, b.shape[1] - 1):
        triangle = b[:, [0, corner, corner + 1]]
        sign = np.sign(signed_area(triangle))
        total += sign * signed_area(clip_polygons(a, np.where(sign[:, None, None] < 0, triangle[:, ::-1], triangle)))
    return np.abs(total)


def clip_polygons(polygons: NDArray[np.float64], windows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Polygons cut to convex windows, pair by pair.

    Args:
        polygons: (N, C, 2) corners.
        windows: (N, D, 2) corners of convex polygons with positive `signed_area`.
    Returns:
        (N, E, 2), rows filled up by repeating a corner; all corners equal where nothing is left.
    Source: Sutherland and Hodgman, CACM 17(1), 1974.
    """
    for corner in range(windows.shape[1]):
        start = windows[:, None, corner - 1]
        along = windows[:, None, corner] - start
        offset = polygons - start
        side = along[..., 0] * offset[..., 1] - along[..., 1] * offset[..., 0]
        following, following_side = np.roll(polygons, -1, axis=1), np.roll(side, -1, axis=1)
        inside, following_inside = side >= 0, following_side >= 0
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (side / (side - following_side))[..., None]
            crossing = polygons + share * (following - polygons)
        points = np.stack([polygons, crossing], axis=2).reshape(len(polygons), -1, 2)
        kept = np.stack([inside, inside != following_inside], axis=2).reshape(len(polygons), -1)
        polygons = _compacted(points, kept)
    return polygons


def _compacted(points: NDArray[np.float64], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The kept points of each row (N, C, 2), in order, filled up with the first of them."""
    counts = kept.sum(axis=1)
    width = max(int(counts.max(initial=0)), 3)
    order = np.argsort(~kept, axis=1, kind="stable")[:, :width]
    order = np.where(np.arange(order.shape[1]) < counts[:, None], order, order[:, :1])
    out = np.take_along_axis(points, order[..., None], axis=1)
    out[counts == 0] = 0.0
    return out


def _polygon_groups(
    first: Trajectory, second: Trajectory
) -> list[tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]]:
    """Pairs of polygons with the same numbers of corners: their rows, and corners (N, C, 2) and (N, D, 2)."""
    if len(first) != len(second):
        raise ValueError(f"overlaps: expected trajectories of one length, got {len(first)} and {len(second)}")
    corners = []
    for trajectory in (first, second):
        drawn = trajectory.codes < 0
        if not np.isin(trajectory.kinds[drawn], (RECTANGLE, POLYGON)).all():
            raise ValueError("overlaps: expected boxes and polygons, got masks or points")
        corners.append(np.where(drawn, np.where(trajectory.kinds == RECTANGLE, 1, np.diff(trajectory.starts) // 2), 0))
    groups = []
    for pair in np.unique(np.stack(corners), axis=1).T:
        if pair.all():
            chosen = (corners[0] == pair[0]) & (corners[1] == pair[1])
            groups.append((np.flatnonzero(chosen), _corners(first, chosen), _corners(second, chosen)))
    return groups


def _corners(trajectory: Trajectory, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    row = int(np.flatnonzero(chosen)[0])
    if trajectory.kinds[row] == POLYGON:
        count = int(trajectory.starts[row + 1] - trajectory.starts[row])
        return trajectory.rows(chosen, count).reshape(-1, count // 2, 2)
    x, y, w, h = trajectory.rows(chosen, 4).T
    return np.stack(
        [np.stack([x, y], 1), np.stack([x + w, y], 1), np.stack([x + w, y + h], 1), np.stack([x, y + h], 1)], 1
    )


def _overlaps(a: Singles, b: Singles, size: Size) -> NDArray[np.float64]:
    limit = np.array([size[1], size[0]], dtype=np.float32)
    edges = [
        (np.maximum(np.floor(p.min(axis=1)), np.float32(0)), np.minimum(np.ceil(p.max(axis=1)), limit)) for p in (a, b)
    ]
    corner = np.minimum(edges[0][0], edges[1][0])
    extent = np.maximum(edges[0][1], edges[1][1]) - corner
    areas = [(high - low).prod(axis=1).astype(np.float64) for low, high in edges]
    meet = (np.minimum(edges[0][1], edges[1][1]) - np.maximum(edges[0][0], edges[1][0])).prod(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (areas[0] / areas[1] < SMALLEST_RATIO) | (areas[1] / areas[0] < SMALLEST_RATIO)
        common = meet / ((areas[0] + areas[1]).astype(np.float32) - meet)
    apart |= (extent <= -1).any(axis=1) | ~((common > 0) | np.isnan(common))
    overlaps = np.zeros(len(a))
    drawn = np.flatnonzero(~apart)
    if drawn.size:
        w, h = (np.trunc(extent[drawn]).astype(np.int64) + 1).T
        left, top = corner[drawn].astype(np.int64).T
        whole_a, whole_b = (_whole(polygons[drawn], corner[drawn]) for polygons in (a, b))
        shared, either = _count(whole_a, whole_b, Windows(left, top, w, h))
        with np.errstate(invalid="ignore"):
            overlaps[drawn] = shared.astype(np.float32) / either.astype(np.float32)
    return overlaps


def _whole(polygons: Singles, corner: Singles) -> NDArray[np.float64]:
    """Corners rounded as seen from the window's corner."""
    offset = (polygons - corner[:, None]).astype(np.float64)
    return np.trunc(offset + np.copysign(0.5, offset)) + corner[:, None]


def _count(a: NDArray[np.float64], b: NDArray[np.float64], windows: Windows) -> tuple[Ints, Ints]:
    """Pixels in both polygons, and in either."""
    upright = [_is_upright(a), _is_upright(b)]
    shared, either = np.zeros(len(a), dtype=np.int64), np.zeros(len(a), dtype=np.int64)
    for chosen, box, other in ((upright[1], b, a), (upright[0] & ~upright[1], a, b)):
        rows = np.flatnonzero(chosen)
        if rows.size:
            part = windows.take(rows)
            columns, lines, area = _box_pixels(box[rows], part)
            spans = polygon_spans(other[rows], part, PYSOT_FILL)
            shared[rows] = clip_to_rectangles(spans, columns, lines, len(rows))
            either[rows] = area + spans.area(len(rows)) - shared[rows]
    rows = np.flatnonzero(~upright[0] & ~upright[1])
    if rows.size:
        part = windows.take(rows)
        first, second = polygon_spans(a[rows], part, PYSOT_FILL), polygon_spans(b[rows], part, PYSOT_FILL)
        shared[rows] = shared_area(first, second, part)
        either[rows] = first.area(len(rows)) + second.area(len(rows)) - shared[rows]
    return shared, either


def _is_upright(polygons: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which polygons (N, C, 2) are what `_corners` makes of a box."""
    if polygons.shape[1] != 4:
        return np.zeros(len(polygons), dtype=bool)
    x, y = polygons[..., 0], polygons[..., 1]
    return (x[:, 0] == x[:, 3]) & (x[:, 1] == x[:, 2]) & (y[:, 0] == y[:, 1]) & (y[:, 2] == y[:, 3])


def _box_pixels(boxes: NDArray[np.float64], windows: Windows) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints], Ints]:
    """First and end (exclusive) column and row of upright boxes in their windows, and the pixels between.

    Both ends count, but a box without width or height has no pixels.
    """
    low, high = boxes.min(axis=1), boxes.max(axis=1)
    flat = (low == high).any(axis=1)
    corner = np.stack([windows.left, windows.top], axis=1)
    side = np.stack([windows.w, windows.h], axis=1)
    first = np.clip(low - corner, 0, side).astype(np.int64)
    end = np.clip(high - corner + 1, 0, side).astype(np.int64)
    end[flat] = first[flat]
    area = np.maximum(end - first, 0).prod(axis=1)
    return (first[:, 0], end[:, 0]), (first[:, 1], end[:, 1]), area
