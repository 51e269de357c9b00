"""The masks of a trajectory as runs of pixels, decoded once and used by everything that looks at pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mosam.regions.spans import Drawing, Ints, spread
from mosam.types import Size

Edges = tuple[Ints, Ints, Ints, Ints, NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Runs:
    """R runs of ones of several masks.

    Attributes:
        owner: (R,) which mask, ascending.
        first, end: (R,) pixels of the run (end exclusive) in the crop's row-major order, ascending within a mask.
        row, column: (R,) of the first pixel, counted from the crop's corner.
    """

    owner: Ints
    first: Ints
    end: Ints
    row: Ints
    column: Ints

    def take(self, masks: NDArray[np.integer] | NDArray[np.bool_], count: int) -> Runs:
        """Those of some of `count` masks, in the order given."""
        counts = np.bincount(self.owner, minlength=count)
        begin = (np.cumsum(counts) - counts)[masks]
        counts = counts[masks]
        at = spread(begin, counts)
        owner = np.repeat(np.arange(len(counts)), counts)
        return Runs(owner, self.first[at], self.end[at], self.row[at], self.column[at])


@dataclass(frozen=True, slots=True)
class MaskTable:
    """M masks.

    Attributes:
        x, y, w, h: (M,) crops, in image pixels.
        make_runs: gives their runs; asked once, and only where runs are needed.
        drawings: what `mosam.regions.raster.draw` keeps, by image size.
    """

    x: Ints
    y: Ints
    w: Ints
    h: Ints
    make_runs: Callable[[], Runs]
    drawings: dict[Size, Drawing] = field(default_factory=dict, repr=False, compare=False)
    _runs: list[Runs] = field(default_factory=list, repr=False, compare=False)
    _edges: list[Edges] = field(default_factory=list, repr=False, compare=False)

    @classmethod
    def decode(cls, numbers: NDArray[np.float64], starts: Ints, counts: Ints) -> MaskTable:
        """Masks from the numbers of a trajectory.

        Args:
            numbers: x, y, w, h and run lengths (zeros first), mask after mask; other regions may lie between.
            starts: (M,) where each mask begins.
            counts: (M,) how many numbers it has, 5 or more.
        """
        x, y, w, h = numbers[starts[:, None] + np.arange(4)].astype(np.int64).T
        return cls(x, y, w, h, lambda: _decode_runs(numbers, starts, counts, w))

    @property
    def runs(self) -> Runs:
        """The masks' runs of ones."""
        if not self._runs:
            self._runs.append(self.make_runs())
        return self._runs[0]

    def take(self, masks: NDArray[np.integer] | NDArray[np.bool_]) -> MaskTable:
        """Some of the masks, in the order given."""
        x, y, w, h = (side[masks] for side in (self.x, self.y, self.w, self.h))
        left, top, right, bottom, empty = self.edges()
        part = MaskTable(x, y, w, h, lambda: self.runs.take(masks, len(self.x)))
        part._edges.append((left[masks], top[masks], right[masks], bottom[masks], empty[masks]))
        return part

    def edges(self) -> Edges:
        """First and last column and row that each mask has pixels in; computed once.

        Returns:
            left, top, right (inclusive), bottom (inclusive), each (M,) in image pixels, and (M,) bool empty, where the
            four are 0.
        """
        if not self._edges:
            self._edges.append(self._find_edges())
        return self._edges[0]

    def _find_edges(self) -> Edges:
        count, runs = len(self.x), self.runs
        empty = np.bincount(runs.owner, minlength=count) == 0
        left, top, right, bottom = np.zeros((4, count), dtype=np.int64)
        if runs.owner.size:
            begin = np.flatnonzero(np.diff(runs.owner, prepend=-1))
            last = np.append(begin[1:], len(runs.owner)) - 1
            stop = runs.column + runs.end - runs.first
            left[~empty] = np.minimum.reduceat(runs.column, begin)
            right[~empty] = np.maximum.reduceat(stop, begin)
            top[~empty] = runs.row[begin]
            bottom[~empty] = (runs.end[last] - 1) // np.maximum(self.w, 1)[~empty]
            wraps = right > self.w  # a run that goes on in the next row touches the first and the last column
            left[wraps], right[wraps] = 0, self.w[wraps]
        x, y = np.where(empty, 0, self.x), np.where(empty, 0, self.y)
        return left + x, top + y, right + x - ~empty, bottom + y, empty


def _decode_runs(numbers: NDArray[np.float64], starts: Ints, counts: Ints, w: Ints) -> Runs:
    if counts.sum() != len(numbers):  # other regions' numbers are no lengths, and may be too large for an integer
        inside = np.zeros(len(numbers), dtype=bool)
        inside[spread(starts, counts)] = True
        numbers = np.where(inside, numbers, 0.0)
    lengths = numbers.astype(np.int64)
    lengths[starts[:, None] + np.arange(4)] = 0
    total = np.cumsum(lengths)
    pairs = (counts - 4) // 2
    owner = np.repeat(np.arange(len(starts)), pairs)
    at = np.repeat(starts + 5 - 2 * (np.cumsum(pairs) - pairs), pairs) + 2 * np.arange(len(owner))
    end = total[at] - total[starts][owner]
    first = end - lengths[at]
    kept = first < end
    if not kept.all():
        owner, first, end = owner[kept], first[kept], end[kept]
    across = np.maximum(w, 1)[owner]
    row = first // across
    return Runs(owner, first, end, row, first - row * across)
