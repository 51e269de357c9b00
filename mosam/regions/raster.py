"""From regions to pixels: spans of pixels in a row, for many regions at once.

A rectangle covers whole pixels after rounding; a polygon's corners are rounded and its rows filled between the
crossings of its edges, ends included; a mask is its runs. What the edges are cut to differs from pair to pair (see
`mosam.regions.overlap`), so every region here comes with a window of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosam.regions.masks import MaskTable
from mosam.regions.spans import Drawing, Ints, Spans, Windows, joined, merged, spread
from mosam.regions.trajectory import MASK, POLYGON, RECTANGLE, Trajectory
from mosam.types import Mask, Size

CELLS_AT_ONCE = 1 << 17  # rows x corners worked on together: what a processor's cache holds; changes no result
MOST_PIXELS = 1 << 28  # of one window


@dataclass(frozen=True, slots=True)
class FillRule:
    """How rows of a polygon are filled between the crossings with its edges; programs differ in degenerate rows.

    Attributes:
        flat_edges: an edge along the row gives a crossing (at its later corner).
        last_pair_counts: two equal crossings are a pixel where they are the last of a row, and skipped elsewhere; else
            they are always skipped.
    """

    flat_edges: bool
    last_pair_counts: bool


TOOLKIT_FILL = FillRule(flat_edges=True, last_pair_counts=True)


def polygon_spans(corners: NDArray[np.float64], windows: Windows, rule: FillRule) -> Spans:
    """Polygons of one number of corners, drawn in their windows.

    Args:
        corners: (N, C, 2) x, y, whole numbers, image pixels.
        windows: N.
        rule: how rows are filled.
    Source: the overlap of Kristan et al., VOT challenges; even-odd filling, a crossing's column cut towards zero.
    """
    x = corners[:, :, 0] - windows.left[:, None]
    y = corners[:, :, 1] - windows.top[:, None]
    low = np.clip(y.min(axis=1), 0, windows.h).astype(np.int64)
    rows = np.maximum(np.clip(y.max(axis=1), -1, windows.h - 1).astype(np.int64) - low + 1, 0)
    parts = [_fill(x, y, low, rows, windows.w, part, rule) for part in _batches(rows * corners.shape[1])]
    return joined(parts)


def mask_spans(masks: MaskTable, windows: Windows) -> Spans:
    """Masks, cut to their windows, one each."""
    runs = masks.runs
    x, y = masks.x - windows.left, masks.y - windows.top
    row, first, stop = runs.row, runs.column, runs.column + runs.end - runs.first
    owner, w = runs.owner, masks.w[runs.owner]
    wraps = np.flatnonzero(stop > w)
    if wraps.size:
        # a run that goes on in the next row: its other rows follow it, those in the window only, however many it has
        of = owner[wraps]
        low = np.maximum(row[wraps] + 1, -y[of])
        more = np.maximum(np.minimum((runs.end[wraps] - 1) // w[wraps], windows.h[of] - 1 - y[of]) - low + 1, 0)
        run, below = np.repeat(wraps, more), spread(low, more)
        counts = np.ones(len(row), dtype=np.int64)
        counts[wraps] += more
        source = np.repeat(np.arange(len(row)), counts)
        rest = np.minimum(w[run], runs.end[run] - below * w[run])
        owner, row, first, stop = owner[source], row[source], first[source], np.minimum(stop, w)[source]
        added = spread((np.cumsum(counts) - counts)[wraps] + 1, more)
        row[added], first[added], stop[added] = below, 0, rest
    across = x[owner]
    row, first, stop = row + y[owner], first + across, stop + across
    left, top, right, bottom, empty = masks.edges()
    far, low_end = windows.left + windows.w, windows.top + windows.h
    inside = (left >= windows.left) & (top >= windows.top) & (right < far) & (bottom < low_end)
    if (inside | empty).all():
        return Spans(owner, row, first, stop)
    first, stop = np.maximum(first, 0), np.minimum(stop, windows.w[owner])
    kept = (stop > first) & (row >= 0) & (row < windows.h[owner])
    return Spans(owner[kept], row[kept], first[kept], stop[kept])


def region_spans(trajectory: Trajectory, windows: Windows, rule: FillRule, *, defects: bool = True) -> Spans:
    """The pixels of each region (T), drawn in its window, as spans."""
    parts = []
    rectangles = np.flatnonzero(trajectory.kinds == RECTANGLE)
    if rectangles.size:
        cut = cut_rectangles(trajectory, rectangles, windows.take(rectangles), defects)
        parts.append((rectangles, _rectangle_rows(*cut)))
    corners = np.where(trajectory.kinds == POLYGON, np.diff(trajectory.starts), 0)
    for count in np.unique(corners[corners > 0]).tolist():
        polygons = np.flatnonzero(corners == count)
        points = np.rint(trajectory.rows(corners == count, count).astype(np.float32)).astype(np.float64)
        spans = polygon_spans(points.reshape(len(polygons), -1, 2), windows.take(polygons), rule)
        parts.append((polygons, spans))
    masks = np.flatnonzero(trajectory.kinds == MASK)
    table = trajectory.masks
    if masks.size and trajectory.cropped and defects:
        kept = table.edges()[2] != table.x  # the others are gone when the toolkit crops them
        if not kept.all():
            masks, table = masks[kept], table.take(kept)
    if masks.size:
        parts.append((masks, mask_spans(table, windows.take(masks))))
    return merged(parts)


def cut_rectangles(trajectory: Trajectory, rows: Ints, windows: Windows, defects: bool) -> tuple[Ints, ...]:
    """First and end (exclusive) column, first and end row of rectangles in their windows; end <= first: nothing."""
    numbers = trajectory.numbers[trajectory.starts[rows][:, None] + np.arange(4)]
    # clipped where nothing changes any more, so that whole numbers stay exact
    x, y, w, h = np.clip(np.rint(numbers.astype(np.float32)).astype(np.float64), -(2**40), 2**40).astype(np.int64).T
    cut: list[Ints] = []
    for at, length, corner, side in ((x, w, windows.left, windows.w), (y, h, windows.top, windows.h)):
        end = at + length - corner
        if defects:
            # the end is compared with the window's last pixel in the image, as if the window began at 0, and a negative
            # end counts from the other side: matters in windows that begin at negative pixels only
            end = np.where(end > 0, np.minimum(end, corner + side), end)
            end = np.where((end < 0) & (at + length > corner), np.maximum(end + side, 0), end)
        cut += [np.maximum(at - corner, 0), np.minimum(end, side)]
    return tuple(cut)


def draw(masks: MaskTable, size: Size) -> Drawing:
    """Masks drawn into images of (height, width); once for a size."""
    if size not in masks.drawings:
        whole = np.ones(len(masks.x), dtype=np.int64)
        spans = mask_spans(masks, Windows(0 * whole, 0 * whole, size[1] * whole, size[0] * whole))
        masks.drawings[size] = Drawing(spans, len(masks.x), size)
    return masks.drawings[size]


def rasterize(trajectory: Trajectory, size: Size) -> NDArray[np.bool_]:
    """Regions drawn into images, as the VOT toolkit draws them.

    Args:
        trajectory: T regions.
        size: (height, width).
    Returns:
        (T, H, W) bool; codes and points are empty.
    """
    height, width = size
    count = len(trajectory)
    full = np.ones(count, dtype=np.int64)
    spans = region_spans(
        trajectory, Windows(0 * full, 0 * full, width * full, height * full), TOOLKIT_FILL, defects=False
    )
    steps = np.zeros((count, height, width + 1), dtype=np.int8)
    np.add.at(steps, (spans.owner, spans.row, spans.first), 1)
    np.add.at(steps, (spans.owner, spans.row, spans.end), -1)
    return np.cumsum(steps[:, :, :-1], axis=2, dtype=np.int8) > 0


def region_mask(trajectory: Trajectory, index: int, size: Size) -> Mask:
    """One region's pixels in an image (H, W), bool; see `rasterize`."""
    return rasterize(trajectory.take(np.array([index])), size)[0]


