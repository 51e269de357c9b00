"""SAMITE: the program's choice of memories by likeness, and which of two decodes is taken."""

import dataclasses

import numpy as np
import pytest
from drive import Offer, drive, slots
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info

from mosam.errors import MosamError
from mosam.policies.base import Entry, load_policy

BOX, AWAY = (100.0, 100.0, 140.0, 160.0), (600.0, 600.0, 640.0, 700.0)
FRAME = st.tuples(
    st.sampled_from([0.2, 0.5, 0.51, 0.9]), st.sampled_from([-4.0, -0.5, 0.0, 0.5, 5.0]), st.integers(0, 30)
)
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=6), st.integers(1, 40))
FIRST = np.array([1.0, 0.5, 0.0])  # the prototype that `drive` starts from


def look(angle: int) -> tuple[float, float, float]:
    """A prototype; equal angles never give equal likeness by chance."""
    return (float(np.cos(angle / 9)), float(np.sin(angle / 9)), 0.01 * angle)


def emulated(t: int, frames: list) -> list[tuple[int, int]]:
    """The program's walk over every frame, and its five likest."""
    valid: list[int] = []
    for i in range(t - 1, 1, -1):
        iou, presence, _ = frames[i - 1]
        if iou > 0.5 and presence > 0:
            valid.insert(0, i)
        if len(valid) >= 30:
            break
    if len(valid) > 6:
        seen = {i: np.array(look(frames[i - 1][2])) for i in valid}
        newest = seen[valid[-1]]

        def cosine(a, b):
            return a @ b / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-7)

        likeness = {i: 0.3 * cosine(seen[i], newest) + 0.7 * cosine(seen[i], FIRST) for i in valid[:-1]}
        valid = [*sorted(sorted(likeness, key=lambda i: (likeness[i], i))[-5:]), valid[-1]]
    return [(0, 6)] + [(frame, len(valid) - 1 - k) for k, frame in enumerate(valid)]


@settings(max_examples=40, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=5))
def test_the_bounded_memory_reads_what_the_program_reads(parts):
    frames = [frame for pattern, length in parts for frame in (pattern * length)[:length]]

    def offer(t, trace):
        iou, presence, angle = frames[t - 1]
        return Offer((iou, 0.0, 0.0), presence, prototypes=(look(angle),) * 3)

    for step in drive(load_policy("samite"), offer, len(frames)):
        assert slots(step.plans[0]) == emulated(step.t, frames)


def two(t: int, cycle: tuple[float, float], **changes) -> Offer:
    """A free decode at one place, one with the prior at another."""
    guided = Offer((0.4, 0.7, 0.3), 4.0, (AWAY,) * 3)
    return dataclasses.replace(Offer((0.8, 0.6, 0.5), 4.0, (BOX,) * 3, guided=guided, cycle=cycle), **changes)


@pytest.mark.parametrize(
    ("cycle", "taken"),
    [((0.9, 0.8), 0), ((0.8, 0.9), 4), ((0.8, 0.8), 4), ((0.5, 0.69), 0), ((0.5, 0.7), 4), ((0.0, 0.0), 0)],
)
def test_the_decode_that_finds_the_memories_again_is_taken(cycle, taken):
    [step] = drive(load_policy("samite"), lambda t, trace: two(t, cycle), 1)
    assert step.choices[0].candidate == taken
    assert step.choices[0].log["cycle"] == cycle[taken // 3]


def test_without_the_prior_there_is_one_decode():
    policy = load_policy("samite", prior="off")
    assert not policy.keeps_views
    assert drive(policy, lambda t, trace: Offer((0.8, 0.6, 0.5), 4.0), 3)[-1].choices[0].candidate == 0


@pytest.mark.parametrize(("follows", "agrees"), [("taken", False), ("free", True)])
def test_whose_box_a_stable_filter_follows(follows, agrees):
    """The other decode is elsewhere and wins from frame 18 on; a filter that is told so goes there."""
    policy = load_policy("samite", follows=follows)
    steps = drive(policy, lambda t, trace: two(t, (0.8, 0.9) if t >= 18 else (0.9, 0.1)), 40)
    assert [s.choices[0].candidate for s in steps[15:]] == [0] * 2 + [4] * 23
    trust = steps[-1].updates[0].state.trust
    assert (trust.box_filter.agreement(np.array(BOX)) > 0.5) == agrees
    assert (trust.box_filter.agreement(np.array(AWAY)) > 0.5) != agrees


def test_motion_has_a_say_in_the_free_decode_only():
    def offer(t, trace):
        free = Offer((0.60, 0.58, 0.1), 4.0, (AWAY if t > 16 else BOX, BOX, AWAY))
        guided = Offer((0.60, 0.58, 0.1), 4.0, (AWAY, BOX, AWAY))
        return dataclasses.replace(free, guided=guided, cycle=(0.9, 0.1) if t < 20 else (0.1, 0.9))

    steps = drive(load_policy("samite"), offer, 20)
    assert [s.choices[0].candidate for s in steps[15:]] == [0, 1, 1, 1, 3]


def test_the_guide_asks_for_the_memories_that_are_read():
    policy = load_policy("samite")
    first = Entry(0, "prompt", 10.0, 1.0, 50, 0, 0, box=np.array(BOX), prototype=FIRST)
    state = policy.start(info(30), first).state
    guide = policy.guide(state, 1, lambda: None)
    assert guide.prompts
    assert (guide.likeness.entries, guide.likeness.near) == ((first,), first)
    last = drive(policy, lambda t, trace: Offer((0.9, 0.1, 0.1), 4.0), 9)[-1].updates[0].state
    likeness = policy.guide(last, 10, lambda: None).likeness
    assert [entry.frame for entry in likeness.entries] == [0, 4, 5, 6, 7, 8, 9]
    assert likeness.near.frame == 9


@pytest.mark.parametrize(("options", "message"), [({"pool": 0}, "pool: expected 1..100"), ({"cycle": 2}, "cycle")])
def test_ranges(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("samite", **options)
