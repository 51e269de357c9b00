"""Free memory, lanes that fit, and going on with smaller calls when the device runs out of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_model import FakeBackbone

from mosam.engine import capacity
from mosam.engine.engine import Engine
from mosam.errors import MosamError
from mosam.policies.base import load_policy
from mosam.types import Prompt

GIB = 2**30


def test_lanes_follow_the_memory():
    model, policy = FakeBackbone(), load_policy("sam2")
    found = [capacity.measure_capacity(model, policy, free=free).fits for free in (0, GIB, 4 * GIB, 64 * GIB)]
    assert found[0] == 0
    assert found == sorted(found)
    assert found[3] > 10 * found[1] > 0
    three = capacity.measure_capacity(model, load_policy("sam2long"), free=4 * GIB).fits
    assert three <= found[2]


def test_choice_of_lanes():
    small = capacity.Capacity(fits=5, useful=16)
    assert capacity.choose_lanes("auto", small) == (5, None)
    assert capacity.choose_lanes("auto", capacity.Capacity(0, 16)) == (1, None)
    assert capacity.choose_lanes("auto", capacity.Capacity(900, 16)) == (16, None)
    assert capacity.choose_lanes(4, small) == (4, None)
    lanes, note = capacity.choose_lanes("800", small)
    assert lanes == 5
    assert capacity.parse_lanes(None) is None
    assert note == "--lanes 800: about 5 fit into the memory that is free, so many are used"


@pytest.mark.parametrize("text", ["0", "-3", "x", "1.5", ""])
def test_lanes_that_are_no_number(text):
    with pytest.raises(MosamError, match="--lanes: expected a number of at least 1 or auto"):
        capacity.parse_lanes(text)


@pytest.mark.parametrize(
    ("error", "is_it"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("shapes do not match"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_out_of_memory_looks_like(error, is_it):
    assert capacity.is_out_of_memory(error) is is_it


def test_free_memory_of_the_host_is_what_the_system_says():
    assert 2**26 < capacity.free_memory(torch.device("cpu")) < 2**45


class SmallDevice(FakeBackbone):
    """A fake network on a device that holds `most` frames or rows at a time."""

    most = 1000
    refused = 0

    def _check(self, count):
        if count > self.most:
            self.refused += 1
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    def encode(self, pixels):
        self._check(len(pixels))
        return super().encode(pixels)

    def attend(self, features, rows, read):
        self._check(len(rows))
        return super().attend(features, rows, read)

    def memorize(self, features, rows, logits, present, binarize=None):
        self._check(len(rows))
        return super().memorize(features, rows, logits, present, binarize)


def track(model, videos=6, frames=5, **options):
    engine = Engine(model, load_policy("sam2"), max_lanes=videos, **options)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (videos, frames, 24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:12, 4:12] = True
    handles = [engine.open([Prompt(1, mask=mask)], size=(24, 32), num_frames=frames) for _ in range(videos)]
    masks = []
    for t in range(frames):
        outputs = engine.step({handle: pictures[n, t] for n, handle in enumerate(handles)})
        masks.append([outputs[handle].objects[1].mask for handle in handles])
    return np.array(masks), engine


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_calls_that_do_not_fit_are_done_in_parts_with_the_same_result(most):
    whole, _ = track(FakeBackbone())
    model = SmallDevice()
    model.most = most
    parts, engine = track(model)
    np.testing.assert_array_equal(parts, whole)
    assert engine.runner.max_rows <= most
    assert 0 < model.refused <= 3  # halved once, not at every frame


def test_a_limit_grows_back_and_is_tried_more_seldom_each_time():
    limit = capacity.RowLimit(16)
    limit.exceeded(16)
    calls = []
    for call in range(2000):
        if limit.rows > 8:  # the neighbor on the card never goes away
            calls.append(call)
            limit.exceeded(limit.rows)
        else:
            limit.worked()
    gaps = np.diff(calls)
    assert len(calls) >= 3
    assert (gaps[1:] >= 1.9 * gaps[:-1]).all()
    for _ in range(2 * capacity.MAX_CALM_CALLS):  # it has gone
        limit.worked()
    assert limit.rows == 16


def test_a_passing_peak_costs_little():
    model = SmallDevice()
    model.most = 2
    _, engine = track(model)
    assert engine.runner.max_rows <= 2
    model.most = 1000
    for _ in range(3000):
        engine.runner.limit.worked()
    assert engine.runner.max_rows == capacity.max_rows(model)


def test_one_row_that_does_not_fit_is_an_error():
    model = SmallDevice()
    model.most = 0
    with pytest.raises(torch.OutOfMemoryError):
        track(model)


def test_frames_of_several_videos_are_encoded_in_one_call():
    model = FakeBackbone()
    calls = []
    plain = model.encode
    model.encode = lambda pixels: calls.append(len(pixels)) or plain(pixels)
    track(model, videos=6, frames=2)
    assert calls == [6, 6]


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_free_memory_of_a_gpu_is_what_this_process_may_still_take(device, monkeypatch):
    """torch's own `get_per_process_memory_fraction` is called: it does not take a device without a number."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch._C, "_cuda_getMemoryFraction", lambda index: 0.6, raising=False)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (90, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda index: 20)
    assert capacity.free_memory(torch.device(device)) == 40
