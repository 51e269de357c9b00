"""A small benchmark in memory, in a module of its own: processes that score must be able to import it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mosam.datasets.base import BoxTruth, Dataset, DatasetInfo, Sequence

NAMES = tuple(f"cup-{number}" for number in range(1, 6))
LENGTH = 10


def boxes(name: str) -> np.ndarray:
    """The object of `cup-n` moves n pixels a frame."""
    step = int(name.rpartition("-")[2])
    return np.array([[10.0 + step * t, 20, 30, 40] for t in range(LENGTH)])


class Cups(Dataset):
    """Five sequences with boxes in memory."""

    name = "cups"
    generated = True
    info = DatasetInfo(
        title="cups",
        task="box",
        splits=("test", "hidden"),
        default_split="test",
        prompts=("box",),
        protocol="pytracking",
        result_format="lasot",
        official_counts={"test": 5},
        no_truth=("hidden",),
    )

    def list_names(self) -> Iterable[str]:
        return NAMES

    def load(self, name: str) -> Sequence:
        return Sequence(
            name,
            (),  # type: ignore[arg-type]
            tuple(f"{t:08d}" for t in range(LENGTH)),
            (1,),
            tuple,
            lambda: BoxTruth(boxes(name), np.zeros(LENGTH, bool)),
            attributes=frozenset(["slow"] if name in NAMES[:2] else ["fast"]),
        )
