"""SAMOSA: the program's choice of memories, its history of boxes, errors and recovery, on made-up decodes."""

import dataclasses

import numpy as np
import pytest
from drive import Offer, Side, candidates, drive, slots
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import motion_weights

from mosam.errors import MosamError
from mosam.policies.base import load_policy
from mosam.policies.kalman import BoxFilter
from mosam.policies.samosa import PRESETS, filtered, shape_likeness, size_likeness

BOX = (100.0, 100.0, 140.0, 160.0)
GOOD = Offer((0.9, 0.5, 0.4), 4.0, (BOX,) * 3)
FRAME = st.tuples(st.sampled_from([0.2, 0.45, 0.5, 0.51, 0.7, 0.9]), st.sampled_from([-4.0, -0.5, 0.0, 0.5, 5.0]))
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=6), st.integers(1, 40))


def samosa(**options):
    return load_policy("samosa", **{"motion": "kalman", **options})


def emulated(t: int, scores: list[float | None]) -> list[tuple[int, int]]:
    """The program's walk: the last 29 valid frames, the newest and the five best of them; `scores[i]` None = not."""
    valid: list[int] = []
    for i in range(t - 1, 1, -1):
        if scores[i] is not None:
            valid.insert(0, i)
        if len(valid) >= 29:
            break
    if len(valid) > 6:
        order = sorted(valid[:-1], key=lambda i: (scores[i], i))[-5:]
        valid = [*sorted(order), valid[-1]]
    return [(0, 6)] + [(frame, len(valid) - 1 - k) for k, frame in enumerate(valid)]


@settings(max_examples=40, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=5))
def test_the_bounded_memory_reads_what_the_program_reads(parts):
    frames = [frame for pattern, length in parts for frame in (pattern * length)[:length]]
    scores: list[float | None] = [None]
    for step in drive(samosa(), lambda t, trace: Offer((frames[t - 1][0], 0.0, 0.0), frames[t - 1][1]), len(frames)):
        assert slots(step.plans[0]) == emulated(step.t, scores)
        iou, presence = frames[step.t - 1]
        motion = step.choices[0].log["motion"]
        worthy = iou > 0.5 and presence > 0 and (motion is None or motion > 0)
        worth = 0.3 * (iou + 1 / (1 + np.exp(-presence)) + (motion or 0.0))
        scores.append(worth if worthy else None)


def test_the_motion_model_has_a_say_after_five_good_frames_in_a_row():
    def offer(t, trace):
        far, near = (600.0, 600.0, 900.0, 640.0), (100.0 + t, 100.0, 140.0 + t, 160.0)
        iou = (0.2, 0.1, 0.1) if t == 9 else (0.60, 0.58, 0.1)
        return Offer(iou, 4.0, (near if t < 6 else far, near, far))

    steps = drive(samosa(), offer, 20)
    assert [s.t for s in steps if s.choices[0].log["motion"] is not None] == [6, 7, 8, 9, *range(15, 21)]
    assert [s.choices[0].candidate for s in steps[:8]] == [0] * 5 + [1] * 3
    assert [s.choices[0].log["stable"] for s in steps[7:15]] == [5, 0, 1, 2, 3, 4, 5, 5]


def test_the_first_box_in_a_row_is_taken_whatever_it_is():
    steps = drive(samosa(), lambda t, trace: dataclasses.replace(GOOD, iou=(0.2, 0.1, 0.1)), 6)
    assert [s.choices[0].log["stable"] for s in steps] == [1, 0, 1, 0, 1, 0]


def unlike(t: int, kinds: dict[int, str]) -> Offer:
    """A good frame, or one on which features, size or shape are unlike before."""
    other = {"features": (-1.0, -0.5, 0.0)}.get(kinds.get(t, ""), (1.0, 0.5, 0.0))
    box = {"size": (0.0, 0.0, 400.0, 600.0), "shape": (0.0, 0.0, 900.0, 10.0)}.get(kinds.get(t, ""), BOX)
    return Offer((0.9, 0.3, 0.2), 4.0, (box, BOX, BOX), (other, (1.0, 0.5, 0.0), (1.0, 0.5, 0.0)))


@pytest.mark.parametrize("kind", ["features", "size", "shape"])
def test_a_sudden_change_is_an_error_until_a_candidate_is_like_before(kind):
    kinds = {10: kind, 11: kind}
    steps = drive(samosa(error_shape=10.0, error_size=10.0), lambda t, trace: unlike(t, kinds), 14)
    errors = [s.t for s in steps if s.choices and s.updates[0].log["error"]]
    assert errors == [10]
    assert steps[10].choices[0].candidate == 1, "the first that is like before"
    quiet = drive(samosa(errors="off"), lambda t, trace: unlike(t, kinds), 14)
    assert not any(s.updates[0].log["error"] for s in quiet)


