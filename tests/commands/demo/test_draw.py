"""Drawings: what is colored, and that nothing is drawn outside or in place."""

import numpy as np
import pytest

from mosam.commands.demo.draw import (
    COLORS,
    GRAY,
    WIDEST,
    color_of,
    draw_field,
    draw_objects,
    draw_prompts,
    memory_strip,
    side_by_side,
    thumbnail,
    write,
)
from mosam.motion.field import Motion
from mosam.types import FrameOutput, ObjectOutput


def picture(height=120, width=160):
    return np.full((height, width, 3), 100, dtype=np.uint8)


def output(**masks):
    return FrameOutput(3, {int(k[1:]): ObjectOutput(m, 1.0 if m.any() else -1.0, 0.9) for k, m in masks.items()})


def mask(y, x, h, w, size=(120, 160)):
    found = np.zeros(size, dtype=bool)
    found[y : y + h, x : x + w] = True
    return found


def test_objects_are_filled_in_their_colors_and_the_rest_is_left():
    image = picture()
    drawn = draw_objects(image, output(o1=mask(60, 20, 20, 30), o2=mask(60, 100, 20, 30)))
    assert (image == 100).all()
    inside = drawn[70, 35].astype(float)
    np.testing.assert_allclose(inside, 100 * 0.55 + np.array(COLORS[0]) * 0.45, atol=1)
    np.testing.assert_allclose(drawn[70, 115], 100 * 0.55 + np.array(COLORS[1]) * 0.45, atol=1)
    assert (drawn[100:, :] == 100).all()


def test_absent_objects_are_named_and_nothing_else():
    drawn = draw_objects(picture(), output(o1=mask(0, 0, 0, 0)))
    assert (drawn[:30, :80] != 100).any()
    assert (drawn[40:] == 100).all()


@pytest.mark.parametrize("size", [(120, 160), (40, 60), (16, 16)])
def test_text_stays_inside_whatever_the_size(size):
    image = np.zeros((*size, 3), dtype=np.uint8)
    write(image, "a long text that does not fit", (500, -20), (255, 255, 255))
    assert image.shape == (*size, 3)
    assert image.any()
    draw_objects(image, output(o1=np.ones(size, bool), o2=np.zeros(size, bool)))


def motion():
    start = np.array([[0.5, 0.5], [0.02, 0.02]], np.float32)
    backward = np.full((8, 8, 2), -0.05, np.float32)
    return Motion(start, start + 0.05, 1.0, backward, np.ones((8, 8), bool), (120, 160))


def test_motion_is_drawn_near_objects_and_as_arrows():
    still = draw_field(picture(), None, [])
    assert (still == 100).all()
    drawn = draw_field(picture(), motion(), [np.array([70.0, 50, 20, 20])])
    yellow = (drawn[..., :2] > 150).all(axis=2) & (drawn[..., 2] < 90)
    assert yellow[55:75, 80:100].any()
    assert not yellow[:20, :30].any()  # far from the object
    assert ((drawn[..., 0] < 90) & (drawn[..., 1:] > 150).all(axis=2)).any()


def test_motion_box_points_and_reasons():
    drawn = draw_prompts(picture(), {1: {"prompt_box": [0.25, 0.25, 0.75, 0.75], "prompt_points": [[0.5, 0.5]]}})
    assert (drawn[30, 40:120] > 200).all(axis=1).any()
    assert (drawn[60, 80] > 200).all()
    told = draw_prompts(picture(), {1: {"withheld": "too early"}})
    assert (told[100:] != 100).any()
    assert (told[:80] == 100).all()


def test_the_strip_shows_remembered_frames_and_gray_for_forgotten_ones():
    small = thumbnail(np.full((120, 160, 3), 200, np.uint8))
    band = memory_strip(400, {1: [0, 4, 5]}, {0: small, 5: small}, small.shape[:2], 6)
    assert band.shape == (small.shape[0] + 4, 400, 3)
    y = small.shape[0] - 3
    first, second, third = (band[y, 34 + n * (small.shape[1] + 4) + 40].tolist() for n in range(3))
    assert first == third == [200] * 3
    assert second == list(GRAY)
    assert len(memory_strip(400, {}, {}, (10, 10), 0)) == 0


@pytest.mark.parametrize(("count", "columns"), [(2, 2), (3, 3), (4, 2), (5, 3)])
def test_side_by_side(count, columns):
    drawn = side_by_side([picture(90, 120)] * count, [f"t{n}" for n in range(count)])
    rows = -(-count // columns)
    assert drawn.shape == (rows * (90 + 28), columns * 120, 3)


def test_wide_pictures_are_made_smaller():
    drawn = side_by_side([picture(720, 1280)] * 3, ["a", "b", "c"])
    assert drawn.shape[1] <= WIDEST + 3


def test_colors_repeat():
    assert color_of(1) == color_of(len(COLORS) + 1)
