"""Frames of a video file, decoded when asked for."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mosam.datasets.archives import TreePath, as_path
from mosam.datasets.decoders import video_decoder
from mosam.errors import DataError
from mosam.types import Image, Size

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")


class VideoFrames:
    """Frames of a video file in the order they are shown; reading forward decodes each once.

    Frames are counted by walking through the packets, without decoding. A jump goes to the key frame before. PyAV
    decodes; torchcodec does where it was chosen (`use_decoder`), if it finds as many frames and the same first one.

    Args:
        path: the file; inside an archive it is read into memory whole.
        count: use only the first so many frames; None = all.
    Raises:
        DataError: not there, or holds no video.

    Attributes:
        stems: `00000`, `00001` ... as result files name the frames.
    """

    def __init__(self, path: str | os.PathLike[str], *, count: int | None = None):
        self.folder = as_path(path)
        self._times, self._keys = self._index()
        self._total = len(self._times)
        self._times = self._times[:count]
        self.stems = tuple(f"{index:05d}" for index in range(len(self._times)))
        self._lock = threading.Lock()
        self._container: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = 0
        self._size: Size | None = None
        self._other: Any = None  # torchcodec's decoder of this file; False where it does not agree

    def __len__(self) -> int:
        return len(self._times)

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_container": None, "_frames": iter(()), "_next": 0, "_other": None}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def size(self) -> Size:
        """(height, width) of the first frame; decodes it the first time."""
        if self._size is None:
            height, width = self._decode(0).shape[:2]
            self._size = (height, width)
        return self._size

    def read(self, index: int) -> Image:
        """Frame `index` as uint8 RGB (H, W, 3).

        Raises:
            DataError: it cannot be decoded, or is of another size than the first.
        """
        image = self._decode(index)
        if image.shape[:2] != self.size():
            height, width = self.size()
            got = f"{image.shape[0]}x{image.shape[1]}"
            raise DataError(self.folder, f"expected {height}x{width} (height x width) on frame {index}, got {got}")
        return image

    def files(self) -> Iterator[tuple[TreePath, TreePath]]:
        """The file, as `FrameFolder.files` gives them."""
        yield self.folder, self.folder

    def _open(self) -> Any:
        import av

        try:
            source = str(self.folder) if isinstance(self.folder, Path) else io.BytesIO(self.folder.read_bytes())
            container = av.open(source)
            if not container.streams.video:
                raise DataError(self.folder, "expected a video, got a file without pictures")
        except (OSError, ValueError) as error:  # av's errors are of these kinds
            detail = "no file" if isinstance(error, FileNotFoundError) else " ".join(str(error).split())[:80]
            raise DataError(self.folder, f"expected a video file, got {detail}") from None
        return container

    def _index(self) -> tuple[list[int], list[int]]:
        """Presentation times of all frames and of the key frames, ascending."""
        times, keys = [], []
        try:
            with self._open() as container:
                for packet in container.demux(container.streams.video[0]):
                    if packet.pts is None or packet.size == 0 or packet.is_discard:
                        continue
                    times.append(packet.pts)
                    if packet.is_keyframe:
                        keys.append(packet.pts)
        except (OSError, ValueError) as error:
            raise DataError(self.folder, f"expected a whole video, got {' '.join(str(error).split())[:80]}") from None
        if not times:
            raise DataError(self.folder, "expected a video, got a file without frames")
        return sorted(times), sorted(keys)

    def _decode(self, index: int) -> Image:
        if not 0 <= index < len(self):
            raise IndexError(f"{self.folder}: expected a frame of 0 to {len(self) - 1}, got {index}")
        decoder = video_decoder()
        return self._decode_pyav(index) if decoder is None else self._decode_torchcodec(index, decoder)

    def _decode_torchcodec(self, index: int, decoder: Any) -> Image:
        if self._other is None:
            first = self._decode_pyav(0)  # a file that PyAV cannot read is its error
        with self._lock:
            try:
                if self._other is None:
                    source = str(self.folder) if isinstance(self.folder, Path) else self.folder.read_bytes()
                    other = decoder(source, dimension_order="NHWC", seek_mode="exact")
                    same = len(other) == self._total and np.array_equal(other[0].numpy(), first)
                    self._other = other if same else False
                if self._other is not False:
                    return np.asarray(self._other[index].numpy())
            except (OSError, ValueError, RuntimeError, IndexError):
                self._other = False  # PyAV says whether the file or torchcodec is to blame
        return self._decode_pyav(index)

    def _decode_pyav(self, index: int) -> Image:
        wanted = self._times[index]
        with self._lock:
            try:
                if self._container is None or index < self._next or self._key_between(self._next, index):
                    self._seek(wanted)
                for frame in self._frames:
                    if frame.pts is not None and frame.pts >= wanted:
                        self._next = index + 1
                        return np.asarray(frame.to_ndarray(format="rgb24"))
            except (OSError, ValueError) as error:
                self._container = None
                reason = " ".join(str(error).split())[:80]
                raise DataError(self.folder, f"expected frame {index}, it cannot be decoded: {reason}") from None
            self._container = None
            raise DataError(self.folder, f"expected {len(self)} frames, decoding ended before frame {index}")

    def _key_between(self, start: int, index: int) -> bool:
        """Whether jumping ahead to a later key frame saves decoding."""
        return index > start and any(self._times[start] < key <= self._times[index] for key in self._keys)

    def _seek(self, time: int) -> None:
        if self._container is None:
            self._container = self._open()
        stream = self._container.streams.video[0]
        self._container.seek(time, stream=stream, backward=True, any_frame=False)
        self._frames = self._container.decode(stream)
