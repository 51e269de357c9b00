from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mosam.evaluation.metrics.jf import statistics


def test_quarters_of_a_long_video():
    values = np.repeat([1.0, 0.7, 0.4, 0.1], 150)  # 600 frames
    right = statistics(values)
    # a quarter includes the first frame of the next one: 151 frames each
    assert right.decay == pytest.approx((150 + 0.7) / 151 - (0.4 + 150 * 0.1) / 151)
    wrong = statistics(values, decay_8bit=True)
    assert (wrong.mean, wrong.recall) == (right.mean, right.recall)
    # frame numbers 0, 150, 300, 449, 599 cut to 8 bits are 0, 150, 44, 193, 87: the last "quarter" is empty
    assert np.isnan(wrong.decay)


def test_the_defect_is_harmless_in_short_videos():
    values = np.random.default_rng(0).random(256)
    assert statistics(values) == statistics(values, decay_8bit=True)


@pytest.mark.parametrize(("value", "recall"), [(0.5, 0.0), (0.51, 1.0)])
def test_recall_is_strict(value, recall):
    assert statistics(np.array([value])).recall == recall


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1)))
def test_bounds(values):
    found = statistics(values)
    assert 0 <= found.mean <= 1
    assert 0 <= found.recall <= 1
    assert -1 <= found.decay <= 1
    assert statistics(values[::-1]).mean == pytest.approx(found.mean)


def test_no_frames():
    found = statistics(np.array([]))
    assert np.isnan([found.mean, found.recall, found.decay]).all()
