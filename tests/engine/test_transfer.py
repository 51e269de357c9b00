"""Masks as bits: back as they were."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mosam.engine.transfer import pack, to_host, unpack

shapes = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 19)), min_size=1, max_size=4)


@given(shapes, st.integers(0, 1000))
def test_masks_come_back_as_they_were(sizes, seed):
    rng = np.random.default_rng(seed)
    masks = [rng.random(size) < 0.4 for size in sizes]
    packed = pack([torch.from_numpy(mask) for mask in masks])
    assert packed.dtype == torch.uint8
    assert len(packed) == sum(-(-mask.size // 8) for mask in masks)
    for mask, back in zip(masks, unpack(packed.numpy(), sizes), strict=True):
        np.testing.assert_array_equal(back, mask)
        assert back.dtype == bool


def test_on_the_host_nothing_is_packed():
    mask = torch.tensor([[[True, False]]])
    (array,) = to_host([mask])
    assert array.ctypes.data == mask.data_ptr()
    assert to_host([]) == []
