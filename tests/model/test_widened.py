"""16-bit layers computed in 32 bits: what autocast gives, but for the order of the summation."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mosam.model.widened import has_native, widen

LAYERS = [
    (nn.Linear(48, 20), (7, 48)),
    (nn.Conv2d(5, 8, 3, padding=1), (2, 5, 9, 11)),
    (nn.ConvTranspose2d(6, 4, 2, stride=2), (2, 6, 5, 7)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=["linear", "conv", "transposed"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gives_what_autocast_gives(layer, shape, dtype):
    torch.manual_seed(0)
    x, wide, narrow = torch.randn(shape), copy.deepcopy(layer), copy.deepcopy(layer).to(dtype)
    widen(wide, dtype)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        got, expected = wide(x), narrow(x)
    assert got.dtype == expected.dtype == dtype
    step = torch.finfo(dtype).eps * expected.float().abs().clamp(min=0.5)
    assert ((got.float() - expected.float()).abs() <= step).all()  # the last bit
    with torch.inference_mode():
        once = copy.deepcopy(wide).double()
        once = type(layer).forward(once, x.to(dtype).double()).to(dtype)
    assert (got == once).float().mean() > 0.95  # rounded once; some kernels round again before they add the bias
    assert all(torch.equal(p, p.to(dtype).float()) for p in wide.parameters())


def test_gradients_flow():
    layer = nn.Linear(4, 3)
    widen(layer, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(2, 4)).float().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_what_the_processor_says(monkeypatch):
    said = {"text": "flags : avx512f amx_bf16"}
    monkeypatch.setattr("pathlib.Path.read_text", lambda self, **named: said["text"])
    monkeypatch.setattr("pathlib.Path.is_file", lambda self: True)
    assert has_native(torch.bfloat16)
    assert not has_native(torch.float16)
    said["text"] = "flags : avx2 avx512f avx512_vnni"
    assert not has_native(torch.bfloat16)
