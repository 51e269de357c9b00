"""GOT-10k: one object in short videos at 10 frames a second; the test split publishes the first box only."""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.annotations import numbered, read_flags, read_names, read_rows, read_text
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, BoxTruth, Dataset, DatasetInfo, Sequence
from mosam.datasets.frames import NoFrames, StoredFrames, has_frames, open_frames
from mosam.datasets.lasot import first_box
from mosam.datasets.made import TreePlan, box_lines, numbers, write_frames, write_lines
from mosam.datasets.obtain import Obtain
from mosam.errors import DataError
from mosam.types import Size

COUNTS = {"train": 9335, "val": 180, "test": 180}
COVER_STEPS = 8  # `cover.label` counts the visible share in eighths
_METADATA = "meta_info.ini"
_RESOLUTION = re.compile(r"\(([0-9]{1,6}), *([0-9]{1,6})\)")


@DATASETS.register("got10k")
class Got10k(Dataset):
    """GOT-10k's train, val and test; frames lie beside the text files of a sequence."""

    name = "got10k"
    info = DatasetInfo(
        title="GOT-10k",
        task="box",
        splits=("val", "test", "train"),
        default_split="val",
        prompts=("box",),
        protocol="got10k",
        result_format="got10k",
        official_counts=COUNTS,
        no_truth=("test",),
        archive_folder="",
        license="CC BY-NC-SA 4.0",
        source="http://got-10k.aitestunion.com/",
        obtain=Obtain(
            "form",
            "Register at http://got-10k.aitestunion.com/downloads; the links to train, val and test come by mail.",
            None,
            "the benchmark's page",
        ),
        metrics=("ao", "sr50", "sr75"),
        tree="""\
GOT-10k/
  {train,val,test}/                            (or the split's folder itself)
    list.txt                                   (sequence names, one a line)
    GOT-10k_Val_000001/
      00000001.jpg ...                         (not needed for scoring)
      groundtruth.txt                          (x,y,w,h on each line; test: the first only)
      meta_info.ini                            (resolution)
      absence.label, cover.label               (one number a line; not in test)""",
    )

    def list_names(self) -> Iterable[str]:
        """The names of the split's `list.txt`, else the official ones."""
        listing = self._split_folder() / "list.txt"
        names = read_names(listing) if listing.is_file() else self.official_names()
        if not any((self._folder(name) / "groundtruth.txt").is_file() for name in names):
            raise self.layout_error(f"found none of its {len(names)} {self.split} sequences")
        return names

    def official_names(self) -> tuple[str, ...]:
        """The sequences of the official split, which are numbered."""
        count = COUNTS[self.split]
        return tuple(f"GOT-10k_{self.split.capitalize()}_{number:06d}" for number in range(1, count + 1))

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the sequence's `groundtruth.txt` (with `frames`, also a picture) is there."""
        folder = self._folder(name)
        return (folder / "groundtruth.txt").is_file() and (not frames or has_frames(folder))

    def open_frames(self, name: str) -> StoredFrames:
        """The pictures in the sequence's folder, or none where the tree holds annotation only."""
        folder = self._folder(name)
        return open_frames(folder, upright=False) if has_frames(folder) else NoFrames(folder)

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names, where there is one."""
        listing = self._split_folder() / "list.txt"
        return (listing,) if listing.is_file() else ()

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """`groundtruth.txt` and those of its companions that are there."""
        names = ("groundtruth.txt", "absence.label", "cover.label", _METADATA)
        paths = [self._folder(name) / file for file in names]
        return [path for path in paths if path.is_file()]

    def load(self, name: str) -> Sequence:
        """One sequence; reads its boxes.

        Raises:
            DataError: a bad row, or images and rows do not agree in number (test: no row, or several but not one each).
        """
        folder = self._folder(name)
        path = folder / "groundtruth.txt"
        boxes = read_rows(path)
        source = self.open_frames(name)
        count = len(source) or len(boxes)
        if len(boxes) != count and (self.has_truth or len(boxes) != 1):
            raise DataError(path, f"expected {count} rows, one for each image, got {len(boxes)}")
        return Sequence(
            name=name,
            source=source,
            frame_names=source.stems or numbered("%08d", 1, count),
            object_ids=(1,),
            load_prompts=lambda: (first_box(boxes, path),),
            load_truth=(lambda: _truth(folder, boxes)) if self.has_truth else None,
            load_size=lambda: _resolution(folder / _METADATA),
        )

    def _split_folder(self) -> TreePath:
        assert self.root is not None
        folder = self.root / self.split
        return folder if folder.is_dir() else self.root

    def _folder(self, name: str) -> TreePath:
        return self._split_folder() / name

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        folder = plan.root / plan.split
        names = [f"GOT-10k_{plan.split.capitalize()}_{number + 1:06d}" for number in range(len(plan.single))]
        for name, footage in zip(names, plan.single, strict=True):
            boxes = footage.boxes(1) + np.array([1, 1, 0, 0])
            height, width = footage.size
            write_frames(folder / name, footage, numbers("%08d", len(footage), base=1))
            rows = box_lines(boxes, "{:.4f}".format)
            write_lines(folder / name / "groundtruth.txt", rows[:1] if plan.hidden else rows)
            metadata = {
                "url": "https://example.org/toy",
                "begin": "00:00:00",
                "end": f"00:00:{len(footage) / 10:02.0f}",
                "anno_fps": "10Hz",
                "object_class": "shape",
                "motion_class": "move",
                "major_class": "toy",
                "root_class": "object",
                "motion_adverb": "smoothly",
                "resolution": f"({width}, {height})",
            }
            write_lines(folder / name / "meta_info.ini", ["[METAINFO]", *(f"{k}: {v}" for k, v in metadata.items())])
            if not plan.hidden:
                absent = np.isnan(boxes).any(axis=1).tolist()
                write_lines(folder / name / "absence.label", [str(int(flag)) for flag in absent])
                write_lines(folder / name / "cover.label", ["0" if flag else "8" for flag in absent])
                write_lines(folder / name / "cut_by_image.label", ["0"] * len(footage))
        write_lines(folder / "list.txt", names)


def _truth(folder: TreePath, boxes: NDArray[np.float64]) -> BoxTruth:
    count = len(boxes)
    path = folder / "cover.label"
    cover = read_rows(path, columns=1)[:, 0]
    if len(cover) != count:
        raise DataError(path, f"expected {count} numbers, one for each annotated frame, got {len(cover)}")
    bad = np.flatnonzero(~np.isin(cover, np.arange(COVER_STEPS + 1)))
    if bad.size:
        raise DataError(path, f"expected an integer of 0 to 8, got {cover[bad[0]]:g}", line=int(bad[0]) + 1)
    return BoxTruth(boxes, read_flags(folder / "absence.label", count), cover / COVER_STEPS)


def _resolution(path: TreePath) -> Size | None:
    """(height, width) of `resolution: (W, H)`; None without the file or the entry, which older copies lack."""
    if not path.is_file():
        return None
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(read_text(path))
        text = parser.get("METAINFO", "resolution", fallback=None)
    except configparser.Error:
        text = ""
    if text is None:
        return None
    found = _RESOLUTION.fullmatch(text.strip())
    if found is None or "0" in found.groups():
        raise DataError(path, "expected [METAINFO] with resolution: (width, height), got another text")
    return int(found[2]), int(found[1])
