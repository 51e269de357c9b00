"""What holds for every registered policy, on a backbone without a network or on made-up decodes."""

import random
from dataclasses import dataclass

import numpy as np
import pytest
from drive import Offer, Side, drive, live_features, pointers, slots
from fake_model import FakeBackbone
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import motion_weights
from simulate import info

from mosam.engine.engine import Engine
from mosam.policies.base import POLICIES, load_policy, parse_tracker
from mosam.policies.sam2 import Sam2
from mosam.types import Prompt

SIZE = (24, 32)
ALL = sorted(POLICIES)
FILTERING = ["dam4sam", "him2sam", "mosam", "mosam-literal", "sam2long", "samite", "samosa", "samurai"]
FORCED_LAST = ["sam2long", "sam3", "samurai"]  # their programs always read the last frame
OTHERS = [
    "sam2[stride=4]",
    "sam2long[preset=readme,uncertainty=100]",
    "samurai[stable_frames=2]",
    "dam4sam[stride=3,anchors=3]",
    "mosam[selection=off,pointers=sam2]",
    "mosam[stride=2,pool=6,topk=6,keep_last=off,rank=strict]",
    "mosam[pool_rule=window]",
    "mosam[pointers=sam2,pix_mode=remask]",
    "mosam[pool=7,topk=6]",
    "him2sam[points=lk,short_gap=0]",
    "samite[prior=off,pool=8]",
    "samosa[motion=kalman,preset=b,after_empty=error]",
    "samosa[errors=off,pool=3]",
]

pytestmark = pytest.mark.usefixtures("drawn_weights")


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
            forced = {16} if name in FORCED_LAST else set()
            assert read <= {start} | forced, "the prompt, and the forced last frame"


@pytest.mark.parametrize("name", FILTERING)
def test_frames_without_the_object_are_not_read(name):
    outputs = track(name, [mask(1)], clip(40))
    presence = [output.objects[1].object_score for output in outputs]
    absent = {t for t in range(1, 40) if presence[t] <= 0}
    assert len(absent) > 3
    assert len(absent) < 37
    for t, output in enumerate(outputs[1:], start=1):
        read = {frame for frame, _ in output.objects[1].log["slots"]} - {0}
        forced = {t - 1} if name in FORCED_LAST else set()
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


# On made-up decodes: presence and predicted IoU go by a pattern of sights and absences


@dataclass(frozen=True)
class Story:
    """What the decoder says along a video: (how the object is seen, for how many frames), and a seed for the rest."""

    parts: tuple[tuple[str, int], ...]
    seed: int

    def __len__(self) -> int:
        return sum(count for _, count in self.parts)

    def offer(self, t: int, trace: tuple[int, ...]) -> Offer:
        """One decode; equal histories get equal ones."""
        kinds = [kind for kind, count in self.parts for _ in range(count)]
        generator = random.Random(f"{self.seed} {t} {trace[-6:]}")
        presence = {"seen": 6.0, "gone": -6.0, "unsure": generator.uniform(-1.5, 1.5)}[kinds[(t - 1) % len(kinds)]]
        iou = tuple(generator.choice((0.05, 0.35, 0.55, 0.82, 0.95)) for _ in range(3))
        boxes = tuple((10.0 + k, 10, 30 + k, 40) for k in (0, generator.randrange(9), generator.randrange(30)))
        return Offer(iou, presence, boxes)

    def side(self, t: int) -> Side:
        """Masks at video size: the object, and sometimes something else far from it."""
        mask, other = np.zeros((2, 12, 16), dtype=bool)
        mask[2:6, 2:7] = True
        if random.Random(f"{self.seed} {t}").random() < 0.3:
            other[8:11, 12:15] = True
        return Side(mask, np.stack([mask, mask | other]))

    def steps(self, policy, start: int = 0, repeats: int = 1, **options):
        """The policy along this story."""
        frames = len(self) * repeats
        return drive(policy, self.offer, frames, track=info(start + frames + 1, start), side=self.side, **options)


STORIES = st.builds(
    Story,
    st.lists(st.tuples(st.sampled_from(["seen", "gone", "unsure"]), st.integers(1, 22)), min_size=1, max_size=6).map(
        tuple
    ),
    st.integers(0, 99),
)


def load(text: str):
    name, options = parse_tracker(text)
    policy = load_policy(name, **options)
    if policy.weights is not None:
        policy.receive(motion_weights(3, (20.0, 30.0)))
    return policy


def first_difference(story: Story, forgetful, debugging, start: int) -> int | None:
    """The first frame on which two policies read or choose differently."""
    debugging.keep_everything = True
    for a, b in zip(story.steps(forgetful, start), story.steps(debugging, start), strict=True):
        read = [[(slots(plan), pointers(plan), plan.span) for plan in step.plans] for step in (a, b)]
        chosen = [[choice.candidate for choice in step.choices] for step in (a, b)]
        if read[0] != read[1] or chosen[0] != chosen[1]:
            return a.t
    return None


@pytest.mark.parametrize("tracker", ALL + OTHERS)
@settings(max_examples=12, deadline=None)
@given(story=STORIES, start=st.sampled_from([0, 3]))
def test_a_policy_that_forgets_nothing_reads_the_same(tracker, story, start):
    assert first_difference(story, load(tracker), load(tracker), start) is None


