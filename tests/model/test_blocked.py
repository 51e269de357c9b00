"""Attention in 16-bit blocks: against 64 bits, where it is chosen, and where its sample of keys misleads it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mosam.model import blocked


def exact(query, key, value):
    """Attention of the same 16-bit operands, in 64 bits."""
    weights = torch.softmax(query.double() * query.shape[-1] ** -0.5 @ key.double().transpose(-1, -2), dim=-1)
    return weights @ value.double()


def operands(*, rows=1, heads=1, queries=600, keys=2100, channels=64, scale=1.0, seed=0):
    torch.manual_seed(seed)
    query = torch.randn(rows, heads, queries, channels) * scale
    key, value = (torch.randn(rows, heads, keys, channels) for _ in range(2))
    return query.bfloat16(), key.bfloat16(), value.bfloat16()


def error(out, reference):
    """Root of the mean square, relative."""
    return float((out.double() - reference).pow(2).mean().sqrt() / reference.pow(2).mean().sqrt())


@torch.inference_mode()
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0, 8.0])
def test_as_near_as_16_bit_operands_allow(scale):
    query, key, value = operands(scale=scale)
    reference = exact(query, key, value)
    got = error(blocked.attend_in_blocks(query, key, value), reference)
    assert got < 0.01  # the operands themselves are rounded to 0.004
    if scale >= 3:  # the plain way rounds logits where they are large
        plain = torch.softmax(query / 8 @ key.transpose(-1, -2), dim=-1) @ value
        assert got < 0.7 * error(plain, reference)


@torch.inference_mode()
@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 1100), st.integers(1, 2100), st.sampled_from([4, 72, 96]))
def test_any_shape(rows, heads, queries, keys, channels):
    tensors = operands(rows=rows, heads=heads, queries=queries, keys=keys, channels=channels)
    out = blocked.attend_in_blocks(*tensors)
    assert out.shape == tensors[0].shape
    assert out.dtype is torch.bfloat16
    torch.testing.assert_close(out.double(), exact(*tensors), rtol=0.02, atol=0.02)


@torch.inference_mode()
def test_a_key_that_no_sample_shows():
    query, key, value = operands(keys=1500)
    query[..., 0], key[..., 0] = 64.0, 0.0
    key[0, 0, 7, 0] = 64.0  # its logit is 512 above the others; keys 0, 32, 64, ... are looked at
    out = blocked.attend_in_blocks(query, key, value)
    torch.testing.assert_close(out, value[:, :, 7:8].expand_as(out))


@torch.inference_mode()
def test_views_of_a_common_tensor():
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 700, 3, 4, 32).bfloat16().unbind(2)  # as the image encoder makes them
    tensors = [x.transpose(1, 2) for x in (query, key, value)]
    torch.testing.assert_close(blocked.attend_in_blocks(*tensors).double(), exact(*tensors), rtol=0.02, atol=0.02)


@pytest.fixture
def chosen(monkeypatch):
    """The calls that went to the blocks, on a processor they are for."""
    calls = []
    inner = blocked.attend_in_blocks
    monkeypatch.setattr(blocked, "attend_in_blocks", lambda *tensors: calls.append(1) or inner(*tensors))
    monkeypatch.setattr(blocked, "pays", lambda: True)
    return calls


def test_the_blocks_take_large_16_bit_attention(chosen):
    query, key, value = operands(queries=1024, keys=1024)
    with torch.inference_mode():
        out = blocked.attend(query, key, value)
        assert chosen == [1]
        torch.testing.assert_close(out, F.scaled_dot_product_attention(query, key, value), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("case", ["32 bits", "bias", "small", "training", "another processor"])
def test_everything_else_goes_to_the_library(chosen, monkeypatch, case):
    query, key, value = operands(queries=1024, keys=1024 if case != "small" else 512)
    bias = torch.zeros(1, 1, 1, 1024, dtype=torch.bfloat16) if case == "bias" else None
    if case == "32 bits":
        query, key, value = query.float(), key.float(), value.float()
    if case == "another processor":
        monkeypatch.setattr(blocked, "pays", lambda: False)
    with torch.set_grad_enabled(case == "training"):
        out = blocked.attend(query, key, value, bias)
    assert not chosen
    assert torch.equal(out, F.scaled_dot_product_attention(query, key, value, attn_mask=bias))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_bf16"}, True), ({"avx512_bf16", "amx_bf16"}, False), ({"avx2"}, False), (set(), False)],
)
def test_the_processors_it_is_for(monkeypatch, flags, expected):
    monkeypatch.setattr(blocked, "cpu_flags", lambda: flags)
    blocked.pays.cache_clear()
    try:
        assert blocked.pays() is expected
    finally:
        blocked.pays.cache_clear()


def test_new_shapes_and_single_rows_do_not_wait_for_a_plan(monkeypatch):
    """Which kernels a GPU may take: flash attention until a shape has come often, and always for one row."""

    def kernels(rows, keys, dtype=torch.bfloat16):
        query, key = (torch.empty(rows, 1, n, 8, dtype=dtype) for n in (16, keys))
        with blocked.fitting_kernel(query, key):
            return torch.backends.cuda.cudnn_sdp_enabled()

    monkeypatch.setattr(blocked, "_SEEN", {})
    usual = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    try:
        long = blocked.LONG
        assert [kernels(2, long) for _ in range(blocked.PLANNED + 1)] == [False] * (blocked.PLANNED - 1) + [True] * 2
        assert not any(kernels(1, long) for _ in range(2 * blocked.PLANNED))
        assert kernels(2, long - 1)
        assert kernels(2, long, torch.float32)
        assert torch.backends.cuda.cudnn_sdp_enabled()  # as it was
    finally:
        torch.backends.cuda.enable_cudnn_sdp(usual)
