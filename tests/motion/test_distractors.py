"""What was seen beside an object follows the pixels, and is forgotten where the flow does not lead back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.motion.distractors import RATE, carry, learn
from mosam.motion.field import Motion

SIDE = 16


def motion(backward, consistent=None) -> Motion:
    flow = np.broadcast_to(np.asarray(backward, np.float32) / SIDE, (SIDE, SIDE, 2)).copy()
    agreed = np.ones((SIDE, SIDE), bool) if consistent is None else consistent
    return Motion(np.empty((0, 2)), np.empty((0, 2)), 1.0, flow, agreed, (SIDE, SIDE))


def disk(x: int) -> np.ndarray:
    """Probability of an object of 4 x 4 cells."""
    plane = np.zeros((SIDE, SIDE), np.float32)
    plane[6:10, x : x + 4] = 0.9
    return plane


def test_the_frame_of_a_prompt_is_believed_at_once():
    assert np.array_equal(learn(None, disk(4), prompted=True), disk(4) < 0.5)
    assert np.array_equal(learn(np.ones((SIDE, SIDE), np.float32), disk(4), prompted=True), disk(4) < 0.5)


def test_other_frames_are_believed_by_and_by():
    known = learn(None, disk(4), prompted=True)
    for n in range(1, 5):  # the mask has moved on by itself: what it left is learnt, what it took is given up
        known = learn(known, disk(9), prompted=False)
        assert known[7, 5] == pytest.approx(1 - (1 - RATE) ** n)
        assert known[7, 10] == pytest.approx((1 - RATE) ** n)


def test_knowledge_goes_where_the_pixels_go():
    known = carry(learn(None, disk(4), prompted=True), motion((-3, 0)))
    assert np.array_equal(known[:, 3:], (disk(7) < 0.5)[:, 3:])
    assert not known[:, :3].any()  # what came in from outside the picture


def test_nothing_is_known_where_the_flow_does_not_return():
    torn = np.ones((SIDE, SIDE), bool)
    torn[:, :8] = False
    known = carry(np.ones((SIDE, SIDE), np.float32), motion((0, 0), torn))
    assert not known[:, :8].any()
    assert known[:, 8:].all()


@pytest.mark.parametrize("missing", [None, Motion(np.empty((0, 2)), np.empty((0, 2)), 1.0, None, None, (SIDE, SIDE))])
def test_without_flow_nothing_is_known(missing):
    assert not carry(np.ones((SIDE, SIDE), np.float32), missing).any()


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_knowledge_stays_between_0_and_1(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    known = None
    for _ in range(data.draw(st.integers(1, 6))):
        if known is not None:
            shift = motion(rng.uniform(-SIDE, SIDE, (SIDE, SIDE, 2)), rng.random((SIDE, SIDE)) < 0.8)
            known = carry(known, data.draw(st.sampled_from([shift, None])))
        known = learn(known, rng.random((SIDE, SIDE), dtype=np.float32), prompted=data.draw(st.booleans()))
        assert known.dtype == np.float32
        assert known.min() >= 0
        assert known.max() <= 1
