"""VOT: short-term 2013-2022, long-term 2018-2022 and VOTS; `mosam.datasets.region_folders` reads their layout."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from mosam.datasets.base import DATASETS, DatasetInfo
from mosam.datasets.made import TreePlan, write_lines
from mosam.datasets.obtain import Obtain, VotFiles
from mosam.datasets.region_folders import TREE, RegionDataset, write_sequences
from mosam.datasets.region_truth import ANCHOR

Interval = tuple[int, int]


class Vot(RegionDataset):
    """One challenge on disk.

    Args:
        challenge: which.
        root, split, prompt, seed: see `mosam.datasets.base.Dataset`.
    """

    def __init__(
        self,
        challenge: Challenge,
        root: str | os.PathLike[str] | None,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
    ):
        self.name, self.info, self.eao_interval = challenge.name, challenge.info, challenge.eao_interval
        super().__init__(root, split=split, prompt=prompt, seed=seed)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one challenge is; called with a root, it gives the dataset.

    Attributes:
        name: registered.
        info: what its numbers mean.
        eao_interval: lengths that expected average overlap is a mean over, or None.
        regions: `box`, `polygon` or `mask`, as its annotation is drawn.
    """

    name: str
    info: DatasetInfo
    eao_interval: Interval | None = None
    regions: str = "box"
    generated: ClassVar[bool] = False

    def __call__(
        self,
        root: str | os.PathLike[str] | None,
        *,
        split: str | None = None,
        prompt: str | None = None,
        seed: int = 0,
    ) -> Vot:
        """One split; see `mosam.datasets.base.Dataset`."""
        return Vot(self, root, split=split, prompt=prompt, seed=seed)

    def write_tree(self, plan: TreePlan) -> None:
        """A small tree: of one object a video, several in VOTS; with anchors where runs start from them."""
        several = self.info.protocol == "vots"
        videos = tuple(footage.starting() for footage in plan.several) if several else plan.single
        for folder, footage in write_sequences(plan, videos, self.regions):
            if self.info.mode == "multistart":
                write_lines(folder / f"{ANCHOR}.value", ["1", *["0"] * (len(footage) - 2), "-1"])


_GIGABYTES = {"vot2019/longterm": 17.6}


def _obtain(place: str) -> Obtain:
    """The sequences that a description on VOT's server lists."""
    url = f"https://data.votchallenge.net/{place}/description.json"
    facts = "the stacks of vot-toolkit 0.9.0; size: lengths of the archives, September 2026"
    return Obtain(
        "fetch",
        "The challenge's server, two archives for each sequence, as the VOT toolkit downloads them.",
        _GIGABYTES.get(place),
        facts,
        partial(_files, url),  # a lambda could not go to other processes
    )


def _files(url: str, split: str) -> tuple[VotFiles, ...]:
    return (VotFiles(url),) if split == "test" else ()


def _describe(title: str, year: int, count: int | None, kind: _Kind, place: str) -> DatasetInfo:
    """The descriptor of a challenge of some kind."""
    return DatasetInfo(
        title=title,
        task="region",
        splits=kind.splits,
        default_split=kind.splits[0],
        prompts=kind.prompts,
        protocol=kind.protocol,
        result_format=kind.result_format,
        mode=kind.mode,
        official_counts={} if count is None else {kind.splits[0]: count},
        no_truth=kind.no_truth,
        archive_folder="" if kind.no_truth else None,
        license="research use; each sequence keeps the terms of its source",
        source=f"https://www.votchallenge.net/vot{'s' if year >= 2023 else ''}{year}/",
        obtain=_obtain(place),
        metrics=kind.metrics,
        tree=TREE,
    )


@dataclass(frozen=True, slots=True)
class _Kind:
    """What challenges of several years share; see `DatasetInfo`."""

    protocol: str
    result_format: str
    metrics: tuple[str, ...]
    mode: str = "once"
    prompts: tuple[str, ...] = ("box",)
    splits: tuple[str, ...] = ("test",)
    no_truth: tuple[str, ...] = ()


