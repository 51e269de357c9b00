from __future__ import annotations

import numpy as np
import pytest

from mosam.evaluation.metrics.bootstrap import bootstrap_difference, bootstrap_interval


def test_interval_of_a_mean_has_the_width_of_its_standard_error():
    values = np.random.default_rng(0).normal(0.6, 0.2, 200)
    interval = bootstrap_interval(values)
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(200), rel=0.05)
    assert interval.low < interval.value < interval.high


def test_seed_and_level():
    values = np.random.default_rng(0).random(50)
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval(values, seed=1) != bootstrap_interval(values, seed=2)
    narrow, wide = bootstrap_interval(values, level=0.5), bootstrap_interval(values, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_weights_are_frames():
    interval = bootstrap_interval(np.array([1.0, 0.0]), weights=np.array([3.0, 1.0]))
    assert interval.value == 0.75
    assert (interval.low, interval.high) == (0.0, 1.0)


def test_undefined_sequences_are_left_out():
    interval = bootstrap_interval(np.array([np.nan, 0.5, 0.5]))
    assert (interval.low, interval.value, interval.high) == (0.5, 0.5, 0.5)
    assert np.isnan(bootstrap_interval(np.array([np.nan])).value)


def test_pairs_see_a_small_constant_lead():
    rng = np.random.default_rng(3)
    first = rng.random(60)
    second = first - 0.02 + rng.normal(0, 0.01, 60)
    paired = bootstrap_difference(first, second)
    assert paired.low > 0
    assert paired.value == pytest.approx(0.02, abs=0.005)
    # each on its own is too uncertain to tell them apart
    assert bootstrap_interval(first).low < bootstrap_interval(second).high


def test_pairs_need_the_same_sequences():
    with pytest.raises(ValueError, match="expected the same sequences, got 2 and 3"):
        bootstrap_difference(np.zeros(2), np.zeros(3))
