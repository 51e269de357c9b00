"""Walks a dataset: frames -> engine -> result files, several sequences at a time, each kept or failed on its own."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from mosam.errors import MismatchError, MissingDataError, MosamError, one_line
from mosam.frame_log import FrameLogWriter, log_path
from mosam.store import RunRecord, RunSettings, RunStore, SequenceRecord, StoreError, writing

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset, FrameSource, Sequence
    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy
    from mosam.types import FrameOutput, Image

NETWORK_OPTIONS = ("formulas", "resize")  # choices some networks have besides weights and precision

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """One thing that happened during a run.

    Attributes:
        event: `kept` (done before and intact), `redo` (to be done again), `start`, `frame`, `done` or `failed`.
        sequence: its name.
        finished: sequences that are done or have failed, kept ones included.
        total: sequences of the run.
        frames: frames of this sequence tracked so far.
        length: frames it has; 0 where not known.
        seconds: engine time spent on it so far.
        reason: why it failed or is done again.
    """

    event: Literal["kept", "redo", "start", "frame", "done", "failed"]
    sequence: str
    finished: int
    total: int
    frames: int = 0
    length: int = 0
    seconds: float = 0.0
    reason: str | None = None


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
    max_lanes: int = 1,
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
        max_lanes: sequences tracked together, and rows of one batch; when one ends the next takes its place.
        parity: which program the engine imitates; None = the official one.
        options: how results are written; None = as the benchmark usually has it.
        overwrite: throw away what another run left in `out`.
        log: also write what was read and chosen on every frame, `log/<sequence>.jsonl` (`mosam.frame_log`); sequences
            that were done before have none.
        progress: called on every event, from this thread.
    Raises:
        MissingDataError: a sequence that was asked for, or weights of a motion estimator, are not on disk.
        MosamError: no such motion estimator.
        MismatchError: `out` holds results made with other settings, or from other annotations.
        StoreError: results cannot be written; finished sequences are kept.
    """
    from mosam.codecs import CODECS, CodecOptions
    from mosam.engine.parity import Parity

    if max_lanes < 1:
        raise ValueError(f"max_lanes: expected at least 1, got {max_lanes}")
    dataset.require(frames=True)
    _check_motion(policy)
    parity = Parity() if parity is None else parity
    options = CodecOptions(box_from_mask=dataset.info.box_from_mask) if options is None else options
    codec = CODECS[dataset.info.result_format]
    settings = describe_settings(dataset, model, policy, parity=parity, options=options)
    store = RunStore(
        out,
        settings,
        selection=None if dataset.subset is None else list(dataset),
        annotation_hash=dataset.annotation_hash(),
        environment=_environment(model, max_lanes),
        overwrite=overwrite,
    )
    with store, _suitable_threads(model):

        def new_engine() -> Any:
            return _new_engine(model, policy, parity, max_lanes, log)

        walk = _Walk(dataset, store, codec, options, new_engine, max_lanes, progress or (lambda event: None), log)
        walk.go()
        failed = {name: why for name, why in store.record.failed.items() if name in set(dataset)}
        done = tuple(name for name in dataset if name not in failed)
        return RunResult(store.folder, done, failed, store.record)


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


def _check_motion(policy: MemoryPolicy) -> None:
    """Estimators are built once before anything is written, so that a wrong name or missing weights fail at once."""
    needs = policy.motion()
    if needs is not None:
        from mosam.motion.field import build_estimators

        build_estimators(needs.sparse, needs.dense)


def _environment(model: Backbone, max_lanes: int) -> dict[str, object]:
    from mosam.environment import describe_environment

    return {**describe_environment(), "device": str(model.device), "max_lanes": max_lanes}


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
    seconds: float = 0.0
    waiting: dict[int, float] = field(default_factory=dict)


