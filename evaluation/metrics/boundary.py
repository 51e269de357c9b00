"""Boundary accuracy F: how much of two outlines lies within a small distance of the other.

The definition is that of the DAVIS evaluation, pixel for pixel. The work is done on the part of the image that holds
the two masks, 64 pixels to a machine word: a shift of the words moves an outline sideways, a slice moves it up or down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mosam.types import Mask

BOUNDARY_TOLERANCE = 0.008  # of the image diagonal: davis2017-evaluation, vos-benchmark

_WORD = 64
Words = NDArray[np.uint64]
FloatArray = NDArray[np.float64]


def boundary_scores(predicted: Mask, truth: Mask, radii: Sequence[float]) -> tuple[float, ...]:
    """F of one object on one frame at several distances: harmonic mean of boundary precision and recall.

    Args:
        predicted, truth: (H, W) bool.
        radii: pixels within which outlines agree, above 0. One that is no whole number is taken as MOSE v2's program
            takes it: `_disk_off_center`.
    Returns:
        one value for each radius, in [0, 1]; 1 where neither has an outline, 0 where only one has.
    Source: Perazzi et al., DAVIS, CVPR 2016; `davis2017/metrics.py` of davis2017-evaluation.

    >>> square = np.zeros((40, 40), dtype=bool)
    >>> square[10:20, 10:20] = True
    >>> boundary_scores(square, square, (1, 2.5))
    (1.0, 1.0)
    """
    window = outline_window(predicted | truth)
    if window is None:
        return (1.0,) * len(radii)
    margin = _margin(max(radii))
    edges = _outlines([predicted[window], truth[window]], margin)
    count, true_count = _counts(edges)
    if count == 0 or true_count == 0:
        return (1.0 if count == true_count else 0.0,) * len(radii)
    found = (_counts(edges & _thicken(edges, radius, margin)[::-1]) for radius in radii)
    return tuple(_f(near / count, true_near / true_count) for near, true_near in found)


def boundary_table(predicted: Sequence[Mask], truths: Sequence[Mask], *, void: Mask | None = None) -> FloatArray:
    """F of every predicted mask with every true one on one frame; each outline is made and thickened once.

    Args:
        predicted: P masks (H, W) bool.
        truths: N masks of the same size.
        void: (H, W) pixels that count as background in all, or None.
    Returns:
        (P, N) in [0, 1], as `boundary_scores` gives for each pair at DAVIS's distance.
    """
    table = np.ones((len(predicted), len(truths)))
    masks = [*predicted, *truths] if void is None else [mask & ~void for mask in (*predicted, *truths)]
    window = outline_window(np.logical_or.reduce(masks)) if table.size else None
    if window is None:
        return table
    radius = boundary_radius(masks[0].shape)
    edges = _outlines([mask[window] for mask in masks], radius)
    counts = _counts(edges)
    thick = _thicken(edges, radius, radius)
    for p in range(len(predicted)):
        for n, true in enumerate(range(len(predicted), len(masks))):
            if counts[p] == 0 or counts[true] == 0:
                table[p, n] = float(counts[p] == counts[true])
            else:
                near, true_near = _counts(edges[[p, true]] & thick[[true, p]])
                table[p, n] = _f(near / counts[p], true_near / counts[true])
    return table


def _f(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _margin(radius: float) -> int:
    """Pixels that a disk may reach to one side."""
    return math.ceil(radius) + (0 if radius == int(radius) else 1)


def boundary_radius(size: tuple[int, ...], tolerance: float = BOUNDARY_TOLERANCE) -> int:
    """Pixels within which two outlines of an image of (height, width) agree.

    >>> boundary_radius((480, 854))
    8
    """
    return math.ceil(tolerance * float(np.linalg.norm(size)))


def outline_window(mask: Mask) -> tuple[slice, slice] | None:
    """The part of the image that holds a mask (H, W) and all of its outline; None for an empty mask.

    Two masks inside it have the same outlines in the part as in the whole.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    top, bottom = rows[0], rows[-1]
    columns = np.flatnonzero(mask[top : bottom + 1].any(axis=0))
    # the outline lies one pixel further up and left; one row and column more below make its last differences
    return slice(max(top - 1, 0), bottom + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)


