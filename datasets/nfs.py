"""Need for Speed: one object in 100 videos at 30 frames a second; the official archive and a common repackaging."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.annotations import read_text
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Obtain
from mosam.datasets.one_pass import OnePass, official_spans, one_pass_info
from mosam.errors import DataError

OFFICIAL_STEP = 8  # the official boxes are those of 240 frames a second


@DATASETS.register("nfs")
class Nfs(OnePass):
    """NfS at 30 frames a second. `layout` says how the root is laid out: `repackaged`, as PyTracking has it, or
    `official`.

    In the official archive every eighth row is a frame's, and a video may have a row or a picture too many.
    """

    name = "nfs"
    spans: ClassVar[str] = "nfs_frames"
    stems: ClassVar[str] = "%05d"
    slack: ClassVar[int] = 1
    separator: ClassVar[str] = "\t"
    info = one_pass_info(
        "NfS",
        "https://ci2cv.net/nfs/index.html",
        """\
NfS/
  sequences/<video>/00001.jpg ...              (not needed for scoring)
  anno/nfs_<video>.txt                         (x y w h on each line)
  list.txt                                     (optional: sequence names, one a line)
or, as the official archive has it,
  <video>/30/<video>/00001.jpg ...
  <video>/30/<video>.txt                       (id left top right bottom ... on each line, eight lines a frame)""",
        {"test": 100},
        "pytracking",
        Obtain(
            "page",
            "http://ci2cv.net/nfs/Get_NFS.sh, the authors' script, downloads a zip for each video; read it, run it in "
            "the root, and unpack the zips there.",
            None,
            "the benchmark's page",
        ),
    )

    @property
    def layout(self) -> str:
        """`repackaged` or `official`."""
        return "repackaged" if (self._top / "anno").is_dir() else "official"

    def notes(self) -> tuple[str, ...]:
        """Which of the two layouts it is, where it is not the usual one."""
        return (
            ()
            if self.layout == "repackaged"
            else ("laid out as the official archive, of whose boxes every eighth counts",)
        )

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """The video's folder."""
        video = official_spans(cls.spans)[name].folder
        return root / video / "30" / video if _is_official(root, video) else root / "sequences" / video

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """The video's file."""
        video = official_spans(cls.spans)[name].folder
        return root / video / "30" / f"{video}.txt" if _is_official(root, video) else root / "anno" / f"{name}.txt"

    @classmethod
    def read_boxes(cls, path: TreePath) -> NDArray[np.float64]:
        """Rows `x y w h`, or of the official archive `id left top right bottom ...`."""
        return _read_corners(path) if path.parent.name == "30" else super().read_boxes(path)

    @classmethod
    def fit(cls, boxes: NDArray[np.float64], name: str, count: int) -> NDArray[np.float64]:
        """Every eighth row where there are eight for each frame."""
        share = len(boxes) / (count or len(official_spans(cls.spans)[name]))
        return boxes[::OFFICIAL_STEP] if abs(share - OFFICIAL_STEP) < 1 else boxes


def _is_official(root: TreePath, video: str) -> bool:
    return (root / video / "30").is_dir()


def _read_corners(path: TreePath) -> NDArray[np.float64]:
    corners = []
    for number, line in enumerate(read_text(path).rstrip().split("\n"), 1):
        try:
            left, top, right, bottom = map(float, line.split()[1:5])
        except ValueError:
            raise DataError(path, f"expected id left top right bottom, got {line[:40]!r}", line=number) from None
        corners.append((left, top, right - left, bottom - top))
    return np.array(corners)
