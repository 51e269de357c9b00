"""TNL2K: one object in 2,000 videos, color and thermal, with a sentence on each."""

from __future__ import annotations

from typing import ClassVar

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Obtain
from mosam.datasets.one_pass import OnePass, one_pass_info

TREE = """\
TNL2K/
  list.txt                                     (optional: sequence names, one a line)
  <sequence>/
    imgs/00001.png ...                         (of any names, .png or .jpg, in order; not needed for scoring)
    groundtruth.txt                            (x,y,w,h on each line, zeros where absent)
    language.txt                               (not used)"""


@DATASETS.register("tnl2k")
class Tnl2k(OnePass):
    """TNL2K's test (700) or train (1300) sequences; the rows of zeros are the frames that are flagged absent."""

    name = "tnl2k"
    listed: ClassVar[str] = "tnl2k"
    attributes: ClassVar[str] = "tnl2k_attributes"
    stems: ClassVar[str] = "%05d"
    info = one_pass_info(
        "TNL2K",
        "https://sites.google.com/view/langtrackbenchmark/",
        TREE,
        {"test": 700, "train": 1300},
        "lasot",
        Obtain(
            "drive",
            "OneDrive and Baidu, linked from https://github.com/wangxiao5791509/TNL2K_evaluation_toolkit; unpack the "
            "test subset into the root.",
            None,
            "README of that repository",
        ),
    )

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """`imgs`."""
        return root / name / "imgs"

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """`groundtruth.txt`."""
        return root / name / "groundtruth.txt"
