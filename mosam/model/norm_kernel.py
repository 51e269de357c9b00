"""Layer normalization of 16-bit or 32-bit rows, with the addition before it, in one pass over the memory.

Under autocast torch makes five of it: the addition, a copy in 32 bits, the normalization, a copy in 16 bits for each of
the layers that read it. Importing this needs Triton; `mosam.model.norms` imports it on a CUDA device that has it.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 4096  # numbers that one program normalizes, at least one row


@triton.jit
def _add_norm(  # type: ignore[no-untyped-def]
    x, added, total, out, weight, bias, rows, width, eps, ADD: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    inside = (row < rows) & (column < width)
    at = row * width + column
    value = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(added + at, mask=inside, other=0.0).to(tl.float32)
        rounded = value.to(total.dtype.element_ty)
        tl.store(total + at, rounded, mask=inside)
        value = rounded.to(tl.float32)
    mean = tl.sum(value, axis=1)[:, None] / width
    centered = tl.where(inside, value - mean, 0.0)
    variance = tl.sum(centered * centered, axis=1)[:, None] / width
    normed = centered / tl.sqrt(variance + eps)
    scale = tl.load(weight + column, mask=column < width, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=column < width, other=0.0).to(tl.float32)
    tl.store(out + at, (normed * scale + shift).to(out.dtype.element_ty), mask=inside)


def add_norm(
    x: Tensor, added: Tensor | None, weight: Tensor, bias: Tensor, eps: float, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """A sum and its layer normalization over the last axis.

    Args:
        x: (..., C) of any floating type.
        added: of the same shape, or None.
        weight, bias: (C,) of the normalization.
        eps: added to the variance.
        dtype: of the normalized rows.
    Returns:
        `x + added` in the type torch gives such a sum (`x` itself without `added`), and its normalization.
    """
    x = x.contiguous()
    added = None if added is None else added.contiguous()
    width = x.shape[-1]
    rows = x.numel() // width
    total = x if added is None else torch.empty_like(x, dtype=torch.promote_types(x.dtype, added.dtype))
    out = torch.empty_like(x, dtype=dtype)
    block = triton.next_power_of_2(width)
    together = max(1, TILE // block)
    given = (x, x if added is None else added, total, out, weight, bias, rows, width, eps)
    launch = _add_norm[(triton.cdiv(rows, together),)]
    if x.device.type == "cuda":
        with torch.cuda.device(x.device):
            launch(*given, ADD=added is not None, ROWS=together, BLOCK=block, num_warps=8)
    else:  # Triton's interpreter
        launch(*given, ADD=added is not None, ROWS=together, BLOCK=block)
    return total, out
