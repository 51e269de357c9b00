"""A run as tasks of an external scheduler: each task tracks some of the sequences, on some machine.

A task needs the run's folder on a disk that all machines share, and nothing else of the parent: what it finishes stays
there, whether or not the parent lives to collect it. A task that is repeated leaves out what it had finished.
"""

from __future__ import annotations

import json
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mosam.errors import MismatchError, MissingDataError, MosamError, one_line
from mosam.results.folder import StoreError
from mosam.results.handover import READY, WORK, WorkerResultSink, clear, collect, is_ready, ready_folders, take_over
from mosam.results.record import RECORD, RunSettings, SequenceRecord, read_record
from mosam.results.store import RunStore
from mosam.system.files import Inside
from mosam.system.typed import read_json
from mosam.tracking.events import Progress, ProgressReporter
from mosam.tracking.launch.worker import RunSpec, TrackingSetup, WorkerSlot, check_shared, leave_probe, same_settings
from mosam.tracking.loop import track_sequences
from mosam.tracking.run import (
    RunResult,
    describe_jobs,
    environment_of,
    find_work,
    open_store,
    result_of,
)
from mosam.tracking.schedule import MAX_ATTEMPTS, Job, JobQueue, Lanes

DESCRIBED = ".settings-"  # a file in which the first task says what the run is
_POLL = 0.5

_setups: dict[str, TrackingSetup] = {}  # networks stay loaded in a process that does several tasks


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What one task does.

    Attributes:
        run_spec: what to track.
        slot: where.
        folder: of the run, as every machine sees it.
        probe: name of a file in it, see `check_shared`.
        run: names this run among others in the same folder.
        jobs: the sequences; none = only say what the run is.
        max_lanes, log: as for `mosam.run`.
        expected: settings of the results that are there already.
    """

    run_spec: RunSpec
    slot: WorkerSlot
    folder: str
    probe: str
    run: str
    jobs: tuple[Job, ...]
    max_lanes: int | Literal["auto"] | None = 1
    log: bool = False
    expected: RunSettings | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """What a task says of the run, in a file."""

    settings: RunSettings
    environment: Mapping[str, Any]


def do_task(task: TaskSpec) -> str | None:
    """Tracks the sequences of a task; runs on the machine that the scheduler chose.

    Returns:
        what is wrong, one line, where nothing could be tracked; None where each sequence is done or has failed alone.
    """
    folder = Path(task.folder)
    try:
        check_shared(folder, task.probe)
        setup = _setup(task)
        settings = setup.settings()
        same_settings(task.expected, settings, str(folder))
        tracker = setup.tracker
        tracker.check()
        lanes, _ = tracker.choose_lanes(task.max_lanes)
        _describe(task, setup, settings, lanes)
        left = [job for job in task.jobs if not is_ready(folder, job.name, task.run)]
        attempt = secrets.token_hex(4)
        sink = WorkerResultSink(folder, settings, lambda name: f"{task.run}-{attempt}", lambda *what: None)
        track_sequences(
            setup.dataset, tracker, setup.options, sink, Lanes(JobQueue(left), lanes),
            lambda *arguments, **named: None, log=task.log,
        )  # fmt: skip
    except (MosamError, ValueError, OSError) as error:
        return str(error) if isinstance(error, MosamError) else one_line(error)
    return None


def _setup(task: TaskSpec) -> TrackingSetup:
    key = f"{task.run} {task.slot}"
    if key not in _setups:
        _setups.clear()
        _setups[key] = task.run_spec.open(task.slot)
    return _setups[key]


def _describe(task: TaskSpec, setup: TrackingSetup, settings: RunSettings, lanes: int) -> None:
    """Says what the run is; every task does, and all say the same."""
    target = Path(task.folder) / f"{DESCRIBED}{task.run}"
    if target.exists():
        return
    described = Described(settings, environment_of(setup.tracker, lanes))
    Inside(task.folder).write_text(target.name, json.dumps(asdict(described), default=str))


class Task(ABC):
    """A task that a scheduler has accepted."""

    @abstractmethod
    def poll(self) -> str | Literal[False] | None:
        """False while it is not finished; then what `do_task` returned, or why it did not end."""


class Launcher(ABC):
    """An external scheduler."""

    name: str
    slot: WorkerSlot

    @abstractmethod
    def split(self, jobs: Sequence[Job], rows: int | Literal["auto"] | None) -> list[list[Job]]:
        """Divides jobs into tasks."""

    @abstractmethod
    def submit(self, tasks: Sequence[TaskSpec]) -> list[Task]:
        """Hands tasks to the scheduler."""

    @abstractmethod
    def cancel(self) -> None:
        """Ends what is still running or waiting."""


def run_tasks(
    spec: RunSpec,
    launcher: Launcher,
    *,
    out: str | Path,
    max_lanes: int | Literal["auto"] | None = 1,
    overwrite: bool = False,
    log: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Tracks a dataset with the tasks of a scheduler; otherwise as `mosam.run`.

    Raises:
        StoreError: the folder is not shared by the machines.
        MosamError: no task could start; the reason is that of the first.
    """
    spec.dataset.require(frames=True)
    folder = Path(out).absolute()
    probe = leave_probe(folder)
    try:
        return TaskDispatcher(spec, launcher, folder, probe, max_lanes, overwrite, log, progress).go()
    finally:
        launcher.cancel()
        clear(folder, probe, DESCRIBED)


