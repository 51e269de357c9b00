"""One region, and a row of regions: what a VOT annotation or result file holds, one region a frame.

A `Trajectory` keeps the numbers of all its rows in one flat array, just as they stand in the file. A region object is
only made when one row is asked for; everything that scores works on the flat arrays, whole sequences at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mosam.regions.masks import MaskTable
from mosam.regions.spans import spread
from mosam.types import Box, Mask

SPECIAL, RECTANGLE, POLYGON, MASK, POINT = range(5)  # the type bytes of the binary format
UNKNOWN, INITIALIZED, FAILED = range(3)  # special codes
LARGEST_SIDE = 65535  # of a mask's crop: what the binary format can hold
LARGEST_OFFSET = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Special:
    """No region but a code: 0 unknown (or not evaluated), 1 initialized here, 2 failed here."""

    code: int


@dataclass(frozen=True, slots=True)
class Point:
    """A point in pixels."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A box in pixels, as written; `x + w` is its exclusive right edge."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True, slots=True)
class Polygon:
    """Corners (x, y) in pixels, three or more, in order; the last is joined to the first."""

    corners: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class RunMask:
    """Pixels of a crop `w` wide and `h` tall whose first pixel is (x, y).

    Attributes:
        runs: lengths of runs in row-major order through the crop, zeros first (that run may be 0). What they leave of
            the crop is zeros.
    """

    x: int
    y: int
    w: int
    h: int
    runs: tuple[int, ...]


