"""Kernels of a GPU against torch's own operations; on a processor these stand on both sides."""

from __future__ import annotations

import contextlib

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mosam.model import blocked, norms
from mosam.model.formulas import Rotary, turn_pairs
from mosam.model.norms import add_norm

KINDS = [torch.float32, torch.bfloat16, torch.float16]


def close(found, expected, kind, size=1.0):
    """Equal but for the last bit of a type, of numbers of this size (what was added may be larger than the sum)."""
    step = torch.finfo(kind).eps
    return bool(((found.float() - expected.float()).abs() <= step * (size + expected.float().abs())).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "slots", "extra"), [(1, 7, 64), (3, 1, 0), (2, 0, 5)])
def test_rotary_code(device, kind, rows, slots, extra):
    grid, width = 16, 64
    rotary = Rotary(grid, width, formulas="official", device=device)
    if device.type == "cuda":
        assert rotary._kernel is not None, "no Triton on a machine with a GPU"
    keys = torch.randn(rows, slots * grid * grid + extra, width, device=device).to(kind)
    plain = Rotary(grid, width, formulas="official", device=torch.device("cpu"))
    cos, sin = (part.contiguous().to(device) for part in (plain.turn.real, plain.turn.imag))
    expected = keys.clone()
    if slots:
        turn_pairs(expected, cos, sin, slots * grid * grid)
    found = rotary.rotate_(keys.clone(), slots)
    assert close(found, expected, kind, 2 * float(keys.abs().max()))
    assert torch.equal(found[:, slots * grid * grid :], keys[:, slots * grid * grid :])
    part = keys[:, :, : width // 2].repeat(1, 1, 2)[:, ::1]  # another memory layout
    assert torch.equal(rotary.rotate_(part.clone(), slots), rotary.rotate_(part.clone(), slots))


@pytest.mark.parametrize("width", [8, 144, 576, 1152])
@pytest.mark.parametrize(
    ("kind", "other"),
    [(torch.bfloat16, torch.bfloat16), (torch.float32, torch.bfloat16), (torch.bfloat16, None), (torch.float32, None)],
)
def test_add_and_norm(device, width, kind, other, monkeypatch):
    if device.type == "cuda":
        assert norms._kernel("cuda") is not None, "no Triton on a machine with a GPU"
    norm = nn.LayerNorm(width, eps=1e-6, device=device)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    x = (5 + 3 * torch.randn(3, 37, width, device=device)).to(kind)
    added = None if other is None else torch.randn(3, 37, width, device=device).to(other)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        total, found = add_norm(norm, x, added)
        monkeypatch.setattr(norms, "_kernel", lambda kind: None)
        plain, expected = add_norm(norm, x, added)
    assert total.dtype == plain.dtype
    assert close(total, plain, total.dtype)
    exact = F.layer_norm(total.double(), (width,), norm.weight.double(), norm.bias.double(), 1e-6)
    for result in (found, expected):
        assert ((result.double() - exact).abs() <= 2**-7 * exact.abs() + 1e-3).all()


@pytest.mark.parametrize("rows", [1, 3])
def test_attention_of_a_long_memory(device, rows):
    """The first calls of a shape and the later ones, which may use another kernel."""
    query, key, value = (torch.randn(rows, 1, n, 64, device=device).bfloat16() for n in (256, 4608, 4608))
    exact = F.scaled_dot_product_attention(query.double(), key.double(), value.double())
    with torch.inference_mode():
        for _ in range(blocked.PLANNED + 2):
            found = blocked.attend(query, key, value)
            assert float((found.double() - exact).norm() / exact.norm()) < 1e-2
        hidden = torch.zeros(rows, 1, 1, 4608, device=device, dtype=torch.bfloat16)
        hidden[..., 4000:] = -torch.inf
        found = blocked.attend(query, key, value, hidden)
    exact = F.scaled_dot_product_attention(query.double(), key[:, :, :4000].double(), value[:, :, :4000].double())
    assert float((found.double() - exact).norm() / exact.norm()) < 1e-2


def test_the_choice_of_kernels_is_only_for_long_memories(device):
    short = torch.zeros(1, 1, 16, 64, device=device, dtype=torch.bfloat16)
    assert isinstance(blocked.fitting_kernel(short, short), contextlib.nullcontext)
