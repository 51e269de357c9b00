"""What LVOS, MOSE and YouTube-VOS share: a folder a split, with `JPEGImages/<video>/` and `Annotations/<video>/`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar

from mosam.datasets.annotations import (
    LabelMapTruth,
    ObjectRange,
    check_name,
    check_same_frames,
    list_label_maps,
    read_json,
)
from mosam.datasets.archives import TreePath
from mosam.datasets.base import Dataset, Sequence, shorten
from mosam.datasets.frames import StoredFrames, frames_or_none, has_frames, list_files
from mosam.errors import DataError
from mosam.geometry import mask_to_box
from mosam.types import Prompt


class VideoFolders(Dataset):
    """Label maps for every frame, or for those only on which an object appears; objects may start late.

    A subclass says which folders and lists there are, and what its list says of a video.

    Attributes:
        folders: other names that a split's folder has.
        metadata: names of a split's list, `{split}` filled in; looked for in the split's folder and above it.
    """

    folders: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    metadata: ClassVar[tuple[str, ...]] = ()

    def list_names(self) -> Iterable[str]:
        """The videos of the split's list, else those with a folder of annotation, sorted."""
        maps = self._part("Annotations")
        if not maps.is_dir():
            raise self.layout_error(f"found no {self.split}/Annotations")
        if self.videos:
            return self.videos
        names = sorted(path.name for path in maps.iterdir() if not path.name.startswith(".") and path.is_dir())
        if not names:
            raise self.layout_error(f"found no video in {maps}")
        return names

    @cached_property
    def videos(self) -> Mapping[str, Mapping[str, Any]]:
        """What the split's list says of each video; empty where there is no list."""
        path = self._list()
        if path is None:
            return {}
        videos = read_json(path).get("videos")
        if not isinstance(videos, dict) or not all(isinstance(video, dict) for video in videos.values()):
            raise DataError(path, 'expected {"videos": {<video>: {...}}}, got another structure')
        for name in videos:
            check_name(name, path, None)
        return videos

    def listed_objects(self, name: str) -> Mapping[int, Any] | None:
        """What the split's list says of each object of a video, by id; None where there is no list.

        Raises:
            DataError: ids that are no numbers above 0.
        """
        if name not in self.videos:
            return None
        objects = self.videos[name].get("objects")
        where = f"{self._list()}: {name}"
        if not isinstance(objects, dict) or not all(isinstance(key, str) for key in objects) or not objects:
            raise DataError(where, "expected its objects by id, got none")
        if not all(len(key) <= 3 and key.isascii() and key.isdigit() and 0 < int(key) <= 255 for key in objects):
            raise DataError(where, f"expected object ids of 1 to 255, got {shorten(objects)}")
        return {int(key): value for key, value in objects.items()}

    def find_objects(self, name: str, read: Callable[..., LabelMapTruth]) -> tuple[int, ...]:
        """Objects of a video that no list describes: every id of any of its maps.

        Args:
            name: the video.
            read: makes its annotation from the objects it has.
        Raises:
            DataError: a map is unreadable, or all are empty.
        """
        truth = read(object_ids=())  # to which every id is a stray
        found = {value for frame_index in truth.frame_indices for value in truth.stray_ids(frame_index)}
        if not found:
            raise DataError(self.masks_of(name), "expected a mask of an object, got empty label maps only")
        return tuple(sorted(found))

    def result_names(self, name: str) -> set[str] | None:
        """Frames of a video that a result must hold; None = all."""
        return None

    def ranges(self, name: str, stems: tuple[str, ...]) -> Mapping[int, ObjectRange]:
        """Frames on which each object of a video counts, where the list says so."""
        return {}

    def listed(self, name: str, stems: tuple[str, ...]) -> Mapping[int, tuple[int, ...]]:
        """Frames on which each object of a video counts, where the list names every one."""
        return {}

    def groups(self, name: str) -> Mapping[int, str]:
        """`seen` or `unseen` for each object of a video, where the benchmark divides them by category."""
        return {}

    def attributes(self, name: str) -> frozenset[str]:
        """Attributes of a video."""
        return frozenset()

    def is_present(self, name: str, *, frames: bool = False) -> bool:
        """Whether the video's folder of label maps (with `frames`, also its pictures) is there."""
        return self.masks_of(name).is_dir() and (not frames or has_frames(self.images_of(name)))

    def open_frames(self, name: str) -> StoredFrames:
        """The video's frames, or none where the tree holds annotation only."""
        return frames_or_none(self.images_of(name))

    def shared_files(self) -> Iterable[TreePath]:
        """The split's list, where there is one."""
        path = self._list()
        return () if path is None else (path,)

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """The label maps in frame order."""
        folder = self.masks_of(name)
        return [folder / file for file in list_files(folder, (".png",))]

    def load(self, name: str) -> Sequence:
        """One video; where no list says what its objects are, its label maps are decoded to find out.

        Raises:
            DataError: frames and label maps do not agree, or no object is in them.
        """
        source, maps = self.open_frames(name), list_label_maps(self.masks_of(name))
        wanted = self.result_names(name)
        stems = source.stems or tuple(sorted({*maps, *(wanted or ())}, key=lambda stem: (len(stem), stem)))
        self._check_frames(name, stems, maps, wanted)
        indices = {stem: index for index, stem in enumerate(stems)}
        files = {indices[stem]: path for stem, path in maps.items()}
        read = partial(
            LabelMapTruth,
            files,
            void_label=self.info.void_label,
            ranges=self.ranges(name, stems),
            listed=self.listed(name, stems),
            groups=self.groups(name),
        )
        listed = self.listed_objects(name)
        object_ids = self.find_objects(name, read) if listed is None else tuple(sorted(listed))
        load_truth = partial(read, object_ids=object_ids)
        return Sequence(
            name=name,
            source=source,
            frame_names=stems,
            object_ids=object_ids,
            load_prompts=lambda: self._prompts(load_truth(), source),
            load_truth=load_truth if self.has_truth else None,
            attributes=self.attributes(name),
            load_size=lambda: load_truth().size,
            result_frames=None if wanted is None else tuple(sorted(indices[stem] for stem in wanted)),
        )

    @property
    def has_truth(self) -> bool:
        """Whether the split's ground truth is published, or the tree holds it all the same."""
        return super().has_truth or self._holds_truth

    @cached_property
    def _holds_truth(self) -> bool:
        """Whether every frame that counts is annotated; the first video of a tree as published says that it is not."""
        return len(self) > 0 and all(map(self._is_annotated, self))

    def _is_annotated(self, name: str) -> bool:
        folder, images = self.masks_of(name), self.images_of(name)
        if not folder.is_dir():
            return False
        maps = {file.rpartition(".")[0] for file in list_files(folder, (".png",))}
        wanted = self.result_names(name) or (set(frames_or_none(images).stems) if images.is_dir() else set())
        return wanted <= maps if wanted else len(maps) > 2  # only a prompt or two where frames are not there to tell

    def masks_of(self, name: str) -> TreePath:
        """The folder of a video's label maps."""
        return self._part("Annotations") / name

    def images_of(self, name: str) -> TreePath:
        """The folder of a video's frames."""
        return self._part("JPEGImages") / name

    def split_folder(self) -> TreePath:
        """The folder of the split, or the root where that is it."""
        assert self.root is not None
        found = (self.root / name for name in (self.split, *self.folders.get(self.split, ())))
        return next((folder for folder in found if folder.is_dir()), self.root)

    def _part(self, name: str) -> TreePath:
        return self.split_folder() / name

    def _list(self) -> TreePath | None:
        assert self.root is not None
        names = [name.format(split=self.split) for name in self.metadata]
        paths = (folder / name for folder in (self.split_folder(), self.root) for name in names)
        return next((path for path in paths if path.is_file()), None)

    def _check_frames(
        self, name: str, stems: tuple[str, ...], maps: Mapping[str, TreePath], wanted: set[str] | None
    ) -> None:
        folder, images = self.masks_of(name), self.images_of(name)
        if self.has_truth and wanted is None:
            check_same_frames(folder, stems, maps, of=images)
        extra = sorted(set(maps) - set(stems))
        if extra:
            raise DataError(folder, f"expected label maps of frames of {images}, got {shorten(extra)} without a frame")
        absent = sorted((wanted or set()) - set(stems))
        if absent:
            raise DataError(images, f"expected the {len(wanted or ())} listed frames, {shorten(absent)} absent")

    def _prompts(self, truth: LabelMapTruth, source: StoredFrames) -> tuple[Prompt, ...]:
        if len(source) and source.size() != truth.size:
            expected, got = ("{}x{}".format(*size) for size in (source.size(), truth.size))
            path = truth.path(truth.frame_indices[0])
            raise DataError(path, f"expected {expected} (height x width) as the frames, got {got}")
        first = truth.first_masks()
        if self.prompt == "mask":
            return tuple(Prompt(i, first[i][0], mask=first[i][1]) for i in truth.object_ids)
        boxes = {i: mask_to_box(mask, convention="inclusive") for i, (_, mask) in first.items()}
        return tuple(Prompt(i, first[i][0], box=boxes[i]) for i in truth.object_ids)
