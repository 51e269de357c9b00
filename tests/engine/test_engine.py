import gc
from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_model import FakeBackbone
from hypothesis import given, settings
from hypothesis import strategies as st

from mosam.engine.decodes import mean_over, planes
from mosam.engine.engine import Engine
from mosam.engine.parity import Parity
from mosam.errors import MosamError
from mosam.policies.base import load_policy
from mosam.types import Prompt

SIZE = (24, 32)


def clip(seed: int, frames: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 255, (*SIZE, 3), dtype=np.uint8) for _ in range(frames)]


def box(object_id: int, frame: int = 0, x: float = 2.0) -> Prompt:
    return Prompt(object_id, frame, box=np.array([x, 3.0, 10.0, 8.0]))


def mask(object_id: int, frame: int = 0) -> Prompt:
    plane = np.zeros(SIZE, dtype=bool)
    plane[4:12, 6 + object_id : 20] = True
    return Prompt(object_id, frame, mask=plane)


def run(engine: Engine, jobs: list[tuple[list[Prompt], list[np.ndarray]]], *, lanes: int):
    """All outputs of every job, at most `lanes` videos open at once."""
    results: list[list] = [[] for _ in jobs]
    waiting, live = list(range(len(jobs))), {}
    while waiting or live:
        while waiting and len(live) < lanes:
            i = waiting.pop(0)
            live[i] = (engine.open(jobs[i][0], size=SIZE, num_frames=len(jobs[i][1])), iter(jobs[i][1]))
        images = {}
        for i, (video, frames) in list(live.items()):
            image = next(frames, None)
            if image is None:
                results[i] += engine.close(video)
                del live[i]
            else:
                images[video] = image
        if images:
            engine.step(images)
        for i, (video, _) in live.items():
            results[i] += engine.drain(video)
    return results


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.frame_index == y.frame_index
        assert x.objects.keys() == y.objects.keys()
        for object_id, one in x.objects.items():
            other = y.objects[object_id]
            assert (one.mask == other.mask).all()
            assert (one.object_score, one.iou) == (other.object_score, other.iou)


JOBS = [
    ([mask(1)], clip(0, 12)),
    ([box(1), mask(2, 3), box(7, 5, x=9)], clip(1, 20)),
    ([Prompt(3, 0, points=np.array([[4.0, 5.0]]), labels=np.array([1]))], clip(2, 3)),
    ([mask(1, 2)], clip(3, 9)),
    ([box(2)], clip(4, 1)),
]


@pytest.mark.parametrize("max_rows", [1, 2, 16])
def test_any_batch_equals_one_at_a_time(max_rows):
    alone = run(Engine(FakeBackbone(), load_policy("sam2"), max_rows=1), JOBS, lanes=1)
    model = FakeBackbone()
    together = run(Engine(model, load_policy("sam2"), max_rows=max_rows), JOBS, lanes=5)
    for a, b in zip(alone, together, strict=True):
        assert_same(a, b)
    assert max(model.attended_rows) == (1 if max_rows == 1 else min(max_rows, max(model.attended_rows)))
    if max_rows > 1:
        assert max(model.attended_rows) > 1


def test_objects_together_equal_objects_alone():
    frames = clip(5, 14)
    prompts = [mask(1), box(2, 1), box(5, 4, x=11)]
    [together] = run(Engine(FakeBackbone(), load_policy("sam2")), [(prompts, frames)], lanes=1)
    for prompt in prompts:
        [alone] = run(Engine(FakeBackbone(), load_policy("sam2")), [([prompt], frames)], lanes=1)
        for a, b in zip(alone, together, strict=True):
            if a.frame_index < prompt.frame_index:
                assert prompt.object_id not in b.objects
                assert not a.objects
            else:
                assert (a.objects[prompt.object_id].mask == b.objects[prompt.object_id].mask).all()


def test_a_policy_may_call_the_object_absent():
    """What is shown is empty, and what is remembered is that of an absent frame."""
    frames, policy, told = clip(5, 14), load_policy("sam2"), {}
    [plain] = run(Engine(FakeBackbone(), load_policy("sam2")), [([mask(1)], frames)], lanes=1)
    seen = [output.frame_index for output in plain if output.objects[1].mask.any()]
    last = seen[-1]
    assert last > 1
    choose, memorized = policy.choose, policy.memorized

    def distractor_reject(states, t, candidates):
        return [replace(choice, absent=t == last) for choice in choose(states, t, candidates)]

    def watch(state, t, entry, image_side):
        told[t] = (entry.visible, entry.area, entry.object_score)
        return memorized(state, t, entry, image_side)

    policy.choose, policy.memorized = distractor_reject, watch
    [outputs] = run(Engine(FakeBackbone(), policy), [([mask(1)], frames)], lanes=1)
    assert not outputs[last].objects[1].mask.any()
    assert outputs[last].objects[1].object_score == -plain[last].objects[1].object_score < 0
    assert told[last] == (False, 0, outputs[last].objects[1].object_score)
    for a, b in zip(plain[:last], outputs[:last], strict=True):
        assert (a.objects[1].mask == b.objects[1].mask).all()