@pytest.mark.parametrize(("recovery", "taken"), [("first", 1), ("best", 2)])
def test_of_several_that_are_like_before(recovery, taken):
    def offer(t, trace):
        if t < 10:
            return GOOD
        strange = (-1.0, 0.0, 0.0)
        return Offer((0.9, 0.4, 0.6), 4.0, (BOX,) * 3, (strange, (1.0, 0.5, 0.0), (1.0, 0.5, 0.0)))

    steps = drive(samosa(recovery=recovery), offer, 12)
    assert [s.choices[0].candidate for s in steps[8:11]] == [0, 0, taken]


def test_an_error_stays_while_nothing_is_like_before():
    strange = Offer((0.9, 0.5, 0.4), 4.0, (BOX,) * 3, ((-1.0, 0.0, 0.0),) * 3)
    steps = drive(samosa(), lambda t, trace: GOOD if t < 10 else strange, 30)
    assert [s.t for s in steps if s.updates[0].log["error"]] == list(range(10, 31))
    assert all(s.choices[0].candidate == 0 for s in steps)


def plane(x: int) -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:20, x : x + 10] = True
    return mask


@pytest.mark.parametrize(
    ("options", "errors"),
    [({"preset": "a"}, []), ({"preset": "b"}, [8]), ({"preset": "b", "after_empty": "error"}, [5, 8])],
)
def test_a_mask_that_jumps_is_an_error_in_preset_b(options, errors):
    """Empty on frame 4; elsewhere on frame 8."""

    def offer(t, trace):
        return dataclasses.replace(GOOD, presence=-4.0) if t == 4 else GOOD

    def side(t):
        mask = plane(40 if t >= 8 else 5)
        return Side(mask, np.stack([mask, mask]))

    steps = drive(samosa(**options), offer, 12, side=side)
    found = [s.t for s in steps if s.updates[0].log["error"]]
    assert [t for t in found if t - 1 not in found] == errors


def test_presets():
    assert load_policy("samosa")._limits == PRESETS["a"]
    limits = load_policy("samosa", preset="b", recovery_size=0.2)._limits
    assert (limits.recovery_size, limits.recovery_shape, limits.recovery) == (0.2, 0.4, "best")
    assert load_policy("samosa").adds_center
    assert not load_policy("samosa", center="off").adds_center


def test_weights_are_needed_for_the_published_motion_only():
    assert load_policy("samosa").weights == "samosa-motion"
    assert samosa().weights is None
    policy = load_policy("samosa")
    with pytest.raises(MosamError, match="motion=lstm expects its weights"):
        drive(policy, lambda t, trace: GOOD, 7)
    policy.receive(motion_weights(3, (40.0, 60.0)))
    assert len(drive(policy, lambda t, trace: GOOD, 7)) == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [({"pool": 0}, "pool: expected 1..100"), ({"preset": "c"}, "one of a, b"), ({"error_feature": 2}, "-1..1")],
)
def test_ranges(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("samosa", **options)


def test_the_filter_of_five_boxes_goes_on_with_a_steady_walk():
    history = [np.array([10.0 * k, 50, 40, 60, 0, 0, 0, 0]) for k in range(5)]
    x0, y0, x1, y1 = filtered(history)
    assert 45 < x0 < 55
    assert (y0, x1 - x0, y1 - y0) == pytest.approx((50, 40, 60), abs=0.5)
    assert (x0, y0) != tuple(BoxFilter.start(np.array([40.0, 50, 80, 110])).corners[:2])


def test_likeness_of_boxes():
    tall, wide, flat = np.array([0.0, 0, 2, 4]), np.array([5.0, 5, 9, 7]), np.array([0.0, 3, 4, 3])
    assert shape_likeness(tall, wide) == 0.25
    assert size_likeness(tall, wide) == 1.0
    assert (shape_likeness(tall, flat), shape_likeness(flat, flat), size_likeness(flat, flat)) == (0.0, 1.0, 1.0)
    assert size_likeness(tall, np.zeros(4)) == 0.0


def test_an_empty_candidate_ends_no_error():
    policy = samosa(recovery_feature=-1.0)
    watch = dataclasses.replace(policy.config and load_watch(policy), error=True)
    empty = candidates(0, Offer((0.9, 0.8, 0.7), -4.0), -1.0)
    assert policy._familiar(watch, empty[0]) == 0.0


def load_watch(policy):
    return drive(policy, lambda t, trace: GOOD, 4)[-1].updates[0].state.watch
