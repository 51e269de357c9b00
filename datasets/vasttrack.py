"""VastTrack: one object in 3,500 short test videos of 702 classes."""

from __future__ import annotations

from typing import ClassVar

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Obtain
from mosam.datasets.one_pass import OnePass, first_of, one_pass_info

TREE = """\
VastTrack/
  list.txt                                     (optional: sequence names, one a line)
  <class>/<class>-<n>/                         (or <class>-<n>/ without the class folder; names hold blanks)
    imgs/00000001.jpg ...                      (or img/; not needed for scoring)
    Groundtruth.txt                            (x,y,w,h on each line, zeros where absent)
    nlp.txt                                    (not used)"""


@DATASETS.register("vasttrack")
class VastTrack(OnePass):
    """VastTrack's test videos; the class is the name up to its last dash."""

    name = "vasttrack"
    listed: ClassVar[str] = "vasttrack"
    attributes: ClassVar[str] = "vasttrack_attributes"
    info = one_pass_info(
        "VastTrack",
        "https://github.com/HengLan/VastTrack",
        TREE,
        {"test": 3500},
        "vasttrack",
        Obtain(
            "drive",
            "OneDrive https://1drv.ms/f/s!AnWdA-LZ-BEt5W9kQtMU8nB19qpy?e=IYm3eF: unpack the 15 archives of the test "
            "set into the root.",
            None,
            "README of github.com/HengLan/VastTrack",
        ),
    )

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """`imgs`, else `img`."""
        return first_of(_folder(root, name), "imgs", "img")

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """`Groundtruth.txt`."""
        return _folder(root, name) / "Groundtruth.txt"


def _folder(root: TreePath, name: str) -> TreePath:
    """In the class's folder, else at the root."""
    inside = root / name.rpartition("-")[0] / name
    return root / name if (root / name).is_dir() and not inside.is_dir() else inside
