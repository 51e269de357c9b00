"""A run as tasks of a scheduler: here threads in its place, and where asked for a real Ray cluster or submitit."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import pickle
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from launch_fakes import NAMES, FakeRunSpec, Faults, results, undisturbed

from mosam.errors import MosamError
from mosam.results.folder import StoreError
from mosam.results.handover import READY
from mosam.results.record import read_record
from mosam.tracking.launch import tasks
from mosam.tracking.launch.tasks import Launcher, Task, do_task, run_tasks
from mosam.tracking.launch.worker import WorkerSlot, check_shared
from mosam.tracking.schedule import MAX_ATTEMPTS, share


class Threads(Launcher):
    """Each part in a thread; `lost` says which of them (counted from 0) end without doing anything."""

    name = "threads"
    slot = WorkerSlot()

    def __init__(self, lost=(), change=lambda part: part):
        self.lost, self.change, self.count, self.canceled = set(lost), change, 0, False
        self.pool = ThreadPoolExecutor(1)  # the fakes replace a name of a module

    def split(self, jobs, rows):
        return [part for part in share(jobs, 4) if part]

    def submit(self, made):
        tasks = []
        for part in made:
            part = self.change(pickle.loads(pickle.dumps(part)))
            lost = self.count in self.lost
            self.count += 1
            tasks.append(Future(self.pool.submit((lambda part: "the machine is gone") if lost else do_task, part)))
        return tasks

    def cancel(self):
        self.canceled = True
        self.pool.shutdown()


class Future(Task):
    """A task that is a future."""

    def __init__(self, future):
        self.future = future

    def poll(self):
        return self.future.result() if self.future.done() else False


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(tasks, "_POLL", 0.02)
    monkeypatch.setattr(tasks, "_setups", {})
    monkeypatch.setattr(check_shared, "__kwdefaults__", {"patience": 0.3})


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("plain") / "run")


def run(folder, launcher, faults=None, **options):
    events = []
    work = FakeRunSpec(Faults() if faults is None else faults)
    return run_tasks(work, launcher, out=folder, progress=events.append, **options), events


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_parts_give_what_one_process_gives(tmp_path, plain):
    launcher = Threads()
    result, events = run(tmp_path / "run", launcher, max_lanes=2)
    assert result.done == tuple(NAMES)
    assert results(result.path) == plain
    assert hidden(result.path) == []
    assert launcher.count == 4
    assert launcher.canceled
    # also those that a task finished before the parent looked at the folder
    assert Counter((e.sequence, e.event) for e in events if e.event in ("done", "kept")) == Counter(
        (name, "done") for name in NAMES
    )
    assert read_record(result.path).environment["launcher"] == "threads"
    launcher = Threads()
    result, events = run(tmp_path / "run", launcher)
    assert [e.event for e in events] == ["kept"] * len(NAMES)


def test_what_a_task_finished_before_the_parent_looks_is_done_in_this_run(tmp_path, plain):
    class Quick(Threads):
        def submit(self, given):
            tasks = super().submit(given)
            while not all(task.future.done() for task in tasks):
                time.sleep(0.02)
            return tasks

    result, events = run(tmp_path / "run", Quick())
    assert Counter(e.event for e in events if e.event in ("done", "kept")) == {"done": len(NAMES)}
    assert results(result.path) == plain


def test_overwriting_touches_nothing_of_its_own(tmp_path, plain):
    run(tmp_path / "run", Threads())
    (tmp_path / "run" / "s03.txt").write_text("old")
    result, events = run(tmp_path / "run", Threads(), overwrite=True)
    assert results(result.path) == plain
    assert Counter(e.event for e in events) == {"done": len(NAMES)}


def test_lost_tasks_are_submitted_again(tmp_path, plain):
    result, events = run(tmp_path / "run", Threads(lost=[0, 2, 4]))
    assert result.done == tuple(NAMES)
    assert results(result.path) == plain
    assert any("submitted again (the machine is gone)" in (e.reason or "") for e in events)


def test_tasks_that_are_always_lost_are_named(tmp_path, plain):
    result, events = run(tmp_path / "run", Threads(lost=[0, *range(4, 100)]))
    assert set(result.done) | set(result.failed) == set(NAMES)
    assert result.failed
    assert set(result.failed.values()) == {f"{MAX_ATTEMPTS} tasks ended without it: the machine is gone"}
    assert Counter(e.sequence for e in events if e.event in ("done", "failed")) == Counter(list(NAMES))


def test_a_sequence_that_raises_fails_alone(tmp_path, plain):
    result, _ = run(tmp_path / "run", Threads(), Faults(raising=9))
    assert result.failed == {"s09": "expected a square, got a circle"}


def test_a_task_that_is_repeated_leaves_out_what_it_had_finished(tmp_path):
    folder, started = tmp_path / "run", []

    def twice(part):
        do_task(part)
        started.append(len(list(folder.glob(f"{READY}*"))))
        return part

    result, _ = run(folder, Threads(change=twice))
    assert result.done == tuple(NAMES)
    assert max(started) > 0


def test_folder_that_is_not_shared(tmp_path):
    def elsewhere(part):
        other = tmp_path / "elsewhere"
        other.mkdir(exist_ok=True)
        return dataclasses.replace(part, folder=str(other))

    with pytest.raises(StoreError, match="choose a folder that all machines share with --results"):
        run(tmp_path / "run", Threads(change=elsewhere))

    def copied(part):  # the probe is there, but what is written does not come back
        other = tmp_path / "copied"
        other.mkdir(exist_ok=True)
        (other / part.probe).touch()
        return dataclasses.replace(part, folder=str(other))

    with pytest.raises(StoreError, match="this machine sees nothing of it"):
        run(tmp_path / "run", Threads(change=copied))


def test_clocks_that_differ_change_nothing(tmp_path, plain, monkeypatch):
    day = [0.0]

    def wrong():
        day[0] -= 86400.0  # a clock that runs backwards, a day at each look
        return day[0]

    monkeypatch.setattr(time, "time", wrong)
    result, _ = run(tmp_path / "run", Threads())
    assert results(result.path) == plain


def test_nothing_can_be_loaded(tmp_path):
    with pytest.raises(MosamError, match="weights: expected a file, found none"):
        run(tmp_path / "run", Threads(), Faults(broken=True))


def test_workers_with_other_weights_than_the_results_there(tmp_path):
    run(tmp_path / "run", Threads())
    (tmp_path / "run" / "s03.txt").unlink()
    with pytest.raises(MosamError, match="weights_hash"):
        run(tmp_path / "run", Threads(), Faults(weights="1" * 64))


# ---------------------------------------------------------------------------------------------- Ray


def ray_or_skip():
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed (extra `ray`)")


def test_ray_address_that_does_not_answer(monkeypatch):
    ray_or_skip()
    from mosam.tracking.launch import ray_cluster

    monkeypatch.setattr(ray_cluster, "ANSWER_SECONDS", 0.5)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:x"):
        with pytest.raises(MosamError, match="does not answer") as caught:
            ray_cluster.RayLauncher(ray_cluster.RayOptions(address=address))
        assert "\n" not in str(caught.value)
    with pytest.raises(MosamError, match="expected address=auto"):
        ray_cluster.RayLauncher(ray_cluster.RayOptions(address="local"))


@pytest.mark.slow
def test_ray_cluster_of_two_machines_one_of_which_is_lost(tmp_path, plain, monkeypatch):
    ray_or_skip()
    import ray
    from ray.cluster_utils import Cluster

    from mosam.tracking.launch.ray_cluster import RayLauncher, RayOptions

    tests = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    try:
        lost = []
        launcher = RayLauncher(RayOptions(address=cluster.address))

        def lose(event):
            if event.event == "done" and event.finished == 3 and not lost:
                lost.append(event.sequence)
                cluster.remove_node(second, allow_graceful=False)

        work = FakeRunSpec(Faults(slow=0.2))
        result = run_tasks(work, launcher, out=tmp_path / "run", progress=lose)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert lost
    assert result.done == tuple(NAMES)
    assert results(result.path) == plain
    assert hidden(result.path) == []


# ---------------------------------------------------------------------------------------------- Slurm


@pytest.mark.slow
def test_submitit_on_this_machine(tmp_path, plain, monkeypatch):
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed (extra `slurm`)")
    from mosam.tracking.launch.slurm_array import SlurmLauncher, SlurmOptions

    tests = str(Path(__file__).resolve().parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")]))
    options = SlurmOptions(cluster="local", jobs=2, gpus=0, cpus=1, minutes=5)
    launcher = SlurmLauncher(options, tmp_path / "run")
    result = run_tasks(FakeRunSpec(Faults(deadly_once=str(tmp_path / "died"))), launcher, out=tmp_path / "run")
    assert (tmp_path / "died").exists()
    assert result.done == tuple(NAMES)
    assert results(result.path) == plain


def test_a_job_that_is_preempted_is_requeued_and_goes_on(tmp_path):
    if importlib.util.find_spec("submitit") is None:
        pytest.skip("submitit is not installed (extra `slurm`)")
    from mosam.tracking.launch.slurm_array import Checkpointable

    again = Checkpointable().checkpoint("part")
    assert isinstance(again.function, Checkpointable)
    assert again.args == ("part",)


def test_missing_packages_are_named(monkeypatch, tmp_path):
    from mosam.tracking.launch.ray_cluster import RayLauncher, RayOptions
    from mosam.tracking.launch.slurm_array import SlurmLauncher, SlurmOptions

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MosamError, match=r"pip install 'mosam\[ray\]'"):
        RayLauncher(RayOptions())
    with pytest.raises(MosamError, match=r"pip install 'mosam\[slurm\]'"):
        SlurmLauncher(SlurmOptions(), tmp_path)
