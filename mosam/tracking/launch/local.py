"""Several worker processes on this machine, one for each GPU or share of the processor, over one queue of sequences.

The parent keeps the queue, the record and the display; it loads no network. Each worker has a pipe of its own, so that
one that is killed at any moment harms no other: its sequences go back to the queue.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Literal

from mosam.errors import MosamError, one_line
from mosam.results.folder import StoreError
from mosam.results.handover import READY, WORK, WorkerResultSink, clear, collect, place_of, take_over
from mosam.results.record import RunSettings, SequenceRecord
from mosam.results.store import RunStore
from mosam.system.processes import packed, start_worker
from mosam.tracking.events import Progress, ProgressReporter
from mosam.tracking.launch.worker import RunSpec, TrackingSetup, WorkerSlot, cores, same_settings
from mosam.tracking.loop import track_sequences
from mosam.tracking.run import (
    RunResult,
    describe_jobs,
    environment_of,
    find_work,
    open_store,
    result_of,
)
from mosam.tracking.schedule import Job, Lanes, Leases

LEASE_SECONDS = 1800.0  # a frame of a large network on a slow processor takes minutes
TELL_EVERY = 0.2  # seconds between two reports of a worker on the same sequence
ASK_EVERY = 1.0  # seconds until a worker with free lanes asks an empty queue again
START_FAILURES = 2  # workers of one slot that may die one after the other without a sequence
_POLL = 0.5

_log = logging.getLogger(__name__)


def cpu_slots(jobs: int) -> list[WorkerSlot]:
    """Workers on the processor, its cores and the memory divided among them.

    Raises:
        MosamError: fewer than one.
    """
    if jobs < 1:
        raise MosamError(f"--jobs: expected at least 1, got {jobs}")
    return [WorkerSlot("cpu", max(1, cores() // jobs), 1 / jobs)] * jobs


def gpu_slots(asked: str, found: int) -> list[WorkerSlot]:
    """One worker a GPU, or as many as its number is given times: they share its memory.

    Args:
        asked: `all`, how many, or their numbers with commas (`0,2`; `3,` is number 3 alone; `0,0` is two on number 0).
        found: GPUs of this machine.
    Raises:
        MosamError: none, one that is not there, or something else.
    """
    numbers = _gpu_numbers(asked, found)
    threads = max(1, cores() // len(numbers))
    return [WorkerSlot(f"cuda:{number}", threads, 1.0 / numbers.count(number)) for number in numbers]


def _gpu_numbers(asked: str, found: int) -> list[int]:
    if found == 0:
        raise MosamError(f"--gpus {asked}: this machine has no GPU that torch can use; use --device cpu with --jobs")
    if asked == "all":
        return list(range(found))
    words = [word.strip() for word in asked.split(",") if word.strip()]
    if not words or not all(word.isascii() and word.isdigit() for word in words):
        raise MosamError(f"--gpus: expected all, a number of GPUs, or their numbers as 0,2; got {asked!r}")
    numbers = [int(word) for word in words]
    if "," not in asked:
        count = numbers[0]
        if count < 1:
            raise MosamError("--gpus: expected at least 1, got 0; use --device cpu with --jobs for the processor")
        if count > found:
            raise MosamError(f"--gpus: expected at most the {found} GPUs of this machine, got {count}")
        return list(range(count))
    absent = [number for number in numbers if number >= found]
    if absent:
        raise MosamError(f"--gpus: expected numbers from 0 to {found - 1}, got {asked}")
    return numbers


def run_workers(
    spec: RunSpec,
    slots: Sequence[WorkerSlot],
    *,
    out: str | Path,
    max_lanes: int | Literal["auto"] | None = 1,
    overwrite: bool = False,
    log: bool = False,
    progress: Callable[[Progress], None] | None = None,
    lease_seconds: float = LEASE_SECONDS,
) -> RunResult:
    """Tracks a dataset with several processes; otherwise as `mosam.run`.

    Args:
        spec: what to track; is sent to each worker.
        slots: of the workers, one each.
        out, max_lanes, overwrite, log, progress: as for `mosam.run`; lanes are those of each worker.
        lease_seconds: a worker that reports nothing for so long is ended, and its sequences go to others.
    Raises:
        MosamError: no worker could start; the reason is that of the first.
    """
    if not slots:
        raise MosamError("workers: expected at least one, got none")
    spec.dataset.require(frames=True)
    return WorkerPool(spec, slots, Path(out), max_lanes, overwrite, log, progress, lease_seconds).run()


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, as its parent sees it."""

    number: int
    slot_number: int
    process: Any
    pipe: Connection
    ready: bool = False
    asked: int | None = None  # room it asked a job for
    asking: bool = False
    leases: dict[int, str] = field(default_factory=dict)


