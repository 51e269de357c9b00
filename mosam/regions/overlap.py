"""Overlap of regions as the VOT toolkit computes it, for whole trajectories at once.

Both regions are drawn into the smallest window that holds both and lies in the image, and pixels are counted. Numbers
are 32-bit floats. A rectangle's four numbers are rounded (halves to even) and it covers `x .. x + w - 1`; a polygon's
corners are rounded first. Codes, points and empty masks have no pixels. Two regions that together are at most one pixel
wide or tall count as two empty ones, which overlap 1; in an image, a window at most one pixel wide or tall gives 0.

Source: checked region by region against vot-toolkit 0.7.4 (0.9.0 computes the same).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosam.regions.raster import MOST_PIXELS, TOOLKIT_FILL, cut_rectangles, draw, region_spans
from mosam.regions.spans import Ints, Windows, clip_to_rectangles, shared_area, subtract
from mosam.regions.trajectory import MASK, POLYGON, RECTANGLE, Trajectory
from mosam.types import Size

PAIRS_AT_ONCE = 512  # what a processor's cache holds; changes no result


@dataclass(frozen=True, slots=True)
class Edges:
    """First and last column and row of N regions in whole pixels; (0, 0, 0, 0) for those without pixels."""

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    right: NDArray[np.float64]
    bottom: NDArray[np.float64]


def region_overlaps(
    first: Trajectory,
    second: Trajectory,
    *,
    size: Size | None = None,
    ignore: Trajectory | None = None,
    defects: bool = True,
    rows: NDArray[np.integer] | None = None,
) -> NDArray[np.float64]:
    """Overlap of two trajectories, row by row.

    Args:
        first: T regions.
        second: T regions, or any number where `rows` says which to take.
        size: (height, width) of the image: pixels outside do not count; None = they do.
        ignore: as many as `second`, whose pixels do not count; None = all count.
        defects: repeat what the toolkit does to thin regions and, without a size, to rectangles left of or above the
            image; else every pixel counts.
        rows: (T,) rows of `second` to compare with; masks are drawn once however often a row is taken.
    Returns:
        (T,) in [0, 1]; 1 where both are empty.
    Raises:
        ValueError: different lengths, or, without a size, regions that together are larger than any image.

    >>> a, b = Trajectory.of_boxes(np.array([[0.0, 0, 2, 2]])), Trajectory.of_boxes(np.array([[1.0, 0, 2, 2]]))
    >>> region_overlaps(a, b).round(3)
    array([0.333])
    """
    if ignore is not None and len(ignore) != len(second):
        raise ValueError(f"region_overlaps: expected as many regions to ignore as {len(second)}, got {len(ignore)}")
    if (len(second) if rows is None else len(rows)) != len(first):
        raise ValueError(f"region_overlaps: expected trajectories of one length, got {len(first)} and {len(second)}")
    if rows is not None:
        return _overlaps(first, second, np.asarray(rows), size, ignore, defects)
    parts = []
    for start in range(0, len(first), PAIRS_AT_ONCE):
        some = slice(start, start + PAIRS_AT_ONCE)
        part = first.take(some)
        hidden = None if ignore is None else ignore.take(some)
        parts.append(_overlaps(part, second.take(some), np.arange(len(part)), size, hidden, defects))
    return np.concatenate([np.zeros(0), *parts])


def is_empty(trajectory: Trajectory, *, defects: bool = True) -> NDArray[np.bool_]:
    """Which regions are empty: no object, or none that was reported.

    Args:
        trajectory: T regions.
        defects: as in the toolkit, a mask is empty too where its last pixel column or row is the first of its crop.
    Returns:
        (T,) bool. Codes are empty, points are not, rectangles without width or height and flat polygons are.
    """
    empty = trajectory.codes >= 0
    rectangles = trajectory.kinds == RECTANGLE
    sides = trajectory.rows(rectangles, 4)[:, 2:].astype(np.float32)
    empty[rectangles] = ~(sides > 0).all(axis=1)
    polygons = np.flatnonzero(trajectory.kinds == POLYGON)
    if polygons.size:
        low, high = trajectory.corner_range(polygons)
        empty[polygons] = (low.astype(np.float32) == high.astype(np.float32)).any(axis=1)
    masks = np.flatnonzero(trajectory.kinds == MASK)
    if masks.size:
        left, top, right, bottom, none = trajectory.masks.edges()
        if defects:
            # cropped masks begin at their first pixel, others where the file says
            x = left if trajectory.cropped else trajectory.masks.x
            y = top if trajectory.cropped else trajectory.masks.y
            none = none | (right == x) | (bottom == y)
        empty[masks] = none
    return empty


def region_edges(trajectory: Trajectory, *, defects: bool = True) -> Edges:
    """The window of each region (T); see `region_overlaps` for `defects`."""
    edges = np.zeros((4, len(trajectory)))
    rectangles = trajectory.kinds == RECTANGLE
    x, y, w, h = np.rint(trajectory.rows(rectangles, 4).astype(np.float32)).T
    edges[:, rectangles] = x, y, (x + w).astype(np.float64) - 1, (y + h).astype(np.float64) - 1
    polygons = np.flatnonzero(trajectory.kinds == POLYGON)
    if polygons.size:
        low, high = (np.rint(corner.astype(np.float32)) for corner in trajectory.corner_range(polygons))
        edges[:2, polygons], edges[2:, polygons] = low.T, high.T
    masks = np.flatnonzero(trajectory.kinds == MASK)
    if masks.size:
        table = trajectory.masks
        left, top, right, bottom, none = table.edges()
        edges[:, masks] = left, top, right, bottom
        if trajectory.cropped:
            if defects:
                edges[:, masks[right == table.x]] = 0
        else:  # an empty mask that is not cropped stands where its crop begins
            edges[:, masks[none]] = np.stack([table.x, table.y, table.x, table.y])[:, none]
    return Edges(*edges)


def _overlaps(
    first: Trajectory,
    second: Trajectory,
    rows: Ints,
    size: Size | None,
    ignore: Trajectory | None,
    defects: bool,
) -> NDArray[np.float64]:
    """Overlap of each region of the first with one row of the second."""
    a, b = region_edges(first, defects=defects), region_edges(second, defects=defects)
    left, top = np.minimum(a.left, b.left[rows]), np.minimum(a.top, b.top[rows])
    right, bottom = np.maximum(a.right, b.right[rows]), np.maximum(a.bottom, b.bottom[rows])
    thin = (left >= right) | (top >= bottom)
    if size is not None:
        left, top = np.maximum(left, 0), np.maximum(top, 0)
        right, bottom = np.minimum(right, size[1] - 1), np.minimum(bottom, size[0] - 1)
    outside = (left >= right) | (top >= bottom)
    if not defects:
        outside = (left > right) | (top > bottom)
        thin = is_empty(first, defects=False) & is_empty(second, defects=False)[rows]
    overlaps = np.where(thin, 1.0, 0.0)
    drawn = ~thin & ~outside
    for pairs, count in _groups(first, second, rows, drawn, size, ignore):
        windows = _windows(left[pairs], top[pairs], right[pairs], bottom[pairs])
        shared, either = count(pairs, windows, defects)
        overlaps[pairs] = np.where(either > 0, shared / np.maximum(either, 1), 0.0)
    return overlaps


_Count = Callable[[NDArray[np.intp], Windows, bool], tuple[Ints, Ints]]


def _groups(
    first: Trajectory,
    second: Trajectory,
    rows: Ints,
    drawn: NDArray[np.bool_],
    size: Size | None,
    ignore: Trajectory | None,
) -> Iterator[tuple[NDArray[np.intp], _Count]]:
    """Pairs that are counted alike, and what counts the pixels in both regions and in either."""
    kinds = first.kinds, second.kinds[rows]

    def pixels(pairs: NDArray[np.intp], windows: Windows, defects: bool) -> tuple[Ints, Ints]:
        hidden = None if ignore is None else ignore.take(rows[pairs])
        return _count(first.take(pairs), second.take(rows[pairs]), windows, hidden, defects)

    def box_first(pairs: NDArray[np.intp], windows: Windows, defects: bool) -> tuple[Ints, Ints]:
        return _count_with_boxes(first.take(pairs), second.take(rows[pairs]), windows, defects)

    def box_second(pairs: NDArray[np.intp], windows: Windows, defects: bool) -> tuple[Ints, Ints]:
        return _count_with_boxes(second.take(rows[pairs]), first.take(pairs), windows, defects)

    def masks(pairs: NDArray[np.intp], windows: Windows, defects: bool) -> tuple[Ints, Ints]:
        assert size is not None
        return _count_masks(first, second, pairs, rows[pairs], size, defects)

    left = drawn.copy()
    choices: list[tuple[NDArray[np.bool_], _Count]] = []
    if ignore is None:
        choices += [(kinds[0] == RECTANGLE, box_first), (kinds[1] == RECTANGLE, box_second)]
        if size is not None:
            choices += [((kinds[0] == MASK) & (kinds[1] == MASK), masks)]
    for chosen, count in (*choices, (left, pixels)):
        pairs = np.flatnonzero(chosen & left)
        left[pairs] = False
        if pairs.size:
            yield pairs, count


def _count(
    first: Trajectory, second: Trajectory, windows: Windows, ignore: Trajectory | None, defects: bool
) -> tuple[Ints, Ints]:
    """Pixels in both regions, and in either, drawn pair by pair."""
    a, b = (region_spans(trajectory, windows, TOOLKIT_FILL, defects=defects) for trajectory in (first, second))
    if ignore is not None:
        hidden = region_spans(ignore, windows, TOOLKIT_FILL, defects=defects)
        a, b = subtract(a, hidden, windows), subtract(b, hidden, windows)
    shared = shared_area(a, b, windows)
    return shared, a.area(len(first)) + b.area(len(first)) - shared


def _count_masks(
    first: Trajectory,
    second: Trajectory,
    pairs: NDArray[np.intp],
    rows: Ints,
    size: Size,
    defects: bool,
) -> tuple[Ints, Ints]:
    """`_count` of pairs of masks, which are drawn once for all pairs: their pixels do not depend on the window."""
    at = [np.cumsum(trajectory.kinds == MASK)[chosen] - 1 for trajectory, chosen in ((first, pairs), (second, rows))]
    thin = [
        (trajectory.masks.edges()[2] == trajectory.masks.x)[position] & trajectory.cropped & defects
        for trajectory, position in zip((first, second), at, strict=True)
    ]
    drawings = draw(first.masks, size), draw(second.masks, size)
    partner = np.full(drawings[0].count, -1, dtype=np.int64)
    partner[at[0]] = at[1]
    shared = np.where(thin[0] | thin[1], 0, drawings[0].shared_with(drawings[1], partner)[at[0]])
    areas = [
        np.where(gone, 0, drawing.area[position]) for gone, drawing, position in zip(thin, drawings, at, strict=True)
    ]
    return shared, areas[0] + areas[1] - shared


def _count_with_boxes(boxes: Trajectory, others: Trajectory, windows: Windows, defects: bool) -> tuple[Ints, Ints]:
    """`_count` where the first region of each pair is a rectangle, which needs no pixels to be made of it."""
    count = len(boxes)
    left, right, top, bottom = cut_rectangles(boxes, np.arange(count), windows, defects)
    box_area = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    shared, other_area = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    flat = others.kinds == RECTANGLE
    rows = np.flatnonzero(flat)
    if rows.size:
        cut = cut_rectangles(others, rows, windows.take(rows), defects)
        wide = np.minimum(right[rows], cut[1]) - np.maximum(left[rows], cut[0])
        tall = np.minimum(bottom[rows], cut[3]) - np.maximum(top[rows], cut[2])
        shared[rows] = np.maximum(wide, 0) * np.maximum(tall, 0)
        other_area[rows] = np.maximum(cut[1] - cut[0], 0) * np.maximum(cut[3] - cut[2], 0)
    rows = np.flatnonzero(~flat)
    if rows.size:
        spans = region_spans(others.take(rows), windows.take(rows), TOOLKIT_FILL, defects=defects)
        shared[rows] = clip_to_rectangles(spans, (left[rows], right[rows]), (top[rows], bottom[rows]), len(rows))
        other_area[rows] = spans.area(len(rows))
    return shared, box_area + other_area - shared


def _windows(
    left: NDArray[np.float64], top: NDArray[np.float64], right: NDArray[np.float64], bottom: NDArray[np.float64]
) -> Windows:
    w, h = right - left + 1, bottom - top + 1
    largest = float((w * h).max())
    if largest > MOST_PIXELS:
        raise ValueError(
            f"region_overlaps: expected regions within {MOST_PIXELS} pixels, got {largest:.3g}; give a size"
        )
    return Windows(*(edge.astype(np.int64) for edge in (left, top, w, h)))
