"""Boxes and masks: conventions, overlaps and their properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mosam.geometry import box_iou, mask_iou, mask_to_box

NUMBER = st.integers(-200, 200)
SIDE = st.integers(1, 200)
BOXES = st.builds(lambda x, y, w, h: np.array([x, y, w, h], dtype=np.float64), NUMBER, NUMBER, SIDE, SIDE)
MASKS = arrays(bool, (7, 9))


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_a_fraction(a, b):
    assert box_iou(a, b) == box_iou(b, a)
    assert 0 <= box_iou(a, b) <= 1


@given(BOXES, BOXES, NUMBER, NUMBER)
def test_iou_does_not_depend_on_the_place(a, b, dx, dy):
    shift = np.array([dx, dy, 0, 0])
    assert box_iou(a + shift, b + shift) == box_iou(a, b)


@given(BOXES)
def test_iou_with_itself_is_one(box):
    assert box_iou(box, box) == 1


@pytest.mark.parametrize(
    ("a", "b", "iou"),
    [
        ([0, 0, 2, 2], [1, 0, 2, 2], 1 / 3),
        ([0, 0, 2, 2], [2, 0, 2, 2], 0),
        ([0, 0, 4, 4], [1, 1, 2, 2], 1 / 4),
        ([0, 0, 0, 0], [0, 0, 0, 0], 0),
        ([0, 0, -3, 2], [0, 0, 2, 2], 0),
        ([np.nan] * 4, [0, 0, 2, 2], np.nan),
    ],
    ids=["half", "edge", "inside", "empty", "negative", "missing"],
)
def test_iou_worked(a, b, iou):
    np.testing.assert_allclose(box_iou(np.array(a, float), np.array(b, float)), iou)


def test_iou_row_by_row():
    a = np.array([[0.0, 0, 2, 2], [0, 0, 4, 4]])
    np.testing.assert_allclose(box_iou(a, a[0]), [1, 1 / 4])


@pytest.mark.parametrize(("convention", "box"), [("exclusive", [2, 1, 3, 1]), ("inclusive", [2, 1, 4, 2])])
def test_mask_to_box_conventions(convention, box):
    mask = np.zeros((5, 8), dtype=bool)
    mask[1:3, 2:6] = True
    np.testing.assert_array_equal(mask_to_box(mask, convention=convention), box)


def test_mask_to_box_of_nothing_is_nan():
    assert np.isnan(mask_to_box(np.zeros((3, 3), dtype=bool))).all()


def test_mask_to_box_unknown_convention():
    with pytest.raises(ValueError, match="exclusive"):
        mask_to_box(np.ones((2, 2), dtype=bool), convention="both")


@given(MASKS)
def test_box_holds_the_mask_tightly(mask):
    x, y, w, h = mask_to_box(mask, convention="inclusive")
    if not mask.any():
        assert np.isnan([x, y, w, h]).all()
        return
    x, y, w, h = int(x), int(y), int(w), int(h)
    inside = mask[y : y + h, x : x + w]
    assert inside.sum() == mask.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@given(MASKS, MASKS)
def test_mask_iou_is_symmetric_and_a_fraction(a, b):
    assert mask_iou(a, b) == mask_iou(b, a)
    assert 0 <= mask_iou(a, b) <= 1
    assert mask_iou(a, a) == 1


def test_mask_iou_of_two_sizes():
    with pytest.raises(ValueError, match="one size"):
        mask_iou(np.ones((2, 2), dtype=bool), np.ones((2, 3), dtype=bool))
