"""The tracking loop: frames -> engine -> result files, several passes at a time; each sequence is kept or fails alone.

A sequence is tracked in one pass or several (`mosam.tracking.modes`). The lanes (`mosam.tracking.schedule`) say which
sequence is opened next; the engine steps all open passes together, one frame of each.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from mosam.errors import MissingDataError, MosamError, one_line
from mosam.results.folder import StoreError, writing
from mosam.results.frame_log import FrameLogWriter, log_path
from mosam.results.record import SequenceRecord
from mosam.tracking.events import Event, Report, ResultSink
from mosam.tracking.modes import MODES, ONCE, Pass, TrackingMode
from mosam.tracking.outside.answers import TrackerFailure
from mosam.tracking.outside.pictures import PictureFiles
from mosam.tracking.schedule import Lanes
from mosam.tracking.tracker import SequenceEngine, Tracker

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset, FrameSource, Sequence
    from mosam.types import FrameOutput, Image

_log = logging.getLogger(__name__)


def track_sequences(
    dataset: Dataset,
    tracker: Tracker,
    options: CodecOptions,
    sink: ResultSink,
    lanes: Lanes,
    report: Report,
    *,
    log: bool = False,
) -> None:
    """Tracks the sequences that the lanes' source gives, until it gives no more.

    Args:
        dataset: where sequences come from.
        tracker: what tracks them.
        options, log: as for `run`.
        sink: where results go.
        lanes: how many rows are tracked at a time, and which sequence comes next.
        report: called on every event, from this thread.
    """
    from mosam.codecs import CODECS

    with tracker.working(), _in_background(CODECS[dataset.info.result_format]) as codec:
        TrackingLoop(dataset, tracker, sink, codec, options, lanes, report, log).run()


def _in_background(codec: Any) -> contextlib.AbstractContextManager[Any]:
    """Masks are written in the background; boxes cost nothing."""
    from mosam.codecs.background import in_background, writer_threads

    return in_background(codec, threads=writer_threads() if codec.masks else 1)


def annotation_hash(dataset: Dataset, name: str) -> str:
    """Fingerprint of the annotation that a sequence is tracked from."""
    return dataset.select([name]).annotation_hash()


def frames_hash(sequence: Sequence) -> str | None:
    """Fingerprint of a sequence's frames, None where it has none."""
    from mosam.datasets.fingerprint import fingerprint_frames

    return fingerprint_frames(sequence.source)


def _new_engine(tracker: Tracker, rows: int, log: bool) -> SequenceEngine:
    return tracker.new_engine(rows, log=log)


@dataclass(slots=True, eq=False)
class _SequenceJob:
    """A sequence that is open.

    Attributes:
        annotation, pictures: fingerprints of what it is tracked from, for the record.
        mode: its tracking mode, which takes the outputs.
        opened: when, by `time.perf_counter`.
        upcoming: passes that can begin.
        passes: passes that have begun.
        read, seconds: frames given to the engine, and its time for them.
    """

    name: str
    sequence: Sequence
    annotation: str
    pictures: str | None
    mode: TrackingMode
    opened: float
    upcoming: deque[Pass]
    log: Any = None
    passes: list[_OpenPass] = field(default_factory=list)
    read: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _OpenPass:
    """A pass that has begun.

    Attributes:
        job: its sequence.
        spec: its frames and prompts.
        video: the engine's handle.
        frames: yields each frame with its motion.
        rows: of the batch that it takes.
        read, written: frames given to the engine, and frames whose output is final.
        read_ahead: at most one frame that was read before its turn, or why it could not be.
        seconds: engine time of each frame whose output is not final yet.
    """

    job: _SequenceJob
    spec: Pass
    video: Any
    frames: Iterator[tuple[Image, Any]]
    rows: int = 1
    read: int = 0
    written: int = 0
    read_ahead: list[Any] = field(default_factory=list)
    seconds: dict[int, float] = field(default_factory=dict)