class WorkerPool:
    """Keeps the queue and the store, listens to the workers, and replaces those that are lost."""

    def __init__(
        self,
        spec: RunSpec,
        slots: Sequence[WorkerSlot],
        out: Path,
        max_lanes: int | Literal["auto"] | None,
        overwrite: bool,
        log: bool,
        progress: Callable[[Progress], None] | None,
        lease_seconds: float,
    ):
        self._spec, self._slots, self._out = spec, list(slots), out
        self._how, self._overwrite = (max_lanes, log), overwrite
        self._lease_seconds = lease_seconds
        self._run = secrets.token_hex(4)
        self._reporter = ProgressReporter(len(spec.dataset), progress)
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._numbers = 0
        self._deaths = [0] * len(self._slots)  # without a sequence, since the last result
        self._broken: dict[int, str] = {}  # slots that cannot be used
        self._settings: RunSettings | None = None
        self._store: RunStore | None = None
        self._leases: Leases | None = None

    def run(self) -> RunResult:
        """See `run_workers`."""
        with contextlib.ExitStack() as stack:
            stack.callback(self._end_workers)
            for number in range(len(self._slots)):
                self._start(number)
            settings, environment = self._first_settings()
            store = open_store(self._spec.dataset, settings, environment, out=self._out, overwrite=self._overwrite)
            self._store = stack.enter_context(store)
            stack.callback(clear, self._out, WORK, run=self._run)
            stack.callback(self._keep_untold, store)
            stack.callback(self._end_workers)  # before their folders go
            stack.callback(self._keep_finished)
            take_over(store, self._spec.dataset, overwrite=self._overwrite)
            left = find_work(self._spec.dataset, store, self._reporter.report)
            jobs = describe_jobs(self._spec.dataset, left, self._spec.policy)
            self._reporter.expect(jobs)
            self._leases = Leases(
                jobs,
                seconds=self._lease_seconds,
                clock=time.monotonic,
                workers=len(self._slots),
            )
            while self._leases.waiting or self._leases.leased:
                self._serve()
                self._listen(_POLL)
                self._end_silent()
                self._replace_lost()
            for worker in self._workers:
                self._send(worker, ("stop",))
            return result_of(self._spec.dataset, store)

    # processes

    def _start(self, slot_number: int) -> None:
        here, there = self._context.Pipe()
        slot = self._slots[slot_number]
        self._numbers += 1
        with _environment_for(slot):
            process = self._context.Process(
                target=start_worker,
                args=(there, packed(_worker_main, self._spec, slot, str(self._out.absolute()), *self._how)),
                name=f"mosam-worker-{self._numbers}",
                daemon=True,
            )
            process.start()
        there.close()  # or the end of the worker would not be seen
        self._workers.append(_Worker(self._numbers, slot_number, process, here))

    def _end_workers(self) -> None:
        for worker in self._workers:
            if worker.process.is_alive() and not worker.ready:
                worker.process.kill()  # it may be in a library that does not listen
        for worker in self._workers:
            worker.process.join(timeout=2.0 if not self._open_jobs() else 0.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _open_jobs(self) -> bool:
        return self._leases is None or bool(self._leases.waiting or self._leases.leased)

    def _first_settings(self) -> tuple[RunSettings, dict[str, object]]:
        """Waits until a worker has loaded the network and says what the run is."""
        while True:
            if not self._workers:
                raise MosamError(next(iter(self._broken.values())))
            found = self._listen(_POLL)
            if found is not None:
                return found
            self._replace_lost()

    def _replace_lost(self) -> None:
        """New workers for slots whose worker died, as long as there is something to do."""
        busy = {worker.slot_number for worker in self._workers}
        if self._leases is not None and not self._leases.waiting:
            return
        for number in range(len(self._slots)):
            if number not in busy and number not in self._broken:
                self._start(number)
        if not self._workers:
            raise MosamError(next(iter(self._broken.values())))

    def _end_silent(self) -> None:
        assert self._leases is not None
        for number in self._leases.expired():
            for worker in [worker for worker in self._workers if worker.number == number]:
                worker.process.kill()
                self._lost(worker, f"no sign of life for {self._lease_seconds:.0f} s")

    def _lost(self, worker: _Worker, reason: str | None = None) -> None:
        """A worker is gone: what it had finished counts, the rest goes back."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join(timeout=5.0)
        why = reason or _how_it_ended(worker.process.exitcode)
        if not worker.leases:  # nothing to blame but the slot
            number = worker.slot_number
            self._deaths[number] += 1
            if self._deaths[number] > START_FAILURES:
                self._broken[number] = f"worker {number}: ended again and again, without a sequence: {why}"
        if self._leases is None or self._store is None:
            return
        for number, name in list(worker.leases.items()):
            ready = place_of(READY, name, self._token(worker.number, number))
            if self._store.inside.kind(ready) == "folder":  # it died between finishing and saying so
                self._take_result(worker, number, ready)
        open_now = [lease.job.name for lease in self._leases.of(worker.number)]
        given_up = self._leases.lose(worker.number, why)
        for number, name in worker.leases.items():
            work = place_of(WORK, name, self._token(worker.number, number))
            self._store.inside.remove(work, quiet=True)
        if worker.ready and open_now:
            names = ", ".join(open_now[:3]) + (" ..." if len(open_now) > 3 else "")
            self._reporter.report("note", f"worker {worker.slot_number}", reason=f"lost ({why}); goes back: {names}")
        for job in given_up:
            record = SequenceRecord("failed", reason=self._leases.given_up[job.name])
            self._store.fail(job.name, record)
            self._reporter.report("failed", job.name, reason=record.reason)

    def _token(self, worker: int, lease: int) -> str:
        """Names an attempt at a sequence among all of all parents."""
        return f"{self._run}-{worker}-{lease}"

    # talk

    def _send(self, worker: _Worker, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # its end will be noticed when it is listened to
            worker.pipe.send(message)

    def _serve(self) -> None:
        """Gives jobs to the workers that asked for one."""
        assert self._leases is not None
        self._leases.workers = max(1, len(self._slots) - len(self._broken))
        for worker in [worker for worker in self._workers if worker.asking]:
            lease = self._leases.take(worker.number, worker.asked)
            if lease is not None:
                worker.leases[lease.number] = lease.job.name
                self._send(worker, ("job", lease.job, self._token(worker.number, lease.number), lease.number))
            elif worker.asked is not None:
                self._send(worker, ("none",))
            else:
                continue  # it has nothing to do, and waits for what may come back from others
            worker.asking = False

    def _listen(self, timeout: float) -> tuple[RunSettings, dict[str, object]] | None:
        """Handles what the workers say; returns what a ready worker says of the run, if one did and none had before."""
        first = None
        ready = wait([worker.pipe for worker in self._workers], timeout)
        for worker in [worker for worker in self._workers if worker.pipe in ready]:
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            first = self._hear(worker, message) or first
        return first

    def _hear(self, worker: _Worker, message: tuple[Any, ...]) -> tuple[RunSettings, dict[str, object]] | None:
        kind, *rest = message
        if self._leases is not None:
            self._leases.renew(worker.number)
        if kind == "ready":
            settings, environment, note = rest
            worker.ready = True
            same_settings(self._settings, settings, f"worker {worker.slot_number}")
            if note is not None:
                self._reporter.report("note", f"worker {worker.slot_number}", reason=note)
            if self._settings is None:
                self._settings = settings
                return settings, {**environment, "workers": [slot.device for slot in self._slots]}
        elif kind == "broken":
            self._broken[worker.slot_number] = rest[0]
            if len(self._broken) < len(self._slots):
                self._reporter.report("note", f"worker {worker.slot_number}", reason=f"cannot be used: {rest[0]}")
        elif kind == "fatal":
            raise StoreError(rest[0])
        elif kind == "take":
            worker.asking, worker.asked = True, rest[0]
        elif kind == "result":
            self._take_result(worker, *rest)
        elif kind == "event":
            arguments, named = rest
            if self._leases is not None:
                self._leases.progress(arguments[1], named.get("frames", 0))
            self._reporter.report(*arguments, **named)
        return None

    def _take_result(self, worker: _Worker, number: int, ready: str) -> None:
        """A complete sequence: counts if the worker still has the lease."""
        assert self._leases is not None
        assert self._store is not None
        worker.leases.pop(number, None)
        self._deaths[worker.slot_number] = 0
        job = self._leases.finish(number)
        if job is None:
            self._store.inside.remove(ready, quiet=True)
        elif collect(self._store, ready, self._spec.dataset, self._reporter.report) is None:
            record = SequenceRecord("failed", reason="its result files were damaged on the way")
            self._store.fail(job.name, record)
            self._reporter.report("failed", job.name, reason=record.reason)

    def _keep_finished(self) -> None:
        """At the end, whatever ends it: results that a worker has already told of."""
        with contextlib.suppress(Exception):
            while self._workers and wait([worker.pipe for worker in self._workers], 0):
                self._listen(0)

    def _keep_untold(self, store: RunStore) -> None:
        """Results that a worker finished when it was no longer listened to."""
        with contextlib.suppress(Exception):
            take_over(store, self._spec.dataset, overwrite=False)


@contextlib.contextmanager
def _environment_for(slot: WorkerSlot) -> Iterator[None]:
    """Environment of a process that is started inside: libraries read the number of threads when they are loaded."""
    name = "OMP_NUM_THREADS"
    before = os.environ.get(name)
    if slot.threads is not None and before is None:
        os.environ[name] = str(slot.threads)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)


def _how_it_ended(code: int | None) -> str:
    """
    >>> _how_it_ended(-9), _how_it_ended(1)
    ('killed by SIGKILL, perhaps because the machine ran out of memory', 'exit code 1')
    """
    if code is None:
        return "it does not answer"
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"killed by {name}" + (", perhaps because the machine ran out of memory" if name == "SIGKILL" else "")


# ---------------------------------------------------------------------------------------------- in the worker


def _worker_main(
    pipe: Connection, spec: RunSpec, slot: WorkerSlot, out: str, max_lanes: int | Literal["auto"] | None, log: bool
) -> None:
    """A worker process from start to end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    try:
        setup = spec.open(slot)
        tracker = setup.tracker
        tracker.check()
        lanes, note = tracker.choose_lanes(max_lanes, free=free_share(setup, slot))
        environment = environment_of(tracker, lanes)
        settings = setup.settings()
    except Exception as error:
        _log.debug("a worker could not start", exc_info=error)
        with contextlib.suppress(OSError):
            pipe.send(("broken", str(error) if isinstance(error, MosamError) else one_line(error)))
        return
    try:
        pipe.send(("ready", settings, environment, note))
        source = _PipeSource(pipe)
        sink = WorkerResultSink(Path(out), settings, source.token, source.report)
        track_sequences(
            setup.dataset, tracker, setup.options, sink, Lanes(source, lanes), _EventPipe(pipe).report, log=log,
        )  # fmt: skip
    except StoreError as error:
        with contextlib.suppress(OSError):
            pipe.send(("fatal", str(error)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone; what is unfinished is cleared by the next run


def free_share(setup: TrackingSetup, slot: WorkerSlot) -> int | None:
    """Bytes of memory for a worker among others; None = all that is free."""
    if slot.share >= 1 or setup.model is None:
        return None
    from mosam.engine.capacity import free_memory

    return int(slot.share * free_memory(setup.model.device))


class _PipeSource:
    """The parent's queue, as a worker sees it."""

    def __init__(self, pipe: Connection):
        self._pipe = pipe
        self._tokens: dict[str, tuple[str, int]] = {}
        self._empty_until = 0.0

    def take(self, room: int | None) -> Job | None:
        """See `mosam.tracking.schedule.Source`; with no open job it waits for one, or until everything is done."""
        if room is not None and time.monotonic() < self._empty_until:
            return None
        self._pipe.send(("take", room))
        kind, *rest = self._pipe.recv()
        if kind != "job":
            self._empty_until = time.monotonic() + ASK_EVERY
            return None
        job, token, lease = rest
        self._tokens[job.name] = (token, lease)
        return dataclasses.replace(job)

    def token(self, name: str) -> str:
        """Of the sequence's lease."""
        return self._tokens[name][0]

    def report(self, outcome: str, name: str, ready: str) -> None:
        """Tells the parent that a sequence is complete or has failed."""
        self._pipe.send(("result", self._tokens[name][1], ready))


class _EventPipe:
    """Events on their way to the parent, not more of them than a person can read."""

    def __init__(self, pipe: Connection):
        self._pipe = pipe
        self._told: dict[str, float] = {}

    def report(self, event: str, name: str, **named: Any) -> None:
        """See `mosam.tracking.events.Report`; the parent reports how a sequence ended: it knows whether it counts."""
        now = time.monotonic()
        if event in ("done", "failed") or (event == "frame" and now < self._told.get(name, 0.0) + TELL_EVERY):
            return
        self._told[name] = now
        self._pipe.send(("event", (event, name), named))
