"""What counts as an answer, and what it becomes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosam.codecs.vot import confidence
from mosam.regions.raster import region_mask
from mosam.regions.trajectory import Polygon, Rectangle, RunMask, Special, Trajectory
from mosam.tracking.outside.answers import Answer, TrackerFailure, apart, as_answer, box_pixels, region_answer

SIZE = (24, 32)


def square(x, y, w, h):
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + h, x : x + w] = True
    return mask


@pytest.mark.parametrize(
    "value",
    [(4, 5, 6, 7), [4.0, 5.0, 6.0, 7.0], np.array([4, 5, 6, 7]), (np.array([4, 5, 6, 7]), 0.25), ([4, 5, 6, 7], None)],
)
def test_a_box_is_kept_as_it_is_and_fills_its_pixels(value):
    answer = as_answer(value, SIZE, 3)
    np.testing.assert_array_equal(answer.box, [4, 5, 6, 7])
    np.testing.assert_array_equal(answer.mask, square(4, 5, 6, 7))
    assert answer.output().box is answer.box


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int64])
def test_a_mask_may_have_any_whole_numbers(kind):
    mask = square(4, 5, 6, 7)
    answer = as_answer((mask.astype(kind) * kind(1), 0.5), SIZE, 3)
    np.testing.assert_array_equal(answer.mask, mask)
    assert answer.box is None
    assert confidence(answer.output()) == 0.5


@pytest.mark.parametrize("value", [(4, 5, 0, 7), (0, 0, 0, 0), np.zeros(SIZE, dtype=bool), (4, 5, -3, 7)])
def test_no_area_means_not_there(value):
    output = as_answer(value, SIZE, 3).output()
    assert not output.mask.any()
    assert output.box is None
    assert confidence(output) == 0.0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "frame 3: expected a box x,y,w,h or a mask, alone or as (region, score), got None"),
        ("1,2,3,4", "got the text '1,2,3,4'"),
        ((1, 2, 3), "got tuple (1, 2, 3)"),
        ((np.nan, 1, 2, 3), "expected a box of four finite numbers x,y,w,h, got nan,1,2,3"),
        ((1e12, 1, 2, 3), "got 1e+12,1,2,3"),
        (np.zeros((3, 4), dtype=bool), "expected a mask of the frame's 24x32 (height x width), got 3x4"),
        (np.zeros(SIZE), "expected a mask of bool or whole numbers, got a float64 array of shape (24, 32)"),
        (((1, 2, 3, 4), float("inf")), "expected a finite score, got inf"),
        (((1, 2, 3, 4), 10**400), "expected a finite score, got"),
        ([1, 2, 3, 10**400], "expected a box x,y,w,h or a mask"),
        ([1, 2, 3, 4j], "expected a box x,y,w,h or a mask"),
        (((1, 2, 3, 4), "high"), "expected a finite score, got the text 'high'"),
        ({"box": (1, 2, 3, 4)}, "got dict"),
    ],
)
def test_anything_else_is_one_line(value, message):
    with pytest.raises(TrackerFailure) as caught:
        as_answer(value, SIZE, 3)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


numbers = st.floats(-1e6, 1e6, width=32)


@given(numbers, numbers, st.floats(0.125, 1e6, width=32), st.floats(0.125, 1e6, width=32))
def test_the_pixels_of_a_box_are_those_of_the_toolkit(x, y, w, h):
    mask, _ = box_pixels(np.array([x, y, w, h]), SIZE)
    np.testing.assert_array_equal(mask, region_mask(Trajectory.of([Rectangle(x, y, w, h)]), 0, SIZE))


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 15), st.sampled_from([None, 0.2, 0.9])), max_size=4))
def test_objects_apart_share_no_pixel_and_lose_none(places):
    answers = {n: Answer(square(x, y, 9, 8), score=score) for n, (x, y, score) in enumerate(places, 1)}
    parted = apart(answers)
    assert sum(answer.mask.sum() for answer in parted.values()) == np.count_nonzero(
        sum((answer.mask for answer in answers.values()), np.zeros(SIZE, dtype=bool))
    )
    surest = min(answers, key=lambda n: (-(answers[n].score or 1.0), n), default=None)
    assert surest is None or (parted[surest].mask == answers[surest].mask).all()


def test_regions_of_a_program():
    polygon = region_answer(Polygon(((4, 5), (10, 5), (10, 12), (4, 12))), SIZE, score=0.5)
    np.testing.assert_array_equal(polygon.box, [4, 5, 6, 7])
    mask = region_answer(RunMask(4, 5, 6, 7, (0, 42)), SIZE)
    assert mask.box is None
    np.testing.assert_array_equal(mask.mask, square(4, 5, 6, 7))
    assert not region_answer(Special(0), SIZE).mask.any()


def test_a_failure_is_told_with_the_frame_of_the_sequence():
    failure = TrackerFailure("expected a box", 2)
    assert str(failure.within(range(20))) == "frame 2: expected a box"
    assert str(failure.within(range(9, -1, -1))) == "frame 7: expected a box (in the pass that began at frame 9)"
    assert str(TrackerFailure("no end").within(range(9, -1, -1))) == "no end"
