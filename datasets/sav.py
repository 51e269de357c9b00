"""SA-V: one mask an object, since they overlap; tracked at 24 frames a second, scored at 6.

Val and test are pictures with a folder of masks for each object, train is video files with run lengths in JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mosam.codecs import read_labels, write_labels
from mosam.codecs.coco import decode_rle, encode_rle
from mosam.codecs.masks import object_folder
from mosam.datasets.annotations import list_label_maps, read_json, read_names
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, Dataset, DatasetInfo, Sequence, shorten
from mosam.datasets.frames import StoredFrames, frames_or_none, has_frames, read_image_size
from mosam.datasets.made import Footage, TreePlan, numbers, write_frames, write_json, write_lines
from mosam.datasets.obtain import Obtain
from mosam.errors import DataError
from mosam.geometry import mask_to_box
from mosam.types import Mask, Prompt, Size

FRAME_STEP = 4  # of the annotated frames
_MANUAL = "_manual.json"


class ObjectMaskTruth:
    """Masks stored as one image an object and frame, read when asked for.

    Args:
        files: by object id, the images by 0-based frame index.

    Attributes:
        size: (height, width) of the first image; all must have it.
    """

    def __init__(self, files: Mapping[int, Mapping[int, TreePath]]):
        self.files = {object_id: dict(sorted(maps.items())) for object_id, maps in sorted(files.items())}
        first = next(iter(self.files.values()))
        self.size: Size = read_image_size(next(iter(first.values())))

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """Frames annotated for any object, ascending."""
        return tuple(sorted({frame_index for maps in self.files.values() for frame_index in maps}))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object; number `000` of the files is 1 here."""
        return tuple(self.files)

    @property
    def listed(self) -> Mapping[int, tuple[int, ...]]:
        """The frames annotated for each object."""
        return {object_id: tuple(maps) for object_id, maps in self.files.items()}

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Masks (H, W) of the objects annotated on a frame; they may overlap.

        Raises:
            DataError: an image is unreadable or of another size.
        """
        return {key: self._mask(maps[frame_index]) for key, maps in self.files.items() if frame_index in maps}

    def void(self, frame_index: int) -> Mask | None:
        """No pixel is left out of the score."""
        return None

    def mask(self, object_id: int, frame_index: int) -> Mask:
        """One object's mask (H, W); DataError as `read`."""
        return self._mask(self.files[object_id][frame_index])

    def _mask(self, path: TreePath) -> Mask:
        mask = read_labels(path) != 0
        if mask.shape != self.size:
            expected, got = ("{}x{}".format(*size) for size in (self.size, mask.shape))
            raise DataError(path, f"expected {expected} (height x width) as the first mask, got {got}")
        return mask


class MaskletTruth:
    """Masks of a training video, from the run lengths of its JSON file.

    Args:
        masklets: by annotated frame, the run lengths of every object in a fixed order.
        path: the file, for errors.
    """

    def __init__(self, masklets: list[list[Any]], path: TreePath):
        self._masklets = masklets
        self._path = path

    @property
    def frame_indices(self) -> tuple[int, ...]:
        """Annotated frames: every fourth."""
        return tuple(range(0, len(self._masklets) * FRAME_STEP, FRAME_STEP))

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Every object, counted from 1 in the order of the file."""
        return tuple(range(1, len(self._masklets[0]) + 1))

    def read(self, frame_index: int) -> Mapping[int, Mask]:
        """Masks (H, W) of all objects; DataError where they are damaged."""
        frame = self._masklets[frame_index // FRAME_STEP]
        return {object_id: decode_rle(rle, self._path) for object_id, rle in enumerate(frame, 1)}

    def void(self, frame_index: int) -> Mask | None:
        """No pixel is left out."""
        return None


@DATASETS.register("sav")
class Sav(Dataset):
    """SA-V; in val and test every object is given on frame 0, in train (manual masklets) some appear later.

    Attributes:
        pictures, maps: folders of the split's pictures and masks.
        late: whether an object may start after frame 0.
    """

    name = "sav"
    pictures: ClassVar[str] = "JPEGImages_24fps"
    maps: ClassVar[str] = "Annotations_6fps"
    late: ClassVar[bool] = False
    info = DatasetInfo(
        title="SA-V",
        task="mask",
        splits=("val", "test", "train"),
        default_split="val",
        prompts=("mask", "box"),
        protocol="sav",
        result_format="sav",
        official_counts={"val": 155, "test": 150, "train": 50583},
        license="CC BY 4.0",
        source="https://ai.meta.com/datasets/segment-anything-video/",
        obtain=Obtain(
            "form",
            "Accept the terms at https://ai.meta.com/datasets/segment-anything-video-downloads/; the list of links "
            "that appears holds sav_val.tar, sav_test.tar and sav_000.tar ... for train. Unpack them into the root.",
            None,
            "the benchmark's page",
        ),
        metrics=("jf_mean", "j_mean", "f_mean"),
        tree="""\