Region = Special | Point | Rectangle | Polygon | RunMask
_Text = Callable[[int], str]  # what is wrong with a row


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """Regions of one object, one a frame.

    Attributes:
        kinds: (T,) uint8, `SPECIAL` ... `POINT`.
        starts: (T + 1,) int64; row t is `numbers[starts[t]:starts[t + 1]]`.
        numbers: float64, row after row: a code; x, y; x, y, w, h; x1, y1, x2, y2 ...; or x, y, w, h and the runs.
        cropped: the VOT toolkit crops masks to their pixels when it reads them from text, and does not when it reads
            them from a binary file. That only matters for masks one pixel wide or tall, see `mosam.regions.overlap`.
    """

    kinds: NDArray[np.uint8]
    starts: NDArray[np.int64]
    numbers: NDArray[np.float64]
    cropped: bool = False
    _decoded: list[MaskTable] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, regions: Iterable[Region], *, cropped: bool = False) -> Trajectory:
        """Packs regions.

        Raises:
            ValueError: a region that no file can hold (what `find_fault` says).
        """
        rows = [_pack(region) for region in regions]
        counts = [len(numbers) for _, numbers in rows]
        trajectory = cls(
            np.array([kind for kind, _ in rows], dtype=np.uint8),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.array([number for _, numbers in rows for number in numbers], dtype=np.float64),
            cropped,
        )
        fault = trajectory.find_fault()
        if fault is not None:
            raise ValueError(f"region {fault[0]}: {fault[1]}")
        return trajectory

    @classmethod
    def of_boxes(cls, boxes: NDArray[np.float64]) -> Trajectory:
        """Rectangles (T, 4) x, y, w, h; a row with NaN is unknown."""
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        known = np.asarray(~np.isnan(boxes).any(axis=1))
        counts = np.where(known, 4, 1)
        numbers = np.where(known[:, None], boxes, 0.0)[np.arange(4) < counts[:, None]]
        kinds = np.where(known, RECTANGLE, SPECIAL).astype(np.uint8)
        return cls(kinds, np.concatenate([[0], np.cumsum(counts)]), numbers)

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, index: int) -> Region:
        kind = int(self.kinds[index])
        first = int(self.starts[index % len(self)])
        row = self.numbers[first : int(self.starts[index % len(self) + 1])].tolist()
        if kind == SPECIAL:
            return Special(int(row[0]))
        if kind == POINT:
            return Point(*row)
        if kind == RECTANGLE:
            return Rectangle(*row)
        if kind == POLYGON:
            return Polygon(tuple(zip(row[::2], row[1::2], strict=True)))
        x, y, w, h, *runs = map(int, row)
        return RunMask(x, y, w, h, tuple(runs))

    def __iter__(self) -> Iterator[Region]:
        return (self[index] for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Same regions in the same order; how they came from a file does not matter."""
        if not isinstance(other, Trajectory):
            return NotImplemented
        return (
            np.array_equal(self.kinds, other.kinds)
            and np.array_equal(self.starts, other.starts)
            and np.array_equal(self.numbers, other.numbers)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def codes(self) -> NDArray[np.int64]:
        """(T,) special codes; -1 where the row is a region."""
        codes = np.full(len(self), -1, dtype=np.int64)
        special = self.kinds == SPECIAL
        codes[special] = self.numbers[self.starts[:-1][special]].astype(np.int64)
        return codes

    def rows(self, of: NDArray[np.bool_], count: int) -> NDArray[np.float64]:
        """(N, count): the first `count` numbers of the rows (T,) asked for."""
        return self.numbers[self.starts[:-1][of][:, None] + np.arange(count)]

    def take(self, indices: NDArray[np.integer] | slice) -> Trajectory:
        """Rows by index, in that order."""
        chosen = np.arange(len(self))[indices]
        in_order = bool((np.diff(chosen) == 1).all())
        if in_order and len(chosen) == len(self):
            return self
        counts = np.diff(self.starts)[chosen]
        starts = np.concatenate([[0], np.cumsum(counts)])
        if in_order:
            first = self.starts[chosen[0]] if len(chosen) else 0
            numbers = self.numbers[first : first + starts[-1]]
        else:
            numbers = self.numbers[spread(self.starts[:-1][chosen], counts)]
        part = Trajectory(self.kinds[chosen], starts, numbers, self.cropped)
        if self._decoded:
            position = np.cumsum(self.kinds == MASK) - 1
            part._decoded.append(self._decoded[0].take(position[chosen[part.kinds == MASK]]))
        return part

    def padded(self, count: int) -> Trajectory:
        """With unknown rows after the last, up to `count` rows."""
        more = max(count - len(self), 0)
        return Trajectory(
            np.concatenate([self.kinds, np.full(more, SPECIAL, dtype=np.uint8)]),
            np.concatenate([self.starts, self.starts[-1] + np.arange(1, more + 1)]),
            np.concatenate([self.numbers, np.full(more, UNKNOWN, dtype=np.float64)]),
            self.cropped,
        )

    def boxes(self, *, convention: str = "exclusive") -> NDArray[np.float64]:
        """The box around each region.

        Args:
            convention: of masks, `exclusive` (one pixel short) or `inclusive`, see `mosam.geometry.mask_to_box`.
        Returns:
            (T, 4) float64 x, y, w, h; NaN for codes, points and empty masks.
        """
        boxes = np.full((len(self), 4), np.nan)
        rectangles = self.kinds == RECTANGLE
        boxes[rectangles] = self.rows(rectangles, 4)
        polygons = np.flatnonzero(self.kinds == POLYGON)
        if polygons.size:
            low, high = self.corner_range(polygons)
            boxes[polygons] = np.concatenate([low, high - low], axis=1)
        masks = np.flatnonzero(self.kinds == MASK)
        if masks.size:
            left, top, right, bottom, empty = self.masks.edges()
            extra = 1 if convention == "inclusive" else 0
            tight = np.stack([left, top, right - left + extra, bottom - top + extra], axis=1).astype(np.float64)
            tight[empty] = np.nan
            boxes[masks] = tight
        return boxes

    def corner_range(self, polygons: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lowest and highest x and y of polygons, (N, 2) each.

        Args:
            polygons: (N,) indices of rows that are polygons, N >= 1.
        """
        counts = np.diff(self.starts)[polygons]
        corners = self.numbers[spread(self.starts[polygons], counts)].reshape(-1, 2)
        first = (np.cumsum(counts) - counts) // 2
        return np.minimum.reduceat(corners, first), np.maximum.reduceat(corners, first)

    @property
    def masks(self) -> MaskTable:
        """The rows that are masks, in order, as runs; decoded once."""
        if not self._decoded:
            rows = np.flatnonzero(self.kinds == MASK)
            self._decoded.append(MaskTable.decode(self.numbers, self.starts[rows], np.diff(self.starts)[rows]))
        return self._decoded[0]

    def find_fault(self) -> tuple[int, str] | None:
        """The first row that is not what its kind demands (a region no file can hold).

        Returns:
            its index, and `expected ..., got ...`; None where all rows are right.
        """
        faults = [
            (int(rows[0]), text(int(rows[0])))
            for rows, text in (
                self._wrong_counts(),
                self._wrong_numbers(),
                self._wrong_codes(),
                self._wrong_masks(),
            )
            if rows.size
        ]
        return min(faults, default=None, key=lambda fault: fault[0])

    def _row(self, index: int) -> str:
        values = self.numbers[self.starts[index] : self.starts[index + 1]]
        shown = ",".join(f"{value:g}" for value in values[:6])
        return f"{'m' if self.kinds[index] == MASK else ''}{shown}{',...' if len(values) > 6 else ''}"

    def _wrong_counts(self) -> tuple[NDArray[np.intp], _Text]:
        counts, kinds = np.diff(self.starts), self.kinds
        exact = np.array([1, 4, 6, 5, 2])[kinds]
        open_ended = (kinds == POLYGON) | (kinds == MASK)
        wrong = np.where(open_ended, counts < exact, counts != exact) | ((kinds == POLYGON) & (counts % 2 == 1))
        return np.flatnonzero(wrong), lambda i: f"expected a region, got {counts[i]} numbers ({self._row(i)})"

    def _wrong_numbers(self) -> tuple[NDArray[np.intp], _Text]:
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(self.numbers.sum()):  # then each is
                return np.zeros(0, dtype=np.intp), self._row
        bad = np.flatnonzero(~np.isfinite(self.numbers))
        rows = np.unique(np.searchsorted(self.starts, bad, side="right") - 1)
        return rows, lambda i: f"expected finite numbers, got {self._row(i)}"

    def _wrong_codes(self) -> tuple[NDArray[np.intp], _Text]:
        special = np.flatnonzero((self.kinds == SPECIAL) & (np.diff(self.starts) == 1))
        values = self.numbers[self.starts[special]]
        wrong = special[~np.isin(values, (UNKNOWN, INITIALIZED, FAILED))]
        return wrong, lambda i: f"expected a code 0 (unknown), 1 (initialized) or 2 (failed), got {self._row(i)}"

    def _wrong_masks(self) -> tuple[NDArray[np.intp], _Text]:
        masks = np.flatnonzero((self.kinds == MASK) & (np.diff(self.starts) >= 5))
        if not masks.size:
            return masks, lambda i: ""
        numbers, head = self.numbers, self.starts[masks][:, None] + np.arange(4)
        x, y, w, h = numbers[head].T
        fraction = numbers != np.floor(numbers)
        at = np.flatnonzero(fraction | (numbers < 0))
        owner = np.searchsorted(self.starts, at, side="right") - 1
        broken = np.zeros(len(self), dtype=bool)
        broken[owner[fraction[at] | (at >= self.starts[owner] + 4)]] = True  # x and y may be negative
        broken[masks] |= np.maximum(np.abs(x), np.abs(y)) > LARGEST_OFFSET
        broken = broken[masks]
        side = (np.minimum(w, h) < 0) | (np.maximum(w, h) > LARGEST_SIDE)
        with np.errstate(over="ignore", invalid="ignore"):
            filled = np.add.reduceat(numbers, self.starts[:-1])[masks] - (x + y + w + h)
        wrong = broken | side | ~(filled <= w * h)

        def text(index: int) -> str:
            row = int(np.flatnonzero(masks == index)[0])
            if side[row]:
                return f"expected a mask with sides of 0 to {LARGEST_SIDE}, got {w[row]:g} x {h[row]:g}"
            if broken[row]:
                return f"expected a mask of whole numbers, runs not negative, got {self._row(index)}"
            sides = f"{w[row] * h[row]:.0f} pixels ({w[row]:.0f} x {h[row]:.0f})"
            return f"expected runs of at most {sides}, got {filled[row]:.0f}"

        return masks[wrong], text


def mask_region(mask: Mask) -> RunMask:
    """A mask as runs, cropped to its pixels.

    Args:
        mask: (H, W) bool.
    Returns:
        the region; an empty mask has a crop of 0 x 0.

    >>> mask_region(np.array([[0, 0, 0], [0, 1, 1]], dtype=bool))
    RunMask(x=1, y=1, w=2, h=1, runs=(0, 2))
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return RunMask(0, 0, 0, 0, (0,))
    band = mask[rows[0] : rows[-1] + 1]
    columns = np.flatnonzero(band.any(axis=0))
    crop = band[:, columns[0] : columns[-1] + 1]
    return RunMask(int(columns[0]), int(rows[0]), crop.shape[1], crop.shape[0], tuple(run_lengths(crop)))


def run_lengths(crop: Mask) -> list[int]:
    """Run lengths (zeros first) of a bool array in row-major order; `[0]` of an array without pixels.

    >>> run_lengths(np.array([[True, False, False], [True, True, False]]))
    [0, 1, 2, 2, 1]
    """
    flat = np.ascontiguousarray(crop).ravel()
    if flat.size == 0:
        return [0]
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def box_region(box: Box) -> Region:
    """A box (4,) x, y, w, h as a rectangle; NaN is unknown."""
    return Special(UNKNOWN) if np.isnan(box).any() else Rectangle(*map(float, box))


def _pack(region: Region) -> tuple[int, list[float]]:
    if isinstance(region, Special):
        return SPECIAL, [region.code]
    if isinstance(region, Point):
        return POINT, [region.x, region.y]
    if isinstance(region, Rectangle):
        return RECTANGLE, [region.x, region.y, region.w, region.h]
    if isinstance(region, Polygon):
        return POLYGON, [number for corner in region.corners for number in corner]
    return MASK, [region.x, region.y, region.w, region.h, *region.runs]
