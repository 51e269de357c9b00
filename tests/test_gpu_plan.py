"""benchmarks/gpu.py, dry-run on the processor: it is needed in a hurry, and must not fail then."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def modules(monkeypatch):
    """(gpu, gpu_sections), which are scripts beside each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import gpu
    import gpu_sections

    return gpu, gpu_sections


def test_sections_run_and_leave_their_numbers(tmp_path):
    wanted = ["where", "same", "syncs", "speed", "busy", "oom", "flat"]
    words = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--quick", "--only", ",".join(wanted)]
    place = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*words, "--out", tmp_path], capture_output=True, text=True, env=place, check=False)
    assert done.returncode == 0, done.stderr
    assert "!!" not in done.stdout
    results = json.loads((tmp_path / "results.json").read_text())
    assert list(results) == ["machine", *wanted]
    assert not any("failed" in results[name] for name in wanted)
    assert all(row.get("differ", 0) == 0 for row in results["same"]["rows"])
    speed = results["speed"]["rows"][0]
    assert speed["fps"] > 0
    table = (tmp_path / "results.md").read_text()
    assert "| model | lanes | objects | fps | host ms | graphs | peak gib |" in table
    assert (tmp_path / "log.txt").read_text() == done.stdout


@pytest.mark.parametrize("name", ["correct", "wins"])
def test_a_section_by_itself(modules, tmp_path, name):
    gpu, sections = modules
    plan = gpu.Plan("cpu", True, tmp_path, 9.0)
    plan.run(name, sections.SECTIONS[name])
    assert "failed" not in plan.results[name], (tmp_path / "log.txt").read_text()
    assert len(plan.results[name]["rows"]) > 2
    assert all(row["equal"] for row in plan.results[name]["rows"] if "equal" in row)


def test_peers_that_are_found_are_measured(modules, tmp_path):
    gpu, sections = modules
    plan = gpu.Plan("cpu", True, tmp_path, 9.0)
    plan.run("peers", sections.SECTIONS["peers"])
    (ours,) = plan.results["peers"]["rows"]
    assert ours["program"] == "ours"
    assert ours["fps"] > 0


def test_what_fails_says_so_and_the_next_one_runs(modules, tmp_path):
    gpu, sections = modules
    plan = gpu.Plan("cpu", False, tmp_path, 9.0)

    def broken(plan):
        """Breaks."""
        plan.row(found=1)
        raise RuntimeError("no such kernel")

    def endless(plan):
        """Takes its time."""
        while True:
            with contextlib.suppress(Exception):
                time.sleep(0.01)

    def sound(plan):
        """Works."""
        plan.row(found=2.0, what="a|b")
        assert plan.child(["-c", "print(1); print(2)"], 60) == ("2", None)
        assert plan.child(["-c", "raise SystemExit('why not')"], 60) == ("", "why not")

    for work, limit in ((broken, 60), (endless, 0.3), (sound, 60)):
        plan.run(work.__name__, sections.Section(work, 0, limit))
    assert plan.results["broken"]["failed"] == "RuntimeError: no such kernel"
    assert "ended after its" in plan.results["endless"]["failed"]
    assert plan.results["endless"]["seconds"] < 30
    assert "failed" not in plan.results["sound"]
    assert json.loads((tmp_path / "results.json").read_text())["broken"]["rows"] == [{"found": 1}]
    assert "| 2 | a/b |" in (tmp_path / "results.md").read_text()
    assert "Not whole: RuntimeError: no such kernel." in (tmp_path / "results.md").read_text()


def test_without_a_gpu_it_says_so_and_is_no_error(modules, monkeypatch, capsys):
    gpu, _ = modules
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def said(*words):
        monkeypatch.setattr(sys, "argv", ["gpu.py", *words])
        return gpu.main(), capsys.readouterr()

    code, text = said()
    assert (code, text.out) == (0, "gpu: no GPU here; --device cpu --quick is a dry run\n")
    code, text = said("--only", "wheer")
    assert (code, text.err) == (2, "gpu: no section wheer; --sections lists them\n")
    code, text = said("--sections")
    assert (code, text.out.count("\n")) == (0, 16)


def test_what_is_switched_off_comes_back(modules):
    import gpu_tools

    import mosam
    from mosam.model import blocked, norms

    net = mosam.load_model("random:nano", device="cpu")
    before = (net._calls, net._rotary._kernel, norms._kernel, blocked.fitting_kernel)
    for switch in (gpu_tools.no_rotary_kernel, gpu_tools.no_norm_kernel, gpu_tools.torchs_attention):
        with gpu_tools.graphs_of(net), switch(net):
            gpu_tools.speed_of(net, 1, 1, (96, 160), quick=True)
    assert (net._calls, net._rotary._kernel, norms._kernel, blocked.fitting_kernel) == before
    assert float(gpu_tools.error_of(torch.ones(3), torch.ones(3))) == 0


def test_throughput_counts_from_the_moment_when_all_lanes_are_warm(modules, monkeypatch):
    from types import SimpleNamespace

    import gpu_tools

    clock = iter([0.0, 1.0, 10.0, 11.0, 20.0])
    monkeypatch.setattr(gpu_tools.time, "perf_counter", lambda: next(clock))
    seen = gpu_tools.Throughput(lanes=2, warm=5)
    events = [("frame", "a", 30), ("frame", "b", 4), ("frame", "b", 5), ("start", "c", 0), ("done", "a", 100)]
    for event, sequence, frames in events:
        seen(SimpleNamespace(event=event, sequence=sequence, frames=frames))
    assert seen.fps(200) == (200 - 35) / (20 - 10)
