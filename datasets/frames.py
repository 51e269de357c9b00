"""Where pictures come from: folders of JPEG or PNG files read one at a time, and a thread that reads ahead."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import UnidentifiedImageError

from mosam.datasets.base import FrameSource
from mosam.errors import DataError, MissingDataError
from mosam.types import Image, Size

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
_WIDE_MODES = ("I", "F")  # Pillow's prefixes of 16-bit, 32-bit and float pictures, whose range nobody states


def list_files(folder: str | os.PathLike[str], suffixes: Iterable[str]) -> list[str]:
    """Names of a folder's files with one of the suffixes (lower case), in frame order.

    Order is that of the integer stems (`9.jpg` before `10.jpg`), else natural order; names that start with a dot are
    skipped (`._00000.jpg` is what macOS leaves beside a file).

    Raises:
        DataError: there is no such folder, or two files are of the same frame (`1.jpg`, `00001.png`).
    """
    wanted = tuple(suffixes)
    try:
        found = [entry.name for entry in Path(folder).iterdir()]
    except OSError as error:
        raise DataError(folder, f"expected a folder, got {error.strerror or error}") from None
    names = [name for name in found if name.lower().endswith(wanted) and not name.startswith(".")]
    stems = {name: name.rpartition(".")[0] for name in names}
    if all(stem.isascii() and stem.isdigit() for stem in stems.values()):
        numbers = {name: int(stem) for name, stem in stems.items()}
        names.sort(key=lambda name: (numbers[name], name))
        twins = [(a, b) for a, b in pairwise(names) if numbers[a] == numbers[b]]
    else:
        names.sort(key=lambda name: (_natural_key(stems[name]), name))
        twins = [(a, b) for a, b in pairwise(names) if stems[a] == stems[b]]
    if twins:
        first, second = twins[0]
        raise DataError(folder, f"expected one file a frame, got both {first} and {second}; remove one")
    return names


def _natural_key(stem: str) -> list[tuple[int, str]]:
    parts = re.split(r"([0-9]+)", stem)
    return [(int(part), "") if index % 2 else (0, part) for index, part in enumerate(parts)]


class FrameFolder:
    """Frames of one sequence as JPEG or PNG files in a folder.

    Args:
        folder: where they are; files are ordered as `list_files` says.
        count: use only the first so many frames; None = all.
    Raises:
        DataError: no such folder, or no frame in it.

    Attributes:
        stems: file names without suffix, in order.
    """

    def __init__(self, folder: str | os.PathLike[str], *, count: int | None = None):
        self.folder = Path(folder)
        self._files = list_files(self.folder, FRAME_SUFFIXES)[:count]
        if not self._files:
            raise DataError(self.folder, f"expected frames ({', '.join(FRAME_SUFFIXES)}), got none")
        self.stems = tuple(name.rpartition(".")[0] for name in self._files)
        self._size: Size | None = None

    def __len__(self) -> int:
        return len(self._files)

    def path(self, index: int) -> Path:
        """The file of frame `index`."""
        return self.folder / self._files[index]

    def size(self) -> Size:
        """(height, width) of the first frame, from its header."""
        if self._size is None:
            self._size = read_image_size(self.path(0))
        return self._size

    def read(self, index: int) -> Image:
        """Frame `index` as uint8 RGB (H, W, 3).

        Raises:
            DataError: the file is truncated, unreadable, or not of the first frame's size.
        """
        image = read_image(self.path(index))
        expected = self.size()
        if image.shape[:2] != expected:
            raise DataError(
                self.path(index),
                f"expected {_format_size(expected)} (height x width) as {self._files[0]}, "
                f"got {_format_size(image.shape[:2])}",
            )
        return image


class NoFrames:
    """The frames of a sequence of which only the annotation is there: enough to score, not to track.

    Args:
        folder: where the frames would be; named in errors.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def __len__(self) -> int:
        return 0

    def size(self) -> Size:
        """Always MissingDataError."""
        raise self._error()

    def read(self, index: int) -> Image:
        """Always MissingDataError."""
        raise self._error()

    def _error(self) -> MissingDataError:
        return MissingDataError(f"{self.folder}: expected the frames, found nothing; this tree holds annotation only")


