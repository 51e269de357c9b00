"""Where pictures come from: folders, archives and videos read one frame at a time, and a thread that reads ahead."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from mosam.datasets.archives import LMDB_FILE, ArchivePath, TreePath, as_path, open_archive, possible_roots, zip_of
from mosam.datasets.base import FrameSource
from mosam.datasets.decoders import decode_size, decode_turned, turn
from mosam.datasets.video import VIDEO_SUFFIXES, VideoFrames
from mosam.errors import DataError, MissingDataError
from mosam.system.arguments import index_of, path_like, whole
from mosam.types import Image, Size

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png")
ARCHIVE_SUFFIX = ".zip"


def list_files(folder: str | os.PathLike[str], suffixes: Iterable[str]) -> list[str]:
    """Names of a folder's files with one of the suffixes (lower case), in frame order.

    Order is that of the integer stems (`9.jpg` before `10.jpg`), else natural order; names that start with a dot are
    skipped (`._00000.jpg` is what macOS leaves beside a file).

    Raises:
        DataError: there is no such folder, or two files are of the same frame (`1.jpg`, `00001.png`).
    """
    wanted = tuple(suffixes)
    try:
        found = [entry.name for entry in as_path(folder).iterdir()]
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


def _number(name: str) -> int | None:
    stem = name.rpartition(".")[0]
    return int(stem) if stem.isascii() and stem.isdigit() else None


class FrameFolder:
    """Frames of one sequence as JPEG or PNG files in a folder, on disk or in an archive.

    Args:
        folder: where they are; files are ordered as `list_files` says. Where it is not there, `<folder>.zip` is read.
        count: use only the first so many frames; None = all.
        numbers: use only frames whose file is called by one of these numbers; None = all.
        upright: turn pictures as their EXIF orientation says; benchmarks are read as stored.
    Raises:
        DataError: no such folder, or no frame in it.

    Attributes:
        folder: as given.
        stems: file names without suffix, in order.
        turned: 0-based frames, of those read so far, that their file says are to be turned.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        count: int | None = None,
        numbers: range | None = None,
        upright: bool = True,
    ):
        self.folder = as_path(folder)
        self._inside = _inside(self.folder)
        files = list_files(self._inside, FRAME_SUFFIXES)
        self._files = [name for name in files if numbers is None or _number(name) in numbers][:count]
        if not self._files:
            which = "" if numbers is None else f" {numbers.start} to {numbers.stop - 1}"
            raise DataError(self.folder, f"expected frames{which} ({', '.join(FRAME_SUFFIXES)}), got none")
        self.stems = tuple(name.rpartition(".")[0] for name in self._files)
        self.upright = upright
        self.turned: set[int] = set()
        self._size: Size | None = None

    def __len__(self) -> int:
        return len(self._files)

    def path(self, index: int) -> TreePath:
        """The file of frame `index`."""
        return self._inside / self._files[index]

    def size(self) -> Size:
        """(height, width) of the first frame, from its header."""
        if self._size is None:
            self._size = read_image_size(self.path(0), upright=self.upright)
        return self._size

    def read(self, index: int) -> Image:
        """Frame `index` as uint8 RGB (H, W, 3).

        Raises:
            DataError: the file is truncated, unreadable, or not of the first frame's size.
        """
        index = index_of(index, len(self), str(self.folder))
        path = self.path(index)
        image, orientation = decode_turned(_read_bytes(path), path)
        if orientation != 1:
            self.turned.add(index)
            image = turn(image, orientation) if self.upright else image
        expected = self.size()
        if image.shape[:2] != expected:
            raise DataError(
                path,
                f"expected {_format_size(expected)} (height x width) as {self._files[0]}, "
                f"got {_format_size(image.shape[:2])}",
            )
        return image

    def files(self) -> Iterator[tuple[TreePath, TreePath]]:
        """Each frame's file as (where it would be in an unpacked tree, where it is)."""
        for name in self._files:
            yield self.folder / name, self._inside / name


def _inside(folder: TreePath) -> TreePath:
    """The folder itself, or the folder of frames in the archive that stands for it."""
    if isinstance(folder, ArchivePath):
        return folder
    if (folder / LMDB_FILE).is_file():
        archive = folder
    elif _is_archive(folder):
        archive = folder if folder.suffix.lower() == ARCHIVE_SUFFIX else zip_of(folder)
    else:
        return folder
    root = ArchivePath(open_archive(archive))
    return next((place for place in possible_roots(root) if holds_frames(place)), root)


def _is_archive(folder: Path) -> bool:
    if folder.suffix.lower() == ARCHIVE_SUFFIX and folder.is_file():
        return True
    return zip_of(folder).is_file() and not holds_frames(folder)


