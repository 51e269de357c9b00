"""A tracker's program while it runs: lines to and from it in time, its last words, and its end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from mosam.tracking.outside import guard
from mosam.tracking.outside.answers import TrackerFailure

_WORDS_BYTES = 8192  # kept of what a program said
_LAST_LINES = 3
_LINE_LETTERS = 200  # of them that are shown
_ERROR = re.compile(r"(\w+\.)*\w*(Error|Exception)\b")
_LINE_BYTES = 1 << 26  # of an answer; no mask of a picture is longer
_GRACE = 2.0  # seconds for a program that was told to end


class TooLate(Exception):
    """The time for an answer is over."""


class Ended(Exception):
    """The program ended, or closed its output."""


class TrackerProcess:
    """A program in a process group and a temporary folder of its own; a context manager.

    Args:
        command: its words.
        environment: added to ours.
        talks: its output is an answer to be read; else it is only kept for messages.

    Attributes:
        folder: where it runs; goes with it.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, talks: bool):
        self._scratch = tempfile.TemporaryDirectory(prefix="mosam-tracker-", ignore_cleanup_errors=True)
        self.folder = Path(self._scratch.name)
        self._command, self._environment, self._talks = list(command), dict(environment), talks
        self._words, self._pending = bytearray(), bytearray()
        self._process: subprocess.Popen[bytes] | None = None
        self._life = -1

    def start(self) -> None:
        """Starts it, once its folder is filled."""
        there, self._life = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(there), *self._command],
                stdin=subprocess.PIPE if self._talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=self.folder,
                env={**os.environ, **self._environment},
                pass_fds=(there,),
                start_new_session=True,
                bufsize=0,
            )
        finally:
            os.close(there)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._listen(self._process.stderr.fileno())
        if self._talks:
            assert self._process.stdin is not None
            for stream in (self._process.stdin, self._process.stdout):
                os.set_blocking(stream.fileno(), False)
        else:
            self._listen(self._process.stdout.fileno())

    def _listen(self, descriptor: int) -> None:
        own = os.dup(descriptor)  # the thread may outlive the stream
        threading.Thread(target=self._keep_words, args=(own,), name="mosam-tracker-words", daemon=True).start()

    def _keep_words(self, descriptor: int) -> None:
        with contextlib.suppress(OSError):
            while data := os.read(descriptor, 65536):
                self.note(data)
        os.close(descriptor)

    def note(self, data: bytes) -> None:
        """Keeps what it said that is no answer."""
        self._words += data
        del self._words[:-_WORDS_BYTES]

    def write(self, text: str, seconds: float | None) -> None:
        """Sends text; TooLate or Ended."""
        assert self._process is not None
        assert self._process.stdin is not None
        data, until = memoryview(text.encode()), _until(seconds)
        while data:
            _, ready, _ = select.select([], [self._process.stdin], [], _left(until))
            if not ready:
                raise TooLate
            try:
                data = data[os.write(self._process.stdin.fileno(), data[:65536]) :]
            except BlockingIOError:
                continue
            except OSError:
                raise Ended from None

    def line(self, seconds: float | None) -> bytes:
        """The next line of its output, without its end; TooLate or Ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        until = _until(seconds)
        searched = 0
        while (end := self._pending.find(b"\n", searched)) < 0:
            searched = len(self._pending)
            if searched > _LINE_BYTES:
                raise TrackerFailure(f"expected an answer, got a line of more than {_LINE_BYTES >> 20} MiB")
            ready, _, _ = select.select([self._process.stdout], [], [], _left(until))
            if not ready or _left(until) == 0.0:  # also where it says a little again and again
                raise TooLate
            try:
                data = os.read(self._process.stdout.fileno(), 1 << 20)
            except BlockingIOError:
                continue
            if not data:
                raise Ended
            self._pending += data
        line = bytes(self._pending[:end])
        del self._pending[: end + 1]
        return line.rstrip(b"\r")

    def wait(self, seconds: float | None) -> int:
        """Its exit code once it has ended by itself; TooLate."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TooLate from None

    def how_it_ended(self) -> str:
        """`exit code 1; its last words: ...`, for the message of a failure."""
        assert self._process is not None
        with contextlib.suppress(TooLate):
            self.wait(_GRACE)
        return f"{_ending(self._process.poll())}{self.last_words()}"

    def last_words(self) -> str:
        """`; its last words: ...`, the last lines that it said, in one; nothing where it said nothing.

        Where an error was named before them, that comes first: what follows it is often how a library falls over it.
        """
        time.sleep(0.02)  # what it said last is on its way
        lines = bytes(self._words).decode("utf-8", "replace").splitlines()
        said = [" ".join(line.split())[:_LINE_LETTERS] for line in lines if line.strip()]
        first = next((line for line in said[:-_LAST_LINES] if _ERROR.match(line)), None)
        shown = [*([first, "..."] if first is not None else []), *said[-_LAST_LINES:]]
        return f"; its last words: {' | '.join(shown)}" if said else ""

    def close(self, *, ask: str = "") -> None:
        """Ends it with all that it started; `ask` is sent first, and it has a moment to follow."""
        process = self._process
        if process is not None:
            if ask and process.poll() is None:
                with contextlib.suppress(TooLate, Ended, TrackerFailure):
                    self.write(ask, 0.2)
                    self.wait(_GRACE)
            guard.end_descendants(process.pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            os.close(self._life)
            self._process = None
        self._scratch.cleanup()

    def __enter__(self) -> TrackerProcess:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _until(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def _ending(code: int | None) -> str:
    """
    >>> _ending(1), _ending(-9), _ending(-40), _ending(None)
    ('exit code 1', 'killed by SIGKILL', 'killed by signal 40', 'it closed its output and goes on')
    """
    if code is None:
        return "it closed its output and goes on"
    if code >= 0:
        return f"exit code {code}"
    named = {one.value: one.name for one in signal.Signals}  # real-time signals have no name
    return f"killed by {named.get(-code, f'signal {-code}')}"
