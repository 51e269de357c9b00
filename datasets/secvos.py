"""SeCVOS: videos of several shots, cut as films are, with a folder of masks for each object."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

from mosam.codecs import write_labels
from mosam.codecs.masks import object_folder
from mosam.datasets.annotations import read_json
from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, DatasetInfo, Sequence
from mosam.datasets.made import Footage, TreePlan, numbers, write_frames, write_json, write_lines
from mosam.datasets.obtain import HubFiles, Obtain
from mosam.datasets.sav import ObjectMaskTruth, Sav
from mosam.errors import DataError

LIST, SCENES = "video_id.txt", "scene_info.json"
SHOTS = {"first": "first_segment", "second": "second_segment", "remain": "remain_segments"}  # as the scenes name them


class ShotMaskTruth(ObjectMaskTruth):
    """Masks of a video that is cut into shots.

    Args:
        files: see `ObjectMaskTruth`.
        shots: 0-based frames of `first`, `second`, `remain`; what the video has not is left out.
    """

    def __init__(self, files: Mapping[int, Mapping[int, TreePath]], shots: Mapping[str, frozenset[int]]):
        super().__init__(files)
        self.shots = shots


def _bounds(path: TreePath, name: str, given: object) -> tuple[float, float]:
    """First and last frame of a shot, which are written as numbers or as text."""
    values = given if isinstance(given, list) else []
    numbers = [int(one) for one in values[:2] if str(one).isascii() and str(one).isdigit()]
    if len(numbers) != 2:
        raise DataError(path, f"expected the first and last frame of a shot of {name}, got {str(given)[:40]}")
    return numbers[0], numbers[1]


def _number(stem: str) -> int:
    """A frame's number, -1 where its name is none."""
    return int(stem) if stem.isascii() and stem.isdigit() else -1


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
        protocol="secvos",
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
  Annotations/<video>/<object>/00000.png ...   (objects 000, 001 ...)
  scene_info.json                              (optional: first and last frame of each shot, for scores by shot)""",
    )

    def _folder(self) -> str:
        return ""

    def _list(self) -> TreePath:
        return self._top / LIST

    def shared_files(self) -> Iterable[TreePath]:
        """The list of names and the shots, where there are such files."""
        scenes = self._top / SCENES
        return (*super().shared_files(), *((scenes,) if scenes.is_file() else ()))

    def load(self, name: str) -> Sequence:
        """See `Sav.load`; DataError also where a shot is none."""
        sequence, shots = super().load(name), self._shots.get(name)
        if self._shots and shots is None:
            shots = {"first": (0, math.inf)}  # the official program takes all of such a video for its first shot
        frames = {
            shot: frozenset(i for i, stem in enumerate(sequence.frame_names) if first <= _number(stem) <= last)
            for shot, (first, last) in (shots or {}).items()
        }

        def load_truth() -> ShotMaskTruth:
            assert sequence.load_truth is not None
            truth = sequence.load_truth()
            assert isinstance(truth, ObjectMaskTruth)
            return ShotMaskTruth(truth.files, frames)

        return replace(sequence, load_truth=load_truth)

    @cached_property
    def _shots(self) -> dict[str, dict[str, tuple[float, float]]]:
        """First and last frame of the shots of each video that has some; nothing without the file."""
        path = self._top / SCENES
        if not path.is_file():
            return {}
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for name, scenes in read_json(path).items():
            if not isinstance(scenes, dict):
                raise DataError(path, f"expected shots of {name}, got {type(scenes).__name__}")
            found[name] = {shot: _bounds(path, name, scenes[key]) for shot, key in SHOTS.items() if scenes.get(key)}
            if "first" not in found[name]:
                found[name]["first"] = (0, math.inf)
        return found

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
        write_json(plan.root / SCENES, dict(zip(names, map(_made_shots, plan.several), strict=True)))


def _made_shots(footage: Footage) -> dict[str, list[int]]:
    third = len(footage) // 3
    bounds = ([0, third - 1], [third, 2 * third - 1], [2 * third, len(footage) - 1])
    return dict(zip(SHOTS.values(), bounds, strict=True))
