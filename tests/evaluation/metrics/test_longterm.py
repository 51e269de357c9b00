from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.evaluation.metrics.longterm import best_f, confidence_thresholds, f_curve, mean_curves, precision_recall

frames = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1) | st.just(float("nan"))), min_size=1, max_size=30)


@given(frames, st.lists(st.floats(0, 1), max_size=5))
def test_precision_and_recall_threshold_by_threshold(rows, inner):
    overlaps, confidences = np.array(rows).T
    thresholds = np.array([np.inf, *sorted(inner, reverse=True), -np.inf])
    precision, recall = precision_recall(overlaps, confidences, 7, thresholds)
    for index, threshold in enumerate(thresholds):
        reported = confidences >= threshold
        expected = overlaps[reported].mean() if reported.any() else 1.0
        assert precision[index] == pytest.approx(expected)
        assert recall[index] == pytest.approx(overlaps[reported].sum() / 7)


def test_thresholds_cut_into_equal_shares():
    few = np.linspace(0, 1, 98)
    np.testing.assert_array_equal(confidence_thresholds(few), [np.inf, *few[::-1], -np.inf])
    many = np.arange(1000.0)
    thresholds = confidence_thresholds(many)
    assert len(thresholds) == 100
    assert thresholds[1:4].tolist() == [989, 979, 969]
    assert (np.diff(thresholds) < 0).all()


def test_best_f_passes_over_undefined_points():
    precision, recall = np.array([1.0, 0.0, 0.5, 0.5]), np.array([0.0, 0.0, 0.5, 0.5])
    assert np.isnan(f_curve(precision, recall)[1])
    best = best_f(precision, recall)
    assert (best.precision, best.recall, best.f) == (0.5, 0.5, 0.5)


def test_curves_are_averaged_threshold_by_threshold():
    one, two = (np.array([1.0, 0.5]), np.array([0.0, 1.0])), (np.array([0.0, 0.5]), np.array([1.0, 1.0]))
    precision, recall = mean_curves([one, two])
    assert (precision.tolist(), recall.tolist()) == ([0.5, 0.5], [0.5, 1.0])


def test_an_object_that_is_never_visible():
    assert np.isnan(precision_recall(np.zeros(3), np.ones(3), 0, np.array([0.5]))[1]).all()