_EARLY = _Kind("vot", "vot-box", ("accuracy", "robustness", "failures"), mode="supervised")
_SUPERVISED = _Kind("vot", "vot-box", ("eao", *_EARLY.metrics), mode="supervised")
_MASKS = _Kind("multistart", "vot", ("eao", "accuracy", "robustness"), mode="multistart", prompts=("mask", "box"))
_BOXES = _Kind("multistart", "vot-box", _MASKS.metrics, mode="multistart")
_LONG = _Kind("vot-lt", "vot-lt", ("f", "precision", "recall"))
_SEVERAL = _Kind(
    "vots",
    "vot",
    ("quality", "accuracy", "robustness", "nre", "dre", "adq"),
    prompts=("mask", "box"),
    splits=("test", "val"),
    no_truth=("test",),
)
_ANCHORED = (115, 755)

# Name, title, year, official sequences, kind, interval of EAO, regions, place on VOT's server.
_ROWS: tuple[tuple[str, str, int, int | None, _Kind, Interval | None, str, str], ...] = (
    ("vot2013", "VOT2013", 2013, 16, _EARLY, None, "box", "vot2013/dataset"),
    ("vot2014", "VOT2014", 2014, 25, _EARLY, None, "polygon", "vot2014/dataset"),
    ("vot2015", "VOT2015", 2015, 60, _SUPERVISED, (108, 371), "polygon", "vot2015/dataset"),
    ("vot2016", "VOT2016", 2016, 60, _SUPERVISED, (108, 371), "polygon", "vot2016/main"),
    ("vot2017", "VOT2017", 2017, 60, _SUPERVISED, (100, 356), "polygon", "vot2017/main"),
    ("vot2018", "VOT2018", 2018, 60, _SUPERVISED, (100, 356), "polygon", "vot2018/main"),
    ("vot2019", "VOT2019", 2019, 60, _SUPERVISED, (46, 291), "polygon", "vot2019/main"),
    ("vot2020-st", "VOT-ST2020", 2020, 60, _MASKS, _ANCHORED, "mask", "vot2020/shortterm"),
    ("vot2021-st", "VOT-ST2021", 2021, 60, _MASKS, _ANCHORED, "mask", "vot2021/shortterm"),
    ("vot2022-st", "VOT-ST2022", 2022, None, _MASKS, _ANCHORED, "mask", "vot2022/sts"),
    ("vot2022-stb", "VOT-STb2022", 2022, None, _BOXES, _ANCHORED, "box", "vot2022/stb"),
    ("vot2018-lt", "VOT-LT2018", 2018, 35, _LONG, None, "box", "vot2018/longterm"),
    ("vot2019-lt", "VOT-LT2019", 2019, 50, _LONG, None, "box", "vot2019/longterm"),
    ("vot2020-lt", "VOT-LT2020", 2020, 50, _LONG, None, "box", "vot2019/longterm"),
    ("vot2021-lt", "VOT-LT2021", 2021, 50, _LONG, None, "box", "vot2019/longterm"),
    ("vot2022-lt", "VOT-LT2022", 2022, 50, _LONG, None, "box", "vot2022/lt"),
    ("vots2023", "VOTS2023", 2023, 144, _SEVERAL, None, "mask", "vots2023/dataset"),
    ("vots2024", "VOTS2024", 2024, 144, _SEVERAL, None, "mask", "vots2023/dataset"),
    ("vots2025", "VOTS2025", 2025, 144, _SEVERAL, None, "mask", "vots2023/dataset"),
    ("vots2026", "VOTS2026", 2026, None, _SEVERAL, None, "mask", "vots2026/main"),
)

for _name, _title, _year, _count, _kind, _interval, _regions, _place in _ROWS:
    _info = _describe(_title, _year, _count, _kind, _place)
    DATASETS.register(_name)(Challenge(_name, _info, _interval, _regions))
