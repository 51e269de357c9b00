"""DiDi, the distractor-distilled dataset: sequences in VOT's layout with boxes, each started with a mask."""

from __future__ import annotations

from collections.abc import Iterable

from mosam.datasets.archives import TreePath
from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.made import TreePlan, write_lines
from mosam.datasets.obtain import Obtain
from mosam.datasets.region_folders import TREE, RegionDataset, region_lines, write_sequences
from mosam.datasets.region_truth import RegionTruth
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.regions.files import read_trajectory
from mosam.types import Prompt

FIRST_MASK = "first_frame_segm.txt"


@DATASETS.register("didi")
class Didi(RegionDataset):
    """DiDi's 180 sequences of one object; the mask of the first frame is in `first_frame_segm.txt`."""

    name = "didi"
    info = DatasetInfo(
        title="DiDi",
        task="region",
        splits=("test",),
        default_split="test",
        prompts=("mask", "box"),
        protocol="vots",
        result_format="vot-box",
        official_counts={"test": 180},
        license="research use; each sequence keeps the terms of its source",
        source="https://github.com/jovanavidenovic/DAM4SAM",
        obtain=Obtain(
            "page",
            "Follow https://go.vicos.si/didi, and unpack what it gives into the root.",
            None,
            "README of github.com/jovanavidenovic/DAM4SAM",
        ),
        metrics=("quality", "accuracy", "robustness", "nre", "dre", "adq"),
        tree=f"{TREE}\n    {FIRST_MASK}         (the first frame's mask)",
    )

    def annotation_files(self, name: str) -> Iterable[TreePath]:
        """As others of VOT's layout, and the first frame's mask."""
        mask = self._present(name) / FIRST_MASK
        return [*super().annotation_files(name), *((mask,) if mask.is_file() else ())]

    def prompts(self, truth: RegionTruth, folder: TreePath) -> tuple[Prompt, ...]:
        """The mask of the first frame, or its box; DataError where it is absent or empty."""
        if self.prompt == "box":
            return super().prompts(truth, folder)
        path = folder / FIRST_MASK
        if not path.is_file():
            raise DataError(path, "expected the first frame's mask, found none; get it, or choose --prompt box")
        first = RegionTruth({truth.object_ids[0]: read_trajectory(path)}, truth.image_size)
        try:
            return (first.prompt(truth.object_ids[0], 0, "mask"),)
        except (MismatchError, MissingDataError) as error:
            raise DataError(path, str(error)) from None

    @staticmethod
    def write_tree(plan: TreePlan) -> None:
        """A small tree."""
        for folder, footage in write_sequences(plan, plan.single, "box"):
            write_lines(folder / FIRST_MASK, region_lines(footage, 1, "mask")[:1])
