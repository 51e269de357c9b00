"""TrackingNet: one object in videos from YouTube; the test split publishes the first box only."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mosam.datasets.annotations import numbered, official_list, read_rows
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, BoxTruth, Dataset, DatasetInfo, Sequence
from mosam.datasets.frames import StoredFrames, frames_or_none, has_frames
from mosam.datasets.lasot import first_box
from mosam.datasets.made import TreePlan, box_lines, numbers, write_frames, write_lines
from mosam.datasets.obtain import Download, HubFiles, Obtain
from mosam.errors import DataError

CHUNKS = 12
CHUNK_SEQUENCES = 2511


def _chunk_files(split: str) -> tuple[Download, ...]:
    return (HubFiles("SilvioGiancola/TrackingNet", (f"{split.upper()}/*",), unpack=False),)


@DATASETS.register("trackingnet")
class TrackingNet(Dataset):
    """TrackingNet's test chunk and the twelve of its training set."""

    name = "trackingnet"
    info = DatasetInfo(
        title="TrackingNet",
        task="box",
        splits=("test", *(f"train_{number}" for number in range(CHUNKS))),
        default_split="test",
        prompts=("box",),
        protocol="trackingnet",
        result_format="trackingnet",
        official_counts={"test": 511, **{f"train_{number}": CHUNK_SEQUENCES for number in range(CHUNKS)}},
        no_truth=("test",),
        archive_folder="",
        license="Apache-2.0 (annotation); the videos keep the terms of YouTube",
        source="https://tracking-net.org/",
        obtain=Obtain(
            "fetch",
            "The authors' copy on the hub; a zip for each video, which is read as it is.",
            35,
            "its page on the hub, September 2026",
            _chunk_files,
        ),
        metrics=("success_auc", "precision", "norm_precision"),
        tree="""\
TrackingNet/
  TEST/                                        (or Test/; TRAIN_0/ ... TRAIN_11/; or such a folder itself)
    frames/<sequence>/0.jpg ...                (or frames/<sequence>.zip, zips/<sequence>.zip)
    anno/<sequence>.txt                        (x,y,w,h on each line; test: the first only)""",
    )

    def list_names(self) -> Iterable[str]:
        """Every sequence with an annotation file; no tree has a list."""
        folder = self._chunk() / "anno"
        if not folder.is_dir():
            raise self.layout_error(f"found no {self.split.upper()}/anno")
        names = [path.stem for path in folder.iterdir() if path.suffix == ".txt" and not path.name.startswith(".")]
        if not names:
            raise self.layout_error(f"found no text file in {folder}")
        return sorted(names)

    def official_names(self) -> tuple[str, ...] | None:
        """The sequences of test; those of the training chunks are not listed here."""
        return official_list("trackingnet_test") if self.split == "test" else None

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the sequence's boxes (with `frames`, also its pictures) are there."""
        return self._boxes(name).is_file() and (not frames or has_frames(self._images(name)))

    def open_frames(self, name: str) -> StoredFrames:
        """The pictures, unpacked or in the zip they came in, or none where the tree holds annotation only."""
        return frames_or_none(self._images(name))

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The sequence's boxes."""
        return (self._boxes(name),)

    def load(self, name: str) -> Sequence:
        """One sequence; reads its boxes.

        Raises:
            DataError: a bad row, or images and rows do not agree in number (test: several rows, but not one each).
        """
        path = self._boxes(name)
        boxes = read_rows(path)
        source = self.open_frames(name)
        count = len(source) or len(boxes)
        if len(boxes) != count and (self.has_truth or len(boxes) != 1):
            raise DataError(path, f"expected {count} rows, one for each image, got {len(boxes)}")
        return Sequence(
            name=name,
            source=source,
            frame_names=source.stems or numbered("%d", 0, count),
            object_ids=(1,),
            load_prompts=lambda: (first_box(boxes, path),),
            load_truth=(lambda: BoxTruth(boxes, np.zeros(len(boxes), dtype=bool))) if self.has_truth else None,
        )

    def _chunk(self) -> TreePath:
        assert self.root is not None
        found = (self.root / name for name in (self.split.upper(), self.split.capitalize(), self.split))
        return next((folder for folder in found if folder.is_dir()), self.root)

    def _boxes(self, name: str) -> TreePath:
        return self._chunk() / "anno" / f"{name}.txt"

    def _images(self, name: str) -> TreePath:
        """The folder of pictures; where only the zip it came in is there, that."""
        folder, archive = self._chunk() / "frames" / name, self._chunk() / "zips" / f"{name}.zip"
        return archive if not has_frames(folder) and has_frames(archive) else folder

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        folder = plan.root / plan.split.upper()
        official = official_list("trackingnet_test") if plan.split == "test" else ()
        for number, footage in enumerate(plan.single):
            name = official[number] if official else f"abcdefghij{number}_0"
            rows = box_lines(footage.boxes(1))
            write_frames(folder / "frames" / name, footage, numbers("%d", len(footage)))
            write_lines(folder / "anno" / f"{name}.txt", rows[:1] if plan.hidden else rows)