def _rectangle_rows(left: Ints, right: Ints, top: Ints, bottom: Ints) -> Spans:
    rows = np.where(right > left, np.maximum(bottom - top, 0), 0)
    owner = np.repeat(np.arange(len(rows)), rows)
    return Spans(owner, spread(top, rows), left[owner], right[owner])


def _fill(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    low: Ints,
    rows: Ints,
    width: Ints,
    part: slice,
    rule: FillRule,
) -> Spans:
    """Spans of the polygons in `part`: where each row is crossed, filled pair by pair."""
    low, rows = low[part], rows[part]
    owner = np.repeat(np.arange(part.start, part.stop), rows)
    row = spread(low, rows)
    right = np.repeat(width[part] - 1.0, rows)
    crossings = list(_crossings(x[part], y[part], low, rows, rule))
    number = np.zeros(len(row), dtype=np.int64)
    first, last = np.full(len(row), np.inf), np.full(len(row), -np.inf)
    for at, column in crossings:
        number[at] += 1
        first[at] = np.minimum(first[at], column)
        last[at] = np.maximum(last[at], column)
    if not rule.last_pair_counts:
        last[first == last] = -np.inf
    last[number < 2] = -np.inf
    many = np.flatnonzero(number > 2)
    if not many.size:
        first, last = np.maximum(first, 0.0), np.minimum(last, right)
        kept = np.flatnonzero(last >= first)
        return Spans(owner[kept], row[kept], first[kept].astype(np.int64), last[kept].astype(np.int64) + 1)
    last[many] = -np.inf
    begins, ends = _fill_many(crossings, many, number[many], right[many], len(row), rule)
    at = np.concatenate([np.arange(len(row)), np.repeat(many, begins.shape[1])])
    first = np.maximum(np.concatenate([first, begins.ravel()]), 0.0)
    last = np.minimum(np.concatenate([last, ends.ravel()]), right[at])
    kept = np.flatnonzero(last >= first)
    kept = kept[np.argsort(at[kept], kind="stable")]
    at = at[kept]
    return Spans(owner[at], row[at], first[kept].astype(np.int64), last[kept].astype(np.int64) + 1)


