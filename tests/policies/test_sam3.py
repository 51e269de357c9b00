"""SAM 3's rule: bounded state reads what a walk over all frames finds, and what the program itself found."""

import json
from pathlib import Path

import numpy as np
import pytest
from drive import Offer, Side, drive, pointers, slots
from fake_model import FakeBackbone
from hypothesis import given, settings
from hypothesis import strategies as st
from simulate import info

from mosam.engine.engine import Engine
from mosam.policies.base import Entry, load_policy
from mosam.policies.sam3 import score
from mosam.types import Prompt

OFFICIAL = json.loads((Path(__file__).parents[1] / "parity" / "sam3_official.json").read_text())["runs"]

FRAME = st.tuples(st.sampled_from([0.0, 0.01, 0.3, 0.9]), st.sampled_from([-4.0, 0.0, 0.02, 0.5, 5.0]))
STRETCH = st.tuples(st.lists(FRAME, min_size=1, max_size=5), st.integers(1, 30))


def emulated(t: int, scores: list[float], threshold: float, length: int) -> tuple[list, list]:
    """Slots and pointers as the program finds them, with every frame kept; `scores[i]` of frame i."""
    valid: list[int] = []
    for i in range(t - 1, 0, -1):
        if scores[i] > threshold:
            valid.insert(0, i)
        if len(valid) >= min(length, 16) - 1:
            break
    if t - 1 > 0 and t - 1 not in valid:
        valid.append(t - 1)
    read = [(0, 6)] + [(valid[-rank], rank - 1) for rank in range(6, 0, -1) if rank <= len(valid)]
    positions = [(0, t)] + [(valid[-rank], rank) for rank in range(1, min(length, 16)) if rank < len(valid)]
    return read, positions


@settings(max_examples=60, deadline=None)
@given(st.lists(STRETCH, min_size=1, max_size=4), st.sampled_from([0.01, 0.2]))
def test_the_bounded_memory_reads_what_the_program_reads(parts, threshold):
    frames = [frame for pattern, length in parts for frame in (pattern * length)[:length]]
    scores = [1.0]
    for step in drive(
        load_policy("sam3", threshold=threshold),
        lambda t, trace: Offer((frames[t - 1][0], 0.0, 0.0), frames[t - 1][1]),
        len(frames),
    ):
        read, positions = emulated(step.t, scores, threshold, len(frames) + 1)
        assert slots(step.plans[0]) == read
        assert pointers(step.plans[0]) == positions
        iou, presence = frames[step.t - 1]
        scores.append(score(Entry(step.t, "track", presence, iou, 1)))


def test_an_absent_frame_is_only_read_right_after():
    for step in drive(load_policy("sam3"), lambda t, trace: Offer((0.9, 0, 0), -3.0 if t % 5 else 4.0), 60):
        absent = [f for f, _ in slots(step.plans[0]) if f % 5]
        assert absent in ([], [step.t - 1])


class Beside(Side):
    """What is seen of a frame on which several objects are followed."""

    def __init__(self, entries: list[Entry]):
        self._entries = tuple(entries)

    def together(self):
        return self._entries


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_object_reads_what_the_program_read(name):
    """Two seeds, one object and three that share a score; each frame's slots and pointers."""
    run = OFFICIAL[name]
    length, count = len(run["presence"]), len(run["presence"][0])
    policy = load_policy("sam3", scope="batch")
    track = info(num_frames=length)
    states = [policy.start(track, Entry(0, "prompt", 10.0, 1.0, 50)).state for _ in range(count)]
    for t in range(1, length):
        read, positions = run["read"][t - 1]
        for state in states:
            plan = policy.read(state, t)
            assert slots(plan) == [tuple(one) for one in read], t
            assert pointers(plan) == [(f, t - f if f == 0 else rank) for f, rank in map(tuple, positions)], t
        entries = [
            Entry(t, "track", presence, iou, 1) for presence, iou in zip(run["presence"][t], run["iou"][t], strict=True)
        ]
        assert score(*entries) == pytest.approx(run["scores"][t - 1], abs=2e-6)
        states = [
            policy.memorized(state, t, entry, Beside(entries)).state
            for state, entry in zip(states, entries, strict=True)
        ]


def test_the_program_s_runs_take_every_branch():
    for run in OFFICIAL.values():
        plans = [read for read, _ in run["read"]]
        assert any([s[0] for s in plan[1:]] != list(range(t - 5, t + 1)) for t, plan in enumerate(plans[10:], 10))
        assert any(run["scores"][t] <= 0.01 for t in range(len(plans)))
    three = OFFICIAL["3-3"]
    alone = [
        np.mean([score(Entry(t, "track", p, q, 1)) for p, q in zip(three["presence"][t], three["iou"][t], strict=True)])
        for t in range(1, len(three["presence"]))
    ]
    assert np.abs(np.array(alone) - three["scores"]).max() > 0.05, "the mean of products is another number"


def test_the_engine_tells_of_all_objects_of_a_video_and_of_no_other():
    policy = load_policy("sam3", scope="batch")
    seen, memorized = [], policy.memorized

    def watched(state, t, entry, image_side):
        seen.append((t, entry, image_side.together()))
        return memorized(state, t, entry, image_side)

    policy.memorized = watched
    engine = Engine(FakeBackbone(), policy)
    plane = np.zeros((24, 32), dtype=bool)
    plane[4:12, 8:20] = True
    videos = [
        engine.open([Prompt(i, start, mask=plane) for i, start in starts], size=(24, 32), num_frames=4)
        for starts in (((1, 0), (2, 0), (3, 2)), ((1, 0),))
    ]
    rng = np.random.default_rng(0)
    for _ in range(4):
        engine.step({video: rng.integers(0, 255, (24, 32, 3), dtype=np.uint8) for video in videos})
    numbers = [len(together) for _, _, together in seen]
    assert numbers == [2, 2, 1, 2, 2, 1, 3, 3, 3, 1], "an object that is prompted on this frame is not followed yet"
    assert all(sum(one is entry for one in together) == 1 for _, entry, together in seen)