SA-V/
  sav_val/ (sav_test/)                         (or such a folder itself)
    sav_val.txt                                (video names, one a line)
    JPEGImages_24fps/<video>/00000.jpg ...     (every frame; not needed for scoring)
    Annotations_6fps/<video>/<object>/00000.png, 00004.png ...
  sav_train/                                   (in folders sav_000/ ... or not)
    <video>.mp4, <video>_manual.json""",
    )

    def list_names(self) -> Iterable[str]:
        """The names of the split's list, else the videos with a folder (train: a file) of annotation."""
        if self.split == "train":
            return self._masklets
        maps = self._split_folder() / self.maps
        if not maps.is_dir():
            raise self.layout_error(f"found no {self._folder()}{self.maps}")
        if self._list().is_file():
            return read_names(self._list())
        names = sorted(path.name for path in maps.iterdir() if not path.name.startswith(".") and path.is_dir())
        if not names:
            raise self.layout_error(f"found no video in {maps}")
        return names

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the video's folder of masks (with `frames`, also its pictures) is there."""
        if self.split == "train":
            return name in self._masklets and (not frames or has_frames(self._images(name)))
        return self._masks(name).is_dir() and (not frames or has_frames(self._images(name)))

    def open_frames(self, name: str) -> StoredFrames:
        """The video's frames, or none where the tree holds annotation only."""
        return frames_or_none(self._images(name))

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names, where there is one."""
        return (self._list(),) if self._list().is_file() else ()

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The masks, object by object, in frame order; of train the file of masklets."""
        if self.split == "train":
            return (self._masklets[name],)
        return [path for folder in self._objects(name).values() for path in list_label_maps(folder).values()]

    def load(self, name: str) -> Sequence:
        """One video; reads file names only (train: the file of masklets).

        Raises:
            DataError: no object, a mask without a frame, or an object that is not annotated on frame 0.
        """
        if self.split == "train":
            return self._load_train(name)
        source = self.open_frames(name)
        maps = {object_id: list_label_maps(folder) for object_id, folder in self._objects(name).items()}
        annotated = sorted({stem for stems in maps.values() for stem in stems}, key=lambda stem: (len(stem), stem))
        stems = source.stems or tuple(annotated)
        indices = {stem: index for index, stem in enumerate(stems)}
        extra = [stem for stem in annotated if stem not in indices]
        if extra:
            raise DataError(self._masks(name), f"expected masks of the video's frames, got {shorten(extra)} besides")
        files = {key: {indices[stem]: path for stem, path in found.items()} for key, found in maps.items()}
        for object_id, found in files.items():
            if 0 not in found and not self.late:
                folder = self._masks(name) / object_folder(object_id)
                raise DataError(folder, f"expected {stems[0]}.png, every object is given on the first frame; got none")
        return Sequence(
            name=name,
            source=source,
            frame_names=stems,
            object_ids=tuple(files),
            load_prompts=lambda: self._prompts(ObjectMaskTruth(files), source),
            load_truth=lambda: ObjectMaskTruth(files),
            load_size=lambda: ObjectMaskTruth(files).size,
            result_frames=tuple(indices[stem] for stem in annotated),
        )

    def _load_train(self, name: str) -> Sequence:
        path, source = self._masklets[name], self.open_frames(name)
        masklets: Any = read_json(path).get("masklet")
        sound = isinstance(masklets, list) and masklets and all(isinstance(frame, list) for frame in masklets)
        if not sound or not masklets[0] or len({len(frame) for frame in masklets}) > 1:
            raise DataError(path, 'expected "masklet": for each frame the run lengths of each object; got another')
        count = len(source) or len(masklets) * FRAME_STEP
        if (len(masklets) - 1) * FRAME_STEP >= count:
            raise DataError(path, f"expected masklets of {count} frames, every fourth, got {len(masklets)}")
        truth = MaskletTruth(masklets, path)

        def prompts() -> tuple[Prompt, ...]:
            found: dict[int, Prompt] = {}
            for frame_index in truth.frame_indices:
                for object_id, mask in truth.read(frame_index).items():
                    if object_id not in found and mask.any():
                        found[object_id] = self._prompt(object_id, frame_index, mask)
                if len(found) == len(truth.object_ids):
                    return tuple(found[object_id] for object_id in truth.object_ids)
            raise DataError(path, f"expected a mask of each of {len(truth.object_ids)} objects, got {len(found)}")

        return Sequence(
            name=name,
            source=source,
            frame_names=source.stems or tuple(map("{:05d}".format, range(count))),
            object_ids=truth.object_ids,
            load_prompts=prompts,
            load_truth=lambda: truth,
            load_size=lambda: truth.read(0)[1].shape[:2],
            result_frames=truth.frame_indices,
        )

    def _prompt(self, object_id: int, frame_index: int, mask: Mask) -> Prompt:
        if self.prompt == "mask":
            return Prompt(object_id, frame_index, mask=mask)
        return Prompt(object_id, frame_index, box=mask_to_box(mask, convention="inclusive"))

    @cached_property
    def _masklets(self) -> dict[str, TreePath]:
        """Files of masklets by video, in `sav_train` or in folders there; MissingDataError where there are none."""
        folder = self._split_folder()
        folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        found = [path for place in folders for path in place.glob(f"*{_MANUAL}") if not path.name.startswith(".")]
        if not found:
            raise self.layout_error(f"found no file of masklets (*{_MANUAL}) in sav_train")
        return {path.name.removesuffix(_MANUAL): path for path in sorted(found, key=lambda path: path.name)}

    def _prompts(self, truth: ObjectMaskTruth, source: StoredFrames) -> tuple[Prompt, ...]:
        if len(source) and source.size() != truth.size:
            expected, got = ("{}x{}".format(*size) for size in (source.size(), truth.size))
            path = next(iter(truth.files[truth.object_ids[0]].values()))
            raise DataError(path, f"expected {expected} (height x width) as the frames, got {got}")
        return tuple(self._first(truth, object_id) for object_id in truth.object_ids)

    def _first(self, truth: ObjectMaskTruth, object_id: int) -> Prompt:
        """The mask on frame 0; where objects may start late, the first that shows the object."""
        files = truth.files[object_id]
        for frame_index in files if self.late else list(files)[:1]:
            mask = truth.mask(object_id, frame_index)
            if mask.any():
                return self._prompt(object_id, frame_index, mask)
        raise DataError(next(iter(files.values())), "expected a mask to start with, got an empty one")

    def _objects(self, name: str) -> dict[int, TreePath]:
        """Folder of each object by id, ascending; DataError where a folder is no number, or there is none."""
        folder = self._masks(name)
        found: dict[int, TreePath] = {}
        for path in folder.iterdir():
            if path.name.startswith(".") or not path.is_dir():
                continue
            if not (path.name.isascii() and path.name.isdigit()) or path.name != object_folder(int(path.name) + 1):
                raise DataError(path, "expected folders of objects, named 000, 001 ...; got another name")
            found[int(path.name) + 1] = path
        if not found:
            raise DataError(folder, "expected a folder of masks for each object, got none")
        return dict(sorted(found.items()))

    @property
    def _top(self) -> TreePath:
        assert self.root is not None
        return self.root

    def _folder(self) -> str:
        return f"sav_{self.split}/"

    def _split_folder(self) -> TreePath:
        folder = self._top / self._folder().rstrip("/")
        return folder if folder.is_dir() else self._top

    def _list(self) -> TreePath:
        return self._split_folder() / f"sav_{self.split}.txt"

    def _masks(self, name: str) -> TreePath:
        return self._split_folder() / self.maps / name

    def _images(self, name: str) -> TreePath:
        if self.split == "train":
            return self._masklets[name].with_name(name)
        return self._split_folder() / self.pictures / name

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        folder = plan.root / f"sav_{plan.split}"
        if plan.split == "train":
            _write_training(plan, folder / "sav_000")
            return
        names = [f"sav_{number:06d}" for number in range(len(plan.several))]
        for name, footage in zip(names, plan.several, strict=True):
            footage = footage.starting()
            stems = numbers("%05d", len(footage))
            write_frames(folder / "JPEGImages_24fps" / name, footage, stems)
            for object_id in footage.object_ids:
                maps = folder / "Annotations_6fps" / name / object_folder(object_id)
                maps.mkdir(parents=True)
                for t in range(0, len(footage), FRAME_STEP):
                    mask = _grown(footage.mask(t, object_id))
                    write_labels(maps / f"{stems[t]}.png", mask.astype(np.uint8))
        write_lines(folder / f"sav_{plan.split}.txt", names)


def _write_training(plan: TreePlan, folder: Path) -> None:
    for number, footage in enumerate(plan.several):
        name = f"sav_{number:06d}"
        _write_video(folder / f"{name}.mp4", footage)
        frames = range(0, len(footage), FRAME_STEP)
        ids = sorted({object_id for frame in frames for object_id in footage.masks[frame]})
        masklets = [[encode_rle(footage.mask(frame, object_id)) for object_id in ids] for frame in frames]
        write_json(folder / f"{name}_manual.json", {"video_id": name, "masklet": masklets})


def _write_video(path: Path, footage: Footage) -> None:
    """As MPEG-4 at 24 frames a second, in the colors that every decoder knows."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = footage.size
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 8_000_000
        for image in footage.images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _grown(mask: Mask) -> Mask:
    """A mask with its surroundings, so that objects overlap."""
    padded = np.pad(mask, 3)
    height, width = mask.shape
    shifts = ((y, x) for y in range(7) for x in range(7))
    return np.logical_or.reduce([padded[y : y + height, x : x + width] for y, x in shifts])