def _crossings(
    x: NDArray[np.float64], y: NDArray[np.float64], low: Ints, rows: Ints, rule: FillRule
) -> Iterator[tuple[Ints, NDArray[np.float64]]]:
    """Edge by edge, which rows meet it, and the columns where they do, cut towards zero.

    Rows are numbered through all polygons (N, C), each of which has `rows` of them from `low` on.
    """
    begin = np.cumsum(rows) - rows
    for corner in range(x.shape[1]):
        x0, y0 = x[:, corner], y[:, corner]
        rise, run = y[:, corner - 1] - y0, x[:, corner - 1] - x0
        bottom = np.clip(np.minimum(y0, y[:, corner - 1]), low, low + rows).astype(np.int64)
        top = np.clip(np.maximum(y0, y[:, corner - 1]), low - 1, low + rows - 1).astype(np.int64)
        count = np.maximum(top - bottom + 1, 0)
        if not rule.flat_edges:
            count[rise == 0] = 0
        row = spread(bottom, count)
        x0, y0, rise, run, start = (np.repeat(values, count) for values in (x0, y0, rise, run, begin - low))
        # the order of operations decides which side of a pixel's border a crossing falls on
        with np.errstate(divide="ignore", invalid="ignore"):
            column = x0 + (row - y0) / rise * run
        yield row + start, np.trunc(np.where(rise == 0, x0, column))


def _fill_many(
    crossings: list[tuple[Ints, NDArray[np.float64]]],
    many: Ints,
    number: Ints,
    right: NDArray[np.float64],
    rows: int,
    rule: FillRule,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last columns (M, P) of the spans of rows with more than two crossings."""
    place = np.full(rows, -1, dtype=np.int64)
    place[many] = np.arange(len(many))
    table = np.full((len(many), len(crossings)), np.inf)
    for corner, (at, column) in enumerate(crossings):
        here = place[at]
        table[here[here >= 0], corner] = column[here >= 0]
    table.sort(axis=1)
    first, last = _pair_up(table, number, right, max(len(crossings) // 2, 1), rule)
    for pair in range(1, first.shape[1]):  # two pairs can share the pixel where they meet
        first[:, pair] = np.maximum(first[:, pair], last[:, pair - 1] + 1)
    return first, last


def _pair_up(
    crossings: NDArray[np.float64], number: Ints, right: NDArray[np.float64], pairs: int, rule: FillRule
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which crossings begin and end the spans of rows with more than two."""
    first = np.full((len(crossings), pairs), np.inf)
    last = np.full((len(crossings), pairs), -np.inf)
    cursor = np.zeros(len(crossings), dtype=np.int64)
    filled = np.zeros(len(crossings), dtype=np.int64)
    for at in range(crossings.shape[1] - 1):
        here = (cursor == at) & (at < number - 1)
        twice = here & (crossings[:, at] == crossings[:, at + 1])
        if rule.last_pair_counts:
            twice &= at < number - 2
        cursor[twice] += 1
        fill = np.flatnonzero(here & ~twice)
        cursor[fill] += 2
        first[fill, filled[fill]] = crossings[fill, at]
        last[fill, filled[fill]] = crossings[fill, at + 1]
        filled[fill] += 1
    outside = first > right[:, None]
    first[outside], last[outside] = np.inf, -np.inf
    return first, last


def _batches(cells: Ints) -> Iterator[slice]:
    """Stretches of regions with about `CELLS_AT_ONCE` cells each."""
    ends = np.cumsum(cells)
    start = 0
    while start < len(cells):
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + CELLS_AT_ONCE, side="right")), start + 1)
        yield slice(start, stop)
        start = stop
