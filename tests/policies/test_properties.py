"""What holds for every registered policy, on a backbone without a network."""

import numpy as np
import pytest
from fake_model import FakeBackbone

from mosam.engine.engine import Engine
from mosam.policies.base import POLICIES, load_policy
from mosam.types import Prompt

SIZE = (24, 32)
ALL = sorted(POLICIES)
FILTERING = ["dam4sam", "sam2long", "samurai"]


class Absent(FakeBackbone):
    """Never sees the object again."""

    def decode(self, *args, **kwargs):
        decoded = super().decode(*args, **kwargs)
        decoded.object_score.fill_(-3.0)
        return decoded


def clip(frames: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(frames)]


def mask(object_id: int, frame: int = 0, rows=slice(4, 12), columns=slice(8, 20)) -> Prompt:
    plane = np.zeros(SIZE, dtype=bool)
    plane[rows, columns] = True
    return Prompt(object_id, frame, mask=plane)


def track(policy: str, prompts, frames, model=None, **options):
    """Every frame's output, as it is in the end, and the engine."""
    engine = Engine(model or FakeBackbone(), load_policy(policy, **options), log=True)
    video = engine.open(prompts, size=SIZE, num_frames=len(frames))
    outputs = []
    for image in frames:
        engine.step({video: image})
        outputs += engine.drain(video)
    outputs += engine.close(video)
    assert [output.frame_index for output in outputs] == list(range(len(frames)))
    assert len(engine.bank.features) == len(engine.bank.pointers) == 0, "everything was given back"
    return outputs


PROMPTS = [mask(1), Prompt(5, 3, box=np.array([3.0, 2, 10, 12]))]


@pytest.mark.parametrize("name", ALL)
def test_objects_together_equal_objects_alone(name):
    frames = clip(10)
    together = track(name, PROMPTS, frames)
    for prompt in PROMPTS:
        alone = track(name, [prompt], frames)
        for a, b in zip(together, alone, strict=True):
            assert (prompt.object_id in a.objects) == (prompt.object_id in b.objects)
            if prompt.object_id in a.objects:
                one, other = a.objects[prompt.object_id], b.objects[prompt.object_id]
                assert (one.mask == other.mask).all()
                assert (one.object_score, one.iou, one.log) == (other.object_score, other.iou, other.log)


@pytest.mark.parametrize("name", ALL)
def test_no_state_outlives_a_video(name):
    frames = clip(8)
    engine = Engine(FakeBackbone(), load_policy(name))
    runs = []
    for _ in range(2):
        video = engine.open(PROMPTS[:1], size=SIZE, num_frames=8)
        for image in frames:
            engine.step({video: image})
        runs.append([(o.objects[1].iou, o.objects[1].mask.sum()) for o in engine.close(video)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("count", [1, 2])
def test_shortest_videos(name, count):
    outputs = track(name, [mask(1)], clip(count))
    assert all(output.objects[1].mask.shape == SIZE for output in outputs)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "prompt",
    [mask(1, rows=slice(5, 6), columns=slice(7, 8)), mask(1, rows=slice(None), columns=slice(None))],
    ids=["one pixel", "whole frame"],
)
def test_smallest_and_largest_objects(name, prompt):
    assert len(track(name, [prompt], clip(5))) == 5


@pytest.mark.parametrize("name", ALL)
def test_objects_that_leave_and_never_return(name):
    outputs = track(name, PROMPTS, clip(18), model=Absent())
    last = outputs[-1].objects
    assert all(not one.mask.any() for one in last.values())
    for object_id, one in last.items():
        start = next(p.frame_index for p in PROMPTS if p.object_id == object_id)
        read = {frame for frame, _ in one.log["slots"]}
        if name in FILTERING:
            assert read <= {start, 16}, "the prompt, and the forced last frame"


@pytest.mark.parametrize("name", ["dam4sam", "samurai"])
def test_frames_without_the_object_are_not_read(name):
    outputs = track(name, [mask(1)], clip(40))
    presence = [output.objects[1].object_score for output in outputs]
    absent = {t for t in range(1, 40) if presence[t] <= 0}
    assert len(absent) > 5
    assert len(absent) < 35
    for t, output in enumerate(outputs[1:], start=1):
        read = {frame for frame, _ in output.objects[1].log["slots"]} - {0}
        forced = set() if name == "dam4sam" else {t - 1}
        assert not read & absent - forced


@pytest.mark.parametrize("name", ALL)
def test_a_second_prompt_of_the_same_object_is_read_from_then_on(name):
    outputs = track(name, [mask(1), mask(1, 5, columns=slice(3, 9))], clip(10))
    for t in range(7, 10):
        assert {0, 5} <= {frame for frame, _ in outputs[t].objects[1].log["slots"]}


def test_sam2long_shows_at_once_where_asked():
    frames = clip(20)
    engine = Engine(FakeBackbone(), load_policy("sam2long", emit="online", uncertainty=100.0))
    video = engine.open([mask(1)], size=SIZE, num_frames=20)
    for t, image in enumerate(frames):
        shown = engine.step({video: image})[video]
        (final,) = engine.drain(video)
        assert final.frame_index == t
        assert (final.objects[1].mask == shown.objects[1].mask).all()
    assert engine.close(video) == []


def test_sam2long_changes_its_mind_before_it_is_final():
    frames = clip(25)
    engine = Engine(FakeBackbone(), load_policy("sam2long", uncertainty=100.0))
    video = engine.open([mask(1)], size=SIZE, num_frames=25)
    online = [engine.step({video: image})[video].objects[1].mask for image in frames]
    final = [output.objects[1].mask for output in engine.close(video)]
    changed = [t for t, (a, b) in enumerate(zip(online, final, strict=True)) if (a != b).any()]
    assert changed
