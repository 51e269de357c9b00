"""What a run says while it goes on, and where its results go: the two interfaces of the tracking loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from mosam.results.record import SequenceRecord
    from mosam.tracking.schedule import Job

Event = Literal["kept", "redo", "start", "frame", "done", "failed", "note"]


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


class Report(Protocol):
    """Called with each event of a sequence."""

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


class ProgressReporter:
    """Turns events of single sequences into the progress of a run.

    Args:
        total: sequences of the run.
        progress: called with each `Progress`, or None.
    """

    def __init__(self, total: int, progress: Callable[[Progress], None] | None):
        self._total, self._progress, self._finished = total, progress, 0
        self._ahead: dict[str, int] = {}
        self._lengths: dict[str, int] = {}

    def expect(self, jobs: Iterable[Job]) -> None:
        """Takes the lengths of the sequences, from which the time left is estimated."""
        self._lengths = {job.name: job.frames for job in jobs}
        self._ahead = dict(self._lengths)

    def report(
        self,
        event: Event,
        name: str,
        *,
        frames: int = 0,
        length: int = 0,
        seconds: float = 0.0,
        reason: str | None = None,
    ) -> None:
        """See `Report`."""
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


class ResultSink(Protocol):
    """Takes the results of sequences: the run's store, or a worker's hand-over folder (`mosam.results.handover`)."""

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
