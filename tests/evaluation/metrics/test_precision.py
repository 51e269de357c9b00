from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mosam.evaluation.metrics.precision import (
    NORM_PRECISION_THRESHOLDS,
    PRECISION_THRESHOLDS,
    center_error,
    normalized_center_error,
    precision_curve,
)

boxes = arrays(np.float64, (5, 4), elements=st.integers(1, 400).map(float))


@given(
    arrays(np.float64, st.integers(1, 60), elements=st.floats(0, 60) | st.sampled_from([np.nan, np.inf, -1.0, 20.0]))
)
def test_equals_counting(error):
    valid = error[~np.isnan(error)]
    curve = precision_curve(error)
    if valid.size:
        np.testing.assert_array_equal(curve, [(valid <= t).sum() / valid.size for t in PRECISION_THRESHOLDS])
        assert (np.diff(curve) >= 0).all()
    else:
        assert np.isnan(curve).all()


@pytest.mark.parametrize(
    ("error", "reached"), [(20.0, True), (np.nextafter(20, 21), False), (np.inf, False), (-1.0, True)]
)
def test_is_not_strict(error, reached):
    assert precision_curve(np.array([error]))[20] == reached


@given(boxes, boxes, st.integers(-50, 50))
def test_unchanged_by_translation(a, b, shift):
    moved = np.array([shift, -shift, 0, 0])
    np.testing.assert_allclose(center_error(a + moved, b + moved), center_error(a, b), atol=1e-9)
    np.testing.assert_allclose(normalized_center_error(a + moved, b + moved), normalized_center_error(a, b), atol=1e-9)


@given(boxes)
def test_perfect(a):
    assert (precision_curve(center_error(a, a)) == 1).all()
    assert (precision_curve(normalized_center_error(a, a), thresholds=NORM_PRECISION_THRESHOLDS) == 1).all()


def test_normalized_error_is_in_sizes_of_the_object():
    truth = np.array([[0.0, 0, 10, 40]])
    assert normalized_center_error(truth + np.array([5, 0, 0, 0]), truth) == pytest.approx(0.5)
    assert normalized_center_error(truth + np.array([0, 10, 0, 0]), truth) == pytest.approx(0.25)


def test_a_true_box_without_size():
    empty, other = np.array([[0.0, 0, 0, 0]]), np.array([[3.0, 0, 0, 0]])
    assert not np.isfinite(normalized_center_error(other, empty)).any()
    assert normalized_center_error(other, empty, smallest=1.0) == 3.0
