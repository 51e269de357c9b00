"""What the demo reads: a video file or a folder of pictures, as a stream of frames and never as a whole."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mosam.datasets.frames import open_frames
from mosam.datasets.video import VIDEO_SUFFIXES, VideoFrames
from mosam.datasets.video_length import missing_bytes
from mosam.datasets.video_stream import check_size, decode, one_reason, open_video, to_image, unknown_codec
from mosam.errors import DataError, MissingDataError
from mosam.types import Image, Size

FOLDER_RATE = Fraction(24)  # of a folder of pictures, which has none of its own
SHORT = 16  # clips of fewer frames divide pointer distances by their length, so it has to be known beforehand

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One frame of a stream.

    Attributes:
        image: uint8 RGB (H, W, 3).
        time: seconds since the first frame, or None where frames are evenly spaced.
    """

    image: Image
    time: Fraction | None = None


class Source(Protocol):
    """Frames in the order they are shown. Iterating begins anew; a camera (`live.py`) goes on.

    Attributes:
        name: what result folders are called by.
        size: (height, width) of every frame.
        rate: frames a second.
        length: frames it has, or None where only reading it would tell.
        expected: frames that a file's header announces, which need not be true: for progress alone; None = no word.
        start: 0-based frame of the video that is the first one here; those before it are passed over.
        live: frames that are not taken in time are lost.
    """

    name: str
    size: Size
    rate: Fraction
    length: int | None
    expected: int | None
    start: int
    live: bool

    def __iter__(self) -> Iterator[Picture]:
        """The frames; DataError where one cannot be read or the stream ends before its announced end."""

    def first(self) -> Image:
        """The first frame."""

    def close(self) -> None:
        """No more frames are asked for."""


def open_source(text: str, *, rate: float | None = None, start: int = 0) -> Source:
    """The frames that an argument names.

    Args:
        text: a video file, a folder (or zip) of JPEG or PNG files, the number of a camera, or a stream's address.
        rate: frames a second of a folder; None = 24. A video has its own.
        start: 0-based frame to begin with.
    Raises:
        MissingDataError: nothing there.
        DataError: it holds no frames, or none of that number, or does not decode.
    """
    from mosam.commands.demo.live import URL, open_camera, open_stream

    path = Path(text).expanduser()
    address = URL.match(text) is not None
    if address or (text.isdigit() and not path.exists()):
        if start:
            where = "stream" if address else f"camera {text}"
            raise DataError(where, "expected to begin with the next picture; --start is for files")
        return open_stream(text) if address else open_camera(int(text))
    if path.is_file() and path.suffix.lower() != ".zip":
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            raise DataError(path, "expected a video or a folder of pictures, got one picture")
        return FileSource(path, start)
    if path.is_dir() and not any(path.iterdir()):
        raise DataError(path, "expected frames (.jpg, .jpeg, .png), got an empty folder")
    if not path.exists():
        kinds = ", ".join(VIDEO_SUFFIXES[:5])
        raise MissingDataError(
            f"{text}: expected a video ({kinds} ...), a folder of pictures, a camera's number or a stream's address "
            "(rtsp://...), found nothing there"
        )
    return FolderSource(path, Fraction(rate).limit_denominator(1001) if rate else FOLDER_RATE, start)


class FolderSource:
    """A folder of pictures, in the order that `mosam.datasets.frames.list_files` gives them."""

    live = False

    def __init__(self, path: Path, rate: Fraction = FOLDER_RATE, start: int = 0):
        self._frames = open_frames(path)
        if isinstance(self._frames, VideoFrames):  # a path without its suffix may name a video
            raise DataError(path, f"expected a folder of pictures, got {self._frames.folder}; name that")
        self.name = path.stem if path.suffix.lower() == ".zip" else path.resolve().name
        self.size = self._frames.size()
        self.rate = rate
        if start >= len(self._frames):
            raise _no_such_frame(path, start, len(self._frames))
        self.start = start
        self.length: int | None = len(self._frames) - start
        self.expected: int | None = self.length

    def __iter__(self) -> Iterator[Picture]:
        for index in range(self.start, len(self._frames)):
            yield Picture(self._frames.read(index))

    def first(self) -> Image:
        """See `Source.first`."""
        return self._frames.read(self.start)

    def close(self) -> None:
        """See `Source.close`."""


