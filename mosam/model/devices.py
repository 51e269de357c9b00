"""Which device a network runs on, and in which precision."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from mosam.errors import MosamError, UnknownNameError

if TYPE_CHECKING:
    import torch

    from mosam.model.sam2 import Precision

SMALL = ("nano", "mini")  # networks too small to gain from 16 bits


def choose_device(device: str) -> torch.device:
    """`auto` -> cuda, else mps, else cpu; any other name is taken as it is.

    Raises:
        MosamError: the device is not there.
    """
    import torch

    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, found in available.items() if found))
    kind = device.split(":")[0]
    if kind not in available:
        raise UnknownNameError("device", device, ["auto", *available], where="load_model")
    if not available[kind]:
        found = ", ".join(name for name, there in available.items() if there)
        raise MosamError(f"load_model: expected a {kind} device, got none; use --device auto or one of: {found}")
    count = {"cuda": count_gpus()}.get(kind, 1)
    number = device.removeprefix(kind).removeprefix(":") if device != kind else "0"
    if not (number.isascii() and number.isdigit() and int(number) < count):
        known = kind if count == 1 else f"{kind}, {kind}:0 to {kind}:{count - 1}"
        raise MosamError(f"load_model: expected a device that is there ({known}), got {device!r}")
    return torch.device(device)


def count_gpus() -> int:
    """CUDA GPUs that torch can use."""
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision that is fastest without harm: bf16 where the hardware has products for it, else fp32.

    `nano` is too small to gain from 16 bits and stays fp32, and so do its random twins.
    """
    import torch

    if not set(SMALL).isdisjoint(name.removeprefix("random:").partition("@")[0].split("-")):
        return "fp32"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "mps":
        return "bf16"
    return "bf16" if bf16_units() else "fp32"


def bf16_units() -> str | None:
    """What this processor has to multiply bf16 matrices with, if that is faster than fp32: `docs/benchmarks.md`."""
    from mosam.model.widened import cpu_flags

    names = {"amx_bf16": "matrix units", "avx512_bf16": "16-bit products"}
    flags = cpu_flags()
    return next((name for flag, name in names.items() if flag in flags), None)


def can_compile(device: torch.device) -> bool:
    """Whether `torch.compile` has what it needs to make code for a device."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return bool(has_triton())
    return device.type == "cpu" and any(shutil.which(name) for name in (os.environ.get("CXX") or "g++", "clang++"))
