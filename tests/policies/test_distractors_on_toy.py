"""A look-alike that stays in view while the object hides: refused by what was seen beside the object."""

import numpy as np
import pytest
import torch

from mosam import load_dataset, load_model, load_policy
from mosam.engine.engine import Engine
from mosam.evaluation.metrics.region import region_similarity


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads halve the speed of so small a network where other tests run beside."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def clip():
    sequence = load_dataset("toy", split="val", seed=4)["full_occlusion-3"]
    return sequence, list(sequence.frames())


def tracked(clip, **options):
    """J of each frame, and its log."""
    sequence, frames = clip
    engine = Engine(load_model("nano", device="cpu"), load_policy("mosam", **options), log=True)
    video = engine.open(sequence.prompts, size=sequence.size, num_frames=len(frames))
    outputs = [engine.step({video: image})[video].objects[1] for image in frames]
    engine.close(video)
    empty = np.zeros(sequence.size, bool)
    truth = [sequence.truth.read(t).get(1, empty) for t in range(len(frames))]
    return [region_similarity(o.mask, true) for o, true in zip(outputs, truth, strict=True)], [o.log for o in outputs]


def test_the_look_alike_is_refused_while_the_object_hides(clip):
    with_it, log = tracked(clip)
    without, _ = tracked(clip, distractors="off")
    assert np.mean(with_it) > np.mean(without) + 0.2
    assert np.mean(with_it[-10:]) > 0.8  # found again
    rejected = [entry for entry in log if entry.get("rejected")]
    assert rejected
    assert all(entry["distractors"] > 0.4 for entry in rejected)
