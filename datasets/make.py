"""`mosam data make`: a small valid tree of any benchmark, filmed from `toy`; frames, annotation, lists and metadata.

A benchmark's own file says how it is laid out (`Dataset.write_tree`). What a real tree has that loaders trip over is in
it where it can be: names without a final newline, frames that are not zero-padded, ids with gaps, objects that start
late, masks that overlap, absent objects.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from mosam.datasets.base import DATASETS, load_dataset
from mosam.datasets.made import Footage, TreePlan
from mosam.errors import MosamError, UnknownNameError

FRAMES = 12
SEQUENCES = 2
SCALE = 2
_ONE_OBJECT = ("full_occlusion-1", "scale-1", "camera-1", "rotation-1")
_SEVERAL = ("late-1", "crossing-1")
_ABSENT_SHARE = 0.01  # of the picture; an object that shows less counts as absent in a made tree


def make_tree(
    name: str,
    out: str | os.PathLike[str],
    *,
    split: str | None = None,
    sequences: int = SEQUENCES,
    frames: int = FRAMES,
    seed: int = 0,
    scale: int = SCALE,
) -> Path:
    """Write a small tree of a benchmark, valid for its loader.

    Args:
        name: a registered dataset that is not generated itself.
        out: folder to make; must be new or empty.
        split: one of its splits; None = its default.
        sequences: how many videos.
        frames: of each, taken from all of a toy video; >= 6.
        seed: of the toy videos.
        scale: pixels of toy that make one here, each way.
    Returns:
        The root, to be given to the loader.
    Raises:
        UnknownNameError: a dataset or split that is not known, or that cannot be made.
        MosamError: the folder holds files, or a number is out of range.
    """
    loader = DATASETS[name]
    name = DATASETS.canonical(name)
    split = loader.info.default_split if split is None else split
    if split not in loader.info.splits:
        raise UnknownNameError("split", split, loader.info.splits, where=name)
    if loader.generated:
        known = [other for other in DATASETS if not DATASETS[other].generated]
        raise UnknownNameError("tree that can be made", name, known, where="data make")
    if sequences < 1 or frames < 6 or scale < 1:
        raise MosamError(
            f"data make: expected sequences >= 1, frames >= 6 and scale >= 1, got {sequences}, {frames} and {scale}"
        )
    root = Path(out)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise MosamError(f"{root}: expected a new or empty folder, found files; choose another with --out")
    single, several = (
        tuple(_film(scenes, number, frames, seed, scale) for number in range(sequences))
        for scenes in (_ONE_OBJECT, _SEVERAL)
    )
    loader.write_tree(TreePlan(root, name, loader.info, split, tuple(f.renumbered({1: 1}) for f in single), several))
    return root


@lru_cache(maxsize=16)
def _film(scenes: tuple[str, ...], number: int, frames: int, seed: int, scale: int) -> Footage:
    """One toy video, of which `frames` frames are taken; the first object shows on the first and the last."""
    sequence = load_dataset("toy", seed=seed + number // len(scenes))[scenes[number % len(scenes)]]
    truth = sequence.truth
    chosen = [round(index) for index in np.linspace(0, len(sequence) - 1, frames)]
    images = tuple(np.ascontiguousarray(sequence.source.read(index)[::scale, ::scale]) for index in chosen)
    masks = []
    for index in chosen:
        small = {key: mask[::scale, ::scale].copy() for key, mask in truth.read(index).items()}  # type: ignore[union-attr]
        masks.append({key: mask for key, mask in small.items() if mask.mean() >= _ABSENT_SHARE})
    return Footage(images, tuple(masks))
