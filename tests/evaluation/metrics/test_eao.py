from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.evaluation.metrics.eao import (
    eao_score,
    multistart_curve,
    multistart_sums,
    prefix_means,
    pysot_curve,
    pysot_fragments,
    pysot_score,
    supervised_curve,
)
from mosam.evaluation.metrics.supervised import Run

overlaps = st.lists(st.floats(0, 1, width=32), min_size=2, max_size=12).map(np.array)
runs = st.lists(st.builds(Run, overlaps, st.booleans()), min_size=1, max_size=5)


def naive_supervised(given_runs):
    """Expected overlap written out: run by run, length by length."""
    longest = max(len(run.overlaps) for run in given_runs)
    curve = []
    for length in range(longest):
        means = []
        for run in given_runs:
            if run.failed or length < len(run.overlaps):
                padded = np.concatenate([run.overlaps, np.zeros(longest)])
                means.append(padded[1 : length + 1].mean() if length else padded[0])
        curve.append(np.mean(means))
    return np.array(curve)


@given(runs)
def test_supervised_curve_written_out(given_runs):
    longest = max(len(run.overlaps) for run in given_runs)
    curve = supervised_curve([prefix_means(given_runs, longest)])
    np.testing.assert_allclose(curve, naive_supervised(given_runs), atol=1e-6)
    apart = [prefix_means([run], longest) for run in given_runs]
    np.testing.assert_array_equal(curve, supervised_curve(apart))
    short = supervised_curve([prefix_means(given_runs, 2)])
    np.testing.assert_array_equal(short, curve[:2])


@given(runs)
def test_multistart_curve_written_out(given_runs):
    length = 15
    expected = []
    for end in range(1, length):
        values = []
        for run in given_runs:
            count = len(run.overlaps)
            if end < count:
                values.append(run.overlaps[1 : end + 1].mean())
            elif run.failed:
                values.append(run.overlaps[1:].sum() / (end - 1))
        expected.append(np.mean(values) if values else 0.0)
    curve = multistart_curve([multistart_sums([run], length) for run in given_runs])
    np.testing.assert_allclose(curve[1:], expected, atol=1e-12)
    np.testing.assert_allclose(multistart_curve([multistart_sums(given_runs, length)]), curve, atol=1e-12)


def test_a_perfect_tracker_has_a_curve_of_ones():
    perfect = [Run(np.ones(9), False), Run(np.ones(5), False)]
    np.testing.assert_array_equal(supervised_curve([prefix_means(perfect, 9)]), np.ones(9))
    np.testing.assert_array_equal(multistart_curve([multistart_sums(perfect, 9)])[1:], np.ones(8))


def test_score_includes_both_ends():
    curve = np.arange(10.0)
    assert eao_score(curve, (2, 4)) == 3.0
    assert eao_score(curve, (8, 20)) == 8.5
    assert np.isnan(eao_score(curve, (10, 20)))
    assert pysot_score(curve, (3, 5)) == 3.0  # lengths counted from 1
    assert pysot_score(np.array([1.0, np.nan, 0.5]), (1, 3)) == 0.75


def test_pysot_begins_anew_five_frames_after_a_failure():
    codes = np.array([1, -1, -1, 2, 0, 0, 0, 0, 1, -1, -1, -1])
    values = np.where(codes < 0, 0.5, np.nan)
    first, last = pysot_fragments(values, codes, 12)
    assert (first.start, first.stop, first.failed, first.weight_of) == (0, 9, True, 9.0)
    assert first.overlaps.tolist() == [0, 0.5, 0.5, 0, 0, 0, 0, 0, 0]
    assert (last.start, last.stop, last.failed) == (8, 12, False)
    assert last.weight_of == pytest.approx(4)
    assert last.overlaps.tolist() == [0, 0.5, 0.5, 0.5]
    (whole,) = pysot_fragments(values[:3], codes[:3], 12)
    assert (whole.start, whole.stop, whole.failed) == (0, 3, False)


def test_pysot_forgets_restarts_after_the_end():
    codes = np.array([1, -1, -1, 2, 0, 0])
    (only,) = pysot_fragments(np.where(codes < 0, 0.5, np.nan), codes, 6)
    assert (only.start, only.stop, only.failed) == (0, 6, False)


def test_pysot_curve_weighs_fragments():
    codes = np.array([1, -1, -1, 2, 0, 0, 0, 0, 1, -1, -1, -1])
    fragments = pysot_fragments(np.where(codes < 0, 0.5, np.nan), codes, 12)
    curve, nothing = pysot_curve(fragments, np.array([[1.0, 3.0], [0.0, 0.0]]), longest=12)
    assert curve[:4].tolist() == pytest.approx([1, 0.5, 0.5, (0.5 * 2 / 3 + 3 * 0.5) / 4])
    assert curve[5] == pytest.approx(0.2)  # the second has ended
    np.testing.assert_array_equal(pysot_curve(fragments, np.array([[1.0, 3.0]]), longest=5)[0], curve[:5])
    assert np.isnan(nothing[1:]).all()
    assert pysot_curve(fragments[1:], np.ones((1, 1)), longest=12)[0, 4:].tolist() == [0.0] * 8  # nothing is so long
