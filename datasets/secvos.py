"""SeCVOS: videos of several shots, cut as films are, with a folder of masks for each object."""

from __future__ import annotations

from typing import ClassVar

from mosam.codecs import write_labels
from mosam.codecs.masks import object_folder
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.made import TreePlan, numbers, write_frames, write_lines
from mosam.datasets.obtain import HubFiles, Obtain
from mosam.datasets.sav import Sav

LIST = "video_id.txt"


@DATASETS.register("secvos")
class SecVos(Sav):
    """SeCVOS's 160 videos, laid out as SA-V; objects may start late. Scored as its program scores whole videos."""

    name = "secvos"
    pictures: ClassVar[str] = "JPEGImages"
    maps: ClassVar[str] = "Annotations"
    late: ClassVar[bool] = True
    info = DatasetInfo(
        title="SeCVOS",
        task="mask",
        splits=("test",),
        default_split="test",
        prompts=("mask", "box"),
        protocol="sav",
        result_format="sav",
        official_counts={"test": 160},
        license="CC BY-NC-SA 4.0",
        source="https://huggingface.co/datasets/OpenIXCLab/SeCVOS",
        obtain=Obtain(
            "fetch",
            "The authors' copy on the hub.",
            None,
            "its page on the hub; DATA.md of github.com/OpenIXCLab/SeC",
            lambda split: (HubFiles("OpenIXCLab/SeCVOS", ("*.zip", "*.txt", "*.json")),),
        ),
        metrics=("jf_mean", "j_mean", "f_mean"),
        tree="""\
SeCVOS/
  video_id.txt                                 (video names, one a line)
  JPEGImages/<video>/00000.jpg ...             (every frame; not needed for scoring)
  Annotations/<video>/<object>/00000.png ...   (objects 000, 001 ...)""",
    )

    def _folder(self) -> str:
        return ""

    def _list(self) -> TreePath:
        return self._top / LIST

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree, an object of it starting late."""
        names = numbers("toy%05d", len(plan.several))
        for name, footage in zip(names, plan.several, strict=True):
            stems = numbers("%05d", len(footage))
            write_frames(plan.root / "JPEGImages" / name, footage, stems)
            for object_id, first in footage.first_frames.items():
                maps = plan.root / "Annotations" / name / object_folder(object_id)
                maps.mkdir(parents=True)
                for t in range(first, len(footage)):
                    write_labels(maps / f"{stems[t]}.png", footage.mask(t, object_id).astype("uint8"))
        write_lines(plan.root / LIST, names)
