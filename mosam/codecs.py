"""The benchmarks' own result formats on disk: one small class for each, a writer and readers.

A codec knows file names and number formats and nothing of scores. Its writer takes a tracker's frames in order; its
readers accept what other people's programs wrote (tabs, spaces, `L` or `P` images) and refuse what is damaged, with
file and line. Nobody shifts or rounds a number: a box written is the box read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.geometry import BOX_FROM_MASK, mask_to_box
from mosam.registry import Registry
from mosam.types import Box, FrameOutput, Mask, Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence

ABSENT_AS = ("zeros", "last", "nan", "minus_one")
LARGEST_LABEL = 254  # label maps are 8-bit and DAVIS keeps 255 for void
COLUMNS_OF_BOX = 4

CODECS: Registry[Codec] = Registry("result format")


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """How a tracker's masks become the numbers of a box file; recorded in `run.json`.

    Attributes:
        absent_as: row written where the object is absent: `zeros`, `last` (the previous row again), `nan` or
            `minus_one`. Scorers treat them differently; PyTracking's refuses `nan` and `minus_one`.
        box_from_mask: `exclusive` or `inclusive`, see `mosam.geometry.mask_to_box`.
    Raises:
        ValueError: a value that is not one of these.
    """

    absent_as: str = "zeros"
    box_from_mask: str = "exclusive"

    def __post_init__(self) -> None:
        if self.absent_as not in ABSENT_AS:
            raise ValueError(f"absent_as: expected one of {', '.join(ABSENT_AS)}, got {self.absent_as!r}")
        if self.box_from_mask not in BOX_FROM_MASK:
            raise ValueError(f"box_from_mask: expected one of {', '.join(BOX_FROM_MASK)}, got {self.box_from_mask!r}")


class ResultWriter(Protocol):
    """Takes the frames of one sequence in order and leaves its files."""

    def add(self, output: FrameOutput, seconds: float) -> None:
        """One frame: what was tracked and how long the tracker took for it."""

    def finish(self) -> None:
        """After the last frame; ValueError where frames are missing."""


class MaskResult(Protocol):
    """Written masks of one sequence, read frame by frame."""

    def read(self, frame_index: int) -> dict[int, Mask]:
        """Masks (H, W) by object id; an object without pixels is left out. MissingDataError without a file."""

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """(H, W) object ids, 0 = background."""


class Codec(Protocol):
    """One result format."""

    boxes: bool
    masks: bool
    non_overlap: bool  # whether a pixel can belong to one object only

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """A writer that makes files below `folder` only."""

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """Files or folders directly below the result folder that may belong to the sequence."""

    def has(self, folder: Path, sequence: Sequence) -> bool:
        """Whether the folder holds a result of the sequence, complete or not."""

    def listed(self, folder: Path) -> set[str]:
        """Names that sequences would have whose results lie in the folder; other files may add other names."""

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """(T, 4) x, y, w, h by object id, rows exactly as in the file, T as in the file."""

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """(T,) seconds a frame, or None where the result has no times."""

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """The sequence's masks, each read when asked for."""


# ---------------------------------------------------------------------------------------------------- text


