"""Weights by name: their hash, and whether they are what a network needs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.errors import DataError, MismatchError

if TYPE_CHECKING:
    from torch import Tensor


def weights_hash(weights: dict[str, Tensor]) -> str:
    """SHA-256 over names, shapes and bytes of a state dict in fp32, sorted by name: equal for every file format."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(weights):
        value = weights[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(value.shape)}".encode())
        digest.update(value.numpy().data)
    return digest.hexdigest()


def reason(error: Exception) -> str:
    """The first line of somebody else's error."""
    text = "".join(letter if letter.isprintable() else " " for letter in str(error).strip().partition("\n")[0])
    return " ".join(text.split())[:120] or type(error).__name__


def check_tensors(weights: dict[Any, Any], *, where: Path) -> None:
    """DataError unless these are plain arrays of numbers by name."""
    import torch

    for name, value in weights.items():
        if not isinstance(name, str) or not name.isprintable():
            raise DataError(where, f"expected weights by name, got {ascii(name)[:60]}")
        plain = isinstance(value, torch.Tensor) and value.layout == torch.strided and value.device.type == "cpu"
        if not plain or not (value.is_floating_point() or value.is_complex() or value.dtype == torch.int64):
            raise DataError(where, f"{name[:80]}: expected an array of numbers, got another {type(value).__name__}")


def fill(model: Any, weights: dict[str, Tensor], *, where: str, title: str = "SAM 2") -> None:
    """Copy weights into a model, strictly."""
    check_shapes(weights, model, where=where, title=title)
    model.load_state_dict(weights)


def check_shapes(weights: dict[str, Tensor], model: Any, *, where: str, title: str = "SAM 2") -> None:
    """MismatchError unless weights have the names, shapes and kinds of numbers of a model's."""
    from mosam.model.meta_format import check_keys

    own = model.state_dict()
    check_keys(set(weights), set(own), where=where, title=title)
    for name, value in weights.items():
        if value.is_floating_point() != own[name].is_floating_point():
            kind = str(own[name].dtype).removeprefix("torch.")
            raise MismatchError(f"{where}: expected {name} of {kind}, got {str(value.dtype).removeprefix('torch.')}")
        if value.shape != own[name].shape:
            raise MismatchError(
                f"{where}: expected {name} of shape {tuple(own[name].shape)}, got {tuple(value.shape)}; "
                "the checkpoint is of another model"
            )
