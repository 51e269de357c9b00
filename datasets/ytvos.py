"""YouTube-VOS 2018 and 2019: tracked on all frames where they are there, written on the listed ones (every fifth)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

from mosam.datasets.annotations import read_json
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.frames import has_frames
from mosam.datasets.made import Footage, TreePlan, numbers, write_frames, write_json, write_maps
from mosam.datasets.obtain import Obtain
from mosam.datasets.video_folders import VideoFolders
from mosam.errors import DataError

_TREE = """\
YouTube-VOS/
  {train,valid,test}/                          (or such a folder itself)
    JPEGImages/<video>/00000.jpg, 00005.jpg ...
    Annotations/<video>/00000.png ...          (valid, test: where an object appears)
    meta.json                                  (videos, objects, the frames to submit; train's says what is seen)
  {train,valid,test}_all_frames/
    JPEGImages/<video>/00000.jpg, 00001.jpg ...   (optional; scores are about four points lower without)"""


class _YouTubeVos(VideoFolders):
    """What the two years share."""

    metadata = ("meta.json",)

    def images_of(self, name: str) -> TreePath:
        """All frames of the video where the tree has them, else the sampled ones."""
        assert self.root is not None
        everything = self.root / f"{self.split}_all_frames" / "JPEGImages" / name
        return everything if has_frames(everything) else super().images_of(name)

    def result_names(self, name: str) -> set[str] | None:
        """The frames that the list gives for any object; a split without a list wants those that are annotated."""
        frames = self._listed_names(name)
        return None if frames is None else set().union(*frames.values())

    def listed(self, name: str, stems: tuple[str, ...]) -> Mapping[int, tuple[int, ...]]:
        """The frames that the list gives for each object, which are where it shows."""
        index = {stem: number for number, stem in enumerate(stems)}
        frames = self._listed_names(name) or {}
        return {object_id: tuple(sorted(index[stem] for stem in names)) for object_id, names in frames.items()}

    def groups(self, name: str) -> Mapping[int, str]:
        """`seen` where the list of the training set, if the tree has it, has a category, else `unseen`."""
        if not self._seen:
            return {}
        return {
            object_id: "seen" if isinstance(value, dict) and value.get("category") in self._seen else "unseen"
            for object_id, value in (self.listed_objects(name) or {}).items()
        }

    def shared_files(self) -> Iterable[TreePath]:
        """The split's list, and that of the training set."""
        path = self._training_list()
        return dict.fromkeys((*super().shared_files(), *(() if path is None else (path,))))

    @cached_property
    def _seen(self) -> frozenset[str]:
        """Categories of the training set; empty where its list is not there."""
        path = self._training_list()
        videos = read_json(path).get("videos") if path is not None else {}
        if not isinstance(videos, dict):
            raise DataError(str(path), 'expected {"videos": {<video>: {...}}}, got another structure')
        objects = (video.get("objects") for video in videos.values() if isinstance(video, dict))
        values = (value for found in objects if isinstance(found, dict) for value in found.values())
        found = (value.get("category") for value in values if isinstance(value, dict))
        return frozenset(category for category in found if isinstance(category, str))

    def _training_list(self) -> TreePath | None:
        assert self.root is not None
        path = self._list() if self.split == "train" else self.root / "train" / "meta.json"
        return path if path is not None and path.is_file() else None

    def _listed_names(self, name: str) -> dict[int, list[str]] | None:
        objects = self.listed_objects(name)
        if objects is None:
            return None
        frames: dict[int, list[str]] = {}
        for object_id, value in objects.items():
            listed = value.get("frames") if isinstance(value, dict) else None
            if not isinstance(listed, list) or not all(isinstance(frame, str) for frame in listed):
                where = f"{self._list()}: {name}, object {object_id}"
                raise DataError(where, 'expected "frames": a list of names, got another')
            frames[object_id] = listed
        return frames

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """All frames apart; ids with gaps; every fifth frame listed, an object only from where it appears."""
        step = plan.info.frame_step
        folder, everything = plan.root / plan.split, plan.root / f"{plan.split}_all_frames"
        videos: dict[str, object] = {}
        for number, footage in enumerate(plan.several):
            name = f"toy{number:05d}"
            footage = footage.renumbered({object_id: 2 * object_id - 1 for object_id in footage.object_ids})
            sampled = set(range(0, len(footage), step))
            listed = Footage(footage.images, tuple(m if t in sampled else {} for t, m in enumerate(footage.masks)))
            firsts = listed.first_frames
            stems = numbers("%05d", len(footage))
            write_frames(everything / "JPEGImages" / name, footage, stems)
            images = [image for t, image in enumerate(footage.images) if t in sampled]
            write_frames(folder / "JPEGImages" / name, Footage(tuple(images), ()), [stems[t] for t in sorted(sampled)])
            write_maps(folder / "Annotations" / name, listed, stems, set(firsts.values()) if plan.hidden else sampled)
            frames = {key: [stems[t] for t in sorted(sampled) if t >= first] for key, first in firsts.items()}
            objects = {str(key): {"category": "shape", "frames": names} for key, names in frames.items()}
            videos[name] = {"objects": objects}
        write_json(folder / "meta.json", {"videos": videos})


_OBTAIN = Obtain(
    "drive",
    "Register at https://youtube-vos.org/dataset/vos/, which then links to Google Drive: train.zip, valid.zip, "
    "test.zip and, for the best scores, valid_all_frames.zip. Unpack them into the root.",
    None,
    "the benchmark's page",
)


@DATASETS.register("ytvos2018")
class YouTubeVos2018(_YouTubeVos):
    """YouTube-VOS 2018."""

    name = "ytvos2018"
    info = DatasetInfo(
        title="YouTube-VOS 2018",
        task="mask",
        splits=("valid", "test", "train"),
        default_split="valid",
        prompts=("mask", "box"),
        protocol="ytvos",
        result_format="davis",
        official_counts={"train": 3471, "valid": 474, "test": 508},
        frame_step=5,
        no_truth=("valid", "test"),
        archive_folder="Annotations",
        license="CC BY 4.0 (annotation); the videos keep the terms of YouTube",
        source="https://youtube-vos.org/dataset/vos/",
        obtain=_OBTAIN,
        metrics=("jf_mean", "j_seen", "f_seen", "j_unseen", "f_unseen"),
        tree=_TREE,
    )


@DATASETS.register("ytvos2019")
class YouTubeVos2019(_YouTubeVos):
    """YouTube-VOS 2019."""

    name = "ytvos2019"
    info = DatasetInfo(
        title="YouTube-VOS 2019",
        task="mask",
        splits=("valid", "test", "train"),
        default_split="valid",
        prompts=("mask", "box"),
        protocol="ytvos",
        result_format="davis",
        official_counts={"train": 3471, "valid": 507, "test": 541},
        frame_step=5,
        no_truth=("valid", "test"),
        archive_folder="Annotations",
        license="CC BY 4.0 (annotation); the videos keep the terms of YouTube",
        source="https://youtube-vos.org/dataset/vos/",
        obtain=_OBTAIN,
        metrics=("jf_mean", "j_seen", "f_seen", "j_unseen", "f_unseen"),
        tree=_TREE,
    )
