"""Streams of a GPU that nobody else is given.

torch hands its 32 streams out in turn, so that the 33rd is the first again. Two users of one stream wait for each
other, and share more than that: torch keeps the workspace of cuBLAS by stream, so that graphs recorded on one stream,
and plain calls on it, all compute in the same memory (pytorch/pytorch#193402). On two streams at a time that gives
wrong numbers, or a product whose parts wait for each other for ever.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch

POOL = 32  # streams of a device that torch hands out in turn

_taken: dict[int, set[int]] = {}


def own_stream(owner: object, device: torch.device) -> torch.cuda.Stream | None:
    """A stream that is given to nobody else while its owner lives; None where all are taken."""
    index = torch.cuda.current_device() if device.index is None else device.index
    taken = _taken.setdefault(index, set())
    for _ in range(POOL):
        stream: Any = torch.cuda.Stream(index)
        if stream.cuda_stream not in taken:
            taken.add(stream.cuda_stream)
            weakref.finalize(owner, taken.discard, stream.cuda_stream)
            return stream
    return None
