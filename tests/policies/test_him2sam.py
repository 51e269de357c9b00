"""HiM2SAM's memory: the program's walk over all frames, and what marks a frame."""

from dataclasses import replace

import numpy as np
import pytest
from drive import Offer, Side, drive, pointers, slots
from fake_model import FakeBackbone
from him2sam_points import Standing
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.engine.engine import Engine
from mosam.policies.base import load_policy
from mosam.policies.him2sam import reach_from
from mosam.policies.kalman import BoxTrust
from mosam.types import Prompt, Retraced

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


def chosen(policy, ious, points, frames=3, presence=4.0):
    """The masks taken on frames 1 ... with these predicted IoUs, and these Dice of points; all boxes are equal."""
    asked, choose = [], policy.choose

    def with_points(states, t, candidates):
        def way(k):
            return lambda: asked.append((t, k)) or Retraced(points[k], 0.0)

        return choose(states, t, [replace(one, retraced=way(k)) for k, one in enumerate(candidates)])

    policy.choose = with_points
    steps = drive(policy, lambda t, trace: Offer(ious, presence), frames)
    return [step.choices[0].candidate for step in steps], asked


@pytest.mark.parametrize(
    ("ious", "points", "taken"),
    [
        ((0.85, 0.7, 0.1), (0.0, 1.0, 0.0), [0, 0, 0]),  # no doubt: nobody is asked
        ((0.75, 0.7, 0.1), (0.0, 1.0, 0.0), [0, 1, 1]),  # 0.25 x 0.7 makes up for 0.75 x 0.05
        ((0.75, 0.4, 0.1), (0.0, 1.0, 0.0), [0, 0, 0]),  # but not for 0.75 x 0.35
        ((0.2, 0.15, 0.1), (0.0, 0.0, 1.0), [0, 2, 0]),  # the filter starts again, and its first frame asks nobody
    ],
)
def test_points_have_a_say_on_doubtful_frames(ious, points, taken):
    policy = load_policy("him2sam", points="lk", method="off", stable_frames=5)
    candidates, asked = chosen(policy, ious, points)
    assert candidates == taken
    doubtful = {2} if ious[0] == 0.2 else {2, 3} if ious[0] < 0.8 else set()
    assert {t for t, _ in asked} == doubtful


def test_before_it_has_a_say_the_filter_goes_by_the_mask_that_the_scores_prefer():
    boxes = [np.array(box) for box in ((10.0, 10.0, 30.0, 40.0), (100.0, 100.0, 160.0, 200.0), (0.0, 0.0, 5.0, 5.0))]
    trust = BoxTrust().choose(np.array([0.9, 0.2, 0.1]), boxes, weight=0.15, stable_frames=5, stable_iou=0.3)[1]
    shown, after = trust.choose(
        np.array([0.7, 0.6, 0.1]), boxes, weight=0.15, stable_frames=5, stable_iou=0.3, doubt=lambda scores, best: 1
    )
    assert shown == 1
    assert after.agreement is None
    assert after.box_filter.agreement(boxes[0]) > 0.9
    stable = replace(after, stable=5)
    shown, after = stable.choose(
        np.array([0.7, 0.6, 0.1]), boxes, weight=0.15, stable_frames=5, stable_iou=0.3, doubt=lambda scores, best: 1
    )
    assert (shown, after.agreement) == (1, 0.0)
    assert after.box_filter.agreement(boxes[0]) < 0.5, "from then on by the mask that is shown"


def test_points_off_asks_for_no_motion():
    assert load_policy("him2sam").motion() is None
    needs = load_policy("him2sam", points="lk", points_frames=3, clip="previous").motion()
    assert (needs.tracker, needs.frames, needs.skip_current, needs.forecasts) == ("lk", 3, True, False)


def test_the_engine_follows_masks_back_through_the_pictures_of_the_video():
    """A tracker that lets points stand: on a clip that stands, every mask is found where it was."""
    policy = load_policy("him2sam", points="him2sam_points:Standing", points_below=1, stable_frames=3)
    Standing.lengths = []
    engine = Engine(FakeBackbone(), policy, log=True)
    plane = np.zeros((24, 32), dtype=bool)
    plane[4:12, 8:20] = True
    video = engine.open([Prompt(1, mask=plane), Prompt(2, 2, mask=plane)], size=(24, 32), num_frames=9)
    picture = np.random.default_rng(0).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    said = []
    for _ in range(9):
        engine.step({video: picture})
        said += [(o.frame_index, i, one.log.get("points")) for o in engine.drain(video) for i, one in o.objects.items()]
    engine.close(video)
    asked = [(t, i) for t, i, points in said if points is not None]
    assert asked[0] == (2, 1)
    assert (4, 2) in asked, "the first frame of a filter asks nobody"
    assert max(Standing.lengths) == 6, "the current picture and five before it"
    assert min(Standing.lengths) >= 3
    assert all(0 <= score <= 1 for _, _, points in said for score in points or ())


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