def test_share_of_a_mask_that_was_seen_beside_the_object():
    masks = torch.full((2, 3, 4, 4), -1.0)
    masks[:, 0, :, :2] = masks[:, 1, :, 2:] = 1.0
    seen = np.zeros((4, 4), np.float32)
    seen[:2, :2], seen[:, 2:] = 1.0, 0.25
    share = mean_over(masks, *planes([seen, None], masks.device))
    assert share[0].tolist() == [0.5, 0.25, 0.0]  # the last mask is empty
    assert share[1].isnan().all()


def test_no_state_outlives_a_track():
    engine = Engine(FakeBackbone(), load_policy("sam2"))
    first = run(engine, JOBS, lanes=2)
    assert len(engine.bank.features) == 0
    assert len(engine.bank.pointers) == 0
    again = run(engine, JOBS, lanes=2)
    for a, b in zip(first, again, strict=True):
        assert_same(a, b)


def test_a_closed_video_is_garbage():
    engine = Engine(FakeBackbone(), load_policy("sam2"))
    video = engine.open([mask(1)], size=SIZE)
    engine.step({video: clip(0, 1)[0]})
    entry = video.tracks[1].hypotheses[0].features[0]
    engine.close(video)
    assert video.tracks[1].hypotheses == []
    assert len(gc.get_referrers(entry)) <= 1  # this frame
    assert len(engine.bank.features) == 0


def test_bank_stays_bounded():
    engine = Engine(FakeBackbone(), load_policy("sam2"))
    video = engine.open([mask(1), box(2)], size=SIZE)
    peak = 0
    for image in clip(6, 60):
        engine.step({video: image})
        peak = max(peak, len(engine.bank.features))
        assert len(engine.drain(video)) == 1
    assert peak == 2 * 7
    assert len(engine.bank.pointers) == 2 * 16
    assert engine.bank.features.capacity <= 18 * 2
    assert len(video.pending) == 0


def test_late_prompt_is_one_more_conditioning_frame():
    engine = Engine(FakeBackbone(), load_policy("sam2"), log=True)
    video = engine.open([mask(1), mask(1, 4)], size=SIZE, num_frames=8)
    for t, image in enumerate(clip(7, 8)):
        output = engine.step({video: image})[video]
        if t > 4:
            slots = output.objects[1].log["slots"]
            assert [s for s in slots if s[1] == 6] == [(0, 6), (4, 6)]
            assert (4, t - 4 - 1) not in slots


@pytest.mark.parametrize("tracker", ["sam2", "sam2long", "mosam"])
def test_objects_may_be_given_when_they_appear(tracker):
    images = clip(4, 9)
    known = Engine(FakeBackbone(), load_policy(tracker))
    ahead = run(known, [([mask(1), box(2, 3), mask(1, 5)], images)], lanes=1)[0]
    engine = Engine(FakeBackbone(), load_policy(tracker))
    video = engine.open([mask(1)], size=SIZE, num_frames=len(images))
    outputs = []
    for index, image in enumerate(images):
        if index in (3, 5):
            engine.prompt(video, [box(2, 3) if index == 3 else mask(1, 5)])
        engine.step({video: image})
        outputs += engine.drain(video)
    assert_same(ahead, outputs + engine.close(video))


def test_prompts_for_open_videos_are_checked():
    engine = Engine(FakeBackbone(), load_policy("sam2"))
    video = engine.open([mask(1)], size=SIZE)
    engine.step({video: clip(0, 1)[0]})
    with pytest.raises(ValueError, match="frame 1 or later, got one for frame 0"):
        engine.prompt(video, [box(2, 0)])
    engine.prompt(video, [box(2, 1)])
    with pytest.raises(ValueError, match="expected one prompt on frame 1, got two"):
        engine.prompt(video, [box(2, 1)])
    engine.close(video)
    with pytest.raises(ValueError, match="closed"):
        engine.prompt(video, [box(3, 1)])


