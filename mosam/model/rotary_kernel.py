"""The rotary code of keys in place, in one pass over the memory: what `Rotary.rotate_` does in three or more.

Importing this needs Triton; `Rotary` imports it on a CUDA device that has it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # channel pairs of one program


@triton.jit
def _turn(x, cos, sin, count, tokens, row_stride, HALF: tl.constexpr, SIZE: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(1).to(tl.int64)
    at = tl.program_id(0) * SIZE + tl.arange(0, SIZE)  # key and pair, flat
    key = at // HALF
    pair = at % HALF
    inside = key < count
    place = x + row * row_stride + key.to(tl.int64) * (2 * HALF) + 2 * pair
    angle = (key % tokens) * HALF + pair
    c = tl.load(cos + angle, mask=inside, other=1.0)
    s = tl.load(sin + angle, mask=inside, other=0.0)
    a = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(place + 1, mask=inside, other=0.0).to(tl.float32)
    tl.store(place, (a * c - b * s).to(x.dtype.element_ty), mask=inside)
    tl.store(place + 1, (a * s + b * c).to(x.dtype.element_ty), mask=inside)


def turn_(x: Tensor, cos: Tensor, sin: Tensor, count: int) -> None:
    """Turn the first `count` keys of every row.

    Args:
        x: (R, K, width) contiguous, of any floating type; changed in place.
        cos, sin: (tokens, width / 2) fp32, contiguous; key k uses row `k % tokens`.
        count: keys that are turned, at most K.
    """
    rows, keys, width = x.shape
    grid = (triton.cdiv(count * width // 2, BLOCK), rows)
    if x.device.type == "cuda":
        with torch.cuda.device(x.device):
            _turn[grid](x, cos, sin, count, cos.shape[0], keys * width, width // 2, BLOCK)
    else:  # Triton's interpreter
        _turn[grid](x, cos, sin, count, cos.shape[0], keys * width, width // 2, BLOCK)
