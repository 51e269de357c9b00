"""Results written beside the tracking: pictures are packed and saved by threads, in the order of each sequence."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.codecs.base import Codec, CodecOptions, ResultWriter
from mosam.types import FrameOutput

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

MAX_THREADS = 8  # a 1080p label map takes 11 to 29 ms of a core to compress, which releases the interpreter lock
WAITING = 32  # frames that may wait for each thread, before tracking waits for the disk


def writer_threads() -> int:
    """Threads that write masks: half of the cores this process may use, at least 2 and at most `MAX_THREADS`."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    return max(2, min(MAX_THREADS, cores // 2))


class BackgroundCodec:
    """A codec whose writers return at once; everything else is that of the codec.

    A frame that could not be written raises its error at the next `add`, or at `finish`, of the same writer.
    """

    def __init__(self, codec: Codec, threads: list[_Thread]):
        self._codec, self._threads = codec, threads
        self._writers: dict[str, BackgroundWriter] = {}
        self._turn = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`."""
        self.drop(sequence.name)
        self._turn += 1
        thread = self._threads[self._turn % len(self._threads)]
        writer = BackgroundWriter(self._codec.writer(folder, sequence, options), thread)
        self._writers[sequence.name] = writer
        return writer

    def drop(self, name: str) -> None:
        """Forgets a sequence's writer; nothing is written by it after this returns."""
        writer = self._writers.pop(name, None)
        if writer is not None:
            writer.stop()


class BackgroundWriter:
    """See `BackgroundCodec`."""

    def __init__(self, writer: ResultWriter, thread: _Thread):
        self._writer, self._thread = writer, thread
        self._error: Exception | None = None
        self.stopping = threading.Event()
        self._lock = threading.Lock()

    def add(self, output: FrameOutput, seconds: float) -> None:
        """See `ResultWriter.add`."""
        self._raise()
        self._thread.put((self, output, seconds))

    def finish(self) -> None:
        """See `ResultWriter.finish`."""
        done = threading.Event()
        self._thread.put(done)
        done.wait()
        self._raise()
        self._writer.finish()

    def write(self, output: FrameOutput, seconds: float) -> None:
        """In the thread: one frame, unless one before it failed."""
        with self._lock:
            if self.stopping.is_set() or self._error is not None:
                return
            try:
                self._writer.add(output, seconds)
            except Exception as error:  # told to whoever adds next
                self._error = error

    def stop(self) -> None:
        """Waits for the frame that is being written; those that wait are left out."""
        self.stopping.set()  # before the lock, which the thread may take again and again until nothing waits
        with self._lock:
            pass

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class _Thread:
    """One thread and what waits for it: frames, an event to set when it gets there, None to end."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[Any] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._work, name="mosam-write", daemon=True)
        self._thread.start()

    def put(self, item: Any) -> None:
        self._waiting.put(item)

    def join(self) -> None:
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            if isinstance(item, threading.Event):
                item.set()
            else:
                writer, output, seconds = item
                writer.write(output, seconds)
            del item  # or this thread would keep a frame


def unwrapped(codec: Codec) -> Codec:
    """The codec itself, for what asks which one it is and writes without its writers."""
    return codec._codec if isinstance(codec, BackgroundCodec) else codec


@contextmanager
def in_background(codec: Codec, threads: int = 2) -> Iterator[BackgroundCodec]:
    """The codec with threads that write; they end with the block. Boxes are not worth a thread.

    Args:
        codec: of the results.
        threads: how many.
    """
    made = [_Thread() for _ in range(threads)]
    behind = BackgroundCodec(codec, made)
    try:
        yield behind
    finally:
        for name in list(behind._writers):
            behind.drop(name)
        for thread in made:
            thread.join()
