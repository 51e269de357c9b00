"""Masks from a device to the host: one transfer a step, a bit for each pixel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

_BITS = (128, 64, 32, 16, 8, 4, 2, 1)  # of a byte, as numpy unpacks them


def to_host(masks: Sequence[Tensor]) -> list[NDArray[np.bool_]]:
    """Masks as arrays.

    Args:
        masks: bool tensors of any shapes, all on one device.
    Returns:
        an array of the same shape for each.
    """
    if not masks or masks[0].device.type == "cpu":
        return [mask.numpy() for mask in masks]
    return unpack(pack(masks).cpu().numpy(), [tuple(mask.shape) for mask in masks])


def pack(masks: Sequence[Tensor]) -> Tensor:
    """(bytes,) uint8: eight pixels a byte, each mask from a new byte on."""
    weights = torch.tensor(_BITS, dtype=torch.uint8, device=masks[0].device)
    parts = []
    for mask in masks:
        flat = mask.flatten()
        flat = F.pad(flat.to(torch.uint8), (0, -flat.numel() % 8))
        parts.append((flat.view(-1, 8) * weights).sum(dim=1, dtype=torch.uint8))
    return torch.cat(parts)


def unpack(packed: NDArray[np.uint8], shapes: Sequence[tuple[int, ...]]) -> list[NDArray[np.bool_]]:
    """The inverse of `pack`, for masks of these shapes."""
    masks, start = [], 0
    for shape in shapes:
        count = int(np.prod(shape))
        stop = start + -(-count // 8)
        masks.append(np.unpackbits(packed[start:stop], count=count).view(bool).reshape(shape))
        start = stop
    return masks
