"""Scores with everything any figure shows, and two trackers on one sequence of the generated benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mosam.codecs import CODECS, CodecOptions
from mosam.datasets.base import Dataset, Sequence, load_dataset
from mosam.errors import MosamError
from mosam.evaluation.figures import FIGURES, SEQUENCE_FIGURES
from mosam.evaluation.framewise import TrackedSequence, read_tracked
from mosam.evaluation.scores import Scores
from mosam.types import FrameOutput, ObjectOutput

KINDS = list(FIGURES)  # those that cannot show the scores made here are left to their own tests
SEQUENCE_KINDS = list(SEQUENCE_FIGURES)
AWKWARD = r"a_b & 50% $x^2$ #1 {z} ~ \o <,>"
SEQUENCE = "full_occlusion-1"


def make_scores(tracker: str, shift: float = 0.0, **changes) -> Scores:
    """Scores with everything any figure shows."""
    names = ("cup-1", "cup-2", "dog_1", "zebra")
    sequences = {name: {"success_auc": 0.3 + 0.1 * i + shift, "jf_mean": 0.2 + shift} for i, name in enumerate(names)}
    values = {
        "dataset": "vot2019",
        "split": "test",
        "tracker": tracker,
        "model": None,
        "protocol": "pytracking",
        "overall": {
            "success_auc": 0.45 + shift, "precision": 0.5 + shift, "norm_precision": 0.6 + shift, "fps": 30 + shift,
            "jf_mean": 0.2 + shift, "eao": 0.3 + shift, "accuracy": 0.6 + shift, "robustness": 0.7 + shift,
        },
        "sequences": sequences,
        "curves": {
            "success": tuple(np.linspace(0.9 + shift, 0, 21)),
            "precision": tuple(np.linspace(0, 0.8 + shift, 51)),
            "norm_precision": tuple(np.linspace(0, 0.8 + shift, 51)),
            "eao": tuple(np.linspace(0.9, 0.1 + shift, 400)),
        },
        "attributes": {name: {"success_auc": 0.3 + shift} for name in ("ARC", "BC", "full_occlusion", "OV")},
    }  # fmt: skip
    return Scores(**(values | changes))


TWO = [make_scores("ATOM"), make_scores("SiamRPN++", 0.05)]


def draw(kind: str, scores: list[Scores]) -> Figure:
    """A figure of scores made here; skips the test where it needs others."""
    try:
        return FIGURES[kind](scores)
    except MosamError as error:
        pytest.skip(f"left to the figure's own test: {error}")


def write_toy(folder: Path, dataset: Dataset, change=lambda frame_index, masks: masks) -> None:
    """The true masks, changed, as a tracker would write them."""
    for name in dataset:
        sequence = dataset[name]
        writer = CODECS["toy"].writer(folder, sequence, CodecOptions(box_from_mask="inclusive"))
        for frame_index in range(len(sequence)):
            masks = change(frame_index, dict(sequence.truth.read(frame_index)))
            objects = {i: ObjectOutput(mask, 1.0, 1.0) for i, mask in masks.items()}
            writer.add(FrameOutput(frame_index, objects), 0.5)
        writer.finish()


def _drift(frame_index: int, masks: dict) -> dict:
    return {key: np.roll(mask, 9 * max(0, frame_index - 5), 1) for key, mask in masks.items()}


def drifting(root: Path) -> tuple[Sequence, list[TrackedSequence]]:
    """A tracker without fault, and one that drifts away from frame 5 on; written below `root` the first time."""
    dataset = load_dataset("toy").select([SEQUENCE])
    if not (root / "drift").is_dir():
        write_toy(root / "perfect", dataset)
        write_toy(root / "drift", dataset, _drift)
    return dataset[SEQUENCE], [read_tracked(root / name, dataset, SEQUENCE) for name in ("perfect", "drift")]
