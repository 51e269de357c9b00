"""Shows a run on standard error: one live line on a terminal, one plain line a sequence elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from mosam.errors import printable

if TYPE_CHECKING:
    from mosam.tracking.events import Progress


class Speed:
    """Frames per second and time left of a run, from its events.

    Attributes:
        frames: frames tracked since the first event.
    """

    def __init__(self) -> None:
        self.frames = 0
        self._started = time.monotonic()
        self._kept = 0
        self._open: dict[str, float] = {}
        self._seen: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._paces: dict[str, float] = {}  # frames per second of each open sequence
        self._ahead = self._longest = 0
        self._finished = 0
        self._total = 0

    def see(self, event: Progress) -> None:
        """Takes one event into account."""
        self._finished, self._total = event.finished, event.total
        self._ahead, self._longest = event.ahead, event.longest
        if event.event == "kept":
            self._kept += 1
        elif event.event == "frame":
            self.frames += max(0, event.frames - self._seen.get(event.sequence, 0))  # workers do not tell every frame
            self._seen[event.sequence] = event.frames
            self._open[event.sequence] = event.frames / event.length
            since = self._since.setdefault(event.sequence, self._started)
            self._paces[event.sequence] = event.frames / max(time.monotonic() - since, 1e-9)
        elif event.event in ("done", "failed"):
            self.frames += max(0, event.frames - self._seen.pop(event.sequence, 0))
            self._open.pop(event.sequence, None)
            self._paces.pop(event.sequence, None)
        elif event.event == "start":
            self._since[event.sequence] = time.monotonic()
            self._seen.pop(event.sequence, None)

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    @property
    def fps(self) -> float:
        """Frames per second over the whole run, waiting and writing included."""
        return self.frames / max(self.elapsed, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end if frames (where lengths are not known, sequences) go on as they did; else None.

        The longest sequence cannot end earlier than its own pace allows, however many others are done meanwhile.
        """
        if self._ahead:
            if not self.frames:
                return None
            alone = self._longest / max(self._paces.values()) if self._paces else 0.0
            return max(self._ahead / self.fps, alone)
        here = self._finished - self._kept + sum(self._open.values())
        ahead = self._total - self._kept - here
        return self.elapsed * ahead / here if here > 0 else None


class PlainProgress:
    """One line for each finished sequence.

    Args:
        stream: None = standard error.
    """

    def __init__(self, stream: TextIO | None = None):
        self._stream = sys.stderr if stream is None else stream
        self._kept = 0

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._tell_kept()

    def __call__(self, event: Progress) -> None:
        """Shows one event."""
        if event.event == "kept":
            self._kept += 1
            return
        line = describe(event)
        if line is not None:
            self._tell_kept()
            self.note(line)

    def note(self, line: str) -> None:
        """Prints a line."""
        print(printable(line, keep="\n"), file=self._stream, flush=True)

    def _tell_kept(self) -> None:
        if self._kept:
            self.note(f"{count(self._kept, 'sequence')} done before and intact")
            self._kept = 0


class LiveProgress:
    """One line that changes: bar, sequences, the one in work, frames per second, time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._speed = Speed()
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[pace]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task: Any = None

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
        if kind is None and self._speed.frames:
            self.note(f"{self._speed.frames} frames in {clock(self._speed.elapsed)}, {self._speed.fps:.1f} fps")

    def __call__(self, event: Progress) -> None:
        """Shows one event."""
        self._speed.see(event)
        if self._task is None:
            self._task = self._bar.add_task("", total=event.total, pace="")
        if event.event in ("failed", "redo", "note"):
            self.note(describe(event) or "")
        left = self._speed.seconds_left
        pace = "" if left is None else f"{self._speed.fps:.1f} fps, {clock(left)} left"
        if event.event == "note":
            return
        where = f"{event.sequence} {event.frames}/{event.length}" if event.length else event.sequence
        self._bar.update(self._task, completed=event.finished, description=where, pace=pace)

    def note(self, line: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(printable(line, keep="\n"), markup=False, highlight=False, soft_wrap=True)


def progress_view() -> PlainProgress | LiveProgress:
    """The view that suits standard error; a context manager to be called with every event."""
    return LiveProgress() if sys.stderr.isatty() else PlainProgress()


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """A line on a terminal while something takes seconds and has no progress to show; gone afterwards."""
    live = sys.stderr.isatty()
    if live:
        print(printable(text), end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


@contextlib.contextmanager
def scoring_view(name: str, total: int) -> Iterator[Callable[[str], None]]:
    """A bar while results are scored, on a terminal; nothing elsewhere.

    Args:
        name: what is scored.
        total: sequences.
    Returns:
        to be called with the name of each scored sequence.
    """
    if not sys.stderr.isatty():
        yield lambda sequence: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"scoring {name}", total=total)
        yield lambda sequence: bar.advance(task)


@contextlib.contextmanager
def download_view(name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar while a file is downloaded, on a terminal; a line every tenth elsewhere.

    Args:
        name: what is downloaded.
    Returns:
        to be called with (bytes so far, bytes there are; 0 = not known).
    """
    if not sys.stderr.isatty():
        tenths = [0]

        def print_tenth(done: int, total: int) -> None:
            if total and done * 10 // total > tenths[0]:
                tenths[0] = done * 10 // total
                print(f"{name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)

        yield print_tenth
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with bars.Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None, visible=False)
        yield lambda done, total: bar.update(task, completed=done, total=total or None, visible=True)


def describe(event: Progress) -> str | None:
    """An event as a line, or None where it is not worth one.

    >>> from mosam.tracking.events import Progress
    >>> describe(Progress("done", "bird-2", 3, 24, frames=90, length=90, seconds=4.5))
    '[3/24] bird-2: 90 frames, 20.0 fps'
    """
    place = f"[{event.finished}/{event.total}] {event.sequence}"
    if event.event == "done":
        fps = event.frames / max(event.seconds, 1e-9)
        return f"{place}: {count(event.frames, 'frame')}, {fps:.1f} fps"
    if event.event == "failed":
        return f"{place}: failed: {event.reason}"
    if event.event == "redo":
        return f"{event.sequence}: done again, {event.reason}"
    if event.event == "note":
        return f"{event.sequence}: {event.reason}" if event.sequence else event.reason
    return None


def count(number: int, noun: str) -> str:
    """
    >>> count(1, "frame"), count(2, "frame")
    ('1 frame', '2 frames')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def clock(seconds: float) -> str:
    """
    >>> clock(59.6), clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class FrameView:
    """One video being tracked: a line that changes on a terminal, a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._started: float | None = None
        self._told = 0.0

    def __enter__(self) -> FrameView:
        return self

    def __exit__(self, *exception: object) -> None:
        self._clear()

    def note(self, line: str) -> None:
        """Prints a line."""
        self._clear()
        print(printable(line, keep="\n"), file=sys.stderr, flush=True)

    def update(self, frames: int, length: int | None, seconds: float) -> None:
        """Shows how far it is; `seconds` is time in the engine."""
        now = time.monotonic()
        self._started = now if self._started is None else self._started
        if now - self._told < (0.1 if self._live else 10.0):
            return
        first, self._told = self._told == 0.0, now
        if first and not self._live:
            return
        where = f"frame {frames}" if length is None else f"frame {frames} of {length}"
        left = ""
        if length is not None and frames > 1:
            left = f", {clock((now - self._started) / (frames - 1) * (length - frames))} left"
        line = f"{where}, {frames / max(seconds, 1e-9):.1f} fps{left}"
        if self._live:
            print(f"\r\x1b[2K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(printable(line, keep="\n"), file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self._live:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
