"""Attention by the kernel that fits: of torch, or in blocks for CPUs with 16-bit products but no matrix units.

On such a processor (`avx512_bf16` without AMX) torch's `scaled_dot_product_attention` unpacks 16-bit operands and
computes in 32 bits, at less than half the rate of the 16-bit matrix product; here both products are 16-bit ones. What
must not be lost with that is the accuracy of the weights: the product rounds what it returns to 8 bits, and an error of
a logit is a relative error of its weight. The largest logit of a row, as far as a sample of the keys shows it, is
therefore subtracted inside the product, before the rounding, and what is rounded is small wherever the weight is not.
Rates and errors: `python benchmarks/attention.py`, docs/benchmarks.md.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from mosam.model.widened import cpu_flags

QUERIES, KEYS = 512, 1024  # of a block: its logits (1 MiB) stay in the second-level cache
SAMPLE = 32  # one key in so many is looked at for the largest logit
# Logits of a head: with so many 1.0 to 1.3 times the rate of the library, with four times as many 1.4 to 1.5.
WORTH = 1 << 20

LONG = 4096  # keys of one head from which a choice of kernels on a GPU pays
PLANNED = 16  # calls of a shape, four a step, until cuDNN may plan it: on 16 rows that is earned back in three steps
_SEEN: dict[tuple[torch.Size, torch.Size], int] = {}


@lru_cache(maxsize=1)
def pays() -> bool:
    """Whether this processor is one of those the blocks are for."""
    flags = cpu_flags()
    return "avx512_bf16" in flags and "amx_bf16" not in flags


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """Scaled dot-product attention by the fastest kernel for these tensors.

    Args:
        query: (B, heads, N, C).
        key: (B, heads, K, C).
        value: (B, heads, K, C).
        bias: added to the logits, broadcast to (B, heads, N, K); None for none.
        dropout: share of the weights dropped, in training.

    Returns:
        (B, heads, N, C).
    """
    if (
        query.dtype is torch.bfloat16
        and query.device.type == "cpu"
        and bias is None
        and not dropout
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()  # which would unroll the blocks
        and query.shape[-2] * key.shape[-2] >= WORTH
        and pays()
    ):
        return attend_in_blocks(query, key, value)
    if query.device.type == "cuda" and bias is None and not dropout and not torch.compiler.is_compiling():
        with fitting_kernel(query, key):
            return F.scaled_dot_product_attention(query, key, value)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, dropout_p=dropout)


def fitting_kernel(query: Tensor, key: Tensor) -> contextlib.AbstractContextManager[object]:
    """Flash attention for memories of a shape that is new or of one row; else what torch prefers, which is cuDNN.

    cuDNN plans each shape it has not seen, 38 ms on an H100, and while a memory fills every frame has a new one;
    flash attention takes any. Of one row (4096 x 28736 keys of 256 channels) flash took 0.41 ms and cuDNN 0.67, of
    16 rows 6.4 and 3.1 (benchmarks/measured).
    """
    if query.dtype not in (torch.bfloat16, torch.float16) or query.shape[1] > 1 or key.shape[-2] < LONG:
        return contextlib.nullcontext()
    shape = (query.shape, key.shape)
    seen = _SEEN[shape] = min(_SEEN.get(shape, 0) + 1, PLANNED)
    if seen == PLANNED and query.shape[0] > 1:
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])


def attend_in_blocks(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """`attend` without a bias, for bfloat16: products of 16 bits, sums and weights' totals in 32.

    Args:
        query: (B, heads, N, C) bfloat16.
        key: (B, heads, K, C).
        value: (B, heads, K, C).

    Returns:
        (B, heads, N, C) bfloat16.
    """
    out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
    with torch.autocast(query.device.type, enabled=False):
        scaled = query * query.shape[-1] ** -0.5
        for row in range(query.shape[0]):
            for head in range(query.shape[1]):
                _one_head(scaled[row, head], key[row, head], value[row, head], out[row, head])
    return out


def _one_head(query: Tensor, key: Tensor, value: Tensor, out: Tensor) -> None:
    blocks = list(zip(key.split(KEYS), value.split(KEYS), strict=True))
    sample = key[::SAMPLE].T
    for rows, result in zip(query.split(QUERIES), out.split(QUERIES), strict=True):
        below = (rows @ sample).amax(1, keepdim=True).neg_()
        total = torch.zeros(len(rows), 1)
        seen = torch.zeros(rows.shape)
        for keys, values in blocks:
            weights = torch.addmm(below, rows, keys.T).exp_()
            total += weights.sum(1, keepdim=True, dtype=torch.float32)
            seen += weights @ values
        if bool(total.isfinite().all()):
            result.copy_(seen.div_(total))
        else:  # a key that no sample shows is larger by 88 or more
            result.copy_(F.scaled_dot_product_attention(rows[None], key[None], value[None], scale=1.0)[0])
