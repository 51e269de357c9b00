"""OTB100: one object in 100 short videos, two of them in one folder at times; text files of many kinds."""

from __future__ import annotations

from typing import ClassVar

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS
from mosam.datasets.obtain import Download, Obtain, WebFile
from mosam.datasets.one_pass import OnePass, first_of, official_spans, one_pass_info


def _zips(split: str) -> tuple[Download, ...]:
    videos = dict.fromkeys(span.folder for span in official_spans("otb100_frames").values())
    return tuple(WebFile(f"http://cvlab.hanyang.ac.kr/tracker_benchmark/seq/{video}.zip") for video in videos)


@DATASETS.register("otb100", "otb2015")
class Otb100(OnePass):
    """OTB100. Some videos are part of what their folder holds; coordinates begin with 1 and are passed on as they are.

    PyTracking looks for the pictures of `KiteSurf` in `jpg/`, all other programs in `img/`: what is there counts.
    """

    name = "otb100"
    spans: ClassVar[str] = "otb100_frames"
    attributes: ClassVar[str] = "otb100_attributes"
    stems: ClassVar[str] = "%04d"
    info = one_pass_info(
        "OTB100",
        "http://cvlab.hanyang.ac.kr/tracker_benchmark/",
        """\
OTB100/
  list.txt                                     (optional: sequence names, one a line)
  <video>/                                     (Jogging_1 and Jogging_2 are in Jogging/, and so on)
    img/0001.jpg ...                           (not needed for scoring)
    groundtruth_rect.txt                       (x,y,w,h on each line, also with tabs or blanks;
                                                groundtruth_rect.1.txt and .2.txt where there are two objects)""",
        {"test": 100},
        "pytracking",
        Obtain(
            "fetch",
            "The authors' server, a zip for each of 98 videos; it is slow and at times away.",
            None,
            "the benchmark's page; datasets/otb.py of github.com/got-10k/toolkit",
            _zips,
        ),
    )

    @classmethod
    def images(cls, root: TreePath, name: str) -> TreePath:
        """`img`, else `jpg`."""
        return first_of(root / official_spans(cls.spans)[name].folder, "img", "jpg")

    @classmethod
    def boxes(cls, root: TreePath, name: str) -> TreePath:
        """`groundtruth_rect.txt`, with a number where there are two objects."""
        folder = official_spans(cls.spans)[name].folder
        number = name.removeprefix(folder).replace("_", ".")
        return root / folder / f"groundtruth_rect{number}.txt"
