"""UAV123 and UAV20L: one object in videos from a drone, several sequences in one folder of pictures."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Obtain
from mosam.datasets.one_pass import OnePass, official_spans, one_pass_info

TREE = """\
UAV123/
  data_seq/UAV123/<video>/000001.jpg ...       (not needed for scoring)
  anno/UAV123/<sequence>.txt                   (x,y,w,h on each line, NaN where absent; UAV20L: anno/UAV20L/)
  list.txt                                     (optional: sequence names, one a line)"""
SOURCE = "https://cemse.kaust.edu.sa/ivul/uav123"


OBTAIN = Obtain(
    "drive",
    "Google Drive, linked from the benchmark's page: Dataset_UAV123.zip holds UAV123 and UAV20L; unpack it.",
    14.0,
    "the benchmark's page; length of the archive, September 2026",
)


@DATASETS.register("uav123")
class Uav123(OnePass):
    """UAV123: `bird1_1`, `bird1_2` and `bird1_3` are parts of one video, and so on."""

    name = "uav123"
    spans: ClassVar[str] = "uav123_frames"
    attributes: ClassVar[str] = "uav123_attributes"
    stems: ClassVar[str] = "%06d"
    gone: ClassVar[float] = np.nan
    annotated: ClassVar[str] = "UAV123"
    info = one_pass_info("UAV123", SOURCE, TREE, {"test": 123}, "pytracking-uav", OBTAIN)

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """The video's folder."""
        return root / "data_seq" / "UAV123" / official_spans(cls.spans)[name].folder

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """The sequence's file."""
        return root / "anno" / cls.annotated / f"{name}.txt"


@DATASETS.register("uav20l")
class Uav20l(Uav123):
    """UAV20L: 20 whole videos of UAV123, which is the root."""

    name = "uav20l"
    spans: ClassVar[str] = "uav20l_frames"
    attributes: ClassVar[str] = ""
    annotated: ClassVar[str] = "UAV20L"
    info = one_pass_info("UAV20L", SOURCE, TREE, {"test": 20}, "pytracking-uav", OBTAIN)