class _Walk:
    """One pass over the sequences that still have to be done."""

    def __init__(
        self,
        dataset: Dataset,
        store: RunStore,
        codec: Any,
        options: CodecOptions,
        new_engine: Callable[[], Any],
        max_lanes: int,
        progress: Callable[[Progress], None],
        log: bool = False,
    ):
        self._log = log
        self._dataset = dataset
        self._store = store
        self._codec = codec
        self._options = options
        self._new_engine = new_engine
        self._max_lanes = max_lanes
        self._progress = progress
        self._engine: Any = None
        self._pending: deque[str] = deque()
        self._alone: deque[str] = deque()  # members of a batch that failed, to be tried one at a time
        self._open: list[_Open] = []
        self._finished = 0

    def go(self) -> None:
        """Does what is not done."""
        for name in self._dataset:
            self._sort_out(name)
        try:
            while self._pending or self._alone or self._open:
                self._fill()
                frames = {
                    item.video: frame for item in list(self._open) if (frame := self._next_frame(item)) is not None
                }
                if frames:
                    self._step(frames)
        finally:
            for item in self._open:
                _stop_reading(item)

    def _sort_out(self, name: str) -> None:
        """Decides whether a sequence is kept or still to be done."""
        record = self._store.record.sequences.get(name)
        if record is not None and record.status == "done":
            paths = self._codec.paths(self._dataset[name])
            why = self._store.check(name, paths)
            if why is None:
                self._check_annotation(name)
                self._finished += 1
                self._tell("kept", name)
                return
            self._store.forget(name, paths)
            self._tell("redo", name, reason=why)
        elif record is not None:
            self._tell("redo", name, reason=f"failed before: {record.reason}")
        self._pending.append(name)

    def _check_annotation(self, name: str) -> None:
        recorded = self._store.record.sequences[name].annotation
        if recorded != self._annotation(name):
            raise MismatchError(
                f"{self._store.folder}: {name} was tracked from another annotation than is there now; "
                "choose another folder with --results, or throw the old results away with --overwrite"
            )

    def _annotation(self, name: str) -> str:
        return self._dataset.select([name]).annotation_hash()

    def _fill(self) -> None:
        """Opens sequences until the lanes are full."""
        lanes = 1 if self._alone else self._max_lanes
        while len(self._open) < lanes and (queue := self._alone or self._pending):
            name = queue.popleft()
            try:
                self._open.append(self._start(name))
            except StoreError:
                raise
            except Exception as error:
                self._fail(name, error)

    def _start(self, name: str) -> _Open:
        from mosam.datasets.frames import prefetch

        opened = time.perf_counter()
        sequence = self._dataset[name]
        prompts = sequence.prompts
        if not prompts:
            raise MissingDataError(f"{name}: expected a prompt for at least one object, found none")
        with writing(self._store.folder):
            partial = self._store.partial(name)
            writer = self._codec.writer(partial, sequence, self._options)
            log = FrameLogWriter(partial, name) if self._log else None
        if self._engine is None:
            self._engine = self._new_engine()
        overlap = self._codec.non_overlap
        video = self._engine.open(prompts, num_frames=len(sequence), size=sequence.source.size(), non_overlap=overlap)
        source = cast("FrameSource", _Watched(sequence.source, self._engine.motion_stream()))
        frames = cast("Iterator[tuple[Image, Any]]", prefetch(source))
        item = _Open(name, sequence, self._annotation(name), video, frames, writer, opened, log)
        self._tell("start", name, item)
        return item

    def _next_frame(self, item: _Open) -> tuple[Image, Any] | None:
        """The next image of a sequence and its motion; None where it could not be read and the sequence has failed."""
        with self._failing_alone(item):
            frame = next(item.frames, None)
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
        """The engine is in an unknown state: a new one starts the members of the batch again, one at a time."""
        self._engine = None
        if len(batch) == 1:
            self._fail(batch[0].name, error, batch[0])
            return
        _log.debug("a batch of %d sequences failed, each is tried alone", len(batch), exc_info=error)
        for item in batch:
            self._leave(item)
            self._store.discard(item.name)
            self._alone.append(item.name)

    def _write(self, item: _Open, outputs: list[FrameOutput]) -> None:
        with writing(self._store.folder):
            for output in outputs:
                item.writer.add(output, item.waiting.pop(output.frame_index))
                if item.log is not None:
                    item.log.add(output)
                item.written += 1

    def _finish(self, item: _Open) -> None:
        self._write(item, self._engine.close(item.video))
        if item.written != len(item.sequence):
            raise MosamError(f"{item.name}: expected results of {len(item.sequence)} frames, got {item.written}")
        with writing(self._store.folder):
            item.writer.finish()
            if item.log is not None:
                item.log.close()
        self._leave(item)
        record = SequenceRecord(
            "done", item.written, item.seconds, time.perf_counter() - item.opened, annotation=item.annotation
        )
        logs = [log_path(item.name)] if item.log is not None else []
        self._store.commit(item.name, self._codec.paths(item.sequence), record, unhashed=logs)
        self._finished += 1
        self._tell("done", item.name, item)

    def _fail(self, name: str, error: Exception, item: _Open | None = None) -> None:
        _log.debug("%s failed", name, exc_info=error)
        if item is not None:
            self._leave(item)
        reason = one_line(error)
        frames, seconds = (item.read, item.seconds) if item else (0, 0.0)
        self._store.fail(name, SequenceRecord("failed", frames, seconds, reason=reason))
        self._finished += 1
        self._tell("failed", name, item, reason=reason)

    def _leave(self, item: _Open) -> None:
        _stop_reading(item)
        if item.log is not None:
            item.log.close()
        if item in self._open:
            self._open.remove(item)

    def _tell(
        self,
        event: Literal["kept", "redo", "start", "frame", "done", "failed"],
        name: str,
        item: _Open | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        frames, length, seconds = (item.read, len(item.sequence), item.seconds) if item else (0, 0, 0.0)
        self._progress(Progress(event, name, self._finished, len(self._dataset), frames, length, seconds, reason))


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


def _stop_reading(item: _Open) -> None:
    """Ends the reader thread of a sequence."""
    item.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
