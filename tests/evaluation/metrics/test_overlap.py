from __future__ import annotations

import numpy as np
import pytest

from mosam.evaluation.metrics.overlap import mean_overlap, overlap_precision
from mosam.evaluation.metrics.region import region_similarity
from mosam.evaluation.metrics.speed import total_time


@pytest.mark.parametrize(("iou", "share"), [([0.5], 0.0), ([0.51], 1.0), ([0.75, 0.2], 0.5), ([np.nan, 0.9], 1.0)])
def test_overlap_precision_is_strict_and_leaves_unknown_frames_out(iou, share):
    assert overlap_precision(np.array(iou), 0.5) == share


def test_nothing_to_average():
    assert np.isnan(mean_overlap(np.array([np.nan])))
    assert np.isnan(overlap_precision(np.array([]), 0.5))
    assert total_time(np.array([np.nan, 0.0, -1.0])) == (0, 0.0)


def mask(text: str) -> np.ndarray:
    return np.array([[character == "#" for character in row] for row in text.split()])


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ("##.. ....", "##.. ....", 1.0),
        ("##.. ....", ".##. ....", 1 / 3),
        (".... ....", "##.. ....", 0.0),
        (".... ....", ".... ....", 1.0),
    ],
)
def test_region_similarity(predicted, truth, expected):
    assert region_similarity(mask(predicted), mask(truth)) == expected


def test_void_does_not_count():
    assert region_similarity(mask("##.#"), mask("##.."), void=mask("...#")) == 1.0
    assert region_similarity(mask("..##"), mask("...."), void=mask("..##")) == 1.0


def test_region_similarity_ignores_place_and_side():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.random((2, 9, 11)) < 0.4
        value = region_similarity(a, b)
        assert 0 <= value <= 1
        assert region_similarity(b, a) == value == region_similarity(a[::-1, ::-1], b[::-1, ::-1])


def test_masks_of_one_size():
    with pytest.raises(ValueError, match=r"expected a mask of \(1, 2\), got \(1, 3\)"):
        region_similarity(np.zeros((1, 3), bool), np.zeros((1, 2), bool))
