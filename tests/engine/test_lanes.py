"""Eight lanes against one with the trained network: the same memory read, the same candidates, the same masks."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from mosam.datasets.base import load_dataset
from mosam.model.checkpoints import load_model
from mosam.policies.base import load_policy
from mosam.results.frame_log import log_path
from mosam.tracking.run import run

LENGTHS = {"scale-1": 9, "crossing-1": 7, "late-1": 5, "fast-1": 8, "light-1": 6}


class Cut:
    """The first frames of a source."""

    def __init__(self, source, count):
        self.source, self.count = source, count

    def __len__(self):
        return self.count

    def size(self):
        return self.source.size()

    def read(self, index):
        return self.source.read(index)


@pytest.fixture(scope="module")
def clips():
    dataset = load_dataset("toy").select(LENGTHS)
    plain = dataset.load

    def load(name):
        sequence, count = plain(name), LENGTHS[name]
        source = Cut(sequence.source, count)
        prompts = tuple(prompt for prompt in sequence.prompts if prompt.frame_index < count)
        names = sequence.frame_names[:count]
        return dataclasses.replace(sequence, source=source, frame_names=names, load_prompts=lambda: prompts)

    dataset.load = load
    return dataset


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", device="cpu", precision="fp32")


def decisions(line):
    """What was read and chosen, without the predicted numbers."""
    if isinstance(line, dict):
        kept = {"slots", "pointers", "candidate", "source", "frame"}
        return {k: decisions(v) for k, v in line.items() if k in kept or isinstance(v, dict | list)}
    return [decisions(item) for item in line] if isinstance(line, list) else line


@pytest.mark.parametrize("tracker", ["sam2", "sam2long", "mosam"])
def test_eight_lanes_are_one(tmp_path, clips, nano, tracker):
    policy = load_policy(tracker)
    one = run(clips, nano, policy, out=tmp_path / "one", max_lanes=1, log=True)
    many = run(clips, nano, policy, out=tmp_path / "many", max_lanes=8 * policy.hypotheses, log=True)
    assert one.done == many.done == tuple(clips)
    looked = 0
    for name in clips:
        first, second = (
            [json.loads(line) for line in (result.path / log_path(name)).read_text().splitlines()]
            for result in (one, many)
        )
        assert decisions(first) == decisions(second)
        assert "slots" in json.dumps(first)
        for path in sorted((one.path / name).glob("*.png")):
            a, b = (np.array(Image.open(result.path / name / path.name)) for result in (one, many))
            for label in np.unique(np.stack([a, b])):
                differs = int(((a == label) ^ (b == label)).sum())
                union = int(((a == label) | (b == label)).sum())
                assert differs <= 2 or 1 - differs / union >= 0.999, (name, path.name, label, differs)
                looked += 1
    assert looked > 40
