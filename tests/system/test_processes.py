"""Processes end with their parent, and when they are asked to, and leave a folder that the next run can go on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch_fakes import NAMES, FakeRunSpec, results, undisturbed

from mosam.results.record import read_record
from mosam.system.processes import ENDING, asked_to_end, exit_code
from mosam.tracking import loop
from mosam.tracking import run as runner

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")

# A command of ours that tracks squares: in this process (0), or with workers that are slow to load or to track.
COMMAND = """
import sys
from pathlib import Path

import click

from mosam import cli, run
from mosam.cli.build import Entry
from mosam.tracking.launch.local import run_workers
from mosam.tracking.launch.worker import WorkerSlot
from launch_fakes import FakeRunSpec, Faults
from test_processes import SlowToLoad

def tell(event):
    print(event.event, event.sequence, flush=True)

@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("workers", type=int)
@click.argument("loading", type=float)
def squares(out, workers, loading):
    if workers:
        work = SlowToLoad(Faults(slow=0.05), seconds=loading)
        run_workers(work, [WorkerSlot(threads=1)] * workers, out=out, progress=tell)
    else:
        setup = FakeRunSpec(Faults(slow=0.05)).open(None)
        run(setup.dataset, setup.model, setup.policy, out=out, progress=tell)

COMMANDS = {"squares": squares}
cli.app.entries["squares"] = Entry("__main__", "Track squares.")

if __name__ == "__main__":
    sys.exit(cli.run_command(sys.argv[1:]))
"""


class SlowToLoad(FakeRunSpec):
    """Its workers take their time, holding the interpreter, before they can track."""

    def __init__(self, faults, seconds=0.0):
        super().__init__(faults)
        object.__setattr__(self, "seconds", seconds)

    def open(self, place):
        if self.seconds:
            os.write(1, b"loading\n")
        until = time.monotonic() + self.seconds
        while time.monotonic() < until:
            sum(range(10_000))
        return super().open(place)


@pytest.fixture(autouse=True)
def real_engine_afterwards(monkeypatch):
    monkeypatch.setattr(loop, "_new_engine", loop._new_engine)


@pytest.fixture
def start(tmp_path):
    """Starts the command in a process group of its own."""
    (tmp_path / "command.py").write_text(COMMAND)
    here = Path(__file__).parent
    tests = os.pathsep.join([str(here), str(here.parent)])
    started = []

    def begin(workers, loading=0.0, before=()):
        process = subprocess.Popen(
            [*before, sys.executable, tmp_path / "command.py", "squares", tmp_path / "run", str(workers), str(loading)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        for pid in in_session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def in_session(leader):
    """Processes that live in a session, the leader included."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(folder.name))
    return found


def workers_of(leader):
    """Python processes of a session that are no trackers of shared resources."""
    found = []
    for pid in in_session(leader):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if pid != leader and b"resource_tracker" not in words:
            found.append(pid)
    return found


def wait_for(what, seconds=30.0):
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)
    return found


def wait_for_done(process, count=1):
    for line in process.stdout:
        count -= line.startswith("done ")
        if count == 0:
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_a_run_as_ctrl_c_does(start, tmp_path, number, workers):
    process = start(workers)
    wait_for_done(process)
    process.send_signal(number)
    assert process.wait(20) == exit_code(number)
    assert (
        process.stderr.read().lstrip()
        == "interrupted; finished sequences are kept, the same command goes on from there\n"
    )
    run = tmp_path / "run"
    assert [p.name for p in run.iterdir() if p.name.startswith(".")] == []
    kept = read_record(run).done
    assert 0 < len(kept) < len(NAMES)
    assert sorted(results(run)) == sorted(f"{name}.txt" for name in kept)
    wait_for(lambda: not in_session(process.pid), 2)


def test_a_signal_that_is_ignored_stays_ignored(start, tmp_path):
    process = start(0, before=["nohup"])
    wait_for_done(process)
    process.send_signal(signal.SIGHUP)
    wait_for_done(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 143


@pytest.mark.parametrize("when", ["booting", "loading", "tracking"])
def test_workers_end_with_a_parent_that_is_killed(start, tmp_path, when):
    process = start(2, loading=60.0 if when == "loading" else 0.0)
    if when == "tracking":
        wait_for_done(process)
    wait_for(lambda: len(workers_of(process.pid)) == 2)
    if when == "loading":
        assert [process.stdout.readline() for _ in range(2)] == ["loading\n"] * 2
    process.kill()
    process.wait()
    wait_for(lambda: not workers_of(process.pid), 2 if when != "booting" else 10)  # that has not begun to watch yet
    if when == "tracking":
        plain = undisturbed(tmp_path / "plain")
        setup, kept = FakeRunSpec().open(None), []
        runner.run(
            setup.dataset, setup.model, setup.policy, out=tmp_path / "run",
            progress=lambda event: kept.append(event.sequence) if event.event == "kept" else None,
        )  # fmt: skip
        assert kept
        assert results(tmp_path / "run") == plain
        assert [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")] == []


WATCHED = """
import multiprocessing, os, signal, sys, time
from mosam.system import processes

def work(kernel):
    processes._ask_kernel = lambda: None  # as on other systems
    processes.end_with_parent()
    time.sleep(60)

if __name__ == "__main__":
    for name in ("spawn", "fork"):
        for _ in range(2):
            multiprocessing.get_context(name).Process(target=work, args=(False,)).start()
    time.sleep(float(sys.argv[1]))
    print("started", flush=True)
    time.sleep(60)
"""


def test_without_the_kernel_a_thread_watches(tmp_path):
    (tmp_path / "watched.py").write_text(WATCHED)
    command = [sys.executable, str(tmp_path / "watched.py"), "1.5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout.readline() == "started\n"
        assert len(workers_of(process.pid)) == 4
        process.kill()
        process.wait()
        wait_for(lambda: not workers_of(process.pid), 2)
    finally:
        for pid in in_session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.stdout.close()


def test_one_wish_to_end_is_one_interruption():
    before = [signal.getsignal(number) for number in ENDING]
    interrupted = []
    with asked_to_end() as asked:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        except KeyboardInterrupt:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGHUP)  # not again while it clears up
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
    assert interrupted == [True]
    assert asked == [signal.SIGTERM]
    assert [signal.getsignal(number) for number in ENDING] == before


POOL = """
import os, sys, time
sys.path.insert(0, os.path.dirname(__file__))
from mosam.system.processes import map_in_processes

def work(name):
    os.write(1, b"at work\\n")
    time.sleep(60)

if __name__ == "__main__":
    if sys.argv[1] == "spawn":
        sys.modules.setdefault("torch", sys)  # as where torch is loaded, which cannot be forked
    list(map_in_processes(work, ["a", "b"], 2))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_score_end_with_their_parent(tmp_path, method):
    (tmp_path / "pool.py").write_text(POOL)
    command = [sys.executable, str(tmp_path / "pool.py"), method]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["at work\n"] * 2
        process.kill()
        process.wait()
        wait_for(lambda: not workers_of(process.pid), 2)
    finally:
        for pid in in_session(process.pid):
            os.kill(pid, signal.SIGKILL)
        process.stdout.close()
