"""AVisT: one object in 120 videos of bad visibility: rain, fog, fire, splashes, camouflage."""

from __future__ import annotations

from typing import ClassVar

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Obtain
from mosam.datasets.one_pass import OnePass, one_pass_info

TREE = """\
AVisT/
  list.txt                                     (optional: sequence names, one a line)
  sequences/<sequence>/img_00001.jpg ...       (not needed for scoring)
  anno/<sequence>.txt                          (x y w h on each line)
  full_occlusion/<sequence>_full_occlusion.txt
  out_of_view/<sequence>_out_of_view.txt       (a flag a frame)"""


@DATASETS.register("avist")
class Avist(OnePass):
    """AVisT's 120 sequences; attributes are the 18 scenarios and their five groups."""

    name = "avist"
    listed: ClassVar[str] = "avist"
    attributes: ClassVar[str] = "avist_attributes"
    stems: ClassVar[str] = "img_%05d"
    separator: ClassVar[str] = " "
    info = one_pass_info(
        "AVisT",
        "https://sites.google.com/view/avist-benchmark",
        TREE,
        {"test": 120},
        "pytracking-avist",
        Obtain(
            "drive",
            "Google Drive: avist.tar in https://drive.google.com/drive/folders/1rlwTP91a3GYobOoIE9sprFxISE5v8d90; "
            "unpack it.",
            12.9,
            "the benchmark's page; length of the archive, September 2026",
        ),
    )

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """The sequence's folder."""
        return root / "sequences" / name

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """The sequence's file."""
        return root / "anno" / f"{name}.txt"

    @classmethod
    def flags(cls, root: TreePath, name: str) -> tuple[TreePath, ...]:
        """Full occlusion, and out of view."""
        return tuple(root / kind / f"{name}_{kind}.txt" for kind in ("full_occlusion", "out_of_view"))
