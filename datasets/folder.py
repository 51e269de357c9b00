"""`folder`: anybody's videos (folders of pictures, zips, video files), each with first boxes or masks beside it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import LARGEST_LABEL, labels_of_masks, write_labels
from mosam.datasets.annotations import LabelMapTruth, check_start_mask, read_rows
from mosam.datasets.archives import LMDB_FILE, TreePath, as_path
from mosam.datasets.base import DATASETS, BoxTruth, Dataset, DatasetInfo, Sequence, shorten
from mosam.datasets.frames import ARCHIVE_SUFFIX, StoredFrames, has_frames, holds_frames, open_frames
from mosam.datasets.made import TreePlan, box_lines, numbers, write_frames, write_lines
from mosam.datasets.video import VIDEO_SUFFIXES
from mosam.errors import DataError, MissingDataError, printable
from mosam.geometry import box_fault, mask_to_box
from mosam.types import Prompt

FRAME_FOLDERS = ("", "img", "color", "frames")  # where in a video's folder its pictures are
INSIDE = "groundtruth.txt"
BOXES, MASKS = ".txt", ".png"  # suffixes of the files that say what is tracked
_MEDIA = (*VIDEO_SUFFIXES, ARCHIVE_SUFFIX)


def too_many_boxes(path: str | os.PathLike[str], count: int) -> DataError:
    """The error for a file with more boxes than a label map can hold objects."""
    return DataError(
        path,
        f"expected a box for each object, at most {LARGEST_LABEL} as results hold no more, got {count} lines; if they "
        f"are one object's boxes on each frame, name the file <video>/{INSIDE}, else track some of them at a time",
    )


@DATASETS.register("folder")
class Folder(Dataset):
    """Videos in one folder, or one video; what is tracked in each is said by a file of its name.

    `<name>.txt` holds a box `x,y,w,h` on each line, one an object, all on the first frame; `<name>.png` is a label map
    of the first frame. Where there is neither, the first line of `<name>/groundtruth.txt` is the box of one object.
    Where all videos have that file with a line for each frame (`nan` or zeros = absent), and one object each, results
    can be scored, whatever they were started from. The usual prompt is `given`: the masks where there are some, else
    the boxes. Videos and photographs are upright, and so are boxes and masks.
    """

    name = "folder"
    root: TreePath | None
    _media: dict[str, list[TreePath]]
    _starts: dict[str, dict[str, list[TreePath]]]
    _truth_faults: dict[str, str | None]
    info = DatasetInfo(
        title="folder of videos",
        task="mask",
        splits=("all",),
        default_split="all",
        prompts=("given", "mask", "box"),
        protocol="pytracking",
        result_format="toy",
        license="your own",
        source="your own",
        metrics=("success_auc", "precision", "norm_precision"),
        tree="""\
