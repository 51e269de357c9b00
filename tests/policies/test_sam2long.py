import math
from functools import cache

import numpy as np
import pytest
from drive import Offer, drive, live_features, pointers, slots
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info

from mosam.errors import MosamError
from mosam.policies.base import load_policy


class Official:
    """The three pathways with every frame of every one kept, and the same work done once for each."""

    def __init__(self, offers, frames: int, *, iou: float, uncertainty: float):
        self.offers, self.frames, self.iou, self.uncertainty = offers, frames, iou, uncertainty
        self.traces: list[tuple[int, ...]] = [(), (), ()]
        self.scores = [0.0, 0.0, 0.0]

    def entry(self, trace, i: int) -> tuple[float, float]:
        """Predicted IoU and presence of frame `i` in a pathway."""
        offer = self.offers(i, trace[: i - 1])
        return offer.iou[trace[i - 1]], offer.presence

    def plan(self, t: int, trace):
        """Slots, pointers and the key weights of both."""
        span = min(self.frames + 1, 16)
        found = []
        if t > 1:
            for i in range(t - 1, 0, -1):
                iou, presence = self.entry(trace, i)
                if iou > self.iou and presence > 0:
                    found.insert(0, i)
                if len(found) >= span - 1:
                    break
            if t - 1 not in found:
                found.append(t - 1)
        frames = [0] + [found[place - 7] for place in range(1, 7) if place - 7 >= -len(found)]
        read = [(f, 6 if f == 0 else len(frames) - 1 - n) for n, f in enumerate(frames)]
        ptrs = [(0, t)]
        for k in range(1, span):
            if -k <= -len(found):
                break
            ptrs.append((found[-k], k))
        weights = [None, None]
        if len(frames) > 1:
            weights = [self.weights(trace, [f for f, _ in part]) for part in (read, ptrs)]
        return read, ptrs, *weights

    def weights(self, trace, frames):
        scores = [10.0 if f == 0 else self.entry(trace, f)[1] for f in frames]
        result = np.zeros(len(frames))
        result[np.argsort(scores, kind="stable")] = np.linspace(0.95, 1.05, len(frames))
        if frames == [0]:
            result[:] = 0.94921875  # bfloat16
        return result

    def step(self, t: int) -> None:
        if t == 1:
            best = int(np.argmax(self.offers(1, ()).iou))
            self.traces = [(best,)] * 3
            return
        everything, presences = [], []
        for p, trace in enumerate(self.traces):
            offer = self.offers(t, trace)
            presences.append(abs(offer.presence))
            for j, q in enumerate(offer.iou):
                everything.append((p, j, self.scores[p] + math.log(q + 1e-5), q if offer.presence > 0 else -q))
        ordered = sorted(everything, key=lambda x: x[2], reverse=True)
        if max(presences) > self.uncertainty:
            taken = ordered[:3]
        else:
            taken, seen = [], set()
            for one in ordered:
                if round(one[3], 2) not in seen:
                    taken.append(one)
                    seen.add(round(one[3], 2))
                if len(taken) == 3:
                    break
            if len(taken) < 3:
                held = {one[0] for one in taken}
                for p in range(3):
                    if p not in held:
                        taken.append(next(one for one in ordered if one[0] == p))
                    if len(taken) == 3:
                        break
        self.traces = [(*self.traces[p], j) for p, j, _, _ in taken]
        self.scores = [score for _, _, score, _ in taken]


def made_offers(seed: int, grid: int, presences: list[float]):
    """Three scores on a coarse grid, so that ties occur; they depend on the whole trace."""

    @cache
    def offer(t, trace):
        rng = np.random.RandomState(hash((seed, t, trace)) & 0xFFFFFFFF)
        iou = np.sort(rng.randint(1, grid + 1, 3) / grid * 0.98)[::-1]
        return Offer(
            tuple(float(x) for x in iou[rng.permutation(3)]), presences[t % len(presences)] + 0.01 * rng.randint(3)
        )

    return offer


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    grid=st.sampled_from([2, 4, 20, 1000]),
    presences=st.lists(st.sampled_from([-5.0, -1.5, -0.3, 0.2, 1.4, 1.9, 6.0]), min_size=1, max_size=30),
    frames=st.integers(1, 70),
    preset=st.sampled_from([("paper", 0.3, 2.0), ("script", 0.3, 1.0), ("readme", 0.1, 2.0)]),
)
def test_hypotheses_that_stand_for_several_equal_three_official_pathways(seed, grid, presences, frames, preset):
    name, iou, uncertainty = preset
    offers = made_offers(seed, grid, presences)
    official = Official(offers, frames, iou=iou, uncertainty=uncertainty)
    for step in drive(load_policy("sam2long", preset=name), offers, frames):
        before = official.traces
        for plan, trace in zip(step.plans, dict.fromkeys(before), strict=True):
            read, ptrs, slot_weights, pointer_weights = official.plan(step.t, trace)
            assert slots(plan) == read
            assert pointers(plan) == ptrs
            if slot_weights is None:
                assert all(s.key_scale == 1 for s in (*plan.slots, *plan.pointers))
            else:
                assert [s.key_scale for s in plan.slots] == pytest.approx(slot_weights)
                assert [p.key_scale for p in plan.pointers] == pytest.approx(pointer_weights)
        official.step(step.t)
        ours = sorted(
            (place, trace) for c, trace in zip(step.choices, step.traces, strict=True) for place in c.state.pathways
        )
        assert [place for place, _ in ours] == [0, 1, 2]
        assert [trace for _, trace in ours] == official.traces
        assert step.traces[0] == official.traces[0], "the first hypothesis is the best pathway"


