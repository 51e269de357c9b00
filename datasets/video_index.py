"""What frames a video file holds, found by decoding it once; remembered by this process while the file is the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.archives import TreePath
from mosam.datasets.video_stream import checksum, decode, display_turn, one_reason, open_video, unknown_codec
from mosam.errors import DataError
from mosam.types import Size

NO_TIME = np.iinfo(np.int64).min  # of a frame without a presentation time
MOST_INDEXES = 64  # of files whose frames are remembered by this process


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """The frames of a file, in the order in which they decode.

    Attributes:
        times: (T,) int64 presentation times in the stream's unit, `NO_TIME` where a frame has none.
        sums: (T,) uint32 checksums of the decoded pixels, by which a frame is known again after a seek.
        keys: (T,) bool, frames at which decoding can begin.
        turned: (T,) bool, frames that the file says are to be turned or mirrored to be upright.
        size: (height, width) of the first frame as stored.
        first_turned: whether turning the first frame exchanges its height and width.
        faults: packets that do not decode.
    """

    times: NDArray[np.int64]
    sums: NDArray[np.uint32]
    keys: NDArray[np.bool_]
    turned: NDArray[np.bool_]
    size: Size
    first_turned: bool
    faults: int

    def __len__(self) -> int:
        return len(self.times)


_indexes: OrderedDict[tuple[str, int, int, int], VideoIndex] = OrderedDict()
_indexing = threading.Lock()


def index_video(path: TreePath, count: int | None = None) -> VideoIndex:
    """The frames of a file, by decoding it once; remembered while the file is the same.

    Args:
        path: the file.
        count: look at the first so many only; None = all.
    Raises:
        DataError: not there, no video, or no frame decodes.
    """
    key = None
    if isinstance(path, Path) and count is None:
        try:
            state = path.stat()
            key = (str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ino)
        except OSError:
            pass  # opening it says what is wrong
    with _indexing:
        found = _indexes.get(key) if key is not None else None
    if found is None:
        found = _make_index(path, count)
    if key is not None:
        with _indexing:
            _indexes[key] = found
            _indexes.move_to_end(key)
            while len(_indexes) > MOST_INDEXES:
                _indexes.popitem(last=False)
    return found


def _make_index(path: TreePath, count: int | None) -> VideoIndex:
    times: list[int] = []
    sums: list[int] = []
    keys: list[bool] = []
    turns: list[int] = []
    size: Size | None = None
    faults: list[str] = []
    container, stream = open_video(path)
    with closing(container):
        try:
            for frame in islice(decode(container, stream, faults), count):
                size = size or (frame.height, frame.width)
                times.append(NO_TIME if frame.pts is None else frame.pts)
                sums.append(checksum(frame))
                keys.append(bool(frame.key_frame))
                turns.append(display_turn(frame))
        except LookupError:
            raise unknown_codec(path) from None
        except Exception as error:  # of a pixel format that FFmpeg cannot convert
            raise DataError(path, f"expected frame {len(sums)}, it cannot be converted: {one_reason(error)}") from None
    if size is None:
        detail = f": {faults[0]}" if faults else ""
        raise DataError(path, f"expected a video, got a file without frames that decode{detail}")
    return VideoIndex(
        np.array(times, dtype=np.int64),
        np.array(sums, dtype=np.uint32),
        np.array(keys, dtype=np.bool_),
        np.array(turns) > 1,
        size,
        turns[0] > 4,
        len(faults),
    )
