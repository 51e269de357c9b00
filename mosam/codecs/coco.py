"""COCO's run lengths of a mask: down the columns, zeros first, as a list or packed into a string."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError
from mosam.system.typed import describe_value
from mosam.types import Mask

MAX_PIXELS = 1 << 27  # of a mask; a few bytes can declare any size, and nobody films more
_BITS = 5  # of a number in each character, least significant first
_MORE = 0x20
_SIGN = 0x10
_FIRST = 48  # character of the value 0
_LONGEST = 7  # characters of a number below 2^32


def encode_rle(mask: Mask) -> dict[str, Any]:
    """A mask (H, W) as COCO stores it: `{"size": [H, W], "counts": "..."}`.

    >>> encode_rle(np.array([[0, 1], [0, 1]], dtype=bool))
    {'size': [2, 2], 'counts': '22'}
    """
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = np.concatenate([[0], edges, [flat.size]])
    counts = np.diff(starts).tolist()
    if flat.size and flat[0]:
        counts = [0, *counts]
    return {"size": [int(side) for side in mask.shape], "counts": _pack(counts)}


def decode_rle(rle: object, where: str | os.PathLike[str]) -> Mask:
    """The mask (H, W) of COCO run lengths, packed or as a list.

    Args:
        rle: `{"size": [H, W], "counts": string or list}`, as JSON gives it.
        where: its file, for errors.
    Raises:
        DataError: another structure, counts that do not add up to the size, or more than `MAX_PIXELS`.
    """
    if not isinstance(rle, Mapping):
        raise DataError(where, f'expected run lengths {{"size", "counts"}}, got {type(rle).__name__}')
    size, counts = rle.get("size"), rle.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(type(side) is int and side >= 0 for side in size)):
        raise DataError(where, f"expected the size of a mask [height, width], got {describe_value(size)}")
    height, width = size
    if height * width > MAX_PIXELS:
        raise DataError(where, f"expected a mask of at most {MAX_PIXELS} pixels, got {height}x{width}; refused")
    runs = _unpack(counts, where) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and 0 <= run <= MAX_PIXELS for run in runs):
        raise DataError(where, "expected run lengths of 0 or more, got others")
    if sum(runs) != height * width:
        raise DataError(where, f"expected run lengths of {height}x{width} pixels, got {sum(runs)} in sum")
    values = np.arange(len(runs)) % 2 == 1
    flat: NDArray[np.bool_] = np.repeat(values, np.array(runs, dtype=np.int64))
    return flat.reshape((height, width), order="F")


def _pack(counts: list[int]) -> str:
    """Each number, from the fourth on less the one before the last, in groups of five bits."""
    characters = []
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        while True:
            group = value & (_MORE - 1)
            value >>= _BITS
            done = value == (-1 if group & _SIGN else 0)
            characters.append(chr(_FIRST + (group if done else group | _MORE)))
            if done:
                break
    return "".join(characters)


def _unpack(text: str, where: str | os.PathLike[str]) -> list[int]:
    counts: list[int] = []
    value = length = 0
    for character in text:
        group = ord(character) - _FIRST
        if not 0 <= group < 2 * _MORE or length == _LONGEST:
            raise DataError(where, f"expected packed run lengths, got {character!r} after {len(counts)} of them")
        value |= (group & (_MORE - 1)) << (_BITS * length)
        length += 1
        if group & _MORE:
            continue
        if group & _SIGN:
            value -= 1 << (_BITS * length)
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = length = 0
    if length:
        raise DataError(where, "expected packed run lengths, got text that ends within a number")
    return counts
