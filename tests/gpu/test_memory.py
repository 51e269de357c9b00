"""A GPU's memory: what goes on without it, what comes back, what does not grow, what a small card takes."""

from __future__ import annotations

import contextlib
import gc

import numpy as np
import pytest
import torch
from gpu_cases import allocated, network, noise

from mosam.commands.bench import MadeClips
from mosam.engine.capacity import CALM_CALLS
from mosam.engine.engine import Engine
from mosam.model.checkpoints import load_model
from mosam.model.sam2 import Sam2Backbone
from mosam.policies.base import load_policy
from mosam.tracking.run import run
from mosam.tracking.tracker import choose_lanes
from mosam.types import Prompt

SIZE = (96, 128)
GIB = 2**30


def opened(net, lanes, tracker="sam2"):
    engine = Engine(net, load_policy(tracker), max_lanes=lanes)
    box = np.array([20.0, 20, 60, 60])
    return engine, [engine.open([Prompt(1, box=box)], size=SIZE) for _ in range(lanes)]


def step(engine, videos, shots, t):
    after = dict.fromkeys(videos, shots[(t + 1) % len(shots)]) if engine.ahead else None
    engine.step(dict.fromkeys(videos, shots[t % len(shots)]), next_images=after)
    for video in videos:
        engine.drain(video)


@contextlib.contextmanager
def scarce(device, limit, monkeypatch):
    """Memory that suffices for a few rows: of the GPU, or as the processor would say it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.get_device_properties(0).total_memory)
        yield
        torch.cuda.set_per_process_memory_fraction(1.0)
        return
    attend = Sam2Backbone.attend

    def refuse(self, features, rows, read):
        if len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return attend(self, features, rows, read)

    with monkeypatch.context() as patch:
        patch.setattr(Sam2Backbone, "attend", refuse)
        yield


def test_a_run_without_enough_memory_ends_with_the_same_files(device, tmp_path, monkeypatch):
    net = load_model("random:tiny" if device.type == "cuda" else "nano", device=device.type)
    data = MadeClips(tmp_path / "clips", clips=2, frames=4, objects=2, size=SIZE)
    policy = load_policy("sam2")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    before = allocated(device)
    plain = run(data, net, policy, out=tmp_path / "plain", max_lanes=4)
    peak = torch.cuda.max_memory_reserved() if device.type == "cuda" else 0
    net.release()
    notes = []
    with scarce(device, before + 0.6 * (peak - before), monkeypatch):
        done = run(
            data, net, policy, out=tmp_path / "scarce", max_lanes=4, progress=lambda p: notes.append(p.reason or "")
        )
    assert not done.failed, notes
    assert done.done == plain.done == tuple(data)
    if device.type == "cpu":
        names = sorted(path.relative_to(plain.path) for path in plain.path.rglob("*.png"))
        assert names
        assert all((plain.path / name).read_bytes() == (done.path / name).read_bytes() for name in names)


def test_rows_recover_after_memory_was_short(device, monkeypatch):
    net = network(device)
    engine, videos = opened(net, 8)
    shots = noise(4, SIZE)
    most = engine.runner.max_rows
    attend, short = net.attend, True

    def refuse(features, rows, read):
        if short and len(rows) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return attend(features, rows, read)

    monkeypatch.setattr(net, "attend", refuse)
    for t in range(3):
        step(engine, videos, shots, t)
    assert engine.runner.max_rows == 2
    short = False
    for t in range(3, 1000):
        step(engine, videos[:2], shots, t)
        if engine.runner.max_rows > 2:
            break
    assert 2 < engine.runner.max_rows <= most
    assert t < 4 * CALM_CALLS


@pytest.mark.parametrize("tracker", ["sam2", "mosam"])
def test_memory_is_flat(device, tracker):
    net = network(device, graphs=device.type == "cuda")
    engine, videos = opened(net, 2, tracker)
    shots = noise(4, SIZE)
    seen = {}
    for t in range(60 if device.type == "cpu" else 600):
        step(engine, videos, shots, t)
        seen[t] = allocated(device), engine.bank.features.capacity
    first = 40 if device.type == "cpu" else 200
    assert len(engine.bank.features) <= engine.bank.features.capacity
    assert seen[t][1] == seen[first][1]
    assert seen[t][0] <= seen[first][0] + 2**20


def test_a_card_of_8_gb_gets_fewer_lanes_and_says_so(device, monkeypatch):
    policy = load_policy("sam2")
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.set_per_process_memory_fraction(8 * GIB / torch.cuda.get_device_properties(0).total_memory)
        net, asked, free = load_model("random:large", device="cuda"), 64, None
    else:
        net, asked, free = network(device), 4096, GIB
    lanes, note = choose_lanes(net, policy, asked, free=free)
    assert 1 <= lanes < asked
    assert note == f"--lanes {asked}: about {lanes} fit into the memory that is free, so many are used"
    if device.type == "cuda":
        engine, videos = opened(net, lanes)
        for t in range(4):
            step(engine, videos, noise(4, SIZE), t)
        assert engine.runner.max_rows >= 4


def test_a_device_that_is_not_there(device):
    from mosam.errors import MosamError

    with pytest.raises(MosamError, match="expected a device that is there"):
        load_model("nano", device=f"{device.type}:99")


def test_a_network_that_goes_leaves_the_graphs_of_another_alone(device):
    """torch shares memory between graphs of one stream, and frees it with the first that goes."""
    staying, going = (opened(network(device, "bf16", graphs=True), 1) for _ in range(2))
    shots = noise(4, SIZE)
    for t in range(30):
        step(*staying, shots, t)
        step(*going, shots, t)
    del going
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    plain = opened(network(device, "bf16"), 1)
    for t in range(30):
        step(*plain, shots, t)
    for t in range(30, 60):
        masks = []
        for engine, (video,) in (staying, plain):
            output = engine.step({video: shots[t % 4]}, next_images={video: shots[(t + 1) % 4]})[video]
            masks.append(output.objects[1].mask)
        assert (masks[0] == masks[1]).all(), t