def test_non_overlap_gives_each_pixel_to_one_object_and_never_feeds_back():
    frames, prompts = clip(8, 10), [mask(1), mask(2), box(3)]
    plain = Engine(FakeBackbone(), load_policy("sam2"))
    exclusive = Engine(FakeBackbone(), load_policy("sam2"))
    a, b = plain.open(prompts, size=SIZE), exclusive.open(prompts, size=SIZE, non_overlap=True)
    overlapped = False
    for image in frames:
        x, y = plain.step({a: image})[a], exclusive.step({b: image})[b]
        stacked = np.stack([o.mask for o in y.objects.values()])
        assert stacked.sum(axis=0).max() <= 1
        overlapped |= np.stack([o.mask for o in x.objects.values()]).sum(axis=0).max() > 1
        for i in x.objects:
            assert x.objects[i].iou == y.objects[i].iou
            assert not (y.objects[i].mask & ~x.objects[i].mask).any()
    assert overlapped


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "at least one prompt"),
        ([box(1), box(1)], "one prompt on frame 0"),
        ([Prompt(1, mask=np.ones((3, 3), bool))], "mask of"),
    ],
)
def test_open_refuses(prompts, message):
    with pytest.raises(ValueError, match=message):
        Engine(FakeBackbone(), load_policy("sam2")).open(prompts, size=SIZE)


def test_step_refuses_wrong_frames_and_closed_videos():
    engine = Engine(FakeBackbone(), load_policy("sam2"))
    video = engine.open([mask(1)], size=SIZE)
    with pytest.raises(ValueError, match="frame 0: expected uint8"):
        engine.step({video: np.zeros((5, 5, 3), np.uint8)})
    engine.close(video)
    with pytest.raises(ValueError, match="open video"):
        engine.step({video: clip(0, 1)[0]})


def test_frames_before_the_first_prompt_are_not_encoded():
    model = FakeBackbone()
    [out] = run(Engine(model, load_policy("sam2")), [([mask(1, 5)], clip(0, 8))], lanes=1)
    assert model.encoded_frames == 3
    assert [o.frame_index for o in out] == list(range(8))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 14), st.lists(st.integers(0, 6), min_size=1, max_size=3)), min_size=1, max_size=4
    ),
    st.integers(1, 4),
)
def test_lanes_never_change_results(shapes, lanes):
    jobs = [
        ([box(i + 1, min(s, n - 1), x=1.0 + i) for i, s in enumerate(starts)], clip(seed, n))
        for seed, (n, starts) in enumerate(shapes)
    ]
    alone = run(Engine(FakeBackbone(), load_policy("sam2")), jobs, lanes=1)
    together = run(Engine(FakeBackbone(), load_policy("sam2")), jobs, lanes=lanes)
    for a, b in zip(alone, together, strict=True):
        assert_same(a, b)


def test_parity_switches_reach_the_memory():
    outputs = {}
    for name, parity in {"off": Parity(), "on": Parity.official(post_processing=True), "port": Parity.port()}.items():
        engine = Engine(FakeBackbone(), load_policy("sam2"), parity=parity)
        video = engine.open([mask(1)], size=SIZE, num_frames=4)
        engine.step({video: clip(0, 1)[0]})
        row = video.tracks[1].hypotheses[0].features[0].feature_row
        outputs[name] = engine.bank.features.rows[row].clone()
    assert not torch.equal(outputs["off"], outputs["on"])


def with_sizes(**changes):
    """A network of other sizes."""
    model = FakeBackbone()
    model.sizes = replace(model.sizes, **changes)
    return model


@pytest.mark.parametrize("tracker", ["sam2", "samurai", "sam2long", "mosam"])
def test_a_network_limits_the_prompted_frames_it_attends_to(tracker):
    engine = Engine(with_sizes(conditioning=2), load_policy(tracker), log=True)
    video = engine.open([mask(1), mask(1, 2), box(1, 4)], size=SIZE, num_frames=8)
    log = [engine.step({video: image})[video].objects[1].log for image in clip(0, 8)]
    assert [frame for frame, temporal in log[6]["slots"] if temporal == engine.model.sizes.slots - 1] == [2, 4]
    assert 0 not in dict(log[6]["pointers"])


def test_an_option_that_a_network_cannot_honor_is_refused():
    model = with_sizes(memory_grid=False)
    with pytest.raises(MosamError, match=r"pix_mode=drop expects memories .* grid of cells, those of fake"):
        Engine(model, load_policy("mosam-literal"))
    Engine(model, load_policy("mosam-literal", pix_mode="bias"))
