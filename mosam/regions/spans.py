"""Stretches of pixels in rows: what regions become when they are drawn, and how much of them is shared."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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

    def area(self, count: int) -> Ints:
        """(count,) pixels of each region."""
        return _sums(self.owner, self.end - self.first, count)


@dataclass(frozen=True, slots=True)
class Line:
    """Stretches on one line, ascending and disjoint.

    Attributes:
        first, end: (S,) end exclusive.
        covered: (S + 1,) length of the stretches before each, and of all.
    """

    first: Ints
    end: Ints
    covered: Ints

    @classmethod
    def of(cls, first: Ints, end: Ints) -> Line:
        """From where stretches begin and end."""
        return cls(first, end, np.concatenate([[0], np.cumsum(end - first)]))

    def before(self, position: Ints) -> Ints:
        """How much of the line is covered before each position."""
        if not self.first.size:
            return np.zeros_like(position)
        index = np.searchsorted(self.first, position, side="right") - 1
        inside = np.minimum(position, self.end[index]) - self.first[index]
        return np.where(index >= 0, self.covered[index] + inside, 0)


@dataclass(frozen=True, eq=False)
class Drawing:
    """M regions drawn into images of one size.

    Attributes:
        spans: in image pixels.
        count: M.
        size: (height, width).
    """

    spans: Spans
    count: int
    size: tuple[int, int]

    @cached_property
    def area(self) -> Ints:
        """(M,) pixels of each region."""
        return self.spans.area(self.count)

    @cached_property
    def row_starts(self) -> Ints:
        """(M x height + 1,) where the spans of each image row begin, one image after the other."""
        rows = np.bincount(self.spans.owner * self.size[0] + self.spans.row, minlength=self.count * self.size[0])
        return np.concatenate([[0], np.cumsum(rows)])

    def shared_with(self, other: Drawing, partner: Ints) -> Ints:
        """(M,) pixels that each region shares with region `partner` (M,) of another drawing; 0 where that is -1."""
        spans = self.spans
        mine = np.arange(len(spans.owner)) if (partner >= 0).all() else np.flatnonzero(partner[spans.owner] >= 0)
        line = partner[spans.owner[mine]] * self.size[0] + spans.row[mine]
        theirs, end = other.row_starts[line], other.row_starts[line + 1]
        shared = np.zeros(self.count, dtype=np.int64)
        while True:  # once for most shapes: as often as a row of the other has stretches
            left = theirs < end
            if not left.all():
                mine, theirs, end = mine[left], theirs[left], end[left]
            if not mine.size:
                return shared
            length = np.minimum(spans.end[mine], other.spans.end[theirs])
            length -= np.maximum(spans.first[mine], other.spans.first[theirs])
            shared += _sums(spans.owner[mine], np.maximum(length, 0, out=length), self.count)
            theirs = theirs + 1


def shared_area(a: Spans, b: Spans, windows: Windows) -> Ints:
    """Pixels that regions have in common, pair by pair.

    Args:
        a, b: spans of N regions each, in the same windows.
        windows: N.
    Returns:
        (N,).
    """
    first, end = _line(a, windows)
    line = Line.of(*_line(b, windows))
    return _sums(a.owner, line.before(end) - line.before(first), len(windows.w))


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
