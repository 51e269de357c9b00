"""Walks a dataset: frames -> engine -> result files, several sequences at a time, each kept or failed on its own."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from mosam.errors import MismatchError, MissingDataError, MosamError, one_line
from mosam.frame_log import FrameLogWriter, log_path
from mosam.schedule import Job, JobQueue, Lanes, longest_first
from mosam.store import RunRecord, RunSettings, RunStore, SequenceRecord, StoreError, writing

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
        length: frames it has; 0 where not known.
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
        log: also write what was read and chosen on every frame, `log/<sequence>.jsonl` (`mosam.frame_log`); sequences
            that were done before have none.
        progress: called on every event, from this thread.
    Raises:
        MissingDataError: a sequence that was asked for is not on disk.
        MismatchError: `out` holds results made with other settings, or from other annotations.
        StoreError: results cannot be written; finished sequences are kept.
    """
    from mosam.codecs import CodecOptions
    from mosam.engine.parity import Parity

    if max_lanes is not None and max_lanes != "auto" and max_lanes < 1:
        raise ValueError(f"max_lanes: expected at least 1, got {max_lanes}")
    dataset.require(frames=True)
    parity = Parity() if parity is None else parity
    options = CodecOptions(box_from_mask=dataset.info.box_from_mask) if options is None else options
    settings = describe_settings(dataset, model, policy, parity=parity, options=options)
    lanes, note = choose_lanes(model, policy, max_lanes)
    store = open_store(dataset, settings, _environment(model, lanes), out=out, overwrite=overwrite)
    with store:
        teller = Teller(len(dataset), progress)
        if note is not None:
            teller.tell("note", "", reason=note)
        jobs = describe_jobs(dataset, find_work(dataset, store, teller.tell), policy, ordered=lanes > 1)
        teller.expect(jobs)
        queue = JobQueue(jobs) if lanes > 1 else _InOrder(jobs)
        walk(dataset, model, policy, parity, options, store, Lanes(queue, lanes), teller.tell, log=log)
        return result_of(dataset, store)


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
        MismatchError: a finished one was tracked from another annotation.
    """
    from mosam.codecs import CODECS

    codec, left = CODECS[dataset.info.result_format], []
    for name in dataset:
        record = store.record.sequences.get(name)
        if record is not None and record.status == "done":
            paths = codec.paths(dataset[name])
            why = store.check(name, paths)
            if why is None:
                if record.annotation != _annotation(dataset, name):
                    raise MismatchError(
                        f"{store.folder}: {name} was tracked from another annotation than is there now; choose another "
                        "folder with --results, or throw the old results away with --overwrite"
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
    """Where results of a sequence go: the run's store, or a worker's way to it. See `mosam.store.RunStore`."""

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
        _Walk(dataset, sink, codec, options, new_engine, lanes, tell, log).go()


def _behind(codec: Any) -> contextlib.AbstractContextManager[Any]:
    """Pictures are written in the background; boxes cost nothing."""
    from mosam.codecs.background import in_background

    return in_background(codec, threads=1 if not codec.masks else 2)


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
        """See `mosam.schedule.Source`."""
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
        output={"format": dataset.info.result_format, **dataclasses.asdict(options)},
    )


def _environment(model: Backbone, max_lanes: int) -> dict[str, object]:
    from mosam.environment import describe_environment

    return {**describe_environment(), "device": str(model.device), "max_lanes": max_lanes}


def _annotation(dataset: Dataset, name: str) -> str:
    return dataset.select([name]).annotation_hash()


def _suitable_threads(model: Backbone) -> contextlib.AbstractContextManager[None]:
    if not hasattr(model, "sizes"):  # a network of a test
        return contextlib.nullcontext()
    from mosam.model.threads import suitable_threads

    return suitable_threads(model)


def _new_engine(model: Backbone, policy: MemoryPolicy, parity: Parity, max_lanes: int, log: bool) -> Any:
    from mosam.engine.engine import Engine

    return Engine(model, policy, parity=parity, max_lanes=max_lanes, log=log)


@dataclass(slots=True, eq=False)
class _Open:
    """A sequence in flight. `waiting` holds engine seconds of frames whose result is not final yet."""

    name: str
    sequence: Sequence
    annotation: str
    video: Any
    frames: Iterator[tuple[Image, Any]]
    writer: Any
    opened: float
    log: Any = None
    read: int = 0
    written: int = 0
    after: list[Any] = field(default_factory=list)
    seconds: float = 0.0
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
    ):
        self._log = log
        self._dataset = dataset
        self._sink = sink
        self._codec = codec
        self._options = options
        self._new_engine = new_engine
        self._lanes = lanes
        self._progress = tell
        self._engine: Any = None
        self._open: list[_Open] = []

    def go(self) -> None:
        """Does what there is to do."""
        try:
            while self._fill():
                frames = {
                    item.video: frame for item in list(self._open) if (frame := self._next_frame(item)) is not None
                }
                if frames:
                    self._step(frames)
        finally:
            for item in self._open:
                _stop_reading(item)

    def _fill(self) -> bool:
        """Opens sequences until the lanes are full; False where none is open then."""
        while (job := self._lanes.next()) is not None:
            try:
                self._open.append(self._start(job.name))
            except StoreError:
                raise
            except Exception as error:
                self._fail(job.name, error)
        return bool(self._open)

    def _start(self, name: str) -> _Open:
        from mosam.datasets.frames import prefetch

        opened = time.perf_counter()
        sequence = self._dataset[name]
        prompts = sequence.prompts
        if not prompts:
            raise MissingDataError(f"{name}: expected a prompt for at least one object, found none")
        with writing(self._sink.folder):
            partial = self._sink.partial(name)
            writer = self._codec.writer(partial, sequence, self._options)
            log = FrameLogWriter(partial, name) if self._log else None
        if self._engine is None:
            self._engine = self._new_engine()
        overlap = self._codec.non_overlap
        video = self._engine.open(prompts, num_frames=len(sequence), size=sequence.source.size(), non_overlap=overlap)
        source = cast("FrameSource", _Watched(sequence.source, self._engine.motion_stream()))
        frames = cast("Iterator[tuple[Image, Any]]", prefetch(source))
        item = _Open(name, sequence, _annotation(self._dataset, name), video, frames, writer, opened, log)
        self._tell("start", name, item)
        return item

    def _next_frame(self, item: _Open) -> tuple[Image, Any] | None:
        """The next image of a sequence and its motion; None where it could not be read and the sequence has failed."""
        with self._failing_alone(item):
            frame = _next_of(item)
            if frame is None:
                raise MissingDataError(f"{item.name}: expected {len(item.sequence)} frames, found {item.read}")
            item.read += 1
            return frame
        return None

    def _step(self, frames: dict[Any, tuple[Image, Any]]) -> None:
        batch = [item for item in self._open if item.video in frames]
        images = {video: image for video, (image, _) in frames.items()}
        motion = {video: pair for video, (_, pair) in frames.items() if pair is not None}
        started = time.perf_counter()
        try:
            if getattr(self._engine, "ahead", False):
                self._prepare(batch)
            self._engine.step(images, motion)
        except Exception as error:
            self._step_failed(batch, error)
            return
        share = (time.perf_counter() - started) / len(batch)
        for item in batch:
            item.seconds += share
            item.waiting[item.read - 1] = share
            self._tell("frame", item.name, item)
            with self._failing_alone(item):
                self._write(item, self._engine.drain(item.video))
                if item.read == len(item.sequence):
                    self._finish(item)

    def _prepare(self, batch: list[_Open]) -> None:
        """Lets the engine encode the frames after these, where every sequence of the batch has one that is read."""
        going_on = [item for item in batch if item.read < len(item.sequence)]
        for item in going_on:
            if not item.after:
                _look_ahead(item)
        images = {item.video: item.after[0][0] for item in going_on if isinstance(item.after[0], tuple)}
        if images:
            self._engine.prepare(images)

    @contextlib.contextmanager
    def _failing_alone(self, item: _Open) -> Iterator[None]:
        """What goes wrong inside concerns one sequence: it fails, its memory is given back, the others go on."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                self._engine.close(item.video)
            self._fail(item.name, error, item)

    def _step_failed(self, batch: list[_Open], error: Exception) -> None:
        """The engine is in an unknown state: a new one starts its sequences again, fewer at a time or one by one."""
        from mosam.engine.capacity import is_out_of_memory

        device, self._engine = getattr(self._engine, "device", None), None
        if len(self._open) == 1:
            self._fail(batch[0].name, error, batch[0])
            return
        rows = self._lanes.rows
        if is_out_of_memory(error):
            again, reason = self._lanes.back_off(), f"out of memory with {rows} lanes, goes on with {self._lanes.rows}"
        else:
            again, reason = self._lanes.retry_alone(), f"a batch failed ({one_line(error)}), each is tried alone"
        _log.debug("a batch of %d sequences failed", len(batch), exc_info=error)
        for item in list(self._open):
            self._leave(item)
            self._sink.discard(item.name)
        self._tell("note", f"{len(again)} sequences", reason=reason)
        if is_out_of_memory(error) and device is not None:
            from mosam.engine.capacity import release_memory

            release_memory(device)

    def _write(self, item: _Open, outputs: list[FrameOutput]) -> None:
        with writing(self._sink.folder):
            for output in outputs:
                item.writer.add(output, item.waiting.pop(output.frame_index))
                if item.log is not None:
                    item.log.add(output)
                item.written += 1

    def _finish(self, item: _Open) -> None:
        self._write(item, self._engine.close(item.video))
        if item.written != len(item.sequence):
            raise MosamError(f"{item.name}: expected results of {len(item.sequence)} frames, got {item.written}")
        with writing(self._sink.folder):
            item.writer.finish()
            if item.log is not None:
                item.log.close()
        self._leave(item)
        record = SequenceRecord(
            "done", item.written, item.seconds, time.perf_counter() - item.opened, annotation=item.annotation
        )
        logs = [log_path(item.name)] if item.log is not None else []
        self._sink.commit(item.name, self._codec.paths(item.sequence), record, unhashed=logs)
        self._lanes.close(item.name)
        self._tell("done", item.name, item)

    def _fail(self, name: str, error: Exception, item: _Open | None = None) -> None:
        _log.debug("%s failed", name, exc_info=error)
        if item is not None:
            self._leave(item)
        reason = one_line(error)
        frames, seconds = (item.read, item.seconds) if item else (0, 0.0)
        self._sink.fail(name, SequenceRecord("failed", frames, seconds, reason=reason))
        self._lanes.close(name)
        self._tell("failed", name, item, reason=reason)

    def _leave(self, item: _Open) -> None:
        _stop_reading(item)
        self._codec.drop(item.name)
        if item.log is not None:
            item.log.close()
        if item in self._open:
            self._open.remove(item)

    def _tell(self, event: Event, name: str, item: _Open | None = None, *, reason: str | None = None) -> None:
        frames, length, seconds = (item.read, len(item.sequence), item.seconds) if item else (0, 0, 0.0)
        self._progress(event, name, frames=frames, length=length, seconds=seconds, reason=reason)


class _Watched:
    """Frames of a sequence with the motion that leads to each, for a reader thread that runs ahead of the network."""

    def __init__(self, source: FrameSource, stream: Any):
        self._source, self._stream = source, stream

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> tuple[Image, Any]:
        """A frame, and what the policy's motion stream says of it (None where it reads no motion); in order."""
        image = self._source.read(index)
        return image, None if self._stream is None else self._stream.push(image)


def _look_ahead(item: _Open) -> None:
    """Reads one frame more; an error is kept until its turn."""
    try:
        item.after.append(next(item.frames, None))
    except Exception as error:
        item.after.append(error)


def _next_of(item: _Open) -> tuple[Image, Any] | None:
    """The next frame, or the one that was read ahead."""
    if not item.after:
        return next(item.frames, None)
    frame = item.after.pop()
    if isinstance(frame, Exception):
        raise frame
    return cast("tuple[Image, Any] | None", frame)


def _stop_reading(item: _Open) -> None:
    """Ends the reader thread of a sequence."""
    item.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
