"""Worker processes that die, hang, raise and run out of memory: every sequence is done once or named as failed."""

from __future__ import annotations

import multiprocessing
from collections import Counter

import pytest
from launch_fakes import NAMES, FakeRunSpec, Faults, results, undisturbed

from mosam.errors import MismatchError, MosamError
from mosam.results.handover import READY, WORK, WorkerResultSink
from mosam.results.record import SequenceRecord, read_record
from mosam.tracking.launch.local import WorkerPool, cpu_slots, gpu_slots, run_workers
from mosam.tracking.launch.worker import WorkerSlot
from mosam.tracking.schedule import MAX_ATTEMPTS, Leases


class Run:
    """Runs workers in one folder; `events` are what happened."""

    def __init__(self, folder):
        self.folder, self.events = folder, []

    def __call__(self, faults=None, *, places=None, progress=None, **options):
        self.events = []
        work = FakeRunSpec(Faults() if faults is None else faults)

        def see(event):
            self.events.append(event)
            if progress is not None:
                progress(event)

        return run_workers(work, places or [WorkerSlot(threads=1)] * 2, out=self.folder, progress=see, **options)

    def names(self, event):
        return [e.sequence for e in self.events if e.event == event]

    def hidden(self):
        return [path.name for path in self.folder.iterdir() if path.name.startswith(".")]


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "run")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return undisturbed(tmp_path_factory.mktemp("plain") / "run")


def test_two_workers_give_what_one_process_gives(run, plain, monkeypatch):
    given = []  # in this order; whose message that it starts comes first is the two processes' own affair

    def take(leases, worker, room=None):
        lease = plainly_take(leases, worker, room)
        if lease is not None:
            given.append(lease.job.name)
        return lease

    plainly_take = Leases.take
    monkeypatch.setattr(Leases, "take", take)
    result = run(max_lanes=2)
    assert result.done == tuple(NAMES)
    assert results(run.folder) == plain
    assert run.hidden() == []
    assert Counter(run.names("done")) == Counter(list(NAMES))
    assert [e.finished for e in run.events if e.event == "done"] == list(range(1, len(NAMES) + 1))
    assert given == sorted(NAMES, reverse=True)  # the longest first
    assert sorted(run.names("start")) == sorted(NAMES)
    assert read_record(run.folder).environment["workers"] == [None, None]
    run()
    assert run.names("kept") == list(NAMES)
    assert multiprocessing.active_children() == []


def test_workers_killed_at_random(run, plain):
    result = run(Faults(die=0.1), max_lanes=2)
    assert set(result.done) | set(result.failed) == set(NAMES)
    assert Counter(run.names("done")) + Counter(run.names("failed")) == Counter(list(NAMES))
    made = results(run.folder)
    assert made == {name: plain[name] for name in made}
    assert set(made) == {f"{name}.txt" for name in result.done}
    assert run.names("note"), "no worker died: the test tests nothing"
    assert run.hidden() == []
    assert run().done == tuple(NAMES)
    assert results(run.folder) == plain


def test_what_raises_what_kills_and_what_is_too_much(run, plain):
    result = run(Faults(raising=5, deadly=9, most=2), max_lanes=4)
    assert result.failed["s05"] == "expected a square, got a circle"
    assert result.failed["s09"].startswith(f"{MAX_ATTEMPTS} workers died over it, the last one: killed by SIGKILL")
    assert set(result.done) == set(NAMES) - {"s05", "s09"}
    made = results(run.folder)
    assert made == {f"{name}.txt": plain[f"{name}.txt"] for name in result.done}
    assert any("out of memory with 4 lanes" in (e.reason or "") for e in run.events)


def test_silent_worker_is_ended_and_its_sequence_done_by_another(run, plain, tmp_path):
    result = run(Faults(hang=str(tmp_path / "hung")), lease_seconds=8)
    assert result.done == tuple(NAMES)
    assert results(run.folder) == plain
    assert any("no sign of life for 8 s" in (e.reason or "") for e in run.events)


def test_ctrl_c_keeps_what_is_finished(run, plain):
    def interrupt(event):
        if event.event == "done" and event.finished == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(progress=interrupt, max_lanes=2)
    assert multiprocessing.active_children() == []
    assert run.hidden() == []
    kept = set(read_record(run.folder).done)
    assert len(kept) >= 3
    assert results(run.folder) == {f"{name}.txt": plain[f"{name}.txt"] for name in kept}
    run()
    assert set(run.names("kept")) == kept
    assert results(run.folder) == plain


