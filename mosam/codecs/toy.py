"""The toy benchmark's results: masks and boxes together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.base import CODECS, CodecOptions, FrameWriter, ResultWriter
from mosam.codecs.boxes import COLUMNS_OF_BOX, BoxRows, write_times
from mosam.codecs.masks import LabelMapCodec, LabelMapFrames
from mosam.codecs.text import read_table
from mosam.types import FrameOutput

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence


class ToyCodec(LabelMapCodec):
    """The toy benchmark's: masks as DAVIS, and with them `<object id>.txt` of boxes and `times.txt`, in one folder."""

    boxes = True

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`."""
        return _ToyWriter(folder, sequence, options)

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.files`."""
        boxes = tuple(f"{sequence.name}/{object_id}.txt" for object_id in sequence.object_ids)
        return (*super().files(sequence), *boxes, f"{sequence.name}/times.txt")

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """See `Codec.read_boxes`."""
        return {
            object_id: read_table(folder / sequence.name / f"{object_id}.txt", COLUMNS_OF_BOX)
            for object_id in sequence.object_ids
        }

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """See `Codec.read_times`."""
        path = folder / sequence.name / "times.txt"
        return read_table(path)[:, 0] if path.is_file() else None


class _ToyWriter(FrameWriter):
    __slots__ = ("_frames", "_rows")

    def open(self) -> None:
        self._frames = LabelMapFrames(self.folder / self.sequence.name, self.sequence)
        self._rows = {object_id: BoxRows(self.options) for object_id in self.sequence.object_ids}

    def write(self, output: FrameOutput) -> None:
        self._frames.write(output)
        for object_id, rows in self._rows.items():
            rows.add(output.objects.get(object_id))

    def close(self) -> None:
        folder = self.folder / self.sequence.name
        for object_id, rows in self._rows.items():
            rows.write(folder / f"{object_id}.txt")
        write_times(folder / "times.txt", self.seconds)


CODECS.register("toy")(ToyCodec())