def read_table(path: Path, columns: int | None = None) -> NDArray[np.float64]:
    """Numbers of a text file, one row a line, separated by commas, tabs or spaces.

    Args:
        path: the file.
        columns: how many numbers each line must have; None = as many as the first.
    Returns:
        (rows, columns) float64; (0, columns or 0) for an empty file. `nan` and `inf` are read as such.
    Raises:
        MissingDataError: no such file.
        DataError: with the line: text, an empty line between rows, or another number of columns.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingDataError(f"{path}: expected a file of numbers, found nothing") from None
    except OSError as error:
        raise DataError(path, f"cannot be read: {error.strerror}") from None
    data = data.rstrip()
    if not data:
        return np.zeros((0, columns or 0))
    comma = b"," in data
    try:
        table = np.loadtxt(data.decode("ascii").split("\n"), delimiter="," if comma else None, comments=None, ndmin=2)
    except ValueError:  # mixed separators, or a bad line: the slow reader accepts the one and names the other
        return _read_line_by_line(path, data, columns)
    if len(table) != data.count(b"\n") + 1 or (columns is not None and table.shape[1] != columns):
        return _read_line_by_line(path, data, columns)
    return table


def _read_line_by_line(path: Path, data: bytes, columns: int | None) -> NDArray[np.float64]:
    rows: list[list[float]] = []
    for number, line in enumerate(data.decode("ascii", "replace").split("\n"), start=1):
        words = line.replace(",", " ").split()
        expected = columns if columns is not None else len(rows[0]) if rows else max(len(words), 1)
        if len(words) != expected:
            plural = "" if expected == 1 else "s"
            raise DataError(path, f"expected {expected} number{plural}, got {line.strip()[:40]!r}", line=number)
        try:
            rows.append([float(word) for word in words])
        except ValueError:
            raise DataError(path, f"expected numbers, got {line.strip()[:40]!r}", line=number) from None
    return np.array(rows, dtype=np.float64)


def format_number(value: float) -> str:
    """Shortest text that reads back as the same float, without a needless `.0`.

    >>> format_number(12.0), format_number(0.1), format_number(float("nan"))
    ('12', '0.1', 'nan')
    """
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(float(value))


def _format_row(row: NDArray[np.float64]) -> str:
    return ",".join(format_number(float(value)) for value in row)


class _BoxRows:
    """Rows of one object's box file, made from its masks."""

    def __init__(self, options: CodecOptions):
        self._options = options
        self._rows: list[Box] = []

    def add(self, mask: Mask | None) -> None:
        box = None if mask is None else mask_to_box(mask, convention=self._options.box_from_mask)
        if box is None or np.isnan(box).any():
            box = self._absent()
        self._rows.append(box)

    def write(self, path: Path) -> None:
        path.write_text("".join(_format_row(row) + "\n" for row in self._rows), encoding="ascii")

    def _absent(self) -> Box:
        kind = self._options.absent_as
        if kind == "last":
            return self._rows[-1] if self._rows else np.zeros(4)
        return np.full(4, {"zeros": 0.0, "nan": np.nan, "minus_one": -1.0}[kind])


def _write_times(path: Path, seconds: list[float]) -> None:
    path.write_text("".join(f"{value:.8f}\n" for value in seconds), encoding="ascii")


# -------------------------------------------------------------------------------------------------- images


@lru_cache(maxsize=1)
def voc_palette() -> bytes:
    """The 256 colors x RGB of the PASCAL VOC label maps, which DAVIS uses: the bits of the label, dealt out in turn.

    >>> list(voc_palette()[3:9])
    [128, 0, 0, 0, 128, 0]
    """
    label = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((label >> channel) & 1) << (7 - bit)).astype(np.uint8)
        label = label >> 3
    return palette.tobytes()


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """A label map (H, W) as a palette PNG (mode P, VOC palette); the same labels give the same bytes."""
    from PIL import Image

    image = Image.fromarray(labels)
    image.putpalette(voc_palette())
    image.save(path, format="PNG", optimize=False)


