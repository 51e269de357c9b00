"""`mosam bench` on the smallest network: numbers that must agree with each other."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mosam.cli import run_command
from mosam.commands.bench import STAGES, MadeClips, bench, render_bench, square
from mosam.engine.stages import StageClock, count_flops, covered, gpu_busy_share, matmul_rate
from mosam.errors import MosamError
from mosam.model.checkpoints import load_model
from mosam.policies.base import load_policy
from mosam.tracking import run as runner

SIZE = (96, 128)


def test_clips_are_pictures_with_their_objects(tmp_path):
    data = MadeClips(tmp_path / "clips", clips=2, frames=3, objects=2, size=SIZE)
    sequence = data["clip001"]
    assert len(sequence) == 3
    assert sequence.source.read(2).shape == (*SIZE, 3)
    first, second = (prompt.mask for prompt in sequence.prompts)
    assert first.any()
    assert second.any()
    assert not np.array_equal(first, second)
    assert not np.array_equal(square(0, 0, SIZE), square(0, 1, SIZE))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("mosam.engine.stages.RATE_SIDE", {"cpu": 256})
    monkeypatch.setattr("mosam.engine.stages.RATE_SECONDS", 0.05)
    monkeypatch.setattr("mosam.commands.bench.FILL", 3)


def test_measures_and_shows(tmp_path):
    result = bench(
        load_model("random:nano", device="cpu"), load_policy("sam2"), objects=2, lanes=2, frames=2, size=SIZE
    )
    assert result.fps > 0
    assert set(result.stages) == set(STAGES)
    assert all(result.stages[stage] > 0 for stage in STAGES)
    assert 0 < result.achieved < 1.2 * result.attainable
    assert 0 < result.floor_ms <= 1.2 * result.network_ms
    assert result.busy is None
    assert result.peak > 2**20
    assert all(len(line) <= 100 for line in render_bench([result]).splitlines())
    text = render_bench([result], "markdown")
    assert f"| sam2 | 2 | 2 | {result.model} | cpu | float32 |" in text
    assert json.loads(json.dumps(result.to_json()))["stages"]["attend"] == result.stages["attend"]


def test_flops_of_a_product():
    a, b = torch.zeros(10, 20), torch.zeros(20, 30)
    assert count_flops(lambda: a @ b) == 2 * 10 * 20 * 30
    assert matmul_rate(torch.device("cpu"), torch.float32, seconds=0.01) > 1e8


def test_stages_add_up():
    clock = StageClock(torch.device("cpu"))
    for _ in range(3):
        with clock.stage("read"):
            pass
    assert 0 < clock.seconds["read"] < 0.1
    assert gpu_busy_share(torch.device("cpu"), lambda: None) is None
    assert covered([(0, 10), (2, 3), (20, 21)]) == 11


def test_the_busy_share_is_of_the_work_alone(monkeypatch):
    """Starting the profiler and collecting what it saw take seconds, which once counted as idle time."""

    class SlowProfile:
        def __init__(self, activities):
            pass

        def __enter__(self):
            time.sleep(0.2)
            return self

        def __exit__(self, *exception):
            time.sleep(0.2)

        def events(self):
            span = SimpleNamespace(start=0.0, end=0.9e6 * seconds)
            return [SimpleNamespace(device_type=torch.autograd.DeviceType.CUDA, time_range=span)]

    seconds = 0.1
    monkeypatch.setattr("torch.profiler.profile", SlowProfile)
    monkeypatch.setattr("mosam.engine.stages.synchronize", lambda device: None)
    share = gpu_busy_share(torch.device("cuda"), lambda: time.sleep(seconds))
    assert 0.6 < share <= 0.9


def test_every_lane_is_warm_before_it_is_timed(monkeypatch):
    runs = []
    real = runner.run
    monkeypatch.setattr("mosam.tracking.run.run", lambda data, *a, **k: runs.append(len(data)) or real(data, *a, **k))
    bench(load_model("random:nano", device="cpu"), load_policy("sam2"), lanes=2, clips=3, frames=1, size=SIZE)
    assert runs[0] == 2


@pytest.mark.parametrize("name", ["objects", "lanes", "frames"])
def test_numbers_below_one(name):
    with pytest.raises(MosamError, match=f"--{name}: expected at least 1, got 0"):
        bench(None, load_policy("sam2"), **{name: 0})


def test_command(capfd, tmp_path):
    words = "bench --model random:nano --device cpu --objects 1,x --frames 1"
    assert run_command(words.split()) == 2
    assert "--objects: expected numbers" in capfd.readouterr().err
    words = (
        f"bench --model random:nano --device cpu --tracker sam2 --frames 1 --size 128x96 --json {tmp_path / 'b.json'}"
    )
    assert run_command(words.split()) == 0
    assert "sam2     1        1      random:nano" in capfd.readouterr().out
    assert json.loads((tmp_path / "b.json").read_text())[0]["frames"] == 1