def _outlines(masks: Sequence[Mask], margin: int) -> Words:
    """Pixels that differ from their right, lower or lower right neighbor: outlines half a pixel up and left.

    At the right and lower border a missing neighbor is the pixel itself.

    Args:
        masks: M of (H, W) bool.
        margin: unset pixels to leave beside each row, and empty rows above and below.
    Returns:
        (M, H + 2 margin, words) rows of 64 pixels a word, the lowest bit the leftmost pixel.
    """
    height, width = masks[0].shape
    top, bottom, left, right = margin, margin + height, margin, margin + width
    padded = np.zeros((len(masks), height + 2 * margin, -(-(width + 2 * margin) // _WORD) * _WORD), dtype=np.bool_)
    for plane, mask in zip(padded, masks, strict=True):
        plane[top:bottom, left:right] = mask
    padded[:, top:bottom, right] = padded[:, top:bottom, right - 1]
    padded[:, bottom] = padded[:, bottom - 1]
    words = np.packbits(padded, axis=-1, bitorder="little").view("<u8")
    beside = np.zeros_like(words)  # what each pixel has to its right
    _add_moved(beside, words, -1)
    edges = words ^ beside
    edges[:, :-1] |= words[:, :-1] ^ words[:, 1:]
    edges[:, :-1] |= words[:, :-1] ^ beside[:, 1:]
    columns = np.zeros(padded.shape[-1], dtype=np.bool_)
    columns[left:right] = True
    edges &= np.packbits(columns, bitorder="little").view("<u8")
    edges[:, :top] = 0
    edges[:, bottom:] = 0
    return edges


def _thicken(edges: Words, radius: float, margin: int) -> Words:
    """Pixels within a Euclidean distance of `radius` of a set pixel, but for the rows of the margin; for each plane."""
    height = edges.shape[1] - 2 * margin
    thick = np.zeros_like(edges)
    inner = thick[:, margin : margin + height]
    if radius != int(radius):
        _thicken_off_center(edges, radius, margin, inner)
        return thick
    wide, reach = edges, 0  # the outline drawn out sideways as far as the next rows of the disk need it
    for half_width, rows in _rows_of_disk(int(radius)):
        while reach < half_width:
            step = min(half_width - reach, 2 * reach + 1)  # a longer step would leave gaps
            drawn = wide.copy()
            _add_moved(drawn, wide, step)
            _add_moved(drawn, wide, -step)
            wide, reach = drawn, reach + step
        for row in rows:
            inner |= wide[:, margin + row : margin + row + height]
    return thick


def _thicken_off_center(edges: Words, radius: float, margin: int, inner: Words) -> None:
    """As `_thicken`, where a row of the disk reaches further to one side than to the other."""
    run, length = edges, 1  # the outline drawn out to the left
    for width, left, rows in _disk_off_center(radius):
        while length < width:
            step = min(width - length, length)
            drawn = run.copy()
            _add_moved(drawn, run, -step)
            run, length = drawn, length + step
        wide = np.zeros_like(run)
        _add_moved(wide, run, -left)
        for row in rows:
            inner |= wide[:, margin + row : margin + row + inner.shape[1]]


def _add_moved(target: Words, words: Words, distance: int) -> None:
    """Adds all pixels moved right (left where negative); the margins keep one row from running into the next."""
    skip, bits = divmod(abs(distance), _WORD)
    here, rest = np.uint64(bits), np.uint64(_WORD - bits)
    to, source = target.reshape(-1), words.reshape(-1)
    count = len(source) - skip
    moved = np.empty(count, dtype=np.uint64)
    if distance > 0:
        to[skip:] |= np.left_shift(source[:count], here, out=moved)
        if bits:  # what leaves a word enters its neighbor
            to[skip + 1 :] |= np.right_shift(source[: count - 1], rest, out=moved[1:])
    else:
        to[:count] |= np.right_shift(source[skip:], here, out=moved)
        if bits:
            to[: count - 1] |= np.left_shift(source[skip + 1 :], rest, out=moved[1:])


@lru_cache(maxsize=64)
def _rows_of_disk(radius: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Half widths of the disk x^2 + y^2 <= radius^2, ascending, each with the rows that are so wide."""
    rows: dict[int, list[int]] = {}
    for y in range(-radius, radius + 1):
        rows.setdefault(math.isqrt(radius * radius - y * y), []).append(y)
    return tuple((half_width, tuple(rows[half_width])) for half_width in sorted(rows))


@lru_cache(maxsize=64)
def _disk_off_center(radius: float) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Rows of a disk whose radius is no whole number, as MOSE v2's program draws it.

    It takes `disk` of scikit-image at its word: pixels `-radius, -radius + 1 ...`, none of which is 0, and thickens
    about the middle one. So the disk lies up to a pixel off its center, both ways. (Under 0.8 pixels, on images of
    less than 100 across, it may be empty, and what follows is up to OpenCV; here it is the center alone.)

    Returns:
        width in pixels, leftmost pixel and rows, relative to the center; widths ascend.
    """
    along = np.arange(-radius, radius + 1)
    inside = along[:, None] ** 2 + along**2 <= radius**2
    center = len(along) // 2
    if not inside.any():
        inside[center, center] = True
    rows: dict[tuple[int, int], list[int]] = {}
    for y in np.flatnonzero(inside.any(axis=1)):
        columns = np.flatnonzero(inside[y])
        rows.setdefault((len(columns), int(columns[0]) - center), []).append(int(y) - center)
    return tuple((width, left, tuple(rows[width, left])) for width, left in sorted(rows))


if hasattr(np, "bitwise_count"):

    def _counts(planes: Words) -> list[int]:
        """Set pixels of each plane."""
        return np.bitwise_count(planes).sum(axis=(1, 2), dtype=np.int64).tolist()
else:  # NumPy 1
    _BITS = np.unpackbits(np.arange(65536, dtype="<u2").view(np.uint8).reshape(-1, 2), axis=1).sum(axis=1)

    def _counts(planes: Words) -> list[int]:
        """Set pixels of each plane."""
        return _BITS[planes.view(np.uint16)].sum(axis=(1, 2), dtype=np.int64).tolist()