<root>/                                        (or one video's folder or file)
  <name>/00000.jpg ...                         (or <name>/img/; <name>.zip; <name>.mp4 ...)
  <name>.txt                                   (x,y,w,h of an object on each line, on the first frame)
  <name>.png                                   (or a label map of the first frame; needed for --prompt mask)
  <name>/groundtruth.txt                       (x,y,w,h of one object on each frame, to score results; its first line
                                                is the start where there is no other)""",
    )

    @property
    def has_truth(self) -> bool:
        """Whether every chosen video has one object and its box on each frame."""
        return self.unscored() is None

    def unscored(self) -> str | None:
        """See `Dataset.unscored`; names the videos that lack what scoring needs."""
        faults = {name: fault for name in self if (fault := self._truth_fault(name)) is not None}
        if not faults:
            return None
        name, fault = next(iter(faults.items()))
        others = f" (so for {len(faults)} of {len(self)} videos: {shorten(faults)})" if len(faults) > 1 else ""
        return f"{name}: {fault}{others}"

    def list_names(self) -> Iterable[str]:
        """Names of all that hold frames and have a first box or mask beside them, sorted; of a video its own.

        Raises:
            DataError: two videos of one name.
        """
        root = self.root
        assert root is not None
        if root.is_file():
            self.root = root.parent
            return self._only(root.stem, root)
        self._scan()
        names = sorted(name for name in self._media if self._start_file(name) is not None and self._places(name))
        if not names and any(has_frames(root / part if part else root) for part in FRAME_FOLDERS):
            self.root = root.parent
            return self._only(root.name, root)
        if not names:
            raise self.layout_error("found no video with a first box or mask beside it")
        for name in names:
            self._place(name)
        return names

    def _only(self, name: str, video: TreePath) -> tuple[str, ...]:
        """The one video that the root names, whatever else has its name."""
        self._scan()
        self._media = {name: [video]}
        if self._start_file(name) is None:
            raise self.layout_error(f"found no {name}.txt or {name}.png that says what to track in {name}")
        return (name,)

    def _scan(self) -> None:
        """Reads the root's names: what may be a video, and what may say what is tracked, by the name of the video."""
        assert self.root is not None
        self._media, self._starts, self._truth_faults = {}, {}, {}
        entries: list[TreePath] = list(self.root.iterdir())
        for entry in sorted(entries, key=lambda entry: entry.name):
            suffix = entry.suffix.lower()  # cameras and Windows write them in capitals
            if entry.name.startswith("."):
                continue
            if suffix in (BOXES, MASKS):
                self._starts.setdefault(entry.stem, {}).setdefault(suffix, []).append(entry)
            is_file = suffix in _MEDIA and entry.is_file()
            self._media.setdefault(entry.stem if is_file else entry.name, []).append(entry)

    def _places(self, name: str) -> list[TreePath]:
        """Everything that holds frames of a video of that name: its file, zip, folder or a folder inside."""
        found = []
        for entry in self._media.get(name, ()):
            if entry.suffix.lower() in _MEDIA and entry.is_file():
                found.append(entry)
            elif entry.is_dir():
                found += list(_inside(entry))
        return found

    def _place(self, name: str) -> TreePath | None:
        """Where a video's frames are; None = nowhere."""
        assert self.root is not None
        places = self._places(name)
        if len(places) > 1:
            first, second = (f"{place.name}/" if place.is_dir() else place.name for place in places[:2])
            raise DataError(
                self.root, f"expected one video of the name {name}, got both {first} and {second}; rename or move one"
            )
        return places[0] if places else None

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the video's first boxes or masks (with `frames`, also its pictures) are there."""
        return self._start_file(name) is not None and (not frames or bool(self._places(name)))

    def require(self, *, frames: bool = False) -> None:
        """As others; where frames are demanded, what is to be tracked is also read, so that no hour is lost to it.

        Raises:
            DataError: a bad file of boxes or masks, or one with what the result files cannot hold.
        """
        super().require(frames=frames)
        for name in self if frames else ():
            self._object_ids(name)

    def open_frames(self, name: str) -> StoredFrames:
        """The video's frames, upright."""
        place = self._place(name)
        if place is None:
            raise DataError(self._beside(name, ""), "expected frames, found none")
        return open_frames(place)

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The first boxes or masks, and the boxes of all frames."""
        start, truth = self._start_file(name), self._beside(name, "") / INSIDE
        found = () if start is None else (start,)
        return (*found, truth) if truth not in found and truth.is_file() else found

    def load(self, name: str) -> Sequence:
        """One video; reads its first boxes or masks.

        Raises:
            DataError: no frame, or a bad file of boxes or masks.
            MissingDataError: masks are asked for where there are boxes only.
        """
        source, object_ids = self.open_frames(name), self._object_ids(name)
        bad = next((stem for stem in source.stems if printable(stem) != stem), None)
        if bad is not None:  # results are files of these names
            raise DataError(
                self._beside(name, ""),
                f"expected names of frames without control characters or bytes that are no UTF-8, got "
                f"'{printable(bad)}'; rename it",
            )
        return Sequence(
            name=name,
            source=source,
            frame_names=source.stems,
            object_ids=object_ids,
            load_prompts=lambda: self._prompts(name, source),
            load_truth=lambda: self._truth(name, source),
        )

    def _truth_fault(self, name: str) -> str | None:
        """Why a video's results cannot be scored; None = they can. Whether the file fits the frames is not asked."""
        if name not in self._truth_faults:
            self._truth_faults[name] = self._find_truth_fault(name)
        return self._truth_faults[name]

    def _find_truth_fault(self, name: str) -> str | None:
        path = self._beside(name, "") / INSIDE
        if not path.is_file():
            return f"expected {name}/{INSIDE} with a box on each frame to score with, found none"
        if len(read_rows(path)) < 2:
            return f"expected {name}/{INSIDE} with a box on each frame to score with, got one line"
        objects = len(self._object_ids(name))
        return None if objects == 1 else f"expected one object to score with {name}/{INSIDE}, got {objects}"

    def _truth(self, name: str, source: StoredFrames) -> BoxTruth:
        fault = self._truth_fault(name)
        if fault is not None:
            raise MissingDataError(f"{name}: {fault}")
        path = self._beside(name, "") / INSIDE
        boxes = read_rows(path)
        if len(source) and len(boxes) != len(source):
            raise DataError(path, f"expected a box for each of {len(source)} frames, got {len(boxes)}")
        absent = np.isnan(boxes).any(axis=1) | (boxes == 0).all(axis=1)
        return BoxTruth(np.where(absent[:, None], np.nan, boxes), absent)

    def _object_ids(self, name: str) -> tuple[int, ...]:
        """Numbers of a video's objects; DataError for what the result files cannot hold."""
        path = self._start_file(name)
        if path is None:
            raise DataError(self._beside(name, BOXES), "expected a box on each line, found no file")
        if path.suffix.lower() == MASKS:
            return self._mask(path).first_ids
        if self.prompt == "mask":
            masks = self._beside(name, MASKS)
            raise MissingDataError(f"{masks}: expected a label map of the first frame, found none")
        return tuple(range(1, len(self._boxes(path)) + 1))

    def _prompts(self, name: str, source: StoredFrames) -> tuple[Prompt, ...]:
        path = self._start_file(name)
        assert path is not None
        if path.suffix.lower() != MASKS:
            boxes = self._boxes(path)
            for line, box in enumerate(boxes, 1):
                _check_inside(path, line, box, source.size())
            return tuple(Prompt(number, box=box) for number, box in enumerate(boxes, 1))
        truth = self._mask(path)
        if truth.size != source.size():
            expected, got = ("{}x{}".format(*size) for size in (source.size(), truth.size))
            raise DataError(path, f"expected {expected} (height x width) as the frames, got {got}")
        masks = {object_id: truth.read(0)[object_id] for object_id in truth.first_ids}
        if self.prompt != "box":
            return tuple(Prompt(object_id, mask=mask) for object_id, mask in masks.items())
        return tuple(Prompt(key, box=mask_to_box(mask, convention="inclusive")) for key, mask in masks.items())

    def _mask(self, path: TreePath) -> LabelMapTruth:
        check_start_mask(path)
        return LabelMapTruth({0: path})

    def _boxes(self, path: TreePath) -> NDArray[np.float64]:
        boxes = read_rows(path)[: 1 if path.name == INSIDE else None]
        if len(boxes) > LARGEST_LABEL:
            raise too_many_boxes(path, len(boxes))
        bad = np.flatnonzero(~(np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)))
        if bad.size:
            raise DataError(path, "expected a box with w > 0 and h > 0 on each line, got another", line=int(bad[0]) + 1)
        return boxes

    def _start_file(self, name: str) -> TreePath | None:
        """The file that says what is tracked; of masks and boxes the kind asked for, else masks."""
        for suffix in (BOXES, MASKS) if self.prompt == "box" else (MASKS, BOXES):
            usual = self._beside(name, suffix)  # it may have been written since the names were read
            found = [
                path for path in dict.fromkeys([usual, *self._starts.get(name, {}).get(suffix, ())]) if path.is_file()
            ]
            if len(found) > 1:
                raise DataError(found[0], f"expected one such file, got also {found[1].name}; remove one")
            if found:
                return found[0]
        inside = self._beside(name, "") / INSIDE
        return inside if inside.is_file() else None

    def _beside(self, name: str, suffix: str) -> TreePath:
        assert self.root is not None
        return self.root / f"{name}{suffix}"

    def _check_root(self, root: str | os.PathLike[str] | None) -> TreePath | None:
        """As others, but a video file will do."""
        path = None if root is None else as_path(root)
        is_video = path is not None and path.name.lower().endswith(VIDEO_SUFFIXES) and path.is_file()
        return path if is_video else super()._check_root(root)

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """Videos given with masks and with boxes in turn."""
        for number, footage in enumerate(plan.several):
            footage = footage.starting()
            name = f"toy{number:05d}"
            write_frames(plan.root / name, footage, numbers("%05d", len(footage)))
            if number % 2 == 0:
                write_labels(plan.root / f"{name}.png", labels_of_masks(footage.masks[0], footage.size))
            else:
                write_lines(
                    plan.root / f"{name}.txt", box_lines(np.stack([footage.boxes(i)[0] for i in footage.object_ids]))
                )


def _inside(folder: TreePath) -> Iterator[TreePath]:
    """Where in a video's folder its frames are; one place unless somebody left more."""
    for part in FRAME_FOLDERS:
        place = folder / part if part else folder
        # of the folder itself not what lies beside it: `has_frames` takes car.zip for what car/ holds
        if (holds_frames(place) or (place / LMDB_FILE).is_file()) if not part else has_frames(place):
            yield place


def _check_inside(path: TreePath, line: int, box: NDArray[np.float64], size: tuple[int, int]) -> None:
    """DataError for a box that is not on the first frame, with what was probably meant."""
    fault = box_fault(box, size)
    if fault is not None:
        raise DataError(path, fault, line=line)
