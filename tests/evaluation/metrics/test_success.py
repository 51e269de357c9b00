from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mosam.evaluation.metrics.success import SUCCESS_THRESHOLDS, success_auc, success_curve

overlaps = arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 1) | st.sampled_from([np.nan, -1.0, 0.5, 0.15]))


@given(overlaps, st.sampled_from([SUCCESS_THRESHOLDS, np.linspace(0, 1, 101)]))
def test_equals_counting(iou, thresholds):
    valid = iou[~np.isnan(iou)]
    curve = success_curve(iou, thresholds=thresholds)
    if valid.size == 0:
        assert np.isnan(curve).all()
    else:
        np.testing.assert_array_equal(curve, [(valid > t).sum() / valid.size for t in thresholds])


@given(overlaps)
def test_falls_is_bounded_and_ignores_order(iou):
    curve = success_curve(iou, count=len(iou))
    assert ((curve >= 0) & (curve <= 1)).all()
    assert (np.diff(curve) <= 0).all()
    np.testing.assert_array_equal(curve, success_curve(iou[::-1], count=len(iou)))


def test_a_perfect_tracker_fails_at_the_last_threshold_only():
    curve = success_curve(np.ones(7))
    assert curve.tolist() == [1.0] * 20 + [0.0]  # strict: 1 does not exceed 1
    assert success_auc(curve) == 20 / 21


@pytest.mark.parametrize(("iou", "reached"), [(0.5, False), (np.nextafter(0.5, 1), True)])
def test_is_strict(iou, reached):
    assert success_curve(np.array([iou]))[10] == reached


def test_thresholds_are_those_of_every_program():
    np.testing.assert_array_equal(SUCCESS_THRESHOLDS, np.arange(0, 1.05, 0.05))
    # 3/20 lies below the threshold that is written 0.15, in their code and here
    assert not success_curve(np.array([3 / 20]))[3]
    assert SUCCESS_THRESHOLDS[3] > 3 / 20


def test_misses_stay_in_the_denominator_and_unknown_frames_do_not():
    iou = np.array([1.0, -1.0, np.nan])
    assert success_curve(iou)[0] == 0.5
    assert success_curve(iou, count=3)[0] == 1 / 3
    assert np.isnan(success_curve(np.array([np.nan]))).all()
