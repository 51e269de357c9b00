"""HiM2SAM's memory: the program's walk over all frames, and what marks a frame."""

import numpy as np
import pytest
from drive import Offer, Side, drive, pointers, slots
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.policies.base import load_policy
from mosam.policies.him2sam import reach_from

SIZE = (40, 60)
BOX = (10.0, 10.0, 30.0, 40.0)
FRAME = st.tuples(st.sampled_from([0.2, 0.5, 0.51, 0.9]), st.sampled_from([-4.0, -0.5, 0.0, 0.5, 5.0]))
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=5), st.integers(1, 20))


def emulated(t: int, good: list[bool], gap: int) -> list[tuple[int, int]]:
    """Slots as the program finds them without marks, temporal vectors by rank."""
    short: list[int] = []
    for j in range(t - 1, 0, -1):
        if len(short) == 6:
            break
        if (not short or j < short[-1] - gap) and good[j]:
            short.append(j)
    return [(0, 6)] + [(frame, rank) for rank, frame in enumerate(short)]


@settings(max_examples=50, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=5), st.sampled_from([0, 2, 5]))
def test_the_bounded_memory_reads_what_the_program_reads(parts, gap):
    frames = [frame for pattern, length in parts for frame in (pattern * length)[:length]]
    good = [True]
    policy = load_policy("him2sam", method="off", short_gap=gap)
    for step in drive(policy, lambda t, trace: Offer((frames[t - 1][0], 0.0, 0.0), frames[t - 1][1]), len(frames)):
        assert slots(step.plans[0]) == emulated(step.t, good, gap)
        iou, presence = frames[step.t - 1]
        good.append(iou > 0.5 and presence > 0)


def test_with_the_program_s_defects_codes_and_pointers_are_those_of_its_loops():
    policy = load_policy("him2sam", method="off", codes="reversed", pointers="shifted")
    step = drive(policy, lambda t, trace: Offer((0.9, 0.1, 0.1), 4.0), 30)[-1]
    assert slots(step.plans[0]) == [(0, 6), (29, 5), (26, 4), (23, 3), (20, 2), (17, 1), (14, 0)]
    assert pointers(step.plans[0]) == [(0, 29)] + [(29 - k, k) for k in range(1, 16)]


def plane(x: int, y: int, side: int = 8) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + side, x : x + side] = True
    return mask


@pytest.mark.parametrize(("other", "marked"), [(plane(48, 4), True), (plane(14, 4), False), (plane(4, 4), False)])
def test_a_frame_is_marked_when_another_mask_shows_something_far_away(other, marked):
    side = Side(plane(4, 4), np.stack([other, plane(4, 4)]))
    steps = drive(load_policy("him2sam"), lambda t, trace: Offer((0.9, 0.3, 0.2), 5.0), 12, side=lambda t: side)
    marks = [step.t for step in steps if step.updates[0].log["marked"]]
    assert marks == ([2, 7, 12] if marked else [])  # the first frame has no usual area, then five apart
    if marked:
        assert (7, 6) in slots(steps[-1].plans[0]), "the newest mark has the vector of prompted frames"


def test_reach_is_the_directed_hausdorff_distance():
    scipy = pytest.importorskip("scipy.spatial.distance")
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(0)
    for _ in range(10):
        a, b = (cv2.blur(rng.random(SIZE), (9, 9)) > 0.53 for _ in range(2))
        edges = [
            np.argwhere(cv2.morphologyEx(m.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)))
            for m in (a, b)
        ]
        assert reach_from(a, b) == pytest.approx(scipy.directed_hausdorff(edges[1], edges[0])[0])
    assert reach_from(a, np.zeros(SIZE, dtype=bool)) == 0
