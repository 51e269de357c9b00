"""Walks a dataset: frames -> engine -> result files, several sequences at a time, each kept or failed on its own."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from mosam.errors import MismatchError, MissingDataError, MosamError, one_line
from mosam.results.frame_log import FrameLogWriter, log_path
from mosam.results.handover import take_over
from mosam.results.store import RunRecord, RunSettings, RunStore, SequenceRecord, StoreError, writing
from mosam.system.arguments import callback, has, instance, path_like, switch, whole
from mosam.tracking.modes import ONCE, PLAYS, Pass, Play
from mosam.tracking.schedule import Job, JobQueue, Lanes, longest_first

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset, FrameSource, Sequence
    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy
    from mosam.types import FrameOutput, Image

NETWORK_OPTIONS = ("formulas", "resize")  # choices some networks have besides weights and precision

Event = Literal["kept", "redo", "start", "frame", "done", "failed", "note"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that happened during a run.

    Attributes:
        event: `kept` (done before and intact), `redo` (to be done again), `start`, `frame`, `done`, `failed`, or `note`
            (something to know about the run; `reason` says what).
        sequence: its name.
        finished: sequences that are done or have failed, kept ones included.
        total: sequences of the run.
        frames: frames of this sequence tracked so far.
        length: frames there are to track; 0 where not known.
        seconds: engine time spent on it so far.
        reason: why it failed or is done again.
        ahead: frames of the whole run that are still to be tracked; 0 where not known.
        longest: the most of them that one sequence has.
    """

    event: Event
    sequence: str
    finished: int
    total: int
    frames: int = 0
    length: int = 0
    seconds: float = 0.0
    reason: str | None = None
    ahead: int = 0
    longest: int = 0


@dataclass(frozen=True, slots=True)
class RunResult:
    """Where a run lies and what became of its sequences.

    Attributes:
        path: its folder.
        done: sequences of this call that have results, in the dataset's order.
        failed: reason of each that has none.
        record: what `run.json` holds.
    """

    path: Path
    done: tuple[str, ...]
    failed: Mapping[str, str]
    record: RunRecord


