"""What goes up and down in a step, counted; arrays arrive as they were."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_model import FakeBackbone
from hypothesis import given
from hypothesis import strategies as st

from mosam.engine.engine import Engine
from mosam.engine.transfer import COUNTS, upload
from mosam.policies.base import load_policy
from mosam.types import Prompt

SIZE = (24, 32)
kinds = st.sampled_from([np.int64, np.float32, np.uint8, np.bool_, np.int32])
shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@given(st.lists(st.tuples(shapes, kinds), max_size=5), st.integers(0, 99))
def test_arrays_arrive_as_they_were_in_one_copy(wanted, seed):
    rng = np.random.default_rng(seed)
    arrays = [(10 * rng.random(shape)).astype(kind) for shape, kind in wanted]
    before = COUNTS["uploads"]
    # `meta` cannot be read back: a second device of the host's memory is what packs, as a GPU does
    there = upload(_Packing(), *arrays, None)
    assert COUNTS["uploads"] == before + 1
    assert there.pop() is None
    for array, tensor in zip(arrays, there, strict=True):
        assert tensor.numpy().dtype == array.dtype
        np.testing.assert_array_equal(tensor.numpy(), array)


class _Packing:
    """Stands for a device that is not the CPU, while `Tensor.to` keeps what it gets."""

    type = "packing"


@pytest.fixture(autouse=True)
def stays(monkeypatch):
    real = torch.Tensor.to

    def to(self, place, *more, **named):
        return self if isinstance(place, _Packing) else real(self, place, *more, **named)

    monkeypatch.setattr(torch.Tensor, "to", to)


@pytest.mark.parametrize(
    ("tracker", "uploads", "downloads"),
    [("sam2", 4, 2), ("samurai", 4, 2), ("dam4sam", 4, 4), ("mosam", 8, 4)],
)
def test_a_step_makes_few_transfers(tracker, uploads, downloads):
    """A step must wait for the decode's numbers and the masks.

    MoSAM also takes down what its motion needs, and DAM4SAM, on a CPU, the other candidates of each object.
    """
    engine = Engine(FakeBackbone(), load_policy(tracker), max_lanes=2)
    rng = np.random.default_rng(0)
    mask = np.zeros(SIZE, dtype=bool)
    mask[4:14, 6:18] = True
    videos = [engine.open([Prompt(1, mask=mask)], size=SIZE) for _ in range(2)]
    frames = rng.integers(0, 255, (6, *SIZE, 3), dtype=np.uint8)
    for t, frame in enumerate(frames):
        before = COUNTS.copy()
        engine.step(dict.fromkeys(videos, frame))
        if t >= 2:
            used = COUNTS - before
            assert used["uploads"] <= uploads
            assert used["downloads"] <= downloads
