"""LVOS v1 and v2: long videos, every fifth frame; objects appear late, and their first masks are all one may see."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from mosam.datasets.annotations import ObjectRange, official_list
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.made import TreePlan, numbers, write_frames, write_json, write_maps
from mosam.datasets.obtain import Obtain
from mosam.datasets.video_folders import VideoFolders
from mosam.errors import DataError

_TREE = """\
LVOS/
  {train,valid,test}/                          (or val/; or such a folder itself)
    JPEGImages/<video>/00000001.jpg, 00000006.jpg ...
    Annotations/<video>/00000001.png ...       (test: where an object appears)
    {train,valid,test}_meta.json               (videos, and where each object lives)"""
_METRICS = ("jf_mean", "j_seen", "f_seen", "j_unseen", "f_unseen", "v_mean")


class _Lvos(VideoFolders):
    """What the two versions share."""

    folders = {"valid": ("val",)}  # noqa: RUF012  # constant of the class
    metadata = ("{split}_meta.json", "meta.json")

    def attributes(self, name: str) -> frozenset[str]:
        """`unseen` where the official evaluation lists it as of a category that training does not show, else `seen`."""
        return frozenset({"unseen" if name in official_list("lvos_unseen") else "seen"})

    def ranges(self, name: str, stems: tuple[str, ...]) -> Mapping[int, ObjectRange]:
        """The `frame_range` of each object: the numbers of its first and last frame, and how many frames these are."""
        ranges = {}
        for object_id, value in (self.listed_objects(name) or {}).items():
            span = value.get("frame_range") if isinstance(value, dict) else None
            if span is None:
                return {}
            try:
                start, end, count = (int(span[key]) for key in ("start", "end", "frame_nums"))
                numbers = [int(stem) for stem in stems]
            except (KeyError, TypeError, ValueError, OverflowError):
                where = f"{self._list()}: {name}, object {object_id}"
                raise DataError(where, "expected a frame_range of numbers start, end, frame_nums") from None
            ranges[object_id] = ObjectRange(bisect_left(numbers, start), bisect_left(numbers, end), count)
        return ranges

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        folder = plan.root / plan.split
        videos: dict[str, object] = {}
        names = [official_list("lvos_unseen")[0], *(f"toy{number:05d}" for number in range(1, len(plan.several)))]
        for name, footage in zip(names, plan.several, strict=True):
            stems = numbers("%08d", len(footage), base=1, step=5)
            firsts = footage.first_frames
            write_frames(folder / "JPEGImages" / name, footage, stems)
            write_maps(folder / "Annotations" / name, footage, stems, set(firsts.values()) if plan.hidden else None)
            spans = {}
            for object_id, first in firsts.items():
                last = max(t for t, masks in enumerate(footage.masks) if object_id in masks)
                span = {"start": str(1 + 5 * first), "end": str(1 + 5 * last), "frame_nums": str(last - first + 1)}
                spans[str(object_id)] = {"frame_range": span}
            videos[name] = {"objects": spans}
        write_json(folder / f"{plan.split}_meta.json", {"videos": videos})


@DATASETS.register("lvos-v1")
class LvosV1(_Lvos):
    """LVOS v1."""

    name = "lvos-v1"
    info = DatasetInfo(
        title="LVOS v1",
        task="mask",
        splits=("valid", "test", "train"),
        default_split="valid",
        prompts=("mask", "box"),
        protocol="lvos",
        result_format="davis",
        official_counts={"train": 120, "valid": 50, "test": 50},
        frame_step=5,
        void_label=255,
        no_truth=("test",),
        archive_folder="Annotations",
        license="CC BY-NC-SA 4.0; research use",
        source="https://lingyihongfd.github.io/lvos.github.io/",
        obtain=Obtain(
            "drive",
            "Google Drive, v1: train https://drive.google.com/file/d/1pdA1Y7-VE4coj6yacya-kolZs6hKuQpS, valid "
            "https://drive.google.com/file/d/1msjV2AAKROc-UsXh8lUic2gQpsLKfjQ0, test "
            "https://drive.google.com/file/d/1zp8uqiby3o-2jSjZOqQx4ILh-LLqTz-0; lists "
            "https://drive.google.com/drive/folders/1fOwGggoYNm_GkZIxs68ptHLk4JNF4Ebq go beside them.",
            None,
            "README of github.com/LingyiHongfd/LVOS at 00e2c31",
        ),
        metrics=_METRICS,
        tree=_TREE,
    )


@DATASETS.register("lvos-v2", "lvos")
class LvosV2(_Lvos):
    """LVOS v2; its test split has no public server."""

    name = "lvos-v2"
    info = DatasetInfo(
        title="LVOS v2",
        task="mask",
        splits=("valid", "test", "train"),
        default_split="valid",
        prompts=("mask", "box"),
        protocol="lvos",
        result_format="davis",
        official_counts={"train": 420, "valid": 140, "test": 160},
        frame_step=5,
        void_label=255,
        no_truth=("test",),
        archive_folder="Annotations",
        license="CC BY-NC-SA 4.0; research use",
        source="https://lingyihongfd.github.io/lvos.github.io/",
        obtain=Obtain(
            "drive",
            "Google Drive, v2: train https://drive.google.com/file/d/1-ehpl5s0Fd14WwtT-GmWtIWa_BxZl9D6, valid "
            "https://drive.google.com/file/d/17Hwc__6i2rpF5e2s5OPqoywNxG5bzlcO, test "
            "https://drive.google.com/file/d/1Vp_y8dSUO4ktYmeBFkIQnmAxK6bl3Eyf; lists "
            "https://drive.google.com/drive/folders/1EtTW57QfSkUK3Jl1A_m9D120muA7NG4L go beside them.",
            None,
            "README of github.com/LingyiHongfd/LVOS at 00e2c31",
        ),
        metrics=_METRICS,
        tree=_TREE,
    )
