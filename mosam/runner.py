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
from mosam.plays import ONCE, PLAYS, Pass, Play
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
        length: frames there are to track; 0 where not known.
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
        max_lanes: sequences (where they are played in several passes, passes) tracked together, and rows of one batch;
            when one ends the next takes its place.
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
class _Job:
    """A sequence in flight.

    Attributes:
        waiting: passes that can be played but are not yet.
        lanes: passes being played.
        alone: nothing may be played beside its one lane.
        read, seconds: frames given to the engine, and its time for them.
    """

    name: str
    sequence: Sequence
    annotation: str
    play: Play
    opened: float
    waiting: deque[Pass]
    alone: bool = False
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
    read: int = 0
    written: int = 0
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
        self._play = PLAYS[dataset.info.play]
        self._new_engine = new_engine
        self._max_lanes = max_lanes
        self._progress = progress
        self._engine: Any = None
        self._pending: deque[str] = deque()
        self._alone: deque[str] = deque()  # members of a batch that failed, to be tried one at a time
        self._jobs: list[_Job] = []
        self._finished = 0

    def go(self) -> None:
        """Does what is not done."""
        for name in self._dataset:
            self._sort_out(name)
        try:
            while self._pending or self._alone or self._jobs:
                self._fill()
                frames = {lane.video: frame for lane in self._lanes() if (frame := self._next_frame(lane)) is not None}
                if frames:
                    self._step(frames)
        finally:
            for job in list(self._jobs):
                self._leave(job)

    def _lanes(self) -> list[_Lane]:
        return [lane for job in self._jobs for lane in job.lanes]

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
        """Fills the lanes: with passes of the open sequences first, then with those of new ones."""
        while True:
            alone = bool(self._alone) or any(job.alone for job in self._jobs)
            if len(self._lanes()) >= (1 if alone else self._max_lanes):
                return
            job = next((job for job in self._jobs if job.waiting), None)
            if job is not None:
                with self._failing_alone(job):
                    self._play_next(job)
            elif (queue := self._alone or self._pending) and not (alone and self._jobs):
                self._open(queue.popleft(), alone=queue is self._alone)
            else:
                return

    def _open(self, name: str, *, alone: bool) -> None:
        """Opens a sequence, without playing it."""
        try:
            job = self._start(name)
        except StoreError:
            raise
        except Exception as error:
            self._fail(name, error)
            return
        job.alone = alone
        self._jobs.append(job)
        self._tell("start", name, job)

    def _start(self, name: str) -> _Job:
        opened = time.perf_counter()
        sequence = self._dataset[name]
        if not sequence.prompts:
            raise MissingDataError(f"{name}: expected a prompt for at least one object, found none")
        with writing(self._store.folder):
            partial = self._store.partial(name)
            play = self._play(partial, sequence, self._codec, self._options)
            log = FrameLogWriter(partial, name) if self._log else None
        return _Job(name, sequence, self._annotation(name), play, opened, deque(play.begin()), log=log)

    def _play_next(self, job: _Job) -> None:
        """Begins the next pass of a sequence."""
        from mosam.datasets.frames import prefetch

        if self._engine is None:
            self._engine = self._new_engine()
        played = job.waiting.popleft()
        size, overlap = job.sequence.source.size(), self._codec.non_overlap
        video = self._engine.open(played.prompts, num_frames=played.num_frames, size=size, non_overlap=overlap)
        source = cast("FrameSource", _Watched(job.sequence.source, played.frames, self._engine.motion_stream()))
        job.lanes.append(_Lane(job, played, video, cast("Iterator[tuple[Image, Any]]", prefetch(source))))

    def _next_frame(self, lane: _Lane) -> tuple[Image, Any] | None:
        """The next image of a pass and its motion; None where it could not be read and the sequence has failed."""
        job = lane.job
        if lane not in job.lanes:  # another pass of its sequence failed just now
            return None
        with self._failing_alone(job):
            frame = next(lane.frames, None)
            if frame is None:
                raise MissingDataError(f"{job.name}: expected {len(job.sequence)} frames, found {lane.read}")
            lane.read += 1
            return frame
        return None

    def _step(self, frames: dict[Any, tuple[Image, Any]]) -> None:
        batch = [lane for lane in self._lanes() if lane.video in frames]
        images = {lane.video: frames[lane.video][0] for lane in batch}
        motion = {lane.video: pair for lane in batch if (pair := frames[lane.video][1]) is not None}
        if not batch:
            return
        started = time.perf_counter()
        try:
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
        """The engine is in an unknown state: a new one starts its sequences again, one pass at a time."""
        self._engine = None
        jobs = list(self._jobs)
        if len(batch) == 1:
            self._fail(batch[0].job.name, error, batch[0].job)
            jobs.remove(batch[0].job)
        elif jobs:
            _log.debug("a batch of %d passes failed, each is tried alone", len(batch), exc_info=error)
        for job in jobs:
            self._leave(job)
            self._store.discard(job.name)
            self._alone.append(job.name)

    def _write(self, lane: _Lane, outputs: list[FrameOutput]) -> bool:
        """Hands outputs that are final to the play; False where that ends the pass, and the rest does not count."""
        job, played = lane.job, lane.played
        with writing(self._store.folder):
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
        with writing(self._store.folder):
            job.waiting.extend(job.play.end(lane.played))
        if not (job.waiting or job.lanes):
            self._finish(job)

    def _finish(self, job: _Job) -> None:
        with writing(self._store.folder):
            job.play.finish()
        self._leave(job)
        record = SequenceRecord(
            "done", job.read, job.seconds, time.perf_counter() - job.opened, annotation=job.annotation
        )
        logs = [log_path(job.name)] if job.log is not None else []
        self._store.commit(job.name, self._codec.paths(job.sequence), record, unhashed=logs)
        self._finished += 1
        self._tell("done", job.name, job)

    def _fail(self, name: str, error: Exception, job: _Job | None = None) -> None:
        _log.debug("%s failed", name, exc_info=error)
        if job is not None:
            self._leave(job)
        reason = one_line(error)
        frames, seconds = (job.read, job.seconds) if job else (0, 0.0)
        self._store.fail(name, SequenceRecord("failed", frames, seconds, reason=reason))
        self._finished += 1
        self._tell("failed", name, job, reason=reason)

    def _leave(self, job: _Job) -> None:
        """Stops reading for a sequence, and forgets it."""
        for lane in job.lanes:
            lane.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
        job.lanes.clear()
        job.waiting.clear()
        if job.log is not None:
            job.log.close()
        if job in self._jobs:
            self._jobs.remove(job)

    def _tell(
        self,
        event: Literal["kept", "redo", "start", "frame", "done", "failed"],
        name: str,
        job: _Job | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        frames, length, seconds = (job.read, job.play.length, job.seconds) if job else (0, 0, 0.0)
        self._progress(Progress(event, name, self._finished, len(self._dataset), frames, length, seconds, reason))


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
