"""What the bank keeps of frames for likeness: shared by the objects of a frame, given back with their memories."""

import numpy as np
import pytest
import torch
from fake_model import FakeBackbone

from mosam.engine.capacity import row_bytes
from mosam.engine.engine import Engine
from mosam.policies.base import load_policy
from mosam.types import Prompt

SIZE = (48, 64)


def mask(object_id: int, x: int, frame: int = 0) -> Prompt:
    plane = np.zeros(SIZE, dtype=bool)
    plane[8:32, x : x + 24] = True
    return Prompt(object_id, frame, mask=plane)


def frames(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 255, (count, *SIZE, 3), dtype=np.uint8))


def play(engine, prompts, count):
    video = engine.open(prompts, size=SIZE, num_frames=count)
    for image in frames(count):
        engine.step({video: image})
    return video


def test_objects_of_a_frame_share_its_features():
    engine = Engine(FakeBackbone(), load_policy("samite"))
    video = play(engine, [mask(1, 4), mask(2, 36)], 1)
    assert (len(engine.bank.features), len(engine.bank.views), len(engine.bank.cells)) == (2, 1, 2)
    engine.close(video)
    assert len(engine.bank.features) == len(engine.bank.views) == len(engine.bank.cells) == 0


def test_views_live_as_long_as_the_memories():
    engine = Engine(FakeBackbone(), load_policy("samite", pool=3), max_lanes=1)
    video = play(engine, [mask(1, 4)], 30)
    live = len(engine.bank.features)
    assert live <= 1 + 3
    assert len(engine.bank.views) == len(engine.bank.cells) == live
    engine.close(video)
    assert len(engine.bank.views) == 0


def test_no_views_are_kept_where_no_policy_asks():
    for tracker in (load_policy("sam2"), load_policy("samite", prior="off")):
        engine = Engine(FakeBackbone(), tracker)
        play(engine, [mask(1, 4)], 3)
        assert len(engine.bank.views) == 0
        assert engine.bank.views.rows.numel() == 1


def test_views_count_in_the_capacity_of_a_device():
    model = FakeBackbone()
    more = row_bytes(model, load_policy("samite")) - row_bytes(model, load_policy("samite", prior="off"))
    assert more == 2 * 31 * 16 * (8 * 4 + 1)


@pytest.mark.parametrize("name", ["samite", "samosa[motion=kalman]"])
def test_entries_carry_box_and_prototype(name):
    policy = load_policy(name.partition("[")[0], **({"motion": "kalman"} if "[" in name else {}))
    seen = []
    start, memorized = policy.start, policy.memorized

    def started(track, entry):
        seen.append(entry)
        return start(track, entry)

    def finished(state, t, entry, side):
        seen.append(entry)
        return memorized(state, t, entry, side)

    policy.start, policy.memorized = started, finished
    model = FakeBackbone()
    engine = Engine(model, policy)
    play(engine, [mask(1, 4)], 3)
    assert [entry.frame for entry in seen] == [0, 1, 2]
    assert seen[0].box == pytest.approx([4, 10, 27, 42], abs=2), "of the given mask, at network size"
    with torch.inference_mode():
        top = model.encode(model.preprocess(frames(1))).top[0]
    under = top[:, 1:3, 0:2].float().mean((1, 2)).numpy()
    assert seen[0].prototype == pytest.approx(under, rel=0.2)
    assert all(entry.prototype.shape == (8,) for entry in seen)