def holds_frames(folder: TreePath) -> bool:
    """Whether a folder holds a picture; stops at the first."""
    try:
        return any(
            entry.name.lower().endswith(FRAME_SUFFIXES) and not entry.name.startswith(".") for entry in folder.iterdir()
        )
    except OSError:
        return False


class NoFrames:
    """The frames of a sequence of which only the annotation is there: enough to score, not to track.

    Args:
        folder: where the frames would be; named in errors.
    """

    stems: tuple[str, ...] = ()

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = as_path(folder)

    def __len__(self) -> int:
        return 0

    def size(self) -> Size:
        """Always MissingDataError."""
        raise self._error()

    def read(self, index: int) -> Image:
        """Always MissingDataError."""
        raise self._error()

    def files(self) -> Iterator[tuple[TreePath, TreePath]]:
        """Nothing."""
        yield from ()

    def _error(self) -> MissingDataError:
        return MissingDataError(f"{self.folder}: expected the frames, found nothing; this tree holds annotation only")


StoredFrames: TypeAlias = FrameFolder | VideoFrames | NoFrames


def open_frames(
    path: str | os.PathLike[str],
    *,
    count: int | None = None,
    numbers: range | None = None,
    upright: bool = True,
) -> FrameFolder | VideoFrames:
    """The frames stored at a path, upright as players show them.

    Args:
        path: a folder of JPEG or PNG files, a zip or packed LMDB of them, a video file, or one of these without its
            suffix (`clip` for `clip.zip` or `clip.mp4`).
        count: use only the first so many; None = all.
        numbers: of a folder, use only files called by one of these numbers; None = all.
        upright: turn what a display matrix or EXIF orientation says is to be turned; boxes and masks are then those of
            the upright picture. False = as stored, which is how benchmarks are read.
    Raises:
        DataError: nothing there that holds frames.
        ValueError: no path, or a count below 1.
    """
    if not isinstance(path, ArchivePath):
        path_like(path, "open_frames")
    if count is not None:
        whole(count, "open_frames: count", 1)
    video = find_video(as_path(path))
    if video is None:
        return FrameFolder(path, count=count, numbers=numbers, upright=upright)
    return VideoFrames(video, count=count, upright=upright)


def find_video(path: TreePath) -> TreePath | None:
    """The video file that a path names, with or without its suffix; None where it is anything else, or nothing."""
    if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
        return path
    if path.is_dir() or (isinstance(path, Path) and zip_of(path).is_file()):
        return None
    suffixes = (*VIDEO_SUFFIXES, *map(str.upper, VIDEO_SUFFIXES))  # cameras write them in capitals
    return next((file for suffix in suffixes if (file := path.with_name(path.name + suffix)).is_file()), None)


def has_frames(path: str | os.PathLike[str]) -> bool:
    """Whether `open_frames` would find something; looks at names only."""
    place = as_path(path)
    if holds_frames(place):
        return True
    archived = isinstance(place, Path) and (_is_archive(place) or (place / LMDB_FILE).is_file())
    return archived or find_video(place) is not None


def frames_or_none(path: str | os.PathLike[str]) -> StoredFrames:
    """A benchmark's frames at a path, as stored, or the empty source where nothing is there.

    Raises:
        DataError: a folder that holds no frame.
    """
    place = as_path(path)
    return open_frames(place, upright=False) if place.is_dir() or has_frames(place) else NoFrames(place)


def read_image(path: str | os.PathLike[str]) -> Image:
    """A picture as stored, uint8 RGB (H, W, 3); gray, palette, CMYK and RGBA are converted (transparency is dropped).

    Raises:
        DataError: not there, truncated, not a picture, of more pixels than Pillow allows or more than 8 bits a channel.
    """
    return decode_turned(_read_bytes(path), path)[0]


def read_image_size(path: str | os.PathLike[str], *, upright: bool = False) -> Size:
    """(height, width) of a picture, as stored or `upright`, from its header alone; DataError as `read_image`."""
    place = as_path(path)
    if isinstance(place, ArchivePath):
        return decode_size(_read_bytes(place), place, upright=upright)
    try:
        with place.open("rb") as file:
            return decode_size(file, place, upright=upright)
    except OSError as error:
        raise _unreadable(path, error) from None


def _read_bytes(path: str | os.PathLike[str]) -> bytes:
    try:
        return as_path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | os.PathLike[str], error: OSError) -> DataError:
    found = "found no file" if isinstance(error, FileNotFoundError) else f"got {error.strerror or error}"
    return DataError(path, f"expected a picture, {found}")


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
