from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.motion.field import MotionPair, MotionSettings, MotionStream
from mosam.motion.forecast import forecast
from mosam.types import MotionNeeds

H, W, SIDE = 192, 256, 128
NEEDS = MotionNeeds("lk", "dis-medium", 3)


def blurred(seed: int, h: int, w: int) -> np.ndarray:
    import cv2

    return cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 255, (h, w, 3), dtype=np.uint8), (0, 0), 2)


BACKGROUND, OBJECT = blurred(0, H, W), blurred(1, 60, 60)


def frame(x: int, y: int) -> np.ndarray:
    image = BACKGROUND.copy()
    image[y : y + 60, x : x + 60] = OBJECT
    return image


def probability(x: int, y: int) -> np.ndarray:
    """Of the object at (x, y), on the square grid."""
    cells = (np.arange(SIDE) + 0.5) / SIDE
    inside = ((cells * W >= x) & (cells * W < x + 60))[None] & ((cells * H >= y) & (cells * H < y + 60))[:, None]
    return np.where(inside, 0.99, 0.01).astype(np.float32)


def pair(*positions: tuple[int, int], sparse: str = "lk", dense: str = "dis-medium") -> MotionPair:
    stream = MotionStream(MotionSettings(sparse, dense, SIDE))
    for x, y in positions:
        result = stream.push(frame(x, y))
    return result


def center(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2 * (W, H)


# flow leaves a ghost where the object uncovers the background, so its box is a little long
@pytest.mark.parametrize(
    ("sparse", "dense", "pixels", "overlap"),
    [("lk", "dis-medium", 3, 0.8), ("lk", "off", 1.5, 0.9), ("off", "dis-medium", 5, 0.8)],
)
def test_a_moving_object_is_forecast_where_it_went(sparse, dense, pixels, overlap):
    seen = forecast(pair((80, 60), (88, 56), sparse=sparse, dense=dense), probability(80, 60), NEEDS)
    assert np.allclose(center(seen.box), (118, 86), atol=pixels)
    assert seen.trust > 0.7
    wanted = probability(88, 56) > 0.5
    assert (seen.expected & wanted).sum() / (seen.expected | wanted).sum() > overlap
    assert np.isnan(seen.trust_dense) == (dense == "off")
    assert np.isnan(seen.trust_sparse) == (sparse == "off")
    for x, y in seen.points:
        assert seen.expected[int(y * SIDE), int(x * SIDE)]


def test_points_are_spread_and_no_more_than_asked():
    motion = pair((80, 60), (84, 60))
    for count in (1, 3, 5):
        points = forecast(motion, probability(80, 60), MotionNeeds("lk", "dis-medium", count)).points
        assert len(points) == count
        assert len(np.unique(points, axis=0)) == count


def test_an_object_that_is_replaced_gives_no_trust():
    stream = MotionStream(MotionSettings("lk", "dis-medium", SIDE))
    stream.push(frame(80, 60))
    image = frame(80, 60)
    image[60:120, 80:140] = blurred(7, 60, 60)
    seen = forecast(stream.push(image), probability(80, 60), NEEDS)
    assert seen.box is None or seen.trust < 0.8


def test_estimates_that_contradict_each_other_leave_nothing_unless_one_is_sure():
    still = forecast(pair((80, 60), (80, 60)), probability(80, 60), NEEDS)
    motion = pair((80, 60), (80, 60)).current
    torn = replace(motion, end=motion.end + np.float32(70 / W))  # the points say far away, the flow says here
    doubtful = replace(torn, consistent=np.random.default_rng(0).random(torn.consistent.shape) < 0.6)
    unsure_points = np.arange(len(motion.start)) % 3 == 0
    scattered = replace(doubtful, end=doubtful.end + np.where(unsure_points, 30 / W, 0)[:, None].astype(np.float32))
    nothing = forecast(MotionPair(scattered), probability(80, 60), NEEDS)
    assert 0.5 <= nothing.trust_sparse < 0.8
    assert 0.5 <= nothing.trust_dense < 0.8
    assert nothing.box is nothing.expected is None
    assert nothing.trust == 0
    assert len(nothing.points) == 0
    points = forecast(MotionPair(doubtful), probability(80, 60), NEEDS)
    assert points.trust == points.trust_sparse > 0.8
    shown = np.argwhere(points.expected).mean(axis=0)[::-1] / SIDE
    assert np.allclose(shown, (points.box[:2] + points.box[2:]) / 2, atol=0.02), "mask and box are of one estimate"
    assert np.allclose(shown - np.argwhere(still.expected).mean(axis=0)[::-1] / SIDE, 70 / W, atol=0.02)


def test_no_previous_mask_no_forecast_box():
    seen = forecast(pair((80, 60), (88, 60)), np.zeros((SIDE, SIDE), np.float32), NEEDS)
    assert seen.box is None
    assert seen.expected is None
    assert seen.trust == 0


def test_first_frame_has_no_motion():
    assert forecast(pair((80, 60)), probability(80, 60), NEEDS) is None


@settings(max_examples=25, deadline=None)
@given(st.integers(0, W - 1), st.integers(0, H - 1), st.integers(1, 80), st.integers(1, 80))
def test_any_mask_gives_something_sane(x, y, w, h):
    cells = (np.arange(SIDE) + 0.5) / SIDE
    inside = ((cells * W >= x) & (cells * W < x + w))[None] & ((cells * H >= y) & (cells * H < y + h))[:, None]
    seen = forecast(PAIR, inside.astype(np.float32), NEEDS)
    assert 0 <= seen.trust <= 1
    if seen.box is not None:
        assert (seen.box >= 0).all()
        assert (seen.box <= 1).all()
        assert (seen.box[2:] > seen.box[:2]).all()
    assert ((seen.points >= 0) & (seen.points <= 1)).all()


PAIR = pair((80, 60), (86, 62))


def test_an_object_in_crumbs_has_no_forecast_by_flow():
    """Each cell its own component, none a large share of the whole: this raised an AssertionError."""
    crumbs = np.full((SIDE, SIDE), 0.01, dtype=np.float32)
    crumbs[::3, ::3] = 0.99
    seen = forecast(pair((80, 60), (80, 60), sparse="off"), crumbs, NEEDS)
    assert seen is None or seen.box is None
