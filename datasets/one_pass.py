"""What benchmarks of one object a video share: a box on every frame, pictures of a folder or some of them, flags.

A loader states its lists and where the files of a sequence lie; the rest is here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.annotations import (
    SPLITS,
    numbered,
    official_attributes,
    official_list,
    read_flags,
    read_names,
    read_rows,
    read_text,
)
from mosam.datasets.archives import TreePath
from mosam.datasets.base import BoxTruth, Dataset, DatasetInfo, Sequence
from mosam.datasets.frames import StoredFrames, frames_or_none, has_frames, open_frames
from mosam.datasets.lasot import first_box
from mosam.datasets.made import TreePlan, numbers, write_frames, write_lines
from mosam.datasets.obtain import Obtain
from mosam.errors import DataError

METRICS = ("success_auc", "precision", "norm_precision", "op50", "op75")


@dataclass(frozen=True, slots=True)
class Span:
    """The pictures of a folder that are a sequence's.

    Attributes:
        folder: its name, which several sequences may share.
        first, last: numbers of the pictures, the last one included.
    """

    folder: str
    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


@cache
def official_spans(name: str) -> Mapping[str, Span]:
    """Spans shipped in `splits/`, by sequence; rows are `sequence,folder,first,last`.

    >>> official_spans("uav123_frames")["bird1_2"]
    Span(folder='bird1', first=775, last=1477)
    """
    rows = [line.split(",") for line in read_text(SPLITS / f"{name}.txt").splitlines() if not line.startswith("#")]
    return {name: Span(folder, int(first), int(last)) for name, folder, first, last in rows}


def one_pass_info(
    title: str, source: str, tree: str, counts: Mapping[str, int], protocol: str, obtain: Obtain | None = None
) -> DatasetInfo:
    """The descriptor of a benchmark of this kind; the first split is the one papers report."""
    return DatasetInfo(
        title=title,
        task="box",
        splits=tuple(counts),
        default_split=next(iter(counts)),
        prompts=("box",),
        protocol=protocol,
        result_format="lasot",
        official_counts={split: count for split, count in counts.items() if count},
        license="research use; the benchmark's page says more",
        source=source,
        obtain=obtain,
        metrics=METRICS,
        tree=tree,
    )


class OnePass(Dataset):
    """One object a video, a box on every frame.

    Attributes:
        listed: the lists in `splits/` without their split (`tnl2k` of `tnl2k_test.txt`); empty = there is none.
        spans: the list of `official_spans` in place of those.
        attributes: the list of attributes.
        own_list: the tree's own list of names, below the root; `{split}` is replaced.
        stems: how frames are called.
        slack: how many more pictures or rows a copy may have; the shorter of the two decides.
        separator, gone: between the numbers of a row, and what absent objects are written as, in made trees.
    """

    listed: ClassVar[str] = ""
    spans: ClassVar[str] = ""
    attributes: ClassVar[str] = ""
    own_list: ClassVar[str] = "list.txt"
    stems: ClassVar[str] = "%08d"
    slack: ClassVar[int] = 0
    separator: ClassVar[str] = ","
    gone: ClassVar[float] = 0.0

    @classmethod
    @abstractmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """The folder of a sequence's pictures."""

    @classmethod
    @abstractmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """The file of its boxes."""

    @classmethod
    def flags(cls, root: TreePath, name: str) -> tuple[TreePath, ...]:
        """Files with a flag for each frame on which the object is not to be seen."""
        return ()

    @classmethod
    def read_boxes(cls, path: TreePath) -> NDArray[np.float64]:
        """(T, 4) x, y, w, h as in the file."""
        return read_rows(path)

    @classmethod
    def fit(cls, boxes: NDArray[np.float64], name: str, count: int) -> NDArray[np.float64]:
        """The rows of a sequence, where a file has others too.

        Args:
            boxes: (T, 4) of the file.
            name: the sequence.
            count: its pictures, 0 where there is none.
        """
        span = cls.span(name)
        if span is None:
            return boxes
        before = span.first - 1
        return boxes[before:] if len(boxes) - before == (count or len(span)) else boxes

    @classmethod
    def hidden(cls, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(T,) where the object is not to be seen, in benchmarks without flags: rows of NaN or of zeros."""
        return np.asarray(np.isnan(boxes).any(axis=1) | ~boxes.any(axis=1))

    @classmethod
    def span(cls, name: str) -> Span | None:
        """The pictures that are a sequence's; None = all of the folder."""
        return official_spans(cls.spans)[name] if cls.spans else None

    @classmethod
    def official(cls, split: str) -> tuple[str, ...]:
        """Every sequence of a split; none where no list is known."""
        if cls.spans:
            return tuple(official_spans(cls.spans))
        return official_list(f"{cls.listed}_{split}") if cls.listed else ()

    def official_names(self) -> tuple[str, ...] | None:
        """Every sequence of the split."""
        return self.official(self.split) or None

    def list_names(self) -> Iterable[str]:
        """The names of the root's own list, else the official ones."""
        names = tuple(self.found_names())
        if not any(self.is_present(name) for name in names):
            raise self.layout_error(f"found none of its {len(names)} {self.split} sequences")
        return names

    def found_names(self) -> Iterable[str]:
        """The names of the root's own list, else the official ones."""
        own = self._own_list
        return read_names(own) if own.is_file() else self.official(self.split)

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the sequence's boxes (with `frames`, also pictures) are there."""
        return self.boxes(self._top, name).is_file() and (not frames or has_frames(self.images(self._top, name)))

    def open_frames(self, name: str) -> StoredFrames:
        """The pictures as stored, or none where the tree holds annotation only."""
        folder, span = self.images(self._top, name), self.span(name)
        if span is None or not has_frames(folder):
            return frames_or_none(folder)
        return open_frames(folder, numbers=range(span.first, span.last + 1), upright=False)

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names, where the tree has one."""
        own = self._own_list
        return (own,) if own.is_file() else ()

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The boxes and flags."""
        return (self.boxes(self._top, name), *self.flags(self._top, name))

    def load(self, name: str) -> Sequence:
        """One sequence; reads its boxes.

        Raises:
            DataError: a bad row, or pictures and rows do not agree in number.
        """
        path, source = self.boxes(self._top, name), self.open_frames(name)
        boxes = self.fit(self.read_boxes(path), name, len(source))
        count = min(len(boxes), len(source) or len(boxes))
        if len(source) and abs(len(boxes) - len(source)) > self.slack:
            raise DataError(path, f"expected {len(source)} rows, one for each image, got {len(boxes)}")
        if len(source) > count:
            source = open_frames(source.folder, count=count, upright=False)
        boxes = boxes[:count]
        span = self.span(name)
        return Sequence(
            name=name,
            source=source,
            frame_names=source.stems or numbered(self.stems, span.first if span else 1, count),
            object_ids=(1,),
            load_prompts=lambda: (first_box(boxes, path),),
            load_truth=lambda: BoxTruth(boxes, self._absent(name, boxes)),
            attributes=official_attributes(self.attributes).get(name, frozenset()) if self.attributes else frozenset(),
        )

    @property
    def _top(self) -> TreePath:
        assert self.root is not None
        return self.root

    @property
    def _own_list(self) -> TreePath:
        return self._top / self.own_list.format(split=self.split)

    def _absent(self, name: str, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
        files = self.flags(self._top, name)
        if not files:
            return self.hidden(boxes)
        return np.logical_or.reduce([read_flags(path, len(boxes)) for path in files])

    @classmethod
    def write_tree(cls, plan: TreePlan) -> None:
        """See `Dataset.write_tree`; the list of names has no final newline."""
        official = cls.official(plan.split) or numbers("toy%d", len(plan.single))
        names = list(official[: len(plan.single)])
        for name, footage in zip(names, plan.single, strict=True):
            span, boxes = cls.span(name), footage.boxes(1)
            absent = np.isnan(boxes).any(axis=1)
            boxes[absent] = cls.gone
            stems = numbers(cls.stems, len(footage), base=span.first if span else 1)
            write_frames(Path(cls.images(plan.root, name)), footage, stems)
            write_lines(Path(cls.boxes(plan.root, name)), [cls.separator.join(map(str, row)) for row in boxes.tolist()])
            for path in cls.flags(plan.root, name):
                write_lines(Path(path), [",".join(map(str, absent.astype(int)))])
        write_lines(plan.root / cls.own_list.format(split=plan.split), names, end="")


def first_of(folder: TreePath, *names: str) -> TreePath:
    """The first of some folders that holds a picture, else the first."""
    return next((folder / name for name in names if has_frames(folder / name)), folder / names[0])
