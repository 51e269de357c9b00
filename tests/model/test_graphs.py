"""Calls replayed as graphs: with a recorder that replays by calling, as there is no GPU here."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from mosam.engine.engine import Engine
from mosam.model import graphs
from mosam.model.checkpoints import load_model
from mosam.model.graphs import OFTEN, Graphed
from mosam.policies.base import load_policy
from mosam.types import Prompt


class Recording:
    """Fills the recorded outputs by calling the work again."""

    def __init__(self, device=None, *, room=True, wrong=0.0, error=None, slow=0.0):
        self.room, self.wrong, self.error, self.slow = room, wrong, error, slow
        self.replays = 0

    def has_room(self):
        return self.room

    def record(self, work):
        if self.error is not None:
            raise self.error
        outputs = work()

        def replay():
            self.replays += 1
            time.sleep(self.slow)
            for output, made in zip(outputs, work(), strict=True):
                output.copy_(made + self.wrong)

        return replay, outputs

    def wait(self):
        pass

    def close(self):
        pass


@pytest.fixture(autouse=True)
def any_speed(monkeypatch):
    monkeypatch.setattr(graphs, "SLOWER", 1e9)


def double(x, y=None):
    return (2 * x if y is None else 2 * x + y,)


def play(recorder, calls=OFTEN + 3):
    graphed = Graphed(double, recorder, name="double")
    with torch.inference_mode():
        found = [graphed(torch.full((3,), float(n)))[0] for n in range(calls)]
    assert [float(x[0]) for x in found] == [2.0 * n for n in range(calls)]  # each is the caller's own
    return graphed


def test_a_shape_that_comes_often_is_replayed_and_gives_the_same():
    recorder = Recording()
    assert play(recorder, OFTEN - 1).made == 0
    graphed = play(recorder)
    assert graphed.made == 1
    assert recorder.replays > 3
    with torch.inference_mode():
        assert float(graphed(torch.ones(3), torch.ones(3))[0][0]) == 3  # another shape of call stays plain
    assert graphed.made == 1


@pytest.mark.parametrize(
    "recorder",
    [Recording(wrong=1e-3), Recording(room=False), Recording(error=RuntimeError("operation not permitted"))],
    ids=["other numbers", "no memory", "cannot be recorded"],
)
def test_what_is_wrong_is_not_used(recorder):
    assert play(recorder).made == 0


def test_what_is_slower_is_not_used(monkeypatch):
    monkeypatch.setattr(graphs, "SLOWER", 1.02)
    assert play(Recording(slow=0.01)).made == 0


def test_with_gradients_nothing_is_replayed():
    recorder = Recording()
    graphed = Graphed(double, recorder, name="double")
    x = torch.ones(3, requires_grad=True)
    for _ in range(2 * OFTEN):
        (y,) = graphed(x)
    assert y.requires_grad
    assert recorder.replays == 0


def test_what_is_given_back_stays_so():
    graphed = play(Recording())
    graphed.forget()
    with torch.inference_mode():
        for _ in range(2 * OFTEN):
            graphed(torch.ones(3))
    assert graphed.made == 0


@pytest.mark.parametrize("tracker", ["sam2", "mosam", "dam4sam"])
def test_a_network_of_graphs_tracks_bit_for_bit_as_without(tracker):
    def masks(recorder):
        model = load_model("nano", device="cpu", precision="fp32")
        model.use_graphs(recorder)
        engine = Engine(model, load_policy(tracker), max_lanes=2)
        rng = np.random.default_rng(0)
        frames = rng.integers(0, 256, (14, 96, 128, 3), dtype=np.uint8)
        videos = [engine.open([Prompt(1, box=np.array([20.0, 20, 60, 60]))], size=(96, 128)) for _ in range(2)]
        found = []
        for t, frame in enumerate(frames):
            outputs = engine.step({video: frame[:, :: (-1) ** n] for n, video in enumerate(videos)})
            found += [outputs[video].objects[1].mask for video in videos]
            if t == len(frames) - 1 and recorder is not None:
                assert {name for name, call in model._calls.items() if call.made} >= {"encode", "decode", "memorize"}
                model.release()
                assert not any(call.made for call in model._calls.values())
        return np.array(found)

    def recorder(device):
        return Recording()

    np.testing.assert_array_equal(masks(None), masks(recorder))