def test_what_a_worker_finishes_while_it_is_ended_is_kept(run, plain, monkeypatch):
    def interrupt(event):
        if event.event == "done" and event.finished == 3:
            raise KeyboardInterrupt

    late = []

    def end_late(self):  # between the last message and the end of the processes
        if self._store is not None and not late and self._open_jobs():
            known = set(self._store.record.done)
            name = next(name for name in reversed(NAMES) if name not in known)
            setup = FakeRunSpec().open(None)
            sink = WorkerResultSink(run.folder, setup.settings(), lambda name: "99-1", lambda *what: None)
            (sink.partial(name) / f"{name}.txt").write_bytes(plain[f"{name}.txt"])
            annotation = setup.dataset.select([name]).annotation_hash()
            sink.commit(name, [f"{name}.txt"], SequenceRecord("done", 3, 0.3, annotation=annotation))
            late.append(name)
        end(self)

    end = WorkerPool._end_workers
    monkeypatch.setattr(WorkerPool, "_end_workers", end_late)
    with pytest.raises(KeyboardInterrupt):
        run(progress=interrupt, max_lanes=2)
    assert len(late) == 1
    assert run.hidden() == []
    assert late[0] in read_record(run.folder).done


def test_result_that_nobody_could_collect_is_collected_by_the_next_run(run, plain):
    run.folder.mkdir()
    setup = FakeRunSpec().open(None)
    told = []
    sink = WorkerResultSink(run.folder, setup.settings(), lambda name: "7-1", lambda *what: told.append(what))
    (sink.partial("s03") / "s03.txt").write_bytes(plain["s03.txt"])
    (run.folder / f"{WORK}s03@7-1" / "s03_time.txt").write_text("0.1\n0.1\n0.1\n")
    annotation = setup.dataset.select(["s03"]).annotation_hash()
    sink.commit("s03", ["s03.txt", "s03_time.txt"], SequenceRecord("done", 3, 0.3, annotation=annotation))
    assert told == [("done", "s03", f"{READY}s03@7-1")]
    (run.folder / f"{WORK}s04@7-2").mkdir()
    run()
    assert run.names("kept") == ["s03"]
    assert results(run.folder) == plain
    assert run.hidden() == []


def test_nothing_can_be_loaded(run):
    with pytest.raises(MosamError, match="weights: expected a file, found none"):
        run(Faults(broken=True))
    assert not run.folder.exists()


def test_workers_with_other_weights_are_refused(run):
    with pytest.raises(MismatchError, match="weights_hash"):
        run(Faults(weights="pid", slow=0.1))  # slow enough for both workers to get some


@pytest.mark.parametrize(
    ("asked", "found", "devices"),
    [("all", 2, "01"), ("2", 3, "01"), ("0,2", 3, "02"), ("1,", 3, "1"), ("1", 8, "0"), ("0,0", 1, "00")],
)
def test_gpus(asked, found, devices):
    places = gpu_slots(asked, found)
    assert [place.device for place in places] == [f"cuda:{number}" for number in devices]
    for device in set(devices):  # workers of one GPU share its memory
        assert sum(place.share for place in places if place.device == f"cuda:{device}") == 1


@pytest.mark.parametrize(
    ("asked", "found", "words"),
    [
        ("0", 2, "--gpus: expected at least 1, got 0; use --device cpu"),
        ("3", 2, "expected at most the 2 GPUs of this machine, got 3"),
        ("0,5", 2, "expected numbers from 0 to 1, got 0,5"),
        ("-1", 2, "--gpus: expected all, a number"),
        ("", 2, "--gpus: expected all, a number"),
        ("all", 0, "this machine has no GPU"),
    ],
)
def test_gpus_that_cannot_be(asked, found, words):
    with pytest.raises(MosamError, match=words) as caught:
        gpu_slots(asked, found)
    assert "\n" not in str(caught.value)


def test_threads_are_divided(monkeypatch):
    monkeypatch.setattr("mosam.tracking.launch.local.cores", lambda: 8)
    assert cpu_slots(3) == [WorkerSlot("cpu", 2, 1 / 3)] * 3
    assert cpu_slots(20) == [WorkerSlot("cpu", 1, 1 / 20)] * 20
    with pytest.raises(MosamError, match="--jobs: expected at least 1, got 0"):
        cpu_slots(0)