def test_that_comparison_finds_a_policy_that_forgets_too_much():
    class Forgetful(Sam2):
        def _update(self, state, t):
            return super()._update(type(state)(state.track, state.conditioning, state.recent[-4:]), t)

    assert first_difference(Story((("seen", 20),), 0), Forgetful(Sam2.Config()), Sam2(Sam2.Config()), 0) == 6


@pytest.mark.parametrize("tracker", [name for name in ALL + OTHERS if name != "sam2" and "selection=off" not in name])
@settings(max_examples=12, deadline=None)
@given(story=STORIES)
def test_no_memory_of_a_frame_without_the_object_is_read(tracker, story):
    policy = load(tracker)
    filters = policy.name not in ("sam2", "rcms")
    for step in story.steps(policy):
        for plan in step.plans:
            read = [slot.entry for slot in plan.slots if slot.entry.kind != "prompt"]
            forced = step.t - 1 if policy.name in FORCED_LAST else None
            unseen = [entry.frame for entry in read if not entry.visible and entry.frame != forced]
            assert not (filters and unseen)
            if policy.name in ("dam4sam", "mosam") and getattr(policy.config, "pointers", "") != "sam2":
                assert all(pointer.entry.visible for pointer in plan.pointers)


def test_that_property_can_fail():
    steps = Story((("seen", 3), ("gone", 3)), 0).steps(load("sam2"))
    assert any(not slot.entry.visible for slot in steps[-1].plans[0].slots)


@pytest.mark.parametrize("tracker", ALL)
def test_what_is_kept_stays_bounded_over_a_long_video(tracker):
    """3000 frames with absences of 200 and stretches of doubt; methods table of live memories."""
    policy = load(tracker)
    story = Story((("seen", 300), ("gone", 200), ("seen", 120), ("unsure", 80), ("seen", 50)), 1)
    steps = story.steps(policy, repeats=4, trace_length=4)
    assert len(steps) == 3000
    assert any(not choice.candidate >= 3 and choice.memory == "skip" for s in steps for choice in s.choices) == (
        policy.name == "dam4sam" or (policy.name.startswith("mosam") and policy.config.selection)
    )
    most = max(live_features(step) for step in steps)
    held = max(len({id(e) for update in step.updates for e in update.pointers}) for step in steps)
    limit = policy.live_features(info(3001))
    assert 7 <= most <= limit
    assert held <= (1 + 15 + 5) * policy.hypotheses
    table = {"sam2": 7, "samurai": 8, "sam2long": 22, "dam4sam": 12, "mosam": 19, "mosam-literal": 52}
    table |= {"sam3": 8, "rcms": 11, "him2sam": 21, "samosa": 30, "samite": 31}
    assert limit <= table[tracker]


# On the engine: other rows of the batch


def moving(frames: int, seed: int) -> list[np.ndarray]:
    """A textured square that moves over a texture, large enough to be followed."""
    import cv2

    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8), (0, 0), 2)
    body = cv2.GaussianBlur(rng.integers(0, 255, (40, 40, 3), dtype=np.uint8), (0, 0), 1.5)
    images = []
    for t in range(frames):
        image = picture.copy()
        image[20 + t : 60 + t, 10 + 2 * t : 50 + 2 * t] = body
        images.append(image)
    return images


def square(object_id: int, frame: int = 0) -> Prompt:
    plane = np.zeros((96, 128), dtype=bool)
    plane[20 + frame : 60 + frame, 10 + 2 * frame : 50 + 2 * frame] = True
    return Prompt(object_id, frame, mask=plane)


def several(policy: str, videos, **options):
    """Outputs of several videos stepped together, by video."""
    engine = Engine(FakeBackbone(), load_policy(policy), log=True, **options)
    opened = [engine.open(prompts, size=images[0].shape[:2], num_frames=len(images)) for prompts, images in videos]
    outputs = [[] for _ in videos]
    for t in range(max(len(images) for _, images in videos)):
        engine.step({video: images[t] for video, (_, images) in zip(opened, videos, strict=True) if t < len(images)})
        for n, video in enumerate(opened):
            outputs[n] += engine.drain(video)
    return [outputs[n] + engine.close(video) for n, video in enumerate(opened)]


@pytest.mark.parametrize("name", ALL)
def test_nothing_depends_on_the_other_rows_of_the_batch(name):
    videos = [([square(1), square(2, 3)], moving(9, 0)), ([square(4)], moving(12, 1)), ([mask(1)], clip(7))]
    together = several(name, videos)
    prompted = 0
    for video, found in zip(videos, together, strict=True):
        [alone] = several(name, [video], max_rows=1)
        assert len(alone) == len(found) == len(video[1])
        for a, b in zip(alone, found, strict=True):
            assert a.objects.keys() == b.objects.keys()
            for object_id, one in a.objects.items():
                other = b.objects[object_id]
                assert (one.mask == other.mask).all()
                assert (one.iou, one.object_score, one.log) == (other.iou, other.object_score, other.log)
                prompted += one.log.get("source") == "guided"
    if name == "mosam-literal":
        assert prompted > 3, "a prompt was decoded and obeyed"
