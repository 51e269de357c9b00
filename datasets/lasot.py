"""LaSOT: one object in 1,400 long videos, boxes in text files."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.annotations import (
    numbered,
    official_attributes,
    official_list,
    read_flags,
    read_names,
    read_rows,
)
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, BoxTruth, Dataset, DatasetInfo, Sequence
from mosam.datasets.frames import StoredFrames, frames_or_none, has_frames, open_frames
from mosam.datasets.made import TreePlan, box_lines, numbers, write_frames, write_lines
from mosam.datasets.obtain import Download, HubFiles, Obtain
from mosam.errors import DataError
from mosam.types import Prompt

LISTS = {"test": "testing_set.txt", "train": "training_set.txt"}
# airplane-14, airplane-15 and bus-4 have one image more than annotated frames in some downloads, monkey-17 many more
# (formats.md 1); only annotated frames count, `cut_sequences` names those with many.
MAX_EXTRA_FRAMES = 1


def class_archives(repository: str, listed: str) -> Download:
    """Archives of classes, of which the sequences of a shipped list are kept."""
    return HubFiles(repository, ("*.zip", "*.txt"), wanted=lambda: official_list(listed))


@DATASETS.register("lasot")
class Lasot(Dataset):
    """LaSOT's test (280) or train (1120) sequences, in class folders, flat, or in doubled folders."""

    name = "lasot"
    cut_sequences: ClassVar[frozenset[str]] = frozenset({"monkey-17"})
    info = DatasetInfo(
        title="LaSOT",
        task="box",
        splits=("test", "train"),
        default_split="test",
        prompts=("box",),
        protocol="pytracking",
        result_format="lasot",
        official_counts={"test": 280, "train": 1120},
        license="research use; the benchmark's page says more",
        source="http://vision.cs.stonybrook.edu/~lasot/",
        obtain=Obtain(
            "fetch",
            "The authors' copy on the hub, an archive for each of 70 classes (248 GB); the split's sequences stay.",
            50,
            "its page on the hub, September 2026; 50 GB is a fifth of it",
            lambda split: (class_archives("l-lt/LaSOT", f"lasot_{split}"),),
        ),
        metrics=("success_auc", "precision", "norm_precision", "op50", "op75"),
        tree="""\
LaSOT/
  testing_set.txt, training_set.txt            (optional: sequence names, one a line)
  <class>/<class>-<n>/                         (or <class>-<n>/ without the class folder)
    img/00000001.jpg ...                       (not needed for scoring)
    groundtruth.txt                            (x,y,w,h on each line)
    full_occlusion.txt, out_of_view.txt        (or absent.txt, their union)""",
    )

    def list_names(self) -> Iterable[str]:
        """The names of the root's own list, else the official ones."""
        assert self.root is not None
        own = self.root / LISTS[self.split]
        names = read_names(own) if own.is_file() else self.official_names()
        if not any(self._folder(name) for name in names):
            raise self.layout_error(f"found none of its {len(names)} {self.split} sequences")
        return names

    def official_names(self) -> tuple[str, ...]:
        """The sequences of the official split."""
        return official_list(f"lasot_{self.split}")

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the sequence's `groundtruth.txt` (with `frames`, also `img/`) is there."""
        folder = self._folder(name)
        return folder is not None and (not frames or has_frames(folder / "img"))

    def open_frames(self, name: str) -> StoredFrames:
        """All images of `img/`, or none where the tree holds annotation only."""
        return frames_or_none(self._present(name) / "img")

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names, where the tree has one."""
        assert self.root is not None
        own = self.root / LISTS[self.split]
        return (own,) if own.is_file() else ()

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """`groundtruth.txt` and the flags in use."""
        folder = self._present(name)
        return (folder / "groundtruth.txt", *_flag_files(folder))

    def load(self, name: str) -> Sequence:
        """One sequence; reads its boxes, which say how many frames count.

        Raises:
            DataError: a bad row, or images and rows do not agree in number.
        """
        folder = self._present(name)
        path = folder / "groundtruth.txt"
        boxes = read_rows(path)
        source = self.open_frames(name)
        if len(source):
            extra = len(source) - len(boxes)
            if extra < 0 or (extra > MAX_EXTRA_FRAMES and name not in self.cut_sequences):
                raise DataError(path, f"expected {len(source)} rows, one for each image of img/, got {len(boxes)}")
            source = open_frames(folder / "img", count=len(boxes), upright=False) if extra else source
        stems = source.stems or numbered("%08d", 1, len(boxes))
        return Sequence(
            name=name,
            source=source,
            frame_names=stems,
            object_ids=(1,),
            load_prompts=lambda: (first_box(boxes, path),),
            load_truth=lambda: BoxTruth(boxes, _read_absent(folder, len(boxes))),
            attributes=official_attributes("lasot_attributes").get(name, frozenset()),
        )

    def _folder(self, name: str) -> TreePath | None:
        assert self.root is not None
        if name in self._found:
            return self._found[name]
        category = name.rpartition("-")[0]
        for parts in ((category, name), (name,), (category, category, name), (category, name, name), (name, name)):
            folder = self.root.joinpath(*parts)
            if (folder / "groundtruth.txt").is_file():
                self._found[name] = folder
                return folder
        return None

    @cached_property
    def _found(self) -> dict[str, TreePath]:
        """Folders that were there when looked for."""
        return {}

    def _present(self, name: str) -> TreePath:
        folder = self._folder(name)
        if folder is None:
            category = name.rpartition("-")[0]
            raise DataError(f"{self.root}/{category}/{name}", "expected groundtruth.txt, found none; get the sequence")
        return folder

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        write_lasot(plan, official_list(f"lasot_{plan.split}"), LISTS[plan.split], origin=1)


def first_box(boxes: NDArray[np.float64], path: TreePath) -> Prompt:
    """The prompt of a single-object sequence: the first row of (T, 4) boxes read from `path`.

    Raises:
        DataError: it has no extent.
    """
    if not (np.isfinite(boxes[0]).all() and (boxes[0, 2:] > 0).all()):
        shown = ",".join(f"{value:g}" for value in boxes[0])
        raise DataError(path, f"expected a first box with w > 0 and h > 0, got {shown}; it is the prompt", line=1)
    return Prompt(1, box=boxes[0])


def _flag_files(folder: TreePath) -> tuple[TreePath, ...]:
    official = (folder / "full_occlusion.txt", folder / "out_of_view.txt")
    if all(path.is_file() for path in official):
        return official
    union = folder / "absent.txt"
    return (union,) if union.is_file() else ()


def _read_absent(folder: TreePath, count: int) -> NDArray[np.bool_]:
    paths = _flag_files(folder)
    if not paths:
        raise DataError(folder, "expected full_occlusion.txt and out_of_view.txt, or absent.txt; found neither")
    return np.logical_or.reduce([read_flags(path, count) for path in paths])


def write_lasot(plan: TreePlan, names: tuple[str, ...], listing: str, origin: int) -> None:
    """A small tree of these sequences, the first pixel at `origin`, and a list of them without a final newline."""
    for name, footage in zip(names, plan.single, strict=False):
        folder = plan.root / name.rpartition("-")[0] / name
        boxes = footage.boxes(1)
        absent = np.isnan(boxes).any(axis=1).astype(int)
        write_frames(folder / "img", footage, numbers("%08d", len(footage), base=1))
        write_lines(folder / "groundtruth.txt", box_lines(boxes + np.array([origin, origin, 0, 0])))
        write_lines(folder / "full_occlusion.txt", [",".join(map(str, absent))])
        write_lines(folder / "out_of_view.txt", [",".join("0" * len(footage))])
        write_lines(folder / "nlp.txt", ["a textured shape that moves"])
    write_lines(plan.root / listing, list(names[: len(plan.single)]), end="")