class TrackingLoop:
    """Tracks sequences until the lanes' source gives no more; see `track_sequences`."""

    def __init__(
        self,
        dataset: Dataset,
        tracker: Tracker,
        sink: ResultSink,
        codec: Any,
        options: CodecOptions,
        lanes: Lanes,
        report: Report,
        log: bool = False,
    ):
        self._log = log
        self._dataset = dataset
        self._tracker = tracker
        self._sink = sink
        self._codec = codec
        self._options = options
        self._mode = MODES[dataset.info.mode]
        self._lanes = lanes
        self._report = report
        self._engine: Any = None
        self._open: list[_SequenceJob] = []

    def run(self) -> None:
        """Tracks until nothing is left; whatever ends it, no reader thread stays behind."""
        try:
            while self._fill():
                frames = {
                    open_pass.video: frame
                    for open_pass in self._passes()
                    if (frame := self._next_frame(open_pass)) is not None
                }
                if frames:
                    self._step(frames)
        finally:
            for job in list(self._open):
                self._drop(job)

    def _passes(self) -> list[_OpenPass]:
        return [open_pass for job in self._open for open_pass in job.passes]

    def _fill(self) -> bool:
        """Fills the lanes: with passes of the open sequences first, then with new ones; False where none is open then.

        A sequence that follows a failed batch is tracked one pass at a time.
        """
        while True:
            used = sum(open_pass.rows for open_pass in self._passes())
            room = self._lanes.rows - used if not (self._lanes.careful and used) else 0
            ready = [job for job in self._open if job.upcoming]
            job = next((job for job in ready if not job.passes or self._rows(job.upcoming[0]) <= room), None)
            if job is not None:
                with self._failing_alone(job):
                    self._begin_pass(job)
            elif ready or room < 1 or (found := self._lanes.next()) is None:
                return bool(self._open)
            else:
                self._open_sequence(found.name)

    def _rows(self, spec: Pass) -> int:
        return len({prompt.object_id for prompt in spec.prompts}) * self._tracker.hypotheses

    def _open_sequence(self, name: str) -> None:
        """Opens a sequence, without beginning a pass."""
        try:
            job = self._start(name)
        except StoreError:
            raise
        except Exception as error:
            self._fail(name, error)
            return
        self._open.append(job)
        self._report_event("start", name, job)

    def _start(self, name: str) -> _SequenceJob:
        opened = time.perf_counter()
        sequence = self._dataset[name]
        if not sequence.prompts:
            raise MissingDataError(f"{name}: expected a prompt for at least one object, found none")
        with writing(self._sink.folder):
            partial = self._sink.partial(name)
            mode = self._mode(partial, sequence, self._codec, self._options)
            log = FrameLogWriter(partial, name) if self._log else None
        annotation, pictures = annotation_hash(self._dataset, name), frames_hash(sequence)
        return _SequenceJob(name, sequence, annotation, pictures, mode, opened, deque(mode.begin()), log=log)

    def _begin_pass(self, job: _SequenceJob) -> None:
        """Begins the next pass of a sequence."""
        from mosam.datasets.frames import prefetch

        if self._engine is None:
            self._engine = _new_engine(self._tracker, self._lanes.rows, self._log)
        spec = job.upcoming.popleft()
        size, overlap = job.sequence.source.size(), self._codec.non_overlap
        video = self._engine.open(spec.prompts, num_frames=spec.num_frames, size=size, non_overlap=overlap)
        pictures = job.sequence.source
        if self._tracker.reads_files:
            pictures = cast("FrameSource", PictureFiles(pictures))
        source = cast("FrameSource", _FramesWithMotion(pictures, spec.frames, self._engine.motion_stream()))
        frames = cast("Iterator[tuple[Image, Any]]", prefetch(source))
        job.passes.append(_OpenPass(job, spec, video, frames, self._rows(spec)))

    def _next_frame(self, open_pass: _OpenPass) -> tuple[Image, Any] | None:
        """The next image of a pass and its motion; None where it could not be read and the sequence has failed."""
        job = open_pass.job
        if open_pass not in job.passes:  # another pass of its sequence failed just now
            return None
        with self._failing_alone(job):
            frame = _next_of(open_pass)
            if frame is None:
                raise MissingDataError(f"{job.name}: expected {len(job.sequence)} frames, found {open_pass.read}")
            open_pass.read += 1
            return frame
        return None

    def _step(self, frames: dict[Any, tuple[Image, Any]]) -> None:
        batch = [open_pass for open_pass in self._passes() if open_pass.video in frames]
        images = {open_pass.video: frames[open_pass.video][0] for open_pass in batch}
        motion = {open_pass.video: pair for open_pass in batch if (pair := frames[open_pass.video][1]) is not None}
        if not batch:
            return
        started = time.perf_counter()
        try:
            self._engine.step(images, motion, self._next_images(batch) if self._engine.ahead else None)
        except Exception as error:
            self._step_failed(batch, error)
            return
        share = (time.perf_counter() - started) / len(batch)
        for open_pass in batch:
            job = open_pass.job
            if open_pass not in job.passes:
                continue
            job.seconds += share
            job.read += 1
            open_pass.seconds[open_pass.read - 1] = share
            self._report_event("frame", job.name, job)
            with self._failing_alone(job):
                goes_on = self._write(open_pass, self._engine.drain(open_pass.video))
                if not goes_on or open_pass.read == len(open_pass.spec.frames):
                    self._end(open_pass, complete=goes_on)

    def _next_images(self, batch: list[_OpenPass]) -> dict[Any, Image]:
        """The images after these, of every pass that has one, by video; read now, and used at their turn."""
        going_on = [open_pass for open_pass in batch if open_pass.read < len(open_pass.spec.frames)]
        for open_pass in going_on:
            if not open_pass.read_ahead:
                _look_ahead(open_pass)
        return {
            open_pass.video: open_pass.read_ahead[0][0]
            for open_pass in going_on
            if isinstance(open_pass.read_ahead[0], tuple)
        }

    @contextlib.contextmanager
    def _failing_alone(self, job: _SequenceJob) -> Iterator[None]:
        """What goes wrong inside concerns one sequence: it fails, its memory is given back, the others go on."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            self._fail(job.name, error, job)

    def _step_failed(self, batch: list[_OpenPass], error: Exception) -> None:
        """The engine is in an unknown state: a new one starts its sequences again, fewer at a time or one by one."""
        from mosam.engine.capacity import is_out_of_memory, release_memory

        self._engine = None
        alone = len(self._passes()) == 1
        if alone:
            blamed = error.within(batch[0].spec.frames) if isinstance(error, TrackerFailure) else error
            self._fail(batch[0].job.name, blamed, batch[0].job)
            if not self._open:
                return
        rows, used = self._lanes.rows, sum(open_pass.rows for open_pass in self._passes())
        if is_out_of_memory(error) and not alone:
            again, reason = self._lanes.back_off(used), f"out of memory with {rows} lanes"
            reason += f", goes on with {self._lanes.rows}"
        else:
            again, reason = self._lanes.retry_alone(), f"a batch failed ({one_line(error)}), each is tried alone"
        _log.debug("a batch of %d passes failed", len(batch), exc_info=error)
        for job in list(self._open):
            self._drop(job)
            self._sink.discard(job.name)
        self._report_event("note", f"{len(again)} sequences", reason=reason)
        if is_out_of_memory(error) and self._tracker.device is not None:
            assert self._tracker.device is not None
            release_memory(self._tracker.device)

    def _write(self, open_pass: _OpenPass, outputs: list[FrameOutput]) -> bool:
        """Hands final outputs to the tracking mode; False where that ends the pass, and the rest does not count."""
        job, spec = open_pass.job, open_pass.spec
        with writing(self._sink.folder):
            for output in outputs:
                goes_on = job.mode.add(spec, output, self._seconds(open_pass, output))
                if job.log is not None:
                    job.log.add(output, **self._where(spec, output))
                open_pass.written += 1
                if not goes_on:
                    return False
        return True

    def _seconds(self, open_pass: _OpenPass, output: FrameOutput) -> float:
        """Of a frame: the tracker's own where it was timed by itself, else its share of the step."""
        share = open_pass.seconds.pop(output.frame_index)
        if output.seconds is None:
            return share
        open_pass.job.seconds += output.seconds - share
        return output.seconds

    def _where(self, spec: Pass, output: FrameOutput) -> dict[str, int]:
        if self._dataset.info.mode == ONCE:
            return {}
        return {"frame": spec.frames[output.frame_index], "start": spec.frames[0]}

    def _end(self, open_pass: _OpenPass, *, complete: bool) -> None:
        """Ends a pass, and its sequence where no other follows.

        Args:
            complete: all its frames were tracked.
        """
        job = open_pass.job
        last = self._last_outputs(open_pass, complete)
        if complete and self._write(open_pass, last) and open_pass.written != len(open_pass.spec.frames):
            raise MosamError(
                f"{job.name}: expected results of {len(open_pass.spec.frames)} frames, got {open_pass.written}"
            )
        open_pass.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
        job.passes.remove(open_pass)
        with writing(self._sink.folder):
            job.upcoming.extend(job.mode.end(open_pass.spec))
        if not (job.upcoming or job.passes):
            self._finish(job)

    def _last_outputs(self, open_pass: _OpenPass, complete: bool) -> list[FrameOutput]:
        """Ends the video of a pass; returns what was still open, nothing where the pass is not complete."""
        if not complete:
            self._engine.discard(open_pass.video)
            return []
        try:
            return cast("list[FrameOutput]", self._engine.close(open_pass.video))
        except TrackerFailure as error:
            raise error.within(open_pass.spec.frames) from error

    def _finish(self, job: _SequenceJob) -> None:
        with writing(self._sink.folder):
            job.mode.finish()
        self._drop(job)
        record = SequenceRecord(
            "done", job.read, job.seconds, time.perf_counter() - job.opened, job.annotation, job.pictures
        )
        logs = [log_path(job.name)] if job.log is not None else []
        self._sink.commit(job.name, self._codec.paths(job.sequence), record, unhashed=logs)
        self._lanes.close(job.name)
        self._report_event("done", job.name, job)

    def _fail(self, name: str, error: Exception, job: _SequenceJob | None = None) -> None:
        _log.debug("%s failed", name, exc_info=error)
        if job is not None:
            self._drop(job)
        reason = one_line(error)
        frames, seconds = (job.read, job.seconds) if job else (0, 0.0)
        self._sink.fail(name, SequenceRecord("failed", frames, seconds, reason=reason))
        self._lanes.close(name)
        self._report_event("failed", name, job, reason=reason)

    def _drop(self, job: _SequenceJob) -> None:
        """Stops reading for a sequence, and forgets it."""
        self._codec.drop(job.name)
        for open_pass in job.passes:
            if self._engine is not None:  # else it is in an unknown state, and given up
                with contextlib.suppress(Exception):  # the first error is the one to report
                    self._engine.discard(open_pass.video)
            open_pass.frames.close()  # type: ignore[attr-defined]  # prefetch gives a generator
        job.passes.clear()
        job.upcoming.clear()
        if job.log is not None:
            job.log.close()
        if job in self._open:
            self._open.remove(job)

    def _report_event(
        self, event: Event, name: str, job: _SequenceJob | None = None, *, reason: str | None = None
    ) -> None:
        frames, length, seconds = (job.read, job.mode.length, job.seconds) if job else (0, 0, 0.0)
        self._report(event, name, frames=frames, length=length, seconds=seconds, reason=reason)


class _FramesWithMotion:
    """Frames of a pass with the motion that leads to each, for a reader thread that runs ahead of the network."""

    def __init__(self, source: FrameSource, frames: range, stream: Any):
        self._source, self._frames, self._stream = source, frames, stream

    def __len__(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> tuple[Image, Any]:
        """A frame, and what the policy's motion stream says of it (None where it reads no motion); in order."""
        image = self._source.read(self._frames[index])
        return image, None if self._stream is None else self._stream.push(image)


def _look_ahead(open_pass: _OpenPass) -> None:
    """Reads one frame more; an error is kept until its turn."""
    try:
        open_pass.read_ahead.append(next(open_pass.frames, None))
    except Exception as error:
        open_pass.read_ahead.append(error)


def _next_of(open_pass: _OpenPass) -> tuple[Image, Any] | None:
    """The next frame, or the one that was read ahead."""
    if not open_pass.read_ahead:
        return next(open_pass.frames, None)
    frame = open_pass.read_ahead.pop()
    if isinstance(frame, Exception):
        raise frame
    return cast("tuple[Image, Any] | None", frame)
