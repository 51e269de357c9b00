"""Masks as images: one label map a frame (DAVIS and its relatives), or one image an object and frame (SA-V)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.base import CODECS, CodecOptions, FrameWriter, MaskResult, ResultWriter, times_path
from mosam.codecs.boxes import write_times
from mosam.codecs.images import label_ids, labels_of_masks, masks_of_labels, read_labels, write_labels
from mosam.codecs.text import read_table
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.types import FrameOutput, Mask, Size

if TYPE_CHECKING:
    from mosam.datasets.base import Sequence


@dataclass(frozen=True, slots=True)
class LabelMaps:
    """Masks stored as one label map a frame: `<folder>/<frame name>.png`."""

    folder: Path
    frame_names: tuple[str, ...]

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """(H, W) object ids, 0 = background; see `read_labels` for the errors, RGB is one too."""
        return read_labels(self.folder / f"{self.frame_names[frame_index]}.png", rgb=False)

    def read(self, frame_index: int, object_ids: Iterable[int] | None = None) -> dict[int, Mask]:
        """Masks (H, W) by object id; an object without pixels is left out. `object_ids` makes no difference."""
        return masks_of_labels(self.labels(frame_index))


class EmptySize:
    """Size of the masks of a sequence where a frame has none to tell it."""

    def __init__(self, sequence: Sequence):
        self._sequence = sequence
        self._size: Size | None = None

    def of(self, masks: Mapping[int, Mask]) -> Size:
        """(height, width) of the masks, else of the sequence; MissingDataError where nothing tells."""
        for mask in masks.values():
            return mask.shape[0], mask.shape[1]
        if self._size is None:
            self._size = self._sequence.size
        if self._size is None:
            raise MissingDataError(f"{self._sequence.name}: expected frames that tell the size of an empty mask")
        return self._size


class LabelMapFrames:
    """Writes one label map a frame into a folder; frames that results need not hold are left out.

    Args:
        folder: made where missing.
        sequence: whose frames.
    """

    def __init__(self, folder: Path, sequence: Sequence):
        self._folder = folder
        self._sequence = sequence
        self._size = EmptySize(sequence)
        self._wanted = frozenset(sequence.frames_out)
        folder.mkdir(parents=True, exist_ok=True)

    def write(self, output: FrameOutput) -> None:
        """One frame."""
        if output.frame_index not in self._wanted:
            return
        masks = {object_id: item.mask for object_id, item in output.objects.items()}
        labels = labels_of_masks(masks, self._size.of(masks))
        write_labels(self._folder / f"{self._sequence.frame_names[output.frame_index]}.png", labels)


class LabelMapCodec:
    """DAVIS and its relatives: `<sequence>/<frame name>.png`, palette images whose label is the object id.

    Raises when written:
        MismatchError: an object id that a label map cannot hold.
    """

    boxes = False
    masks = True
    non_overlap = True

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; every frame of `frames_out` gets an image, an empty one before the first
        object starts.
        """
        return _LabelMapWriter(folder, sequence, options)

    def paths(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.paths`."""
        return (sequence.name,)

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.files`."""
        return tuple(f"{sequence.name}/{sequence.frame_names[index]}.png" for index in sequence.frames_out)

    def listed(self, folder: Path) -> set[str]:
        """See `Codec.listed`."""
        return {path.name for path in folder.iterdir() if path.is_dir()}

    def read_boxes(self, folder: Path, sequence: Sequence) -> dict[int, NDArray[np.float64]]:
        """Raises MismatchError: label maps hold no boxes."""
        raise MismatchError(f"{folder}: expected box files, got masks; choose a protocol for masks")

    def read_times(self, folder: Path, sequence: Sequence) -> NDArray[np.float64] | None:
        """See `Codec.read_times`; the format has none, `times_path` is beside the results."""
        path = folder / times_path(sequence.name)
        return read_table(path)[:, 0] if path.is_file() else None

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """See `Codec.read_masks`."""
        return LabelMaps(folder / sequence.name, sequence.frame_names)


class _LabelMapWriter(FrameWriter):
    __slots__ = ("_frames",)

    def open(self) -> None:
        self._frames = LabelMapFrames(self.folder / self.sequence.name, self.sequence)

    def write(self, output: FrameOutput) -> None:
        self._frames.write(output)

    def close(self) -> None:
        _write_times(self)


@dataclass(frozen=True, slots=True)
class ObjectMasks:
    """Masks stored as one image an object and frame: `<folder>/<object>/<frame name>.png`, whatever is not 0 is it."""

    folder: Path
    frame_names: tuple[str, ...]
    object_ids: tuple[int, ...]

    def labels(self, frame_index: int) -> NDArray[np.integer]:
        """Raises MismatchError: masks of several objects may overlap, which a label map cannot hold."""
        raise MismatchError(f"{self.folder}: expected a use for masks that overlap, got one for a single label map")

    def read(self, frame_index: int, object_ids: Iterable[int] | None = None) -> dict[int, Mask]:
        """Masks (H, W) by object id, of all objects or of some; an object without pixels is left out.

        Raises:
            DataError: as `read_labels`; a map of several objects.
        """
        name = f"{self.frame_names[frame_index]}.png"
        wanted = self.object_ids if object_ids is None else object_ids
        masks = {key: self._mask(self.folder / object_folder(key) / name) for key in wanted}
        return {key: mask for key, mask in masks.items() if mask.any()}

    def _mask(self, path: Path) -> Mask:
        labels = read_labels(path, rgb=False)
        if len(label_ids(labels)) > 1:
            raise DataError(path, f"expected one object, 0 and one other value, got {len(label_ids(labels))} others")
        return labels != 0


def object_folder(object_id: int) -> str:
    """SA-V's folder of an object; it counts from 000, object ids here from 1.

    >>> object_folder(1), object_folder(12)
    ('000', '011')
    """
    return f"{object_id - 1:03d}"


class ObjectMaskCodec(LabelMapCodec):
    """SA-V: `<sequence>/<object>/<frame name>.png`, images of 0 and 1, since masks of two objects may overlap."""

    non_overlap = False

    def writer(self, folder: Path, sequence: Sequence, options: CodecOptions) -> ResultWriter:
        """See `Codec.writer`; every object gets an image for every frame of `frames_out`."""
        return _ObjectMaskWriter(folder, sequence, options)

    def files(self, sequence: Sequence) -> tuple[str, ...]:
        """See `Codec.files`."""
        folders = [f"{sequence.name}/{object_folder(object_id)}" for object_id in sequence.object_ids]
        return tuple(f"{folder}/{sequence.frame_names[i]}.png" for folder in folders for i in sequence.frames_out)

    def read_masks(self, folder: Path, sequence: Sequence) -> MaskResult:
        """See `Codec.read_masks`."""
        return ObjectMasks(folder / sequence.name, sequence.frame_names, sequence.object_ids)


class _ObjectMaskWriter(FrameWriter):
    __slots__ = ("_size", "_wanted")

    def open(self) -> None:
        self._size = EmptySize(self.sequence)
        self._wanted = frozenset(self.sequence.frames_out)
        for object_id in self.sequence.object_ids:
            (self.folder / self.sequence.name / object_folder(object_id)).mkdir(parents=True, exist_ok=True)

    def write(self, output: FrameOutput) -> None:
        if output.frame_index not in self._wanted:
            return
        masks = {object_id: item.mask for object_id, item in output.objects.items()}
        size = self._size.of(masks)
        for object_id in self.sequence.object_ids:
            mask = masks.get(object_id, np.zeros(size, dtype=bool))
            name = f"{self.sequence.frame_names[output.frame_index]}.png"
            write_labels(self.folder / self.sequence.name / object_folder(object_id) / name, mask.astype(np.uint8))

    def close(self) -> None:
        _write_times(self)


def _write_times(writer: FrameWriter) -> None:
    path = writer.folder / times_path(writer.sequence.name)
    path.parent.mkdir(exist_ok=True)
    write_times(path, writer.seconds)


CODECS.register("davis")(LabelMapCodec())
CODECS.register("sav")(ObjectMaskCodec())
