"""16-bit arithmetic on processors that have none: the same numbers, computed in 32 bits.

A product of bfloat16 matrices is a sum of exact 32-bit products, rounded to 16 bits at the end. A processor without
instructions for it unpacks, multiplies and packs again, at a fifth of the speed of its 32-bit product (measured, see
`docs/benchmarks.md`). Here the weights are rounded to 16 bits once and kept in 32, inputs are rounded, the product is
computed in 32 bits and rounded: the order of the summation is the only difference.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def has_native(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies matrices of a 16-bit type with instructions of its own."""
    wanted = {
        torch.bfloat16: ("amx_bf16", "avx512_bf16", "bf16"),
        torch.float16: ("amx_fp16", "avx512_fp16", "asimdhp"),
    }
    flags = cpu_flags()
    return not flags or any(word in flags for word in wanted[dtype])  # not Linux: let the library decide


def cpu_flags() -> set[str]:
    """The words Linux says of this processor, among them its instruction sets; empty elsewhere."""
    cpuinfo = Path("/proc/cpuinfo")
    return set(cpuinfo.read_text(encoding="utf-8", errors="replace").split()) if cpuinfo.is_file() else set()


def widen(module: nn.Module, dtype: torch.dtype) -> None:
    """Makes a linear layer or convolution take and give `dtype` as autocast does, and compute in 32 bits.

    Args:
        module: its weights are rounded to `dtype` in place.
        dtype: `torch.bfloat16` or `torch.float16`.
    """
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            parameter.copy_(parameter.to(dtype).float())
    module.forward = partial(_forward, module, type(module).forward, dtype)  # type: ignore[method-assign]


def _forward(module: nn.Module, plain: Any, dtype: torch.dtype, x: Tensor, *rest: Any, **named: Any) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):
        return plain(module, x.to(dtype).float(), *rest, **named).to(dtype)
