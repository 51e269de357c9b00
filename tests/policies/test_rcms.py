"""RCMS: SAM 2.1 until the object disappears, then with its best frames among the prompted ones."""

from types import SimpleNamespace

from drive import Offer, candidates, pointers, slots
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info

from mosam.policies.base import Entry, load_policy


class Probable(SimpleNamespace):
    def __init__(self, value):
        super().__init__(probability=lambda: value)


def play(frames, policy=None):
    """Plans of every frame; `frames` = (predicted IoU, presence, mean probability)."""
    policy = policy or load_policy("rcms")
    track = info(len(frames) + 1)
    update = policy.start(track, Entry(0, "prompt", 10.0, 1.0, 50, 0, 0))
    plans = []
    for t, (iou, presence, probability) in enumerate(frames, start=1):
        plan = policy.read(update.state, t)
        assert {id(s.entry) for s in plan.slots} <= {id(e) for e in update.features}
        assert {id(p.entry) for p in plan.pointers} <= {id(e) for e in update.pointers}
        assert len(update.features) <= policy.live_features(track) + 1
        plans.append(plan)
        offered = candidates(0, Offer((iou, 0, 0), presence), 0)
        (choice,) = policy.choose([update.state], t, offered)
        c = offered[choice.candidate]
        update = policy.memorized(
            choice.state, t, Entry(t, "track", c.object_score, c.iou, c.area, t, t), Probable(probability)
        )
    return plans


def emulated(frames):
    """Slots of every frame, with all frames kept, as the program walks back."""
    conditioning, plain, done, plans = [0], [], False, []
    quality = {}
    for t, (iou, presence, probability) in enumerate(frames, start=1):
        plans.append([(f, 6) for f in conditioning] + [(f, t - f - 1) for f in range(max(1, t - 6), t) if f in plain])
        plain.append(t)
        quality[t] = iou * probability / (1 + 2.718281828459045**-presence)
        if not done and presence <= 0:
            done, promoted, k = True, 0, 1
            while promoted < 4 and k < t:
                if t - k in plain and quality[t - k] > 0.6:
                    plain.remove(t - k)
                    conditioning.append(t - k)
                    promoted += 1
                k += 1
    return plans


FRAME = st.tuples(st.sampled_from([0.5, 0.9]), st.sampled_from([0.5, 5.0, 5.0, 5.0]), st.sampled_from([0.6, 0.95]))
GONE = st.tuples(st.just(0.4), st.sampled_from([-2.0, 0.0]), st.just(0.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(FRAME, max_size=25), st.lists(GONE, max_size=3), st.lists(FRAME | GONE, max_size=12))
def test_the_bounded_memory_reads_what_the_program_reads(before, gone, after):
    frames = before + gone + after
    assert [slots(plan) for plan in play(frames)] == emulated(frames)


def test_a_plan_has_up_to_eleven_slots_and_promoted_pointers_once():
    good, gone = (0.9, 5.0, 0.95), (0.3, -4.0, 0.0)
    plans = play([good] * 20 + [gone] + [good] * 10)
    assert slots(plans[21])[:5] == [(0, 6), (20, 6), (19, 6), (18, 6), (17, 6)]
    assert len(plans[-1].slots) == 11
    frames = [frame for frame, _ in pointers(plans[21])]
    assert len(frames) == len(set(frames))
    assert frames[:5] == [0, 20, 19, 18, 17]


def test_without_a_disappearance_it_is_sam2():
    frames = [(0.9, 5.0, 0.95)] * 30
    sam2 = load_policy("sam2")
    assert [(slots(p), pointers(p)) for p in play(frames)] == [(slots(p), pointers(p)) for p in play(frames, sam2)]