class FileSource:
    """A video file, decoded forward by the steps that a dataset takes, and upright: phones film on their side."""

    live = False

    def __init__(self, path: Path, start: int = 0):
        self._path, self.name, self.start = path, path.stem, start
        container, stream = open_video(path)
        faults: list[str] = []
        with closing(container):
            rate = stream.average_rate or stream.guessed_rate or FOLDER_RATE
            self.rate = Fraction(rate.numerator, rate.denominator)
            announced = _announced(container, stream, self.rate)
            before, begin = 0, []
            for frame in islice(self._decode(container, stream, faults), start + SHORT):
                if before < start:
                    before += 1
                else:
                    begin.append(frame)
        if not begin and before:
            raise _no_such_frame(path, start, before)
        if not begin:
            detail = f": {faults[0]}" if faults else ""
            raise DataError(path, f"expected a video, got a file without frames that decode{detail}")
        self._first = self._convert(begin[0], start)
        height, width = self._first.shape[:2]
        self.size: Size = (height, width)
        self.length: int | None = len(begin) if len(begin) < SHORT else None
        self.expected: int | None = announced - start if self.length is None and announced > start else self.length

    def first(self) -> Image:
        """See `Source.first`."""
        return self._first

    def close(self) -> None:
        """See `Source.close`."""

    def __iter__(self) -> Iterator[Picture]:
        count, index = 0, -1
        begin: Fraction | None = None
        last: Fraction | None = None
        container, stream = open_video(self._path)
        with closing(container):
            for index, frame in enumerate(self._decode(container, stream)):
                if index < self.start:
                    continue
                image = self._convert(frame, index)
                check_size(self._path, index, image, self.size)
                last = self._time(frame, last, count)
                begin = last if count == 0 else begin
                count += 1
                yield Picture(image, None if last is None or begin is None else last - begin)
        missing = missing_bytes(self._path)
        if missing:
            raise DataError(
                self._path,
                f"expected {missing} bytes more as its header says, it is cut off and ends after {index + 1} frames",
            )

    def _convert(self, frame: Any, index: int) -> Image:
        try:
            return to_image(frame, upright=True)
        except Exception as error:  # of a pixel format that FFmpeg cannot convert
            raise DataError(
                self._path, f"expected frame {index}, it cannot be converted: {one_reason(error)}"
            ) from None

    def _time(self, frame: Any, last: Fraction | None, count: int) -> Fraction | None:
        """Seconds at which a frame is shown; where it does not say, or says an earlier one, one step after `last`."""
        time = None if frame.pts is None or frame.time_base is None else frame.pts * Fraction(frame.time_base)
        if count == 0:
            return time
        if last is None:
            return None  # the first frame has no time: they are taken to be evenly spaced
        return time if time is not None and time > last else last + 1 / self.rate

    def _decode(self, container: Any, stream: Any, faults: list[str] | None = None) -> Iterator[Any]:
        try:
            yield from decode(container, stream, faults)
        except LookupError:
            raise unknown_codec(self._path) from None


def _announced(container: Any, stream: Any, rate: Fraction) -> int:
    """Frames that the header announces; 0 = it does not say."""
    import av

    if stream.frames:
        return int(stream.frames)
    return int(container.duration / av.time_base * rate) if container.duration else 0


def _no_such_frame(path: Path, start: int, count: int) -> DataError:
    return DataError(path, f"expected a frame {start} to begin with (--start counts from 0), got {count} frames")


def read_ahead(items: Iterable[T], ahead: int = 4) -> Iterator[T]:
    """Items made by a thread that stays a bounded number of them ahead.

    The thread ends when the iterator is closed or exhausted; an error of `items` is raised when its turn comes.

    Args:
        items: iterated over in that thread alone.
        ahead: items that may wait.
    """
    waiting: deque[T] = deque()
    changed = threading.Condition()
    state: dict[str, Any] = {"stopped": False, "ended": False, "error": None}

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                with changed:
                    changed.wait_for(lambda: state["stopped"] or len(waiting) < ahead)
                    if state["stopped"]:
                        break
                    waiting.append(item)
                    changed.notify_all()
                del item
        except BaseException as error:  # handed to the consumer, who raises it
            state["error"] = error
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()
            with changed:
                state["ended"] = True
                changed.notify_all()

    reader = threading.Thread(target=work, name="mosam-demo-reader", daemon=True)
    reader.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or state["ended"])
                if not waiting:
                    break
                item = waiting.popleft()
                changed.notify_all()
            yield item
            del item
        if state["error"] is not None:
            raise state["error"]
    finally:
        with changed:
            state["stopped"] = True
            changed.notify_all()
        reader.join()
