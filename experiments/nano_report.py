"""What `nano` is asked to be able to do, measured on `toy`; the numbers of its model card.

    python experiments/nano_report.py --split val --out docs/nano-val.json
    python experiments/nano_report.py --sheet docs/nano-toy.png

Tracks every sequence with the `sam2` policy from masks, from boxes, and from masks with the memory switched off (each
frame is decoded as if there were no other), and prints J&F over all sequences, over those without full occlusion or
distractors, and over the rest; how often presence is right; and the rank correlation of predicted and true IoU.
`mosam eval toy` scores what is on disk under the protocol `toy`, where every object weighs the same; here sequences do,
and frames in `presence`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mosam.datasets.base import Dataset, Sequence, load_dataset
from mosam.engine.engine import Engine
from mosam.errors import MosamError
from mosam.evaluation.protocols.masks import frame_jf
from mosam.geometry import mask_iou
from mosam.model.backbone import ImageFeatures, MemoryRead
from mosam.model.checkpoints import load_model
from mosam.model.sam2 import Sam2Backbone
from mosam.policies.base import load_policy
from mosam.types import Image, Mask

HARD = {"full_occlusion", "distractor"}
SHEET_SEQUENCES = (
    "scale-1", "camera-1", "light-1", "partial_occlusion-1", "crossing-1", "late-1",
    "full_occlusion-1", "disappearance-1", "out_of_view-1", "distractor-1",
)  # fmt: skip
SHEET_FRAMES = 7
TILE = (160, 120)  # width, height
COLORS = ((255, 60, 60), (255, 230, 40), (60, 200, 255))


class Forgetful(Sam2Backbone):
    """A network whose memory is switched off: every frame is decoded as if it were the only one."""

    def attend(self, features: ImageFeatures, rows: Tensor, read: MemoryRead) -> Tensor:
        """Top features with the no-memory embedding, whatever there is to read."""
        return self.without_memory(features, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What was said of one object after the frame it was given on, against the truth.

    Attributes:
        jf: (T,) mean of J and F.
        presence: (T,) whether the answer is empty exactly when the object shows nothing.
        predicted: (T,) predicted IoU.
        iou: (T,) true IoU; NaN where the object shows nothing.
    """

    jf: NDArray[np.float64]
    presence: NDArray[np.bool_]
    predicted: NDArray[np.float64]
    iou: NDArray[np.float64]


def track(model: Sam2Backbone, sequence: Sequence, policy: str = "sam2") -> tuple[list[Tracked], list[dict[int, Mask]]]:
    """Run one sequence; one record per object, and the masks of each frame."""
    engine = Engine(model, load_policy(policy))
    assert sequence.size is not None
    prompts = {prompt.object_id: prompt for prompt in sequence.prompts}
    video = engine.open(prompts.values(), size=sequence.size, num_frames=len(sequence))
    rows: dict[int, list[tuple[float, bool, float, float]]] = {object_id: [] for object_id in prompts}
    masks = []
    for t, image in enumerate(sequence.frames()):
        outputs = engine.step({video: image})[video].objects
        truth = sequence.truth.read(t)  # type: ignore[union-attr]
        masks.append({object_id: output.mask for object_id, output in outputs.items()})
        for object_id, output in outputs.items():
            if t > prompts[object_id].frame_index:
                rows[object_id].append(_row(output.mask, truth[object_id], output.iou))
    engine.close(video)
    columns = [[np.array(column) for column in zip(*lines, strict=True)] for lines in rows.values()]
    return [Tracked(*column) for column in columns], masks


def _row(found: Mask, true: Mask, predicted: float) -> tuple[float, bool, float, float]:
    shown = bool(true.any())
    j, f = frame_jf(found if found.any() else None, true if shown else None)
    return (j + f) / 2, bool(found.any()) == shown, predicted, mask_iou(found, true) if shown else np.nan


