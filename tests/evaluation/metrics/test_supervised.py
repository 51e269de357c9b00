from __future__ import annotations

import numpy as np
import pytest

from mosam.evaluation.metrics.supervised import (
    count_failures,
    counted_frames,
    reliability,
    split_runs,
    supervised_accuracy,
)

CODES = np.array([1, -1, -1, -1, 2, 0, 0, 1, -1, -1])


@pytest.mark.parametrize(
    ("burn_in", "expected"),
    [(0, [1, 2, 3, 8, 9]), (1, [1, 2, 3, 8, 9]), (2, [2, 3, 9]), (10, [])],
)
def test_frames_that_count(burn_in, expected):
    assert np.flatnonzero(counted_frames(CODES, burn_in=burn_in)).tolist() == expected


def test_accuracy_leaves_out_codes_and_burn_in():
    overlaps = np.linspace(0, 0.9, 10)
    accuracy, count = supervised_accuracy(overlaps, CODES, burn_in=2)
    assert (accuracy, count) == (pytest.approx((0.2 + 0.3 + 0.9) / 3), 3)
    accuracy, count = supervised_accuracy(overlaps, CODES)
    assert count == 0
    assert np.isnan(accuracy)


def test_failures_and_reliability():
    assert count_failures(CODES) == 1
    assert reliability(0, 100) == 1
    assert reliability(1, 30) == pytest.approx(np.exp(-1))
    assert reliability(1, 30, sensitivity=60) == pytest.approx(np.exp(-2))


def test_runs_end_before_failures():
    overlaps = np.arange(10) / 10
    first, second = split_runs(overlaps, CODES)
    assert (first.overlaps.tolist(), first.failed) == ([0.0, 0.1, 0.2, 0.3], True)
    assert (second.overlaps.tolist(), second.failed) == ([0.7, 0.8, 0.9], False)
    (only,) = split_runs(overlaps, np.array([1] + [-1] * 9))
    assert (len(only.overlaps), only.failed) == (10, False)
    (lost,) = split_runs(overlaps[:3], np.array([1, -1, 2]))
    assert (len(lost.overlaps), lost.failed) == (2, True)


@pytest.mark.parametrize("codes", [[-1, 2], [2, 1], [1, 2, 2]])
def test_a_failure_needs_a_start(codes):
    with pytest.raises(ValueError, match="expected a start"):
        split_runs(np.zeros(len(codes)), np.array(codes))