def read_labels(path: Path) -> NDArray[np.integer]:
    """A label map from an image.

    Returns:
        (H, W) uint8 for palette and grey images; of RGB ones the grey value where the three are equal everywhere, else
        int32 `R + 256 G + 65536 B`.
    Raises:
        MissingDataError: no such file.
        DataError: not an image, truncated, or of another kind.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in ("P", "L", "1", "RGB"):
                raise DataError(path, f"expected a label map (mode P, L, 1 or RGB), got mode {image.mode}")
            mode, array = image.mode, np.asarray(image)
    except FileNotFoundError:
        raise MissingDataError(f"{path}: expected a label map, found nothing") from None
    except UnidentifiedImageError:
        raise DataError(path, "expected a PNG label map, got a file that is not an image") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(path, f"the image cannot be read: {error}") from None
    if mode == "RGB":
        if (array == array[..., :1]).all():
            return array[..., 0]
        return np.dot(array.astype(np.int32), np.array([1, 256, 65536], dtype=np.int32))
    return array.astype(np.uint8) if mode == "1" else array


def masks_of_labels(labels: NDArray[np.integer]) -> dict[int, Mask]:
    """Masks (H, W) of every label but 0, by label, ascending.

    >>> sorted(masks_of_labels(np.array([[0, 3], [1, 3]], dtype=np.uint8)))
    [1, 3]
    """
    largest = int(labels.max(initial=0))
    if largest == 0:
        return {}
    if largest <= 16:  # comparing is cheaper than counting for the few objects a frame usually has
        planes = {label: labels == label for label in range(1, largest + 1)}
        return {label: plane for label, plane in planes.items() if plane.any()}
    if largest < 256:
        present = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    else:
        present = np.unique(labels)
    return {int(label): labels == label for label in present if label}


def labels_of_masks(masks: Mapping[int, Mask], size: Size) -> NDArray[np.uint8]:
    """One label map (H, W) uint8 of several masks; where masks overlap the lowest id wins.

    Raises:
        MismatchError: an id that does not fit into a label map.
        ValueError: a mask of another size.
    """
    labels = np.zeros(size, dtype=np.uint8)
    for object_id in sorted(masks, reverse=True):
        mask = masks[object_id]
        if not 1 <= object_id <= LARGEST_LABEL:
            raise MismatchError(f"object {object_id}: expected an id of 1 to {LARGEST_LABEL} for a label map")
        if mask.shape != tuple(size):
            raise ValueError(f"object {object_id}: expected a mask of {size}, got {mask.shape}")
        labels[mask] = object_id
    return labels


@dataclass(frozen=True, slots=True)
class LabelMaps:
    """Masks stored as one label map a frame: `<folder>/<frame name>.png`."""

    folder: Path
    frame_names: tuple[str, ...]

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """(H, W) object ids, 0 = background; see `read_labels` for the errors."""
        return read_labels(self.folder / f"{self.frame_names[frame_index]}.png")

    def read(self, frame_index: int) -> dict[int, Mask]:
        """Masks (H, W) by object id; an object without pixels is left out."""
        return masks_of_labels(self.labels(frame_index))


# -------------------------------------------------------------------------------------------------- codecs


@dataclass(slots=True)
class _Writer:
    """What all writers share: frames come in order, all of them, with their times."""

    folder: Path
    sequence: Sequence
    options: CodecOptions
    _seconds: list[float] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.open()

    def add(self, output: FrameOutput, seconds: float) -> None:
        expected = len(self._seconds)
        if output.frame_index != expected:
            raise ValueError(f"{self.sequence.name}: expected frame {expected}, got frame {output.frame_index}")
        self.write(output)
        self._seconds.append(seconds)

    def finish(self) -> None:
        if len(self._seconds) != len(self.sequence):
            raise ValueError(f"{self.sequence.name}: expected {len(self.sequence)} frames, got {len(self._seconds)}")
        self.close()

    def open(self) -> None:
        """Before the first frame."""

    def write(self, output: FrameOutput) -> None:
        """One frame."""

    def close(self) -> None:
        """After the last frame."""


class _LabelMapFrames:
    """Writes one label map a frame into a folder."""

    def __init__(self, folder: Path, sequence: Sequence):
        self._folder = folder
        self._sequence = sequence
        self._empty_size: Size | None = None
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, output: FrameOutput) -> None:
        masks = {object_id: item.mask for object_id, item in output.objects.items()}
        labels = labels_of_masks(masks, self._size(masks))
        write_labels(self._folder / f"{self._sequence.frame_names[output.frame_index]}.png", labels)

    def _size(self, masks: Mapping[int, Mask]) -> Size:
        for mask in masks.values():
            return mask.shape[0], mask.shape[1]
        if self._empty_size is None:
            self._empty_size = self._sequence.size
        if self._empty_size is None:
            raise MissingDataError(f"{self._sequence.name}: expected frames that tell the size of an empty mask")
        return self._empty_size


class BoxFileCodec:
    """LaSOT and its relatives: `<sequence>.txt` with a row `x,y,w,h` a frame, times in `<sequence>_time.txt`."""

    boxes = True
    masks = False
    non_overlap = True

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; ValueError for a sequence of several objects, which the format cannot hold."""
        if len(sequence.object_ids) != 1:
            raise ValueError(f"{sequence.name}: expected one object in a box file, got {len(sequence.object_ids)}")
        return _BoxFileWriter(folder, sequence, options)

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.paths`."""
        return f"{sequence.name}.txt", f"{sequence.name}_time.txt"

    def has(self, folder: Path, sequence: Sequence) -> bool:
        """See `Codec.has`."""
        return (folder / f"{sequence.name}.txt").is_file()

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
                return read_table(path)[:, 0]
        return None

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """Raises MismatchError: box files hold no masks."""
        raise MismatchError(f"{folder}: expected masks, got box files; choose a protocol for boxes")


class _BoxFileWriter(_Writer):
    __slots__ = ("_rows",)

    def open(self) -> None:
        self._rows = _BoxRows(self.options)

    def write(self, output: FrameOutput) -> None:
        item = output.objects.get(self.sequence.object_ids[0])
        self._rows.add(None if item is None else item.mask)

    def close(self) -> None:
        self._rows.write(self.folder / f"{self.sequence.name}.txt")
        _write_times(self.folder / f"{self.sequence.name}_time.txt", self._seconds)


class LabelMapCodec:
    """DAVIS and its relatives: `<sequence>/<frame name>.png`, palette images whose label is the object id.

    Raises when written:
        MismatchError: an object id that a label map cannot hold.
    """

    boxes = False
    masks = True
    non_overlap = True

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; every frame gets an image, an empty one before the first object starts."""
        return _LabelMapWriter(folder, sequence, options)

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.paths`."""
        return (sequence.name,)

    def has(self, folder: Path, sequence: Sequence) -> bool:
        """See `Codec.has`."""
        return (folder / sequence.name / f"{sequence.frame_names[0]}.png").is_file() or any(
            (folder / sequence.name).glob("*.png")
        )

    def listed(self, folder: Path) -> set[str]:
        """See `Codec.listed`."""
        return {path.name for path in folder.iterdir() if path.is_dir()}

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """Raises MismatchError: label maps hold no boxes."""
        raise MismatchError(f"{folder}: expected box files, got masks; choose a protocol for masks")

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """Always None: the format has no times."""
        return None

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """See `Codec.read_masks`."""
        return LabelMaps(folder / sequence.name, sequence.frame_names)


class _LabelMapWriter(_Writer):
    __slots__ = ("_frames",)

    def open(self) -> None:
        self._frames = _LabelMapFrames(self.folder / self.sequence.name, self.sequence)

    def write(self, output: FrameOutput) -> None:
        self._frames.write(output)


class ToyCodec(LabelMapCodec):
    """The toy benchmark's: masks as DAVIS, and with them `<object id>.txt` of boxes and `times.txt`, in one folder.

    Its boxes always hold all of the mask (`inclusive`): no published number depends on another reading.
    """

    boxes = True

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`."""
        return _ToyWriter(folder, sequence, replace(options, box_from_mask="inclusive"))

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


class _ToyWriter(_Writer):
    __slots__ = ("_frames", "_rows")

    def open(self) -> None:
        self._frames = _LabelMapFrames(self.folder / self.sequence.name, self.sequence)
        self._rows = {object_id: _BoxRows(self.options) for object_id in self.sequence.object_ids}

    def write(self, output: FrameOutput) -> None:
        self._frames.write(output)
        for object_id, rows in self._rows.items():
            item = output.objects.get(object_id)
            rows.add(None if item is None else item.mask)

    def close(self) -> None:
        folder = self.folder / self.sequence.name
        for object_id, rows in self._rows.items():
            rows.write(folder / f"{object_id}.txt")
        _write_times(folder / "times.txt", self._seconds)


CODECS.register("lasot")(BoxFileCodec())
CODECS.register("davis")(LabelMapCodec())
CODECS.register("toy")(ToyCodec())
