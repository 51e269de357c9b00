import dataclasses

import numpy as np
import pytest
from drive import Offer, drive, live_features, pointers, slots
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info

from mosam.errors import MosamError
from mosam.policies.base import load_policy

GOOD = Offer((0.9, 0.8, 0.7), 3.0)


def emulated_slots(t: int, records: list[tuple[float, float, float | None]]) -> list[tuple[int, int]]:
    """The official selection with every frame kept: `records[i]` = predicted IoU, presence, agreement of frame i."""
    found: list[int] = []
    for i in range(t - 1, 1, -1):
        iou, presence, agreement = records[i]
        if iou > 0.5 and presence > 0 and (agreement is None or agreement > 0):
            found.insert(0, i)
        if len(found) >= 15:
            break
    if t - 1 not in found:
        found.append(t - 1)
    read = []
    for place in range(1, 7):
        index = place - 7
        if index >= -len(found) and found[index] >= 1:
            read.append((found[index], 7 - place - 1))
    return [(0, 6), *read]


def offers_from(frames: list[tuple[float, float, bool]]):
    """IoU, presence and whether the box jumps away, per frame."""

    def offer(t, trace):
        iou, presence, jumps = frames[t - 1]
        far = (900.0, 900.0, 950.0, 960.0) if jumps else (12.0, 10.0, 32.0, 44.0)
        return Offer((iou, iou - 0.02, iou - 0.3), presence, (far, (10.0, 10.0, 30.0, 40.0), far))

    return offer


FRAME = st.tuples(
    st.sampled_from([0.2, 0.45, 0.5, 0.51, 0.9]), st.sampled_from([-4.0, -0.5, 0.0, 0.5, 5.0]), st.booleans()
)
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=6), st.integers(1, 40))


def stretched(parts) -> list:
    """Patterns repeated, so that long good, long absent and mixed stretches all occur."""
    return [frame for pattern, length in parts for frame in (pattern * length)[:length]]


@settings(max_examples=60, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=5))
def test_the_bounded_bank_reads_what_the_official_selection_reads(parts):
    frames = stretched(parts)
    records: list = [None]
    for step in drive(load_policy("samurai"), offers_from(frames), len(frames)):
        assert slots(step.plans[0]) == emulated_slots(step.t, records)
        limit = min(len(frames) + 1, 16)
        expected = [(0, step.t)] + [(f, step.t - f) for f in range(step.t - 1, max(0, step.t - limit), -1)]
        assert pointers(step.plans[0]) == expected
        chosen = step.choices[0]
        entry = step.updates[0].state.recent[-1]
        records.append((entry.iou, entry.object_score, chosen.log["motion"]))


def test_frames_without_the_object_are_only_read_right_after():
    frames = [(0.9, -5.0 if t % 7 in (0, 1, 2) else 4.0, False) for t in range(200)]
    for step in drive(load_policy("samurai"), offers_from(frames), len(frames)):
        absent = [f for f, _ in slots(step.plans[0]) if f > 0 and frames[f - 1][1] <= 0]
        assert absent in ([], [step.t - 1])


def test_the_first_tracked_frame_is_only_read_on_the_next():
    plans = {step.t: slots(step.plans[0]) for step in drive(load_policy("samurai"), lambda t, trace: GOOD, 9)}
    assert plans[1] == [(0, 6)]
    assert plans[2] == [(0, 6), (1, 0)]
    assert plans[3] == [(0, 6), (2, 0)]
    assert plans[9] == [(0, 6), (3, 5), (4, 4), (5, 3), (6, 2), (7, 1), (8, 0)]


def test_rank_not_age_counts():
    frames = [(0.9, 4.0, False)] * 5 + [(0.1, -4.0, False)] * 30
    last = drive(load_policy("samurai"), offers_from(frames), len(frames))[-1]
    assert slots(last.plans[0]) == [(0, 6), (2, 4), (3, 3), (4, 2), (5, 1), (34, 0)]


