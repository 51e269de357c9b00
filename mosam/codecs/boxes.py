"""Box files: one row `x,y,w,h` a frame (LaSOT, TrackingNet, GOT-10k)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.base import CODECS, CodecOptions, FrameWriter, MaskResult, ResultWriter
from mosam.codecs.text import format_number, read_table
from mosam.errors import MismatchError
from mosam.geometry import mask_to_box
from mosam.types import Box, FrameOutput, ObjectOutput

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

COLUMNS_OF_BOX = 4


class BoxRows:
    """Rows of one object's box file, made from its masks.

    Args:
        options: what a mask's box is, and the row of an absent object.
    """

    def __init__(self, options: CodecOptions):
        self._options = options
        self._rows: list[Box] = []

    def add(self, item: ObjectOutput | None) -> None:
        """The next frame: the tracker's own box, else that of its mask; None or an empty mask = absent."""
        box = None if item is None else box_of(item, self._options)
        if box is None or np.isnan(box).any():
            box = self._absent()
        self._rows.append(box)

    def add_box(self, box: Box) -> None:
        """The next frame's box (4,) as it is."""
        self._rows.append(box)

    def write(self, path: Path, number: Callable[[float], str] = format_number) -> None:
        """All rows, separated by commas."""
        lines = (",".join(number(float(value)) for value in row) for row in self._rows)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="ascii")

    def _absent(self) -> Box:
        kind = self._options.absent_as
        if kind == "last":
            return self._rows[-1] if self._rows else np.zeros(4)
        return np.full(4, {"zeros": 0.0, "nan": np.nan, "minus_one": -1.0}[kind])


def box_of(item: ObjectOutput, options: CodecOptions) -> Box:
    """(4,) x, y, w, h of an object: the tracker's own, else what is around its mask; NaN where that is empty."""
    return mask_to_box(item.mask, convention=options.box_from_mask) if item.box is None else item.box


def write_times(path: Path, seconds: list[float]) -> None:
    """Seconds a frame, one a line, with eight decimals."""
    path.write_text("".join(f"{value:.8f}\n" for value in seconds), encoding="ascii")


class BoxFileCodec:
    """LaSOT and its relatives: `<sequence>.txt` with a row `x,y,w,h` a frame, times in `<sequence>_time.txt`."""

    boxes = True
    masks = False
    non_overlap = True

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; ValueError for a sequence of several objects, which the format cannot hold."""
        _check_single(sequence)
        return _BoxFileWriter(folder, sequence, options)

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.paths`."""
        return f"{sequence.name}.txt", f"{sequence.name}_time.txt"

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.files`; times are not asked for."""
        return (f"{sequence.name}.txt",)

    def listed(self, folder: Path) -> set[str]:
        """See `Codec.listed`."""
        return {path.stem for path in folder.glob("*.txt")}

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """See `Codec.read_boxes`."""
        return {sequence.object_ids[0]: read_table(folder / f"{sequence.name}.txt", COLUMNS_OF_BOX)}

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """See `Codec.read_times`; also looks in `times/`, where the GOT-10k toolkit puts them."""
        for path in (folder / f"{sequence.name}_time.txt", folder / "times" / f"{sequence.name}_time.txt"):
            if path.is_file():
                return _first_column(path)
        return None

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """Raises MismatchError: box files hold no masks."""
        raise MismatchError(f"{folder}: expected masks, got box files; choose a protocol for boxes")


class _BoxFileWriter(FrameWriter):
    __slots__ = ("_rows",)

    def open(self) -> None:
        self._rows = BoxRows(self.options)

    def write(self, output: FrameOutput) -> None:
        item = output.objects.get(self.sequence.object_ids[0])
        self._rows.add(item)

    def close(self) -> None:
        self._rows.write(self.folder / f"{self.sequence.name}.txt")
        write_times(self.folder / f"{self.sequence.name}_time.txt", self.seconds)


class Got10kCodec(BoxFileCodec):
    """GOT-10k: `<sequence>/<sequence>_001.txt` with three decimals, the first row the given box, and `_time.txt`.

    Repetitions are `_002`, `_003` and further columns of times. PyTracking's `<sequence>.txt` is read too.
    """

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; ValueError for a sequence of several objects, which the format cannot hold."""
        _check_single(sequence)
        return _Got10kWriter(folder, sequence, options)

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.paths`."""
        return (sequence.name,)

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.files`; the server scores speed, so times belong to it."""
        return _got10k_file(sequence, "001"), _got10k_file(sequence, "time")

    def repetitions(self, folder: Path, sequence: Sequence) -> tuple[str, ...]:
        """The box files of a sequence that are there, relative to the result folder, `_001` first."""
        start, end = f"{sequence.name}_", ".txt"
        numbers = [path.name.removeprefix(start).removesuffix(end) for path in (folder / sequence.name).glob("*.txt")]
        found = tuple(_got10k_file(sequence, number) for number in sorted(numbers) if number.isdecimal())
        flat = f"{sequence.name}.txt"
        return found or ((flat,) if (folder / flat).is_file() else ())

    def listed(self, folder: Path) -> set[str]:
        """See `Codec.listed`."""
        return {path.name if path.is_dir() else path.stem for path in folder.iterdir() if _is_got10k(path)}

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """See `Codec.read_boxes`; the first repetition."""
        return {sequence.object_ids[0]: self.read_repetitions(folder, sequence)[0]}

    def read_repetitions(self, folder: Path, sequence: Sequence) -> list[NDArray[np.float64]]:
        """(T, 4) x, y, w, h of every repetition, rows as in the file; MissingDataError where there is none."""
        files = self.repetitions(folder, sequence) or (_got10k_file(sequence, "001"),)
        return [read_table(folder / file, COLUMNS_OF_BOX) for file in files]

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """See `Codec.read_times`; those of all repetitions that have boxes, one after the other."""
        path = folder / _got10k_file(sequence, "time")
        if not path.is_file():
            return None
        return read_table(path)[:, : max(1, len(self.repetitions(folder, sequence)))].T.ravel()


class _Got10kWriter(FrameWriter):
    __slots__ = ("_first", "_rows")

    def open(self) -> None:
        self._rows = BoxRows(self.options)
        self._first = next((p.box for p in self.sequence.prompts if p.frame_index == 0), None)

    def write(self, output: FrameOutput) -> None:
        item = output.objects.get(self.sequence.object_ids[0])
        if output.frame_index == 0 and self._first is not None:
            self._rows.add_box(self._first)
        else:
            self._rows.add(item)

    def close(self) -> None:
        (self.folder / self.sequence.name).mkdir(parents=True, exist_ok=True)
        self._rows.write(self.folder / _got10k_file(self.sequence, "001"), "{:.3f}".format)
        write_times(self.folder / _got10k_file(self.sequence, "time"), self.seconds)


def _is_got10k(path: Path) -> bool:
    return path.suffix == ".txt" or path.is_dir()


def _got10k_file(sequence: Sequence, what: str) -> str:
    return f"{sequence.name}/{sequence.name}_{what}.txt"


def _first_column(path: Path) -> NDArray[np.float64]:
    table = read_table(path)
    return table[:, 0] if table.size else np.zeros(0)


def _check_single(sequence: Sequence) -> None:
    if len(sequence.object_ids) != 1:
        raise ValueError(f"{sequence.name}: expected one object in a box file, got {len(sequence.object_ids)}")


CODECS.register("lasot", "trackingnet")(BoxFileCodec())
CODECS.register("got10k")(Got10kCodec())
