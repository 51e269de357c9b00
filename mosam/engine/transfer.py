"""What goes between the host and the device in a step: numbers up in one copy, masks down with a bit for each pixel.

An upload from ordinary memory waits until the device has done all it was asked for; one from pinned memory does not.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_BITS = (128, 64, 32, 16, 8, 4, 2, 1)  # of a byte, as numpy unpacks them
_ALIGNMENT = 8  # bytes; where each array of an upload begins

COUNTS: Counter[str] = Counter()  # of `uploads` and `downloads` so far, on any device


def upload(device: torch.device, *arrays: NDArray | None) -> list[Any]:
    """Arrays as tensors on a device, in one copy that nobody waits for.

    Args:
        device: where they go.
        arrays: of numbers or bool, of any shapes; None is handed through.
    Returns:
        a tensor of the same shape and type for each, or None.
    """
    COUNTS["uploads"] += 1
    if device.type == "cpu":
        return [None if array is None else torch.from_numpy(array) for array in arrays]
    there = [None if array is None else np.ascontiguousarray(array) for array in arrays]
    starts = np.cumsum([0] + [0 if a is None else -(-a.nbytes // _ALIGNMENT) * _ALIGNMENT for a in there])
    staged = torch.empty(int(starts[-1]), dtype=torch.uint8, pin_memory=device.type == "cuda")
    for array, start in zip(there, starts, strict=False):
        if array is not None:
            staged.numpy()[start : start + array.nbytes] = array.reshape(-1).view(np.uint8)
    # torch hands pinned memory out again only when the copies from it are done
    sent = staged.to(device, non_blocking=True)
    return [
        None if array is None else _part(sent[start : start + array.nbytes], array)
        for array, start in zip(there, starts, strict=False)
    ]


def _part(raw: Tensor, array: NDArray) -> Tensor:
    """(bytes,) uint8 of an upload as a tensor like the array they were."""
    kind = torch.from_numpy(np.empty(0, array.dtype)).dtype
    return raw.view(kind).view(array.shape) if array.size else torch.empty(array.shape, dtype=kind, device=raw.device)


def upload_index(device: torch.device, values: Sequence[int]) -> Tensor:
    """Integers as an int64 tensor on a device, without a wait."""
    (index,) = upload(device, np.asarray(values, dtype=np.int64))
    return cast(Tensor, index)


def download(tensor: Tensor) -> NDArray:
    """A tensor on the host; this waits for all that the device was asked for."""
    COUNTS["downloads"] += 1
    return tensor.cpu().numpy()


def to_host(masks: Sequence[Tensor]) -> list[NDArray[np.bool_]]:
    """Masks as arrays.

    Args:
        masks: bool tensors of any shapes, all on one device.
    Returns:
        an array of the same shape for each.
    """
    if not masks:
        return []
    if masks[0].device.type == "cpu":
        COUNTS["downloads"] += 1
        return [mask.numpy() for mask in masks]
    return unpack(download(pack(masks)), [tuple(mask.shape) for mask in masks])


def pack(masks: Sequence[Tensor]) -> Tensor:
    """(bytes,) uint8: eight pixels a byte, each mask from a new byte on."""
    weights = _weights(masks[0].device)
    parts = []
    for mask in masks:
        flat = mask.flatten()
        flat = F.pad(flat.to(torch.uint8), (0, -flat.numel() % 8))
        parts.append((flat.view(-1, 8) * weights).sum(dim=1, dtype=torch.uint8))
    return torch.cat(parts)


@functools.lru_cache(maxsize=16)
def _weights(device: torch.device) -> Tensor:
    """(8,) uint8 value of each bit of a byte."""
    return torch.tensor(_BITS, dtype=torch.uint8, device=device)


def unpack(packed: NDArray[np.uint8], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.bool_]]:
    """The inverse of `pack`, for masks of these shapes."""
    masks, start = [], 0
    for shape in shapes:
        count = int(np.prod(shape))
        stop = start + -(-count // 8)
        masks.append(np.unpackbits(packed[start:stop], count=count).view(bool).reshape(shape))
        start = stop
    return masks
