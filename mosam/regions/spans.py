"""Stretches of pixels in rows: what regions become when they are drawn, and how much of them is shared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Windows:
    """The rectangle of pixels that each of N regions is drawn in.

    Attributes:
        left, top: (N,) first column and row, in image pixels.
        w, h: (N,) columns and rows.
    """

    left: Ints
    top: Ints
    w: Ints
    h: Ints

    def take(self, indices: NDArray[np.integer] | NDArray[np.bool_]) -> Windows:
        """Some of them."""
        return Windows(self.left[indices], self.top[indices], self.w[indices], self.h[indices])


@dataclass(frozen=True, slots=True)
class Spans:
    """Stretches of pixels of N regions: sorted by region, row and column, disjoint within a region.

    Attributes:
        owner: (S,) which region.
        row, first, end: (S,) row and columns (end exclusive), counted from the region's window.
    """

    owner: Ints
    row: Ints
    first: Ints
    end: Ints

    def take(self, regions: NDArray[np.integer] | NDArray[np.bool_], count: int) -> Spans:
        """Those of some of `count` regions, in the order given."""
        counts = np.bincount(self.owner, minlength=count)
        begin = (np.cumsum(counts) - counts)[regions]
        counts = counts[regions]
        spans = spread(begin, counts)
        owner = np.repeat(np.arange(len(counts)), counts)
        return Spans(owner, self.row[spans], self.first[spans], self.end[spans])

    def area(self, count: int) -> Ints:
        """(count,) pixels of each region."""
        return _sums(self.owner, self.end - self.first, count)


def shared_area(a: Spans, b: Spans, windows: Windows) -> Ints:
    """Pixels that regions have in common, pair by pair.

    Args:
        a, b: spans of N regions each, in the same windows.
        windows: N.
    Returns:
        (N,).
    """
    count = len(windows.w)
    if not a.owner.size or not b.owner.size:
        return np.zeros(count, dtype=np.int64)
    a_first, a_end = _line(a, windows)
    b_first, b_end = _line(b, windows)
    covered = np.concatenate([[0], np.cumsum(b_end - b_first)])

    def covered_before(position: Ints) -> Ints:
        index = np.searchsorted(b_first, position, side="right")
        inside = np.minimum(position, b_end[index - 1]) - b_first[index - 1]
        return np.where(index > 0, covered[index - 1] + inside, 0)

    return _sums(a.owner, covered_before(a_end) - covered_before(a_first), count)


def subtract(spans: Spans, without: Spans, windows: Windows) -> Spans:
    """What is left of regions after pixels of others are taken away, pair by pair."""
    if not spans.owner.size or not without.owner.size:
        return spans
    position = np.concatenate([*_line(spans, windows), *_line(without, windows)])
    change = np.repeat(np.array([1, -1, -2, 2]), [len(spans.owner)] * 2 + [len(without.owner)] * 2)
    order = np.argsort(position, kind="stable")
    position, state = position[order], np.cumsum(change[order])
    kept = np.flatnonzero((state[:-1] == 1) & (position[1:] > position[:-1]))
    offsets = _offsets(windows)
    owner = np.searchsorted(offsets, position[kept], side="right") - 1
    inside = position[kept] - offsets[owner]
    row, first = inside // windows.w[owner], inside % windows.w[owner]
    return Spans(owner, row, first, first + position[kept + 1] - position[kept])


def clip_to_rectangles(spans: Spans, columns: tuple[Ints, Ints], rows: tuple[Ints, Ints], count: int) -> Ints:
    """(count,) pixels that regions share with rectangles, given as first and end column and row of each (N,)."""
    inside = (spans.row >= rows[0][spans.owner]) & (spans.row < rows[1][spans.owner])
    length = np.minimum(spans.end, columns[1][spans.owner]) - np.maximum(spans.first, columns[0][spans.owner])
    return _sums(spans.owner, np.where(inside, np.maximum(length, 0), 0), count)


def merged(parts: list[tuple[Ints, Spans]]) -> Spans:
    """Spans of several groups of regions as one, given each group's region numbers."""
    spans = joined([Spans(indices[spans.owner], spans.row, spans.first, spans.end) for indices, spans in parts])
    if len(parts) < 2:
        return spans
    order = np.argsort(spans.owner, kind="stable")
    return Spans(spans.owner[order], spans.row[order], spans.first[order], spans.end[order])


def spread(first: NDArray[np.integer], counts: NDArray[np.integer]) -> Ints:
    """Indices of several stretches, one after the other.

    Args:
        first: (N,) where each stretch begins.
        counts: (N,) how long it is.

    >>> spread(np.array([10, 20]), np.array([2, 3]))
    array([10, 11, 20, 21, 22])
    """
    counts = np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total, dtype=np.int64) + np.repeat(np.asarray(first, dtype=np.int64) - (ends - counts), counts)


def joined(parts: list[Spans]) -> Spans:
    """Spans of several groups one after the other."""
    empty = np.zeros(0, dtype=np.int64)
    return Spans(
        *(np.concatenate([empty, *(getattr(part, name) for part in parts)]) for name in Spans.__dataclass_fields__)
    )


def _offsets(windows: Windows) -> Ints:
    return np.concatenate([[0], np.cumsum(windows.w * windows.h)[:-1]])


def _line(spans: Spans, windows: Windows) -> tuple[Ints, Ints]:
    """First and end of spans on one line that holds the rows of all windows, one after the other."""
    base = _offsets(windows)[spans.owner] + spans.row * windows.w[spans.owner]
    return base + spans.first, base + spans.end


def _sums(owner: Ints, values: Ints, count: int) -> Ints:
    return np.bincount(owner, weights=values, minlength=count).astype(np.int64)
