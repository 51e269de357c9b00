"""Layer normalization in the 16 bits that the next layers read, where autocast makes copies of copies."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

LibraryModule = Any  # modules of `transformers`, which declares no types for their members


def add_norm(norm: LibraryModule, x: Tensor, added: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`x + added` and its layer normalization.

    On a CUDA device under autocast this is one kernel, whose normalization comes in the 16 bits that the next layers
    would cast it to; anywhere else, with gradients and in compiled code it is torch's own, in the type torch gives it.

    Args:
        norm: an `nn.LayerNorm` over the last axis.
        x: (..., C).
        added: (..., C), or None for `x` alone.
    """
    traced = torch.compiler.is_compiling() or (
        torch.is_grad_enabled() and (x.requires_grad or norm.weight.requires_grad)
    )
    kernel = None if traced else _kernel(x.device.type)
    if kernel is not None and torch.is_autocast_enabled("cuda"):
        return kernel(x, added, norm.weight, norm.bias, norm.eps, torch.get_autocast_dtype("cuda"))
    total = x if added is None else x + added
    return total, norm(total)


@functools.lru_cache(maxsize=4)
def _kernel(device: str) -> Callable[..., tuple[Tensor, Tensor]] | None:
    if device != "cuda":
        return None
    try:
        from mosam.model.norm_kernel import add_norm as kernel
    except ImportError:
        return None
    return kernel
