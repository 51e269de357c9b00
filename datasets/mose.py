"""MOSE v1 and v2: crowded and hidden objects, all there on the first frame; only that one is annotated in valid."""

from __future__ import annotations

from collections.abc import Callable

from mosam.datasets.annotations import LabelMapTruth
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.made import TreePlan, numbers, write_frames, write_maps
from mosam.datasets.obtain import HubFiles, Obtain
from mosam.datasets.video_folders import VideoFolders

_TREE = """\
MOSE/
  {train,valid}/                               (or such a folder itself)
    JPEGImages/<video>/00000.jpg ...
    Annotations/<video>/00000.png ...          (valid: the first frame only)
    meta_valid.json                            (optional: the videos)"""


class _Mose(VideoFolders):
    """What the two versions share."""

    metadata = ("meta_{split}.json", "{split}_meta.json", "meta.json")

    def listed_objects(self, name: str) -> None:
        """Not taken from the list."""

    def find_objects(self, name: str, read: Callable[..., LabelMapTruth]) -> tuple[int, ...]:
        """The ids of the first label map: all objects are there."""
        return read().first_ids

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        folder = plan.root / plan.split
        for number, footage in enumerate(plan.several):
            footage = footage.starting()
            name = f"toy{number:05d}"
            stems = numbers("%05d", len(footage))
            write_frames(folder / "JPEGImages" / name, footage, stems)
            write_maps(folder / "Annotations" / name, footage, stems, {0} if plan.hidden else None)


@DATASETS.register("mose")
class MoseV1(_Mose):
    """MOSE v1."""

    name = "mose"
    info = DatasetInfo(
        title="MOSE",
        task="mask",
        splits=("valid", "train"),
        default_split="valid",
        prompts=("mask", "box"),
        protocol="davis2017",
        result_format="davis",
        official_counts={"train": 1507, "valid": 311},
        no_truth=("valid",),
        archive_folder="",
        license="CC BY-NC-SA 4.0; non-commercial research",
        source="https://mose.video/MOSEv1/",
        obtain=Obtain(
            "fetch",
            "The authors' copy on the hub, one archive with those of train and valid in it.",
            None,
            "github.com/henghuiding/MOSE-api, README",
            lambda split: (HubFiles("FudanCVL/MOSE", ("*.zip", "*.tar.gz", "*.json"), nested=True),),
        ),
        metrics=("jf_mean", "j_mean", "f_mean"),
        tree=_TREE,
    )


@DATASETS.register("mose-v2")
class MoseV2(_Mose):
    """MOSE v2: harder scenes, shots that are cut together, and a metric of its own."""

    name = "mose-v2"
    info = DatasetInfo(
        title="MOSE v2",
        task="mask",
        splits=("valid", "train"),
        default_split="valid",
        prompts=("mask", "box"),
        protocol="mose-v2",
        result_format="davis",
        no_truth=("valid",),
        archive_folder="",
        license="CC BY-NC-SA 4.0; non-commercial research",
        source="https://mose.video/",
        obtain=Obtain(
            "fetch",
            "The authors' copy on the hub: valid.tar.gz, and train.tar.gz in parts.",
            None,
            "github.com/henghuiding/MOSE-api, README",
            lambda split: (HubFiles("FudanCVL/MOSEv2", (f"{split}.tar.gz*", f"meta_{split}.json")),),
        ),
        metrics=("jf_mean", "j_mean", "f_mean"),
        tree=_TREE,
    )
