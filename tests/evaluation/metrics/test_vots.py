from __future__ import annotations

import numpy as np
import pytest

from mosam.evaluation.metrics.vots import (
    QUALITY_THRESHOLDS,
    FrameCounts,
    absence_detection_quality,
    accuracy_frames,
    count_frames,
    drift_rate_error,
    not_reported_error,
    object_robustness,
    quality_curve,
    quality_frames,
)

T, F = True, False


def test_each_frame_is_one_of_five():
    overlaps = np.array([0.5, 0.0, 0.0, 0.0, 1.0, 0.9])
    predicted_empty = np.array([F, F, T, F, T, F])
    truth_empty = np.array([F, F, F, T, T, F])
    known = np.array([T, T, T, T, T, F])
    counts = count_frames(overlaps, predicted_empty, truth_empty, known)
    assert counts == FrameCounts(tracked=1, drifted=1, missed=1, imagined=1, noticed=1)
    assert counts.present == 3


def test_rates_of_the_frames_with_the_object():
    counts = FrameCounts(tracked=6, drifted=1, missed=3, imagined=3, noticed=9)
    assert object_robustness(counts) == pytest.approx(0.6)
    assert drift_rate_error(counts) == pytest.approx(0.1)
    assert not_reported_error(counts) == pytest.approx(0.3)
    assert absence_detection_quality(counts) == pytest.approx(0.75)


def test_undefined_without_frames():
    nothing = FrameCounts(0, 0, 0, 0, 0)
    for rate in (object_robustness, drift_rate_error, not_reported_error, absence_detection_quality):
        assert np.isnan(rate(nothing))
    assert np.isnan(absence_detection_quality(FrameCounts(5, 0, 0, 2, 8)))  # ten frames are too few
    assert absence_detection_quality(FrameCounts(5, 0, 0, 2, 9)) == pytest.approx(9 / 11)
    assert np.isnan(quality_curve(np.zeros(0))).all()


def test_frames_of_quality_and_accuracy():
    codes = np.array([1, -1, -1, 2, 0, -1])
    known = np.array([T, T, T, T, T, F])
    overlaps = np.array([0.0, 0.5, 0.0, 0.0, 0.0, 0.9])
    assert np.flatnonzero(quality_frames(codes, known)).tolist() == [0, 1, 2, 4]
    empty = np.zeros(6, dtype=bool)
    assert np.flatnonzero(accuracy_frames(overlaps, codes, known, empty)).tolist() == [0, 1]


def test_quality_curve_counts_full_overlap_at_one():
    curve = quality_curve(np.array([1.0, 0.5, 0.0]))
    assert (curve[0], curve[-1]) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert (np.diff(curve) <= 0).all()
    assert len(curve) == len(QUALITY_THRESHOLDS) == 100
