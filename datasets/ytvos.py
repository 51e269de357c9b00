"""YouTube-VOS 2018 and 2019: tracked on all frames where they are there, written on the listed ones (every fifth)."""

from __future__ import annotations

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.frames import has_frames
from mosam.datasets.video_folders import VideoFolders
from mosam.errors import DataError

_TREE = """\
YouTube-VOS/
  {train,valid,test}/                          (or such a folder itself)
    JPEGImages/<video>/00000.jpg, 00005.jpg ...
    Annotations/<video>/00000.png ...          (valid, test: where an object appears)
    meta.json                                  (videos, objects, the frames to submit)
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
        objects = self.listed_objects(name)
        if objects is None:
            return None
        frames: set[str] = set()
        for object_id, value in objects.items():
            listed = value.get("frames") if isinstance(value, dict) else None
            if not isinstance(listed, list) or not all(isinstance(frame, str) for frame in listed):
                where = f"{self._list()}: {name}, object {object_id}"
                raise DataError(where, 'expected "frames": a list of names, got another')
            frames.update(listed)
        return frames


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
        licence="CC BY 4.0 (annotation); the videos keep the terms of YouTube",
        source="https://youtube-vos.org/dataset/vos/",
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
        licence="CC BY 4.0 (annotation); the videos keep the terms of YouTube",
        source="https://youtube-vos.org/dataset/vos/",
        metrics=("jf_mean", "j_seen", "f_seen", "j_unseen", "f_unseen"),
        tree=_TREE,
    )
