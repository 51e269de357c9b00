import json
from pathlib import Path

import numpy as np
import pytest

from mosam.policies.kalman import BoxFilter, to_measurement

OFFICIAL = json.loads((Path(__file__).parents[1] / "parity" / "samurai_kalman.json").read_text())


def test_steps_equal_the_official_filter():
    boxes = [np.array(step["box"], dtype=np.float64) for step in OFFICIAL["steps"]]
    box_filter = BoxFilter.start(boxes[0])
    for i, step in enumerate(OFFICIAL["steps"]):
        if i:
            box_filter = box_filter.predict()
            agreement = [box_filter.agreement(box) for box in boxes]
            assert agreement == pytest.approx(step["agreement"], rel=1e-12)
            box_filter = box_filter.update(boxes[i])
        assert box_filter.mean == pytest.approx(np.array(step["mean"]), rel=1e-11, abs=1e-11)
        assert box_filter.covariance.diagonal() == pytest.approx(np.array(step["variance"]), rel=1e-11)
        assert box_filter.covariance.sum() == pytest.approx(step["trace_off"], rel=1e-11)


def test_an_empty_box_measures_one_pixel_of_height_and_agrees_with_nothing():
    assert to_measurement(np.zeros(4)).tolist() == [0, 0, 0, 1]
    assert BoxFilter.start(np.zeros(4)).agreement(np.zeros(4)) == 0.0
    assert BoxFilter.start(np.array([0.0, 0, 10, 10])).agreement(np.zeros(4)) == 0.0


def test_a_steady_motion_is_followed():
    box_filter = BoxFilter.start(np.array([0.0, 0, 20, 40]))
    for t in range(1, 60):
        box_filter = box_filter.predict().update(np.array([3.0 * t, 2.0 * t, 20 + 3.0 * t, 40 + 2.0 * t]))
    expected = np.array([3.0 * 60, 2.0 * 60, 20 + 3.0 * 60, 40 + 2.0 * 60])
    assert box_filter.predict().corners == pytest.approx(expected, abs=0.1)
    assert box_filter.predict().agreement(expected) > 0.99
    assert np.linalg.eigvalsh(box_filter.covariance).min() > 0


def test_boxes_apart_agree_by_nothing_and_equal_ones_fully():
    box = np.array([5.0, 6, 25, 66])
    assert BoxFilter.start(box).agreement(box) == pytest.approx(1.0)
    assert BoxFilter.start(box).agreement(box + 500) == 0.0