def measure(model: Sam2Backbone, dataset: Dataset) -> dict[str, float]:
    """Scores of one way of tracking over a split; J&F is the mean over objects of a sequence, then over sequences."""
    from scipy.stats import spearmanr

    jf: dict[str, float] = {}
    tracked: list[Tracked] = []
    for name in dataset:
        records, _ = track(model, dataset[name])
        jf[name] = float(np.mean([record.jf.mean() for record in records]))
        tracked += records
    easy = [value for name, value in jf.items() if not dataset[name].attributes & HARD]
    hard = [value for name, value in jf.items() if dataset[name].attributes & HARD]
    iou = np.concatenate([record.iou for record in tracked])
    predicted = np.concatenate([record.predicted for record in tracked])
    shown = ~np.isnan(iou)
    scores = {
        "jf": float(np.mean(list(jf.values()))),
        "jf_easy": float(np.mean(easy)) if easy else float("nan"),
        "jf_hard": float(np.mean(hard)) if hard else float("nan"),
        "presence": float(np.mean(np.concatenate([record.presence for record in tracked]))),
        "absent_found": float(np.mean(np.concatenate([record.presence[np.isnan(record.iou)] for record in tracked]))),
        "spearman": float(spearmanr(predicted[shown], iou[shown]).statistic),
    }
    return {key: round(value, 4) for key, value in scores.items()} | {name: round(jf[name], 3) for name in jf}


def report(model: Sam2Backbone, *, split: str, seed: int, only: str | None = None) -> dict[str, dict[str, float]]:
    """All measurements on one split.

    Args:
        model: the network.
        split: of `toy`.
        seed: its draw.
        only: one of `mask`, `box`, `no_memory`; None = all three.
    """
    forgetful = Forgetful(model.model, name=model.name, device=model.device, formulas="library")
    ways = {"mask": (model, "mask"), "box": (model, "box"), "no_memory": (forgetful, "mask")}
    return {
        way: measure(network, load_dataset("toy", split=split, seed=seed, prompt=prompt))
        for way, (network, prompt) in ways.items()
        if only in (None, way)
    }


def contact_sheet(model: Sam2Backbone, *, split: str = "val", policy: str = "sam2") -> Image:
    """Frames of several sequences in rows: the true outline dotted in white, the predicted mask tinted in color."""
    import cv2

    dataset = load_dataset("toy", split=split)
    lines = []
    for name in SHEET_SEQUENCES:
        sequence = dataset[name]
        _, masks = track(model, sequence, policy)
        tiles = []
        for t in np.linspace(0, len(sequence) - 1, SHEET_FRAMES).astype(int):
            picture = _drawn(sequence.source.read(int(t)), masks[t], sequence.truth.read(int(t)))  # type: ignore[union-attr]
            picture = cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA)
            cv2.putText(
                picture, f"{t}", (4, TILE[1] - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA
            )
            tiles.append(picture)
        cv2.putText(tiles[0], name, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 1, cv2.LINE_AA)
        lines.append(np.hstack(tiles))
    return np.vstack(lines)


def _drawn(image: Image, found: dict[int, Mask], truth: dict[int, Mask]) -> Image:
    import cv2

    picture = image.copy()
    for object_id, mask in found.items():
        color = np.array(COLORS[(object_id - 1) % len(COLORS)])
        picture[mask] = (picture[mask] * 0.45 + color * 0.55).astype(np.uint8)
    dots = np.indices(image.shape[:2]).sum(axis=0) % 6 < 4
    for mask in truth.values():
        edge = mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0).astype(bool)
        picture[edge & dots] = 255
    return picture


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano", help="a model name or a .safetensors file of ours")
    parser.add_argument("--split", default="val", choices=("val", "test"))
    parser.add_argument("--seed", type=int, default=0, help="draw of toy")
    parser.add_argument("--only", choices=("mask", "box", "no_memory"))
    parser.add_argument("--out", type=Path, help="write the scores to this JSON file")
    parser.add_argument("--sheet", type=Path, help="draw a contact sheet into this PNG file instead of measuring")
    options = parser.parse_args(arguments)
    try:
        model = load_model(options.model, device="cpu")
        if options.sheet:
            from PIL import Image as Picture

            Picture.fromarray(contact_sheet(model, split=options.split)).quantize(128).save(
                options.sheet, optimize=True
            )
            return 0
        scores = report(model, split=options.split, seed=options.seed, only=options.only)
    except (MosamError, OSError) as error:
        print(f"nano_report: {error}", file=sys.stderr)
        return 2
    text = json.dumps(scores, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
