"""Frames as files, for trackers that read pictures themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mosam.datasets.frames import FrameFolder


class PictureFiles:
    """The paths of a sequence's frames: the benchmark's own files, or PNG copies where frames are no files.

    Copies (of videos, archives and the generated benchmark) are without loss, and go with this object.

    Args:
        source: a `mosam.datasets.base.FrameSource`.
    """

    def __init__(self, source: Any):
        self._source = source
        self._copies: tempfile.TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> str:
        """The absolute path of frame `index`; DataError where it has to be copied and cannot be read."""
        if isinstance(self._source, FrameFolder):
            path = self._source.path(index)
            if isinstance(path, Path):
                return str(path.absolute())
        return self._copy(index)

    def _copy(self, index: int) -> str:
        import cv2

        image = self._source.read(index)
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="mosam-frames-")
        path = Path(self._copies.name) / f"{index:08d}.png"
        if not path.exists():
            fast = [cv2.IMWRITE_PNG_COMPRESSION, 1]
            path.write_bytes(cv2.imencode(".png", image[..., ::-1], fast)[1].tobytes())
        return str(path)
