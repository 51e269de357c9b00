"""LaTOT: one tiny object a video."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Obtain
from mosam.datasets.one_pass import OnePass, one_pass_info

TREE = """\
LaTOT/
  list.txt                                     (optional: sequence names, one a line)
  <sequence>/
    img/0001.jpg ...                           (not needed for scoring)
    <sequence>.txt                             (x,y,w,h on each line, also with blanks)"""


@DATASETS.register("latot")
class Latot(OnePass):
    """LaTOT's sequences: those that the tree lists, else every folder with boxes."""

    name = "latot"
    stems: ClassVar[str] = "%04d"
    info = one_pass_info(
        "LaTOT",
        "https://github.com/mmic-lcl/Datasets-and-benchmark-code",
        TREE,
        {"test": 0},
        "pytracking",
        Obtain(
            "drive",
            "Google Drive https://drive.google.com/drive/folders/1dK05KfpIoVHQnOwuKEE3vnW8jPF9zdZf; unpack its .rar "
            "archives into the root.",
            None,
            "README of github.com/mmic-lcl/Datasets-and-benchmark-code",
        ),
    )

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """`img`."""
        return root / name / "img"

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """The file of the sequence's name."""
        return root / name / f"{name}.txt"

    def found_names(self) -> Iterable[str]:
        """The names of the root's own list, else every folder with boxes."""
        if self._own_list.is_file():
            return super().found_names()
        return sorted(path.name for path in self._top.iterdir() if (path / f"{path.name}.txt").is_file())
