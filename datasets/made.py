"""Parts of made trees, for `Dataset.write_tree` of every benchmark: footage, frames, label maps, lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import format_number, labels_of_masks, write_labels
from mosam.geometry import mask_to_box
from mosam.types import Image, Mask

if TYPE_CHECKING:
    from mosam.datasets.base import DatasetInfo

JPEG_QUALITY = 95


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """One video to lay out.

    Attributes:
        images: uint8 RGB (H, W, 3), one a frame.
        masks: on each frame the objects that show, bool (H, W) by id 1 ... N.
    """

    images: tuple[Image, ...]
    masks: tuple[Mapping[int, Mask], ...]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object that shows on any frame, ascending."""
        return tuple(sorted({object_id for masks in self.masks for object_id in masks}))

    @property
    def first_frames(self) -> dict[int, int]:
        """The first frame of each object, by id."""
        return {key: next(t for t, masks in enumerate(self.masks) if key in masks) for key in self.object_ids}

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.images[0].shape[0], self.images[0].shape[1]

    def mask(self, frame_index: int, object_id: int) -> Mask:
        """An object's pixels on a frame; all False where it does not show."""
        found = self.masks[frame_index].get(object_id)
        return np.zeros(self.size, dtype=bool) if found is None else found

    def boxes(self, object_id: int) -> NDArray[np.float64]:
        """(T, 4) x, y, w, h around an object's pixels; NaN where it does not show."""
        masks = (self.mask(index, object_id) for index in range(len(self)))
        return np.stack([mask_to_box(mask, convention="inclusive") for mask in masks])

    def renumbered(self, ids: Mapping[int, int]) -> Footage:
        """With other ids; objects without a new one are left out."""
        masks = tuple({ids[key]: mask for key, mask in frame.items() if key in ids} for frame in self.masks)
        return Footage(self.images, masks)

    def starting(self) -> Footage:
        """With the objects of the first frame only."""
        return self.renumbered({object_id: object_id for object_id in self.masks[0]})


@dataclass(frozen=True, slots=True, eq=False)
class TreePlan:
    """What to write.

    Attributes:
        root: the folder to fill.
        name: the dataset's.
        info: its descriptor.
        split: one of its splits.
        single: videos of one object.
        several: videos of several, one of them late in the first.
    """

    root: Path
    name: str
    info: DatasetInfo
    split: str
    single: tuple[Footage, ...]
    several: tuple[Footage, ...]

    @property
    def hidden(self) -> bool:
        """Whether the split withholds its annotation."""
        return self.split in self.info.no_truth


def write_frames(folder: Path, footage: Footage, names: list[str]) -> None:
    """Frames as JPEGs of these names."""
    from PIL import Image as PillowImage

    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(names, footage.images, strict=True):
        PillowImage.fromarray(image).save(folder / f"{name}.jpg", quality=JPEG_QUALITY)


def write_maps(
    folder: Path, footage: Footage, names: list[str], frames: set[int] | None = None, *, factor: int = 1
) -> None:
    """Label maps of some frames (None = all), labels times a factor."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, masks) in enumerate(zip(names, footage.masks, strict=True)):
        if frames is None or index in frames:
            write_labels(folder / f"{name}.png", labels_of_masks(masks, footage.size) * np.uint8(factor))


def write_lines(path: Path, lines: list[str], *, end: str = "\n") -> None:
    """A text file; the folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + end, encoding="ascii")


def write_json(path: Path, content: object) -> None:
    """A JSON file; the folders above it are made."""
    write_lines(path, [json.dumps(content, indent=1)])


def box_lines(
    boxes: NDArray[np.float64], number: Callable[[float], str] = format_number, *, absent: str | None = None
) -> list[str]:
    """Lines `x,y,w,h` of (T, 4) boxes.

    Args:
        boxes: NaN = no box.
        number: how one is written.
        absent: what stands for each number of no box; None = zero.
    """
    filler = number(0.0) if absent is None else absent
    return [",".join(filler if np.isnan(value) else number(float(value)) for value in row) for row in boxes]


def numbers(pattern: str, count: int, *, base: int = 0, step: int = 1) -> list[str]:
    """Names of frames.

    >>> numbers("%03d", 3, base=1, step=5)
    ['001', '006', '011']
    """
    return [pattern % (base + step * index) for index in range(count)]
