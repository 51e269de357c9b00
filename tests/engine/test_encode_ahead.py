"""Frames encoded ahead: the same results, each frame encoded once while the batch stays, errors at their turn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_model import FakeBackbone
from fakes import LENGTHS, SquareDataset

from mosam.engine.encode_ahead import PAUSE, EncodeAhead
from mosam.engine.engine import Engine
from mosam.policies.base import load_policy
from mosam.tracking import loop
from mosam.tracking import run as runner
from mosam.types import Prompt

CPU = torch.device("cpu")


def track(ahead, model, starts=(0, 0, 2), frames=5):
    engine = Engine(model, load_policy("sam2"), max_lanes=3)
    assert engine.ahead is False
    pictures = np.random.default_rng(0).integers(0, 255, (len(starts), frames, 24, 32, 3), dtype=np.uint8)
    mask = np.zeros((24, 32), dtype=bool)
    mask[4:12, 4:12] = True
    videos = [engine.open([Prompt(1, mask=mask, frame_index=start)], size=(24, 32)) for start in starts]
    found = []
    for t in range(frames):
        after = {video: pictures[n, t + 1] for n, video in enumerate(videos)} if ahead and t + 1 < frames else None
        outputs = engine.step({video: pictures[n, t] for n, video in enumerate(videos)}, next_images=after)
        found += [output.mask for video in videos for output in outputs[video].objects.values()]
    return found


def test_results_are_the_same_and_nothing_is_encoded_twice():
    plain, ahead = FakeBackbone(), FakeBackbone()
    for a, b in zip(track(False, plain), track(True, ahead), strict=True):
        np.testing.assert_array_equal(a, b)
    assert plain.encoded_frames == 2 * 5 + 3
    assert ahead.encoded_frames == plain.encoded_frames


def test_only_the_same_batch_is_taken():
    calls = []
    encoder = EncodeAhead(lambda images: calls.append(len(images)) or len(images), CPU)
    assert encoder.take([1]) is None
    encoder.begin([1, 2], ["a", "b"])
    assert encoder.take([1]) is None
    assert encoder.take([1, 2]) is None  # given up
    encoder.begin([1, 2], ["a", "b"])
    assert encoder.take([1, 2]) == 2
    assert encoder.take([1, 2]) is None


def test_no_memory_for_two_batches_is_no_error():
    def distractor_reject(images):
        raise torch.OutOfMemoryError("CUDA out of memory")

    encoder = EncodeAhead(distractor_reject, CPU)
    encoder.begin([1], ["a"])
    assert encoder.take([1]) is None
    calls = []
    encoder._encode = lambda images: calls.append(1) or "features"
    for n in range(PAUSE):  # a pause, or every step would free and lose memory again
        encoder.begin([n], ["a"])
    assert not calls
    encoder.begin([1], ["a"])
    assert encoder.take([1]) == "features"
    with pytest.raises(ValueError, match="x"):
        EncodeAhead(lambda images: int("x"), CPU).begin([1], ["a"])


def test_running_out_of_memory_ahead_leaves_the_rows_of_a_call_as_they_are():
    class NoSecondBatch(FakeBackbone):
        def encode(self, pixels):
            if ahead:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().encode(pixels)

    engine = Engine(NoSecondBatch(), load_policy("sam2"), max_lanes=3)
    most, ahead = engine.runner.max_rows, True
    engine._encoder.begin(["a"], [np.zeros((24, 32, 3), np.uint8)] * 8)
    ahead = False
    assert engine.runner.max_rows == most  # it was halved down to 1, for good
    engine.runner.encode([np.zeros((24, 32, 3), np.uint8)] * 8)


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_run_that_encodes_ahead_writes_the_same_files(tmp_path, monkeypatch, lanes):
    dataset, policy = SquareDataset(None), load_policy("sam2")
    dataset.broken = {"bird": frozenset({4})}
    plain = runner.run(dataset, FakeBackbone(), policy, out=tmp_path / "plain", max_lanes=lanes)
    made = loop._new_engine

    def new_engine(*arguments):
        engine = made(*arguments)
        engine.ahead = True
        return engine

    monkeypatch.setattr(loop, "_new_engine", new_engine)
    ahead = runner.run(dataset, FakeBackbone(), policy, out=tmp_path / "ahead", max_lanes=lanes)
    assert ahead.failed == plain.failed == {"bird": "bird/00004.jpg: expected a whole picture, got half of one"}
    for name in set(LENGTHS) - {"bird"}:
        assert (ahead.path / f"{name}.txt").read_bytes() == (plain.path / f"{name}.txt").read_bytes()