def test_counts_from_the_start_of_the_track():
    early = drive(load_policy("samurai"), lambda t, trace: GOOD, 20, track=info(200))
    late = drive(load_policy("samurai"), lambda t, trace: GOOD, 20, track=info(200, 100))
    for a, b in zip(early, late, strict=True):
        assert [(f + 100, r) for f, r in slots(a.plans[0])] == slots(b.plans[0])
        assert [(f + 100, p) for f, p in pointers(a.plans[0])] == pointers(b.plans[0])


def moving(t: int, trace) -> Offer:
    """The second mask follows a steady motion; the first scores a little more and is elsewhere."""
    x = 100.0 + 5 * t
    box = (x, 100.0, x + 40, 180.0)
    away = (700.0, 700.0, 780.0, 800.0)
    return Offer((0.60, 0.58, 0.2), 4.0, (box if t <= 16 else away, box, away))


@pytest.mark.parametrize(("weight", "first_switch"), [(0.25, 17), (0.0, None)])
def test_motion_decides_once_the_filter_is_stable(weight, first_switch):
    steps = drive(load_policy("samurai", motion_weight=weight), moving, 30)
    taken = {step.t: step.choices[0].candidate for step in steps}
    expected = {t: int(first_switch is not None and t >= first_switch) for t in taken}
    assert taken == expected
    motion = {step.t: step.choices[0].log["motion"] for step in steps}
    assert all((motion[t] is None) == (t <= 15) for t in motion)


def test_a_bad_frame_makes_the_filter_start_again():
    def offer(t, trace):
        return dataclasses.replace(GOOD, iou=(0.25, 0.2, 0.1)) if t == 20 else GOOD

    stable = {s.t: s.choices[0].log["stable"] for s in drive(load_policy("samurai"), offer, 40)}
    assert [stable[t] for t in (1, 2, 15, 16, 19, 20, 21, 22, 35, 36)] == [1, 2, 15, 15, 15, 0, 1, 2, 15, 15]


@pytest.mark.parametrize(
    ("model", "weight"),
    [("large", 0.15), ("sam2.1-hiera-large", 0.15), ("tiny", 0.25), ("base-plus", 0.25), ("small", 0.25), ("x", 0.25)],
)
def test_the_weight_of_motion_goes_by_the_size_of_the_network(model, weight):
    policy = load_policy("samurai")
    assert policy._motion_weight(dataclasses.replace(info(10), model=model)) == weight
    assert load_policy("samurai", motion_weight="0.4")._motion_weight(info(10)) == 0.4


def test_presence_is_a_parameter_apart_from_the_memory():
    assert load_policy("samurai").presence_threshold == -1.0
    assert load_policy("samurai", presence=0.5).presence_threshold == 0.5
    steps = drive(load_policy("samurai"), lambda t, trace: Offer((0.9, 0.8, 0.7), -0.5), 12)
    assert all(step.updates[0].state.recent[-1].area > 0 for step in steps), "shown, as -0.5 > -1"
    assert not steps[-1].updates[0].state.accepted, "but not remembered, as -0.5 <= 0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"motion_weight": 1.5}, "motion_weight: expected 0..1"),
        ({"stable_frames": 0}, "stable_frames: expected 1..10000"),
        ({"memory_iou": -0.1}, "memory_iou: expected 0..1"),
        ({"presence": 1e9}, "presence: expected -100..100"),
    ],
)
def test_ranges(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("samurai", **options)


def test_memory_stays_bounded():
    rng = np.random.default_rng(0)
    frames = [
        (float(rng.random()), 4.0 if (t // 200) % 2 == 0 else -4.0, bool(rng.random() < 0.1)) for t in range(3000)
    ]
    policy = load_policy("samurai")
    steps = drive(policy, offers_from(frames), len(frames))
    assert max(live_features(step) for step in steps) == policy.live_features(info(3001)) == 8
    assert max(len(step.updates[0].pointers) for step in steps) == 16
    state = steps[-1].updates[0].state
    assert len(state.recent) == 15
    assert len(state.accepted) == 6