def test_one_alone_gets_the_lowest_weight():
    plan = drive(load_policy("sam2long"), lambda t, trace: Offer((0.9, 0.5, 0.4), 5.0), 2)[1].plans[0]
    assert slots(plan) == [(0, 6), (1, 0)]
    assert pointers(plan) == [(0, 2)]
    assert [s.key_scale for s in plan.slots] == pytest.approx([1.05, 0.95])
    assert [p.key_scale for p in plan.pointers] == [0.94921875], "0.95 in bfloat16"


def test_sure_pathways_stay_one_hypothesis_and_unsure_ones_part():
    steps = drive(load_policy("sam2long"), lambda t, trace: Offer((0.9, 0.5, 0.4), 5.0 if t < 10 else 1.0), 12)
    counts = [len(step.choices) for step in steps]
    assert counts == [1] * 9 + [3, 3, 3]
    assert [c.state.pathways for c in steps[-1].choices] == [(0,), (1,), (2,)]


def test_frames_without_the_object_are_only_read_right_after():
    presences = [5.0 if t % 9 < 5 else -1.0 for t in range(300)]
    steps = drive(load_policy("sam2long"), made_offers(1, 1000, presences), 250)
    assert any(len(step.choices) == 3 for step in steps)
    for step in steps:
        for plan in step.plans:
            absent = [s.entry.frame for s in plan.slots[1:] if s.entry.object_score <= 0]
            assert absent in ([], [step.t - 1])


def test_presets_and_own_values():
    values = {name: load_policy("sam2long", preset=name) for name in ("paper", "script", "readme")}
    assert {n: (p.iou, p.uncertainty) for n, p in values.items()} == {
        "paper": (0.3, 2.0),
        "script": (0.3, 1.0),
        "readme": (0.1, 2.0),
    }
    own = load_policy("sam2long", preset="readme", iou="0.7")
    assert (own.iou, own.uncertainty, own.label) == (0.7, 2.0, "sam2long[preset=readme,iou=0.7]")
    assert load_policy("sam2long").emit == "final"
    assert load_policy("sam2long", emit="online").emit == "online"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "own"}, "expected one of paper, script, readme"),
        ({"pathways": 0}, "pathways: expected 1..16"),
        ({"iou": 2.0}, "iou: expected 0..1"),
        ({"uncertainty": -1.0}, "uncertainty: expected 0..100"),
        ({"key_low": 1.2}, "key_low <= key_high"),
        ({"emit": "later"}, "one of online, final"),
    ],
)
def test_ranges(options, message):
    with pytest.raises(MosamError, match=message):
        load_policy("sam2long", **options)


@pytest.mark.parametrize("pathways", [1, 2, 5])
def test_other_numbers_of_pathways(pathways):
    steps = drive(load_policy("sam2long", pathways=pathways), made_offers(3, 1000, [1.0, -1.0, 4.0]), 40)
    for step in steps:
        places = sorted(p for choice in step.choices for p in choice.state.pathways)
        assert places == list(range(pathways))


def test_memory_stays_bounded():
    presences = [(6.0 if t % 2 else 1.0) if (t // 300) % 2 == 0 else -1.0 for t in range(3000)]
    policy = load_policy("sam2long")
    steps = drive(policy, made_offers(5, 1000, presences), 3000, trace_length=3)
    assert max(live_features(step) for step in steps) <= policy.live_features(info(3001)) == 22
    pointer_counts = [len({id(e) for u in step.updates for e in u.pointers}) for step in steps]
    assert max(pointer_counts) <= 1 + 3 * 15
    assert max(len(step.updates[0].state.accepted) for step in steps) == 15