def run(
    dataset: Dataset,
    model: Backbone,
    policy: MemoryPolicy,
    *,
    out: str | Path,
    max_lanes: int | Literal["auto"] | None = 1,
    parity: Parity | None = None,
    options: CodecOptions | None = None,
    overwrite: bool = False,
    log: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Tracks every sequence of a dataset and writes raw results in the benchmark's own format.

    Started again with the same arguments it keeps what is finished and intact and does the rest. A sequence that fails
    is recorded with its reason, and the others go on.

    Args:
        dataset: what to track; `Dataset.select` takes some of its sequences.
        model: the network.
        policy: the tracker.
        out: the run's folder.
        max_lanes: rows of one batch: objects (times hypotheses) tracked together, of as many sequences as that takes,
            the longest first; when one ends the next takes its place. `auto` = what suits the device and its free
            memory; None = that on a GPU, else 1. Fewer are used where they do not fit.
        parity: which program the engine imitates; None = the official one.
        options: how results are written; None = as the benchmark usually has it.
        overwrite: throw away what another run left in `out`.
        log: also write what was read and chosen on every frame, `log/<sequence>.jsonl` (`mosam.results.frame_log`);
            sequences that were done before have none.
        progress: called on every event, from this thread.
    Raises:
        MissingDataError: a sequence that was asked for, or weights of a motion estimator, are not on disk.
        MosamError: no such motion estimator.
        ValueError: an argument of another type or out of range.
        MismatchError: `out` holds results made with other settings, or from other annotations.
        StoreError: results cannot be written; finished sequences are kept.
    """
    from mosam.codecs import CodecOptions
    from mosam.engine.parity import Parity

    _check_arguments(dataset, model, policy, out, max_lanes, parity, options, progress)
    for name, value in (("overwrite", overwrite), ("log", log)):
        switch(value, f"run: {name}")
    dataset.require(frames=True)
    _check_motion(policy)
    parity = Parity() if parity is None else parity
    options = CodecOptions(box_from_mask=dataset.info.box_from_mask) if options is None else options
    settings = describe_settings(dataset, model, policy, parity=parity, options=options)
    lanes, note = choose_lanes(model, policy, max_lanes)
    store = open_store(dataset, settings, environment_of(model, lanes), out=out, overwrite=overwrite)
    with store:
        teller = Teller(len(dataset), progress)
        take_over(store, dataset, overwrite=overwrite)
        if note is not None:
            teller.tell("note", "", reason=note)
        jobs = describe_jobs(dataset, find_work(dataset, store, teller.tell), policy, ordered=lanes > 1)
        teller.expect(jobs)
        queue = JobQueue(jobs) if lanes > 1 else _InOrder(jobs)
        walk(dataset, model, policy, parity, options, store, Lanes(queue, lanes), teller.tell, log=log)
        return result_of(dataset, store)


def _check_arguments(
    dataset: Any, model: Any, policy: Any, out: Any, max_lanes: Any, parity: Any, options: Any, progress: Any
) -> None:
    """ValueError that names the argument of `run` which is of another type or out of range."""
    from mosam.codecs import CodecOptions
    from mosam.engine.parity import Parity

    has(dataset, ("info", "require"), "run: dataset", "a dataset (mosam.load_dataset)")
    has(model, ("weights_hash",), "run: model", "a network (mosam.load_model)")
    has(policy, ("label", "hypotheses"), "run: policy", "a policy (mosam.load_policy)")
    path_like(out, "run: out")
    if max_lanes is not None and max_lanes != "auto":
        whole(max_lanes, "run: max_lanes", 1)
    instance(parity, (Parity, type(None)), "run: parity", "a mosam.Parity or None")
    instance(options, (CodecOptions, type(None)), "run: options", "mosam.CodecOptions or None")
    callback(progress, "run: progress")


def open_store(
    dataset: Dataset, settings: RunSettings, environment: Mapping[str, Any], *, out: str | Path, overwrite: bool
) -> RunStore:
    """The folder of a run; a context manager."""
    return RunStore(
        out,
        settings,
        selection=None if dataset.subset is None else list(dataset),
        annotation_hash=dataset.annotation_hash(),
        environment=environment,
        overwrite=overwrite,
        names=list(dataset),
    )


def result_of(dataset: Dataset, store: RunStore) -> RunResult:
    """What became of the dataset's sequences, from the store's record."""
    wanted = set(dataset)
    failed = {name: why for name, why in store.record.failed.items() if name in wanted}
    done = tuple(name for name in dataset if name not in failed)
    return RunResult(store.folder, done, failed, store.record)


def find_work(dataset: Dataset, store: RunStore, tell: Tell) -> list[str]:
    """Names of the sequences that still have to be done; what is finished and intact is kept.

    Raises:
        MismatchError: a finished one was tracked from another annotation or from other pictures.
    """
    from mosam.codecs import CODECS

    for note in store.notes:
        tell("note", "", reason=note)
    codec, left = CODECS[dataset.info.result_format], []
    for name in dataset:
        record = store.record.sequences.get(name)
        if record is not None and record.status == "done":
            sequence = dataset[name]
            paths = codec.paths(sequence)
            why = store.check(name, paths)
            if why is None:
                if record.annotation != _annotation(dataset, name):
                    raise MismatchError(
                        f"{store.folder}: {name} was tracked from another annotation than is there now; choose another "
                        "folder with --results, or throw the old results away with --overwrite"
                    )
                if record.pictures is not None and record.pictures != _pictures(sequence):
                    raise MismatchError(
                        f"{store.folder}: {name} was tracked from other pictures than are there now; put those back, "
                        "choose another folder with --results, or throw the old results away with --overwrite"
                    )
                tell("kept", name)
                continue
            store.forget(name, paths)
            tell("redo", name, reason=why)
        elif record is not None:
            tell("redo", name, reason=f"failed before: {record.reason}")
        left.append(name)
    return left


def describe_jobs(dataset: Dataset, names: Iterable[str], policy: MemoryPolicy, *, ordered: bool = True) -> list[Job]:
    """Sequences as jobs.

    Args:
        dataset: theirs.
        names: which.
        policy: the tracker; its hypotheses are rows.
        ordered: whether their order matters, so that lengths must be known; one that cannot be opened counts as
            shortest and fails when its turn comes.
    """
    jobs = []
    for name in names:
        job = Job(name)
        if ordered:
            with contextlib.suppress(Exception):
                sequence = dataset[name]
                job = Job(name, len(sequence), max(1, len(sequence.object_ids)) * policy.hypotheses)
        jobs.append(job)
    return longest_first(jobs) if ordered else jobs


class Tell(Protocol):
    """Takes an event of a sequence."""

    def __call__(
        self,
        event: Event,
        name: str,
        *,
        frames: int = 0,
        length: int = 0,
        seconds: float = 0.0,
        reason: str | None = None,
    ) -> None:
        """See `Progress`."""


class Teller:
    """Turns events of sequences into progress of a run.

    Args:
        total: sequences of the run.
        progress: called with each, or None.
    """

    def __init__(self, total: int, progress: Callable[[Progress], None] | None):
        self._total, self._progress, self._finished = total, progress, 0
        self._ahead: dict[str, int] = {}
        self._lengths: dict[str, int] = {}

    def expect(self, jobs: Iterable[Job]) -> None:
        """Says how long the sequences are, for the time left."""
        self._lengths = {job.name: job.frames for job in jobs}
        self._ahead = dict(self._lengths)

    def tell(
        self,
        event: Event,
        name: str,
        *,
        frames: int = 0,
        length: int = 0,
        seconds: float = 0.0,
        reason: str | None = None,
    ) -> None:
        """See `Tell`."""
        if event in ("kept", "done", "failed"):
            self._finished += 1
            self._ahead.pop(name, None)
        elif name in self._ahead:
            self._ahead[name] = max(0, self._lengths[name] - frames)
        if self._progress is None:
            return
        ahead, longest = sum(self._ahead.values()), max(self._ahead.values(), default=0)
        self._progress(
            Progress(event, name, self._finished, self._total, frames, length, seconds, reason, ahead, longest)
        )


class Sink(Protocol):
    """Where results of a sequence go: the run's store, or a worker's way to it. See `mosam.results.store.RunStore`."""

    @property
    def folder(self) -> Path:
        """The run's folder, for errors."""

    def partial(self, name: str) -> Path:
        """A new empty folder to write the results of one sequence into."""

    def commit(
        self, name: str, paths: Iterable[str], record: SequenceRecord, *, unhashed: Iterable[str] = ()
    ) -> SequenceRecord:
        """The files of a sequence are complete."""

    def fail(self, name: str, record: SequenceRecord) -> None:
        """A sequence failed."""

    def discard(self, name: str) -> None:
        """Drops the unfinished results of a sequence."""


def walk(
    dataset: Dataset,
    model: Backbone,
    policy: MemoryPolicy,
    parity: Parity,
    options: CodecOptions,
    sink: Sink,
    lanes: Lanes,
    tell: Tell,
    *,
    log: bool = False,
) -> None:
    """Tracks what the lanes' source gives until it gives nothing more.

    Args:
        dataset: where sequences come from.
        model, policy, parity, options, log: as for `run`.
        sink: where results go.
        lanes: what is tracked when.
        tell: called on every event, from this thread.
    """
    from mosam.codecs import CODECS

    def new_engine() -> Any:
        return _new_engine(model, policy, parity, max(1, lanes.rows // policy.hypotheses), log)

    with _suitable_threads(model), _behind(CODECS[dataset.info.result_format]) as codec:
        _Walk(dataset, sink, codec, options, new_engine, lanes, tell, log, policy.hypotheses).go()


def _behind(codec: Any) -> contextlib.AbstractContextManager[Any]:
    """Masks are written in the background; boxes cost nothing."""
    from mosam.codecs.background import in_background, writer_threads

    return in_background(codec, threads=writer_threads() if codec.masks else 1)


def choose_lanes(
    model: Backbone, policy: MemoryPolicy, max_lanes: int | Literal["auto"] | None, *, free: int | None = None
) -> tuple[int, str | None]:
    """Rows of a batch, and a line to tell where they are not what was asked for.

    Args:
        model: on its device.
        policy: the tracker.
        max_lanes: as for `run`.
        free: bytes of memory for it; None = all that is free.
    """
    from mosam.engine import capacity

    if max_lanes is None:
        max_lanes = "auto" if model.device.type == "cuda" else 1
    if not hasattr(model, "sizes"):  # a network of a test
        return (1 if max_lanes == "auto" else max_lanes), None
    if max_lanes == 1:
        return 1, None
    return capacity.choose_lanes(max_lanes, capacity.measure_capacity(model, policy, free=free))


class _InOrder:
    """Jobs one after the other, as they are given."""

    def __init__(self, jobs: Iterable[Job]):
        self._jobs = iter(jobs)

    def take(self, room: int | None = None) -> Job | None:
        """See `mosam.tracking.schedule.Source`."""
        return next(self._jobs, None)


def describe_settings(
    dataset: Dataset, model: Backbone, policy: MemoryPolicy, *, parity: Parity, options: CodecOptions
) -> RunSettings:
    """What the results of a run depend on, as `run.json` records it and a resumed run compares it."""
    return RunSettings(
        dataset=dataset.name,
        split=dataset.split,
        prompt=dataset.prompt,
        seed=dataset.seed,
        tracker=policy.label,
        policy=dataclasses.asdict(policy.config),
        model=model.name,
        weights_hash=model.weights_hash,
        precision=str(model.dtype).removeprefix("torch."),
        device=model.device.type,
        network={key: getattr(model, key) for key in NETWORK_OPTIONS if hasattr(model, key)},
        engine=dataclasses.asdict(parity),
        output={
            "format": dataset.info.result_format,
            **({} if dataset.info.play == ONCE else {"play": dataset.info.play}),
            **options.describe(),
        },
    )


def _check_motion(policy: MemoryPolicy) -> None:
    """Estimators are built once before anything is written, so that a wrong name or missing weights fail at once."""
    needs = policy.motion()
    if needs is not None:
        from mosam.motion.field import build_estimators

        build_estimators(needs.sparse, needs.dense)


def environment_of(model: Backbone, max_lanes: int) -> dict[str, Any]:
    """What a run's record says of the machine and of what changes speed but no setting."""
    from mosam.results.environment import describe_environment

    compiled = {"compiled": True} if getattr(model, "compiled", False) else {}
    return {**describe_environment(), "device": str(model.device), "max_lanes": max_lanes, **compiled}


def _annotation(dataset: Dataset, name: str) -> str:
    return dataset.select([name]).annotation_hash()


def _pictures(sequence: Sequence) -> str | None:
    from mosam.datasets.fingerprint import fingerprint_frames

    return fingerprint_frames(sequence.source)


def _suitable_threads(model: Backbone) -> contextlib.AbstractContextManager[None]:
    if not hasattr(model, "sizes"):  # a network of a test
        return contextlib.nullcontext()
    from mosam.model.threads import suitable_threads

    return suitable_threads(model)


def _new_engine(model: Backbone, policy: MemoryPolicy, parity: Parity, max_lanes: int, log: bool) -> Any:
    from mosam.engine.engine import Engine

    return Engine(model, policy, parity=parity, max_lanes=max_lanes, log=log)


@dataclass(slots=True, eq=False)
class _Job:
    """A sequence in flight.

    Attributes:
        waiting: passes that can be played but are not yet.
        lanes: passes being played.
        read, seconds: frames given to the engine, and its time for them.
    """

    name: str
    sequence: Sequence
    annotation: str
    pictures: str | None
    play: Play
    opened: float
    waiting: deque[Pass]
    log: Any = None
    lanes: list[_Lane] = field(default_factory=list)
    read: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Lane:
    """A pass in flight. `waiting` holds engine seconds of frames whose result is not final yet."""

    job: _Job
    played: Pass
    video: Any
    frames: Iterator[tuple[Image, Any]]
    rows: int = 1
    read: int = 0
    written: int = 0
    after: list[Any] = field(default_factory=list)  # read ahead of its turn
    waiting: dict[int, float] = field(default_factory=dict)


class _Walk:
    """One pass over the sequences that still have to be done."""

    def __init__(
        self,
        dataset: Dataset,
        sink: Sink,
        codec: Any,
        options: CodecOptions,
        new_engine: Callable[[], Any],
        lanes: Lanes,
        tell: Tell,
        log: bool = False,
        hypotheses: int = 1,
    ):
        self._log = log
        self._dataset = dataset
        self._sink = sink
        self._codec = codec
        self._options = options
        self._play = PLAYS[dataset.info.play]
        self._new_engine = new_engine
        self._lanes = lanes
        self._progress = tell
        self._hypotheses = hypotheses
        self._engine: Any = None
        self._jobs: list[_Job] = []

    def go(self) -> None:
        """Does what there is to do."""
        try:
            while self._fill():
                frames = {
                    lane.video: frame for lane in self._playing() if (frame := self._next_frame(lane)) is not None
                }
                if frames:
                    self._step(frames)
        finally:
            for job in list(self._jobs):
                self._leave(job)

    def _playing(self) -> list[_Lane]:
        return [lane for job in self._jobs for lane in job.lanes]

    def _fill(self) -> bool:
        """Fills the lanes: with passes of the open sequences first, then with new ones; False where none is open then.

        A sequence that follows a failed batch is played one pass at a time.
        """
        while True:
            used = sum(lane.rows for lane in self._playing())
            room = self._lanes.rows - used if not (self._lanes.careful and used) else 0
            ready = [job for job in self._jobs if job.waiting]
            job = next((job for job in ready if not job.lanes or self._rows(job.waiting[0]) <= room), None)
            if job is not None:
                with self._failing_alone(job):
                    self._play_next(job)
            elif ready or room < 1 or (found := self._lanes.next()) is None:
                return bool(self._jobs)
            else:
                self._open(found.name)

    def _rows(self, played: Pass) -> int:
        return len({prompt.object_id for prompt in played.prompts}) * self._hypotheses

    def _open(self, name: str) -> None:
        """Opens a sequence, without playing it."""
        try:
            job = self._start(name)
        except StoreError:
            raise
        except Exception as error:
            self._fail(name, error)
            return
        self._jobs.append(job)
        self._tell("start", name, job)

    def _start(self, name: str) -> _Job:
        opened = time.perf_counter()
        sequence = self._dataset[name]
        if not sequence.prompts:
            raise MissingDataError(f"{name}: expected a prompt for at least one object, found none")
        with writing(self._sink.folder):
            partial = self._sink.partial(name)
            play = self._play(partial, sequence, self._codec, self._options)
            log = FrameLogWriter(partial, name) if self._log else None
        annotation, pictures = _annotation(self._dataset, name), _pictures(sequence)
        return _Job(name, sequence, annotation, pictures, play, opened, deque(play.begin()), log=log)

    def _play_next(self, job: _Job) -> None:
        """Begins the next pass of a sequence."""
        from mosam.datasets.frames import prefetch

        if self._engine is None:
            self._engine = self._new_engine()
        played = job.waiting.popleft()
        size, overlap = job.sequence.source.size(), self._codec.non_overlap
        video = self._engine.open(played.prompts, num_frames=played.num_frames, size=size, non_overlap=overlap)
        source = cast("FrameSource", _Watched(job.sequence.source, played.frames, self._engine.motion_stream()))
        frames = cast("Iterator[tuple[Image, Any]]", prefetch(source))
        job.lanes.append(_Lane(job, played, video, frames, self._rows(played)))

    def _next_frame(self, lane: _Lane) -> tuple[Image, Any] | None:
        """The next image of a pass and its motion; None where it could not be read and the sequence has failed."""
        job = lane.job
        if lane not in job.lanes:  # another pass of its sequence failed just now
            return None
        with self._failing_alone(job):
            frame = _next_of(lane)
            if frame is None:
                raise MissingDataError(f"{job.name}: expected {len(job.sequence)} frames, found {lane.read}")
            lane.read += 1
            return frame
        return None

    def _step(self, frames: dict[Any, tuple[Image, Any]]) -> None:
        batch = [lane for lane in self._playing() if lane.video in frames]
        images = {lane.video: frames[lane.video][0] for lane in batch}
        motion = {lane.video: pair for lane in batch if (pair := frames[lane.video][1]) is not None}
        if not batch:
            return
        started = time.perf_counter()
        try:
            if getattr(self._engine, "ahead", False):
                self._prepare(batch)
            self._engine.step(images, motion)
        except Exception as error:
            self._step_failed(batch, error)
            return
        share = (time.perf_counter() - started) / len(batch)
        for lane in batch:
            job = lane.job
            if lane not in job.lanes:
                continue
            job.seconds += share
            job.read += 1
            lane.waiting[lane.read - 1] = share
            self._tell("frame", job.name, job)
            with self._failing_alone(job):
                goes_on = self._write(lane, self._engine.drain(lane.video))
                if not goes_on or lane.read == len(lane.played.frames):
                    self._end(lane, complete=goes_on)

    def _prepare(self, batch: list[_Lane]) -> None:
        """Lets the engine encode the frames after these, of every pass that has one."""
        going_on = [lane for lane in batch if lane.read < len(lane.played.frames)]
        for lane in going_on:
            if not lane.after:
                _look_ahead(lane)
        images = {lane.video: lane.after[0][0] for lane in going_on if isinstance(lane.after[0], tuple)}
        if images:
            self._engine.prepare(images)

    @contextlib.contextmanager
    def _failing_alone(self, job: _Job) -> Iterator[None]:
        """What goes wrong inside concerns one sequence: it fails, its memory is given back, the others go on."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            for lane in job.lanes:
                with contextlib.suppress(Exception):  # the first error is the one to tell
                    self._engine.close(lane.video)
            self._fail(job.name, error, job)

    def _step_failed(self, batch: list[_Lane], error: Exception) -> None:
        """The engine is in an unknown state: a new one starts its sequences again, fewer at a time or one by one."""
        from mosam.engine.capacity import is_out_of_memory, release_memory

        device, self._engine = getattr(getattr(self._engine, "model", None), "device", None), None
        alone = len(self._playing()) == 1
        if alone:
            self._fail(batch[0].job.name, error, batch[0].job)
            if not self._jobs:
                return
        rows, used = self._lanes.rows, sum(lane.rows for lane in self._playing())
        if is_out_of_memory(error) and not alone:
            again, reason = self._lanes.back_off(used), f"out of memory with {rows} lanes"
            reason += f", goes on with {self._lanes.rows}"
        else:
            again, reason = self._lanes.retry_alone(), f"a batch failed ({one_line(error)}), each is tried alone"
        _log.debug("a batch of %d passes failed", len(batch), exc_info=error)
        for job in list(self._jobs):
            self._leave(job)
            self._sink.discard(job.name)
        self._tell("note", f"{len(again)} sequences", reason=reason)
        if is_out_of_memory(error) and device is not None:
            release_memory(device)

    def _write(self, lane: _Lane, outputs: list[FrameOutput]) -> bool:
        """Hands outputs that are final to the play; False where that ends the pass, and the rest does not count."""
        job, played = lane.job, lane.played
        with writing(self._sink.folder):
            for output in outputs:
                goes_on = job.play.add(played, output, lane.waiting.pop(output.frame_index))
                if job.log is not None:
                    job.log.add(output, **self._where(played, output))
                lane.written += 1
                if not goes_on:
                    return False
        return True

    def _where(self, played: Pass, output: FrameOutput) -> dict[str, int]:
        if self._dataset.info.play == ONCE:
            return {}
        return {"frame": played.frames[output.frame_index], "start": played.frames[0]}

    def _end(self, lane: _Lane, *, complete: bool) -> None:
        """Ends a pass, and its sequence where no other follows.

        Args:
            complete: all its frames were played.
        """
        job = lane.job
        last = self._engine.close(lane.video)
        if complete and self._write(lane, last) and lane.written != len(lane.played.frames):
            raise MosamError(f"{job.name}: expected results of {len(lane.played.frames)} frames, got {lane.written}")
        lane.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
        job.lanes.remove(lane)
        with writing(self._sink.folder):
            job.waiting.extend(job.play.end(lane.played))
        if not (job.waiting or job.lanes):
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        with writing(self._sink.folder):
            job.play.finish()
        self._leave(job)
        record = SequenceRecord(
            "done", job.read, job.seconds, time.perf_counter() - job.opened, job.annotation, job.pictures
        )
        logs = [log_path(job.name)] if job.log is not None else []
        self._sink.commit(job.name, self._codec.paths(job.sequence), record, unhashed=logs)
        self._lanes.close(job.name)
        self._tell("done", job.name, job)

    def _fail(self, name: str, error: Exception, job: _Job | None = None) -> None:
        _log.debug("%s failed", name, exc_info=error)
        if job is not None:
            self._leave(job)
        reason = one_line(error)
        frames, seconds = (job.read, job.seconds) if job else (0, 0.0)
        self._sink.fail(name, SequenceRecord("failed", frames, seconds, reason=reason))
        self._lanes.close(name)
        self._tell("failed", name, job, reason=reason)

    def _leave(self, job: _Job) -> None:
        """Stops reading for a sequence, and forgets it."""
        self._codec.drop(job.name)
        for lane in job.lanes:
            lane.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
        job.lanes.clear()
        job.waiting.clear()
        if job.log is not None:
            job.log.close()
        if job in self._jobs:
            self._jobs.remove(job)

    def _tell(self, event: Event, name: str, job: _Job | None = None, *, reason: str | None = None) -> None:
        frames, length, seconds = (job.read, job.play.length, job.seconds) if job else (0, 0, 0.0)
        self._progress(event, name, frames=frames, length=length, seconds=seconds, reason=reason)


class _Watched:
    """Frames of a pass with the motion that leads to each, for a reader thread that runs ahead of the network."""

    def __init__(self, source: FrameSource, frames: range, stream: Any):
        self._source, self._frames, self._stream = source, frames, stream

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> tuple[Image, Any]:
        """A frame, and what the policy's motion stream says of it (None where it reads no motion); in order."""
        image = self._source.read(self._frames[index])
        return image, None if self._stream is None else self._stream.push(image)


def _look_ahead(lane: _Lane) -> None:
    """Reads one frame more; an error is kept until its turn."""
    try:
        lane.after.append(next(lane.frames, None))
    except Exception as error:
        lane.after.append(error)


def _next_of(lane: _Lane) -> tuple[Image, Any] | None:
    """The next frame, or the one that was read ahead."""
    if not lane.after:
        return next(lane.frames, None)
    frame = lane.after.pop()
    if isinstance(frame, Exception):
        raise frame
    return cast("tuple[Image, Any] | None", frame)
