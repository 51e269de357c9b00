"""`folder`: anybody's videos (folders of pictures, zips, video files), each with first boxes or masks beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from mosam.datasets.annotations import LabelMapTruth, read_rows
from mosam.datasets.archives import TreePath, as_path
from mosam.datasets.base import DATASETS, BoxTruth, Dataset, DatasetInfo, Sequence
from mosam.datasets.frames import ARCHIVE_SUFFIX, StoredFrames, has_frames, open_frames
from mosam.datasets.video import VIDEO_SUFFIXES
from mosam.errors import DataError, MissingDataError
from mosam.geometry import mask_to_box
from mosam.types import Prompt

FRAME_FOLDERS = ("", "img", "color", "frames")  # where in a video's folder its pictures are
INSIDE = "groundtruth.txt"
_MEDIA = (*VIDEO_SUFFIXES, ARCHIVE_SUFFIX)


@DATASETS.register("folder")
class Folder(Dataset):
    """Videos in one folder, or one video; what is tracked in each is said by a file of its name.

    `<name>.txt` holds a box `x,y,w,h` on each line, one an object, all on the first frame; `<name>.png` is a label map
    of the first frame. Where there is only `<name>/groundtruth.txt`, its first line is the box of one object; where all
    videos have one with a line for each frame (`nan` or zeros = absent), results can be scored. The usual prompt is
    `given`: the masks where there are some, else the boxes.
    """

    name = "folder"
    root: TreePath | None
    info = DatasetInfo(
        title="folder of videos",
        task="mask",
        splits=("all",),
        default_split="all",
        prompts=("given", "mask", "box"),
        protocol="pytracking",
        result_format="toy",
        licence="your own",
        source="your own",
        metrics=("success_auc", "precision", "norm_precision"),
        tree="""\
<root>/                                        (or one video's folder or file)
  <name>/00000.jpg ...                         (or <name>/img/; <name>.zip; <name>.mp4 ...)
  <name>.txt                                   (x,y,w,h of an object on each line, on the first frame)
  <name>.png                                   (or a label map of the first frame; needed for --prompt mask)
  <name>/groundtruth.txt                       (or x,y,w,h of one object on each frame, to score results)""",
    )

    @property
    def has_truth(self) -> bool:
        """Whether every chosen video has a box on each frame."""
        paths = [self._start_file(name) for name in self]
        return all(path is not None and path.name == INSIDE and len(read_rows(path)) > 1 for path in paths)

    def list_names(self) -> Iterable[str]:
        """Names of all that hold frames and have a first box or mask beside them, sorted; of a video its own."""
        root = self.root
        assert root is not None
        if root.is_file():
            self.root = root.parent
            return self._only(root.stem)
        entries = [entry for entry in root.iterdir() if not entry.name.startswith(".")]
        media = {entry.stem if entry.name.lower().endswith(_MEDIA) else entry.name for entry in entries}
        names = sorted(name for name in media if self._start_file(name) is not None and self._frames(name) is not None)
        if not names and any(has_frames(root / part if part else root) for part in FRAME_FOLDERS):
            self.root = root.parent
            return self._only(root.name)
        if not names:
            raise self.layout_error("found no video with a first box or mask beside it")
        return names

    def _only(self, name: str) -> tuple[str, ...]:
        """The one video that the root names."""
        if self._start_file(name) is None:
            raise self.layout_error(f"found no {name}.txt or {name}.png that says what to track in {name}")
        return (name,)

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the video's first boxes or masks (with `frames`, also its pictures) are there."""
        return self._start_file(name) is not None and (not frames or self._frames(name) is not None)

    def open_frames(self, name: str) -> StoredFrames:
        """The video's frames."""
        place = self._frames(name)
        if place is None:
            raise DataError(self._beside(name, ""), "expected frames, found none")
        return open_frames(place)

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The first boxes or masks."""
        path = self._start_file(name)
        return () if path is None else (path,)

    def load(self, name: str) -> Sequence:
        """One video; reads its first boxes or masks.

        Raises:
            DataError: no frame, or a bad file of boxes or masks.
            MissingDataError: masks are asked for where there are boxes only.
        """
        source, path = self.open_frames(name), self._start_file(name)
        if path is None:
            raise DataError(self._beside(name, ".txt"), "expected a box on each line, found no file")
        if path.suffix == ".png":
            truth = LabelMapTruth({0: path})
            object_ids = truth.first_ids
        else:
            object_ids = tuple(range(1, len(self._boxes(path)) + 1))
            if self.prompt == "mask":
                masks = self._beside(name, ".png")
                raise MissingDataError(f"{masks}: expected a label map of the first frame, found none")
        return Sequence(
            name=name,
            source=source,
            frame_names=source.stems,
            object_ids=object_ids,
            load_prompts=lambda: self._prompts(path, source),
            load_truth=(lambda: self._truth(path, source)) if self.has_truth else None,
        )

    def _truth(self, path: TreePath, source: StoredFrames) -> BoxTruth:
        boxes = read_rows(path)
        if len(source) and len(boxes) != len(source):
            raise DataError(path, f"expected a box for each of {len(source)} frames, got {len(boxes)}")
        absent = np.isnan(boxes).any(axis=1) | (boxes == 0).all(axis=1)
        return BoxTruth(np.where(absent[:, None], np.nan, boxes), absent)

    def _prompts(self, path: TreePath, source: StoredFrames) -> tuple[Prompt, ...]:
        if path.suffix != ".png":
            return tuple(Prompt(number, box=box) for number, box in enumerate(self._boxes(path), 1))
        truth = LabelMapTruth({0: path})
        if truth.size != source.size():
            expected, got = ("{}x{}".format(*size) for size in (source.size(), truth.size))
            raise DataError(path, f"expected {expected} (height x width) as the frames, got {got}")
        masks = {object_id: truth.read(0)[object_id] for object_id in truth.first_ids}
        if self.prompt != "box":
            return tuple(Prompt(object_id, mask=mask) for object_id, mask in masks.items())
        return tuple(Prompt(key, box=mask_to_box(mask, convention="inclusive")) for key, mask in masks.items())

    def _boxes(self, path: TreePath) -> np.ndarray:
        boxes = read_rows(path)[: 1 if path.name == INSIDE else None]
        bad = np.flatnonzero(~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)))
        if bad.size:
            raise DataError(path, "expected a box with w > 0 and h > 0 on each line, got another", line=int(bad[0]) + 1)
        return boxes

    def _start_file(self, name: str) -> TreePath | None:
        """The file that says what is tracked; of masks and boxes the kind asked for, else masks."""
        masks, boxes = self._beside(name, ".png"), self._beside(name, ".txt")
        order = (boxes, masks) if self.prompt == "box" else (masks, boxes)
        return next((path for path in (*order, self._beside(name, "") / INSIDE) if path.is_file()), None)

    def _frames(self, name: str) -> TreePath | None:
        folder = self._beside(name, "")
        found = (folder / part if part else folder for part in FRAME_FOLDERS)
        return next((place for place in found if has_frames(place)), None)

    def _beside(self, name: str, suffix: str) -> TreePath:
        assert self.root is not None
        return self.root / f"{name}{suffix}"

    def _check_root(self, root: str | os.PathLike[str] | None) -> TreePath | None:
        """As others, but a video file will do."""
        path = None if root is None else as_path(root)
        is_video = path is not None and path.name.lower().endswith(VIDEO_SUFFIXES) and path.is_file()
        return path if is_video else super()._check_root(root)