def open_frames(path: str | os.PathLike[str], *, count: int | None = None) -> FrameSource:
    """The frames stored at a path.

    Args:
        path: a folder of JPEG or PNG files.
        count: use only the first so many; None = all.
    Raises:
        DataError: nothing there that holds frames.
    """
    return FrameFolder(path, count=count)


def read_image(path: str | os.PathLike[str]) -> Image:
    """A picture as uint8 RGB (H, W, 3); gray, palette, CMYK and RGBA are converted (transparency is dropped).

    Raises:
        DataError: not there, truncated, not a picture, of more pixels than Pillow allows or more than 8 bits a channel.
    """
    with _open(path) as picture:
        if picture.mode.startswith(_WIDE_MODES):
            raise DataError(path, f"expected 8 bits a channel, got a picture of mode {picture.mode}; convert it")
        picture = _decode(path, picture)
        return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def read_image_size(path: str | os.PathLike[str]) -> Size:
    """(height, width) of a picture, from its header alone; DataError as `read_image`."""
    with _open(path) as picture:
        return picture.height, picture.width


def _open(path: str | os.PathLike[str]) -> PillowImage.Image:
    try:
        return PillowImage.open(path)
    except FileNotFoundError:
        raise DataError(path, "expected a picture, found no file") from None
    except Exception as error:  # Pillow's parsers raise whatever broken bytes make them raise
        raise DataError(path, f"expected a JPEG or PNG picture, got {_one_line(error, path)}") from error


def _decode(path: str | os.PathLike[str], picture: PillowImage.Image) -> PillowImage.Image:
    try:
        picture.load()
    except Exception as error:  # as in _open
        raise DataError(path, f"expected a whole picture, got {_one_line(error, path)}; replace the file") from error
    return picture


def _one_line(error: Exception, path: str | os.PathLike[str]) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "a file of another kind"
    return " ".join(str(error).split()) or type(error).__name__


def _format_size(size: tuple[int, ...]) -> str:
    return f"{size[0]}x{size[1]}"


def prefetch(source: FrameSource, ahead: int = 4, start: int = 0) -> Iterator[Image]:
    """Frames from `start` on, read by a thread that stays a bounded number of frames ahead.

    At most `ahead` frames wait besides the one the caller holds. The thread starts with the first `next` and ends when
    the iterator is closed or exhausted; a frame that cannot be read raises its error when its turn comes.

    Args:
        source: where frames come from; read from one thread at a time.
        ahead: frames that may wait, >= 1.
        start: 0-based first frame.
    Raises:
        ValueError: `ahead` below 1 or `start` below 0.
    """
    if ahead < 1 or start < 0:
        raise ValueError(f"prefetch: expected ahead >= 1 and start >= 0, got {ahead} and {start}")
    return _prefetched(source, ahead, start)


def _prefetched(source: FrameSource, ahead: int, start: int) -> Iterator[Image]:
    waiting: deque[Image | BaseException] = deque()
    changed = threading.Condition()
    stopped = False

    def read_ahead() -> None:
        for index in range(start, len(source)):
            with changed:
                changed.wait_for(lambda: stopped or len(waiting) < ahead)
                if stopped:
                    return
            item: Image | BaseException
            try:
                item = source.read(index)
            except BaseException as error:  # handed to the consumer, who raises it
                item = error
            with changed:
                waiting.append(item)
                changed.notify_all()
            if isinstance(item, BaseException):
                return
            del item  # or this thread would keep one frame more

    def take() -> Image:
        with changed:
            changed.wait_for(lambda: waiting)
            item = waiting.popleft()
            changed.notify_all()
        if isinstance(item, BaseException):
            raise item
        return item

    reader = threading.Thread(target=read_ahead, name="mosam-prefetch", daemon=True)
    reader.start()
    try:
        for _ in range(start, len(source)):
            yield take()
    finally:
        with changed:
            stopped = True
            changed.notify_all()
        reader.join()
