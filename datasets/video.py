"""Frames of a video file: those that decode, in the order in which they decode, whoever reads them and in any order.

What a header says of length and rate is not believed, and neither is a seek.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from mosam.datasets.archives import TreePath, as_path
from mosam.datasets.decoders import video_decoder
from mosam.datasets.video_index import NO_TIME, index_video
from mosam.datasets.video_stream import check_size, checksum, decode, one_reason, open_video, to_image
from mosam.errors import DataError
from mosam.system.arguments import index_of
from mosam.types import Image, Size

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts")
MOST_FAILED_SEEKS = 3  # of one file, after which it is read from its start
SEEK_SLACK = 300  # frames that may come between where a seek lands and the key frame it was meant for
EARLIER = (0, 1, 3)  # key frames before that one to seek to: program streams lead to some time after the one asked for


class VideoFrames:
    """Frames of a video file, those that decode in the order in which they do; reading forward decodes each once.

    The file is decoded once to know its frames, which this process remembers. A jump goes to a key frame before, and
    what comes is compared with what came in order; where it differs, the file is decoded from its start. PyAV decodes;
    torchcodec does where it was chosen (`use_decoder`), if it gives the same frames.

    Args:
        path: the file; inside an archive it is read into memory whole.
        count: use only the first so many frames; None = all.
        upright: turn frames as the file's display matrix says (phones film on their side); benchmarks are read as
            stored.
    Raises:
        DataError: not there, or holds no video.

    Attributes:
        stems: `00000`, `00001` ... as result files name the frames.
        turned: 0-based frames that the file says are to be turned.
        faults: packets of the file that do not decode.
    """

    def __init__(self, path: str | os.PathLike[str], *, count: int | None = None, upright: bool = True):
        self.folder = as_path(path)
        self.upright = upright
        self._index = index_video(self.folder, count)
        self._partial = count is not None
        self._anchors = np.flatnonzero(self._index.keys & (self._index.times != NO_TIME))
        self.stems = tuple(f"{index:05d}" for index in range(len(self._index)))
        height, width = self._index.size
        self._size: Size = (width, height) if upright and self._index.first_turned else (height, width)
        self._lock = threading.Lock()
        self._opened: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = 0
        self._sure = True  # the frames come from a decoder that began at the start
        self._failed_seeks = 0
        self._other: Any = None  # torchcodec's decoder of this file; False where it does not agree

    def __len__(self) -> int:
        return len(self._index)

    @property
    def turned(self) -> set[int]:
        """See the class."""
        return set(np.flatnonzero(self._index.turned).tolist())

    @property
    def faults(self) -> int:
        """See the class."""
        return self._index.faults

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_opened": None, "_frames": iter(()), "_next": 0, "_sure": True, "_other": None}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def size(self) -> Size:
        """(height, width) of the first frame."""
        return self._size

    def read(self, index: int) -> Image:
        """Frame `index` as uint8 RGB (H, W, 3).

        Raises:
            DataError: it cannot be decoded, or is of another size than the first.
        """
        index = index_of(index, len(self), str(self.folder))
        decoder = video_decoder()
        image = self._read_pyav(index) if decoder is None else self._read_torchcodec(index, decoder)
        check_size(self.folder, index, image, self.size())
        return image

    def files(self) -> Iterator[tuple[TreePath, TreePath]]:
        """The file, as `FrameFolder.files` gives them."""
        yield self.folder, self.folder

    def _read_torchcodec(self, index: int, decoder: Any) -> Image:
        if self._other is None and (self.faults or self._index.turned.any()):
            self._other = False  # what it makes of such a file is its own affair
        probes = sorted({0, len(self) // 3, len(self) - 1})
        first = [self._read_pyav(probe) for probe in probes] if self._other is None else []
        with self._lock:
            try:
                if self._other is None:
                    source = str(self.folder) if isinstance(self.folder, Path) else self.folder.read_bytes()
                    other = decoder(source, dimension_order="NHWC", seek_mode="exact")
                    as_many = len(other) >= len(self) if self._partial else len(other) == len(self)
                    same = as_many and all(
                        np.array_equal(other[probe].numpy(), image) for probe, image in zip(probes, first, strict=True)
                    )
                    self._other = other if same else False
                if self._other is not False:
                    return np.asarray(self._other[index].numpy())
            except (OSError, ValueError, RuntimeError, IndexError):
                self._other = False  # PyAV says whether the file or torchcodec is to blame
        return self._read_pyav(index)

    def _read_pyav(self, index: int) -> Image:
        with self._lock:
            try:
                return to_image(self._find(index), upright=self.upright)
            except DataError:
                self._close()
                raise
            except Exception as error:  # whatever broken bytes make the libraries raise
                self._close()
                reason = one_reason(error)
                raise DataError(self.folder, f"expected frame {index}, it cannot be decoded: {reason}") from None

    def _find(self, index: int) -> Any:
        """The decoded frame: on from the last one, from a key frame before it, or from the start."""
        back = self._opened is None or index < self._next
        place = self._anchor(index)
        start = 0 if back else self._next
        if place >= 0 and self._anchors[place] > start:
            frame = self._forward(index) if self._seek(place) else None
        else:
            if back:
                self._restart()
            frame = self._forward(index)
        if frame is None and not self._sure:
            self._restart()
            frame = self._forward(index)
        if frame is None:
            raise DataError(
                self.folder, f"expected {len(self)} frames, decoding ended before frame {index}; the file has changed"
            )
        return frame

    def _anchor(self, index: int) -> int:
        """Place in `_anchors` of the last frame up to `index` that a seek can be meant for; below 0 = none."""
        if self._failed_seeks >= MOST_FAILED_SEEKS:
            return -1
        return int(np.searchsorted(self._anchors, index, side="right")) - 1

    def _forward(self, index: int) -> Any:
        """Frame `index` from the open decoder; None where it ends or, after a seek, gives another picture."""
        frame = None
        while self._next <= index:
            frame = next(self._frames, None)
            if frame is None:
                return None
            self._next += 1
        return frame if self._sure or checksum(frame) == self._index.sums[index] else None

    def _seek(self, place: int) -> bool:
        """Goes to a key frame; False where the file does not lead there."""
        for back in EARLIER:
            if back <= place and self._seek_to(self._anchors[place], self._anchors[place - back]):
                return True
        self._failed_seeks += 1
        return False

    def _seek_to(self, anchor: int, earlier: int) -> bool:
        """Seeks to `earlier` and decodes on to `anchor`, which is known by its time and pixels."""
        if self._opened is None:
            self._restart()
        container, stream = self._opened
        time, self._sure = self._index.times[anchor], False
        try:
            container.seek(int(self._index.times[earlier]), stream=stream, backward=True, any_frame=False)
            self._frames = decode(container, stream)
            for frame in islice(self._frames, SEEK_SLACK):
                if frame.pts == time and checksum(frame) == self._index.sums[anchor]:
                    self._frames = chain([frame], self._frames)
                    self._next = anchor
                    return True
                if frame.pts is not None and frame.pts > time:
                    break
        except Exception:  # some files cannot be searched ("Operation not permitted"); from the start all can be read
            self._close()
        return False

    def _restart(self) -> None:
        self._close()
        self._opened = open_video(self.folder)
        self._frames = decode(*self._opened)

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()
        self._opened, self._frames, self._next, self._sure = None, iter(()), 0, True