class TaskDispatcher:
    """Submits what is left, collects what is finished, and submits again what was lost."""

    def __init__(
        self,
        spec: RunSpec,
        launcher: Launcher,
        folder: Path,
        probe: str,
        max_lanes: int | Literal["auto"] | None,
        overwrite: bool,
        log: bool,
        progress: Callable[[Progress], None] | None,
    ):
        self._spec, self._launcher, self._folder, self._probe = spec, launcher, folder, probe
        self._max_lanes, self._overwrite, self._log = max_lanes, overwrite, log
        self._reporter = ProgressReporter(len(spec.dataset), progress)
        self._run = secrets.token_hex(4)
        self._expected: RunSettings | None = None
        self._problem: str | None = None

    def go(self) -> RunResult:
        """See `run_tasks`."""
        recorded = None
        if not self._overwrite and (self._folder / RECORD).exists():
            recorded = read_record(self._folder)
            self._expected = recorded.settings
        done = set() if recorded is None else set(recorded.done)
        tasks = self._submit([name for name in self._spec.dataset if name not in done])
        settings, environment = self._wait_for_settings(tasks)
        environment["launcher"] = self._launcher.name
        with open_store(
            self._spec.dataset, settings, environment, out=self._folder, overwrite=self._overwrite
        ) as store:
            self._expected = settings
            take_over(store, self._spec.dataset, overwrite=self._overwrite, but=self._run)
            left = set(find_work(self._spec.dataset, store, self._reporter.report))
            self._reporter.expect(describe_jobs(self._spec.dataset, sorted(left), self._spec.policy))
            for attempt in range(1, MAX_ATTEMPTS + 1):
                left -= self._finish(store, tasks)
                if not left or attempt == MAX_ATTEMPTS:
                    break
                if self._problem is not None and len(left) == len(self._spec.dataset):
                    raise MosamError(self._problem)  # nothing works anywhere
                names = [name for name in self._spec.dataset if name in left]
                self._reporter.report("note", f"{len(names)} sequences", reason=f"submitted again ({self._reason()})")
                tasks = self._submit(names, attempts=attempt)
            for name in [name for name in self._spec.dataset if name in left]:
                record = SequenceRecord("failed", reason=f"{MAX_ATTEMPTS} tasks ended without it: {self._reason()}")
                store.fail(name, record)
                self._reporter.report("failed", name, reason=record.reason)
            clear(self._folder, WORK, READY, run=self._run)
            return result_of(self._spec.dataset, store)

    def _reason(self) -> str:
        return self._problem or "no task says why"

    def _submit(self, names: Sequence[str], *, attempts: int = 0) -> list[Task]:
        jobs = describe_jobs(self._spec.dataset, names, self._spec.policy)
        split = self._launcher.split(jobs, self._max_lanes) if attempts < MAX_ATTEMPTS - 1 else [[j] for j in jobs]
        specs = [
            TaskSpec(
                self._spec, self._launcher.slot, str(self._folder), self._probe, self._run, tuple(group),
                self._max_lanes, self._log, self._expected,
            )
            for group in split or [[]]
        ]  # fmt: skip
        return self._launcher.submit(specs)

    def _wait_for_settings(self, tasks: Sequence[Task]) -> tuple[RunSettings, dict[str, Any]]:
        path = self._folder / f"{DESCRIBED}{self._run}"
        while True:
            over = [task.poll() for task in tasks]
            if path.exists():
                try:
                    found = read_json(path, Described, nan=True)
                    return found.settings, dict(found.environment)
                except MissingDataError:
                    pass  # on a network disk it may come and go
            problems = [result for result in over if isinstance(result, str)]
            if problems and all(result is not False for result in over):
                kind = StoreError if "that all machines share" in problems[0] else MosamError
                raise kind(problems[0])
            if all(result is None for result in over):
                raise StoreError(
                    f"{self._folder}: every task ended, but this machine sees nothing of it; choose a folder that all "
                    "machines share with --results"
                )
            time.sleep(_POLL)

    def _finish(self, store: RunStore, tasks: Sequence[Task]) -> set[str]:
        """Waits for tasks and collects meanwhile; returns the names that are done or have failed."""
        over: set[str] = set()
        running = list(tasks)
        while True:
            ended = [task for task in running if (result := task.poll()) is not False and self._note(result)]
            for ready in ready_folders(self._folder):
                name = self._collect(store, ready)
                if name is not None:
                    over.add(name)
            if not running:
                return over
            running = [task for task in running if task not in ended]
            if running:
                time.sleep(_POLL)

    def _note(self, result: str | None) -> bool:
        if result is not None:
            self._problem = result
        return True

    def _collect(self, store: RunStore, ready: str) -> str | None:
        try:
            return collect(store, ready, self._spec.dataset, self._reporter.report)
        except MismatchError as error:  # one machine among many
            self._problem = str(error)
            return None
