"""Normalization with the addition before it: the kernel, in Triton's interpreter, against torch's own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from mosam.model.norms import add_norm

PROGRAM = """
import torch
import torch.nn.functional as F
from mosam.model.norm_kernel import add_norm
torch.manual_seed(0)
half, full = torch.bfloat16, torch.float32
for width in (8, 144, 300):
    weight, bias = torch.randn(width), torch.randn(width)
    for kind, other in ((half, half), (full, half), (full, full), (half, None), (full, None)):
        x = (5 + 3 * torch.randn(3, 37, width)).to(kind)
        added = None if other is None else torch.randn(3, 37, width).to(other)
        total, normed = add_norm(x, added, weight, bias, 1e-6, half)
        expected = x if added is None else x + added
        assert (total.dtype, normed.dtype) == (expected.dtype, half)
        # the interpreter cuts off bits where a GPU rounds
        assert ((total.float() - expected.float()).abs() <= 2**-7 * expected.float().abs()).all(), (width, kind, other)
        exact = F.layer_norm(total.double(), (width,), weight.double(), bias.double(), 1e-6)
        assert ((normed.double() - exact).abs() <= 2**-7 * exact.abs() + 1e-3).all()
print("equal")
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="no Triton")
def test_the_kernel_equals_torch():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "equal\n", done.stderr


def test_without_a_gpu_it_is_torchs_own():
    norm, x, added = nn.LayerNorm(6), torch.randn(2, 3, 6), torch.randn(2, 3, 6)
    total, normed = add_norm(norm, x, added)
    assert torch.equal(total, x + added)
    assert torch.equal(normed, norm(x + added))
    same, alone = add_norm(norm, x)
    assert same is x
    assert torch.equal(alone, norm(x))
