"""How good a network in training is, what it looks like on disk, and its curve.

    python experiments/train_report.py --model runs/micro/micro.safetensors --settings experiments/train_micro.toml \
        --pack photo.pack

prints the validation scores that a run logs, for any weights.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from nano_training import FEWEST_PIXELS, FrameResult, track
from numpy.typing import NDArray
from sources import MakeBatch, open_source
from torch import Tensor
from train_settings import SETTINGS_FILE, Stage, load_settings

from mosam.errors import MosamError
from mosam.model.checkpoints import load_model, save_weights
from mosam.model.networks import Network
from mosam.model.sam2 import Sam2Backbone
from mosam.system.files import replacing

VALIDATION_SEED = 1_000_000  # first number of a seed; training has 0


def validation_scores(backbone: Sam2Backbone, make: MakeBatch) -> dict[str, float]:
    """Overlap, presence and calibration on short and long clips.

    Keys: `j1`, `j`, `j_last` mean mask IoU on the first, all and the last tracked frame of 8, `j_long` of 32 frames,
    `no_memory` with memory left out; `box`, `point` on the prompted frame; `presence` share of frames with the right
    answer (`presence_long` of 32 frames), `absent` of those without the object; `calibration` rank correlation of
    predicted and true IoU.

    Args:
        backbone: the network.
        make: makes batches as `make_batch` does, of what training never draws.
    """
    short = Stage(1, 8, 6, 2, (0.0, 0.0), (0.0, 0.0), scenarios=0.7)
    tables = {kind: _tables(backbone, make, short, kind, draws=3) for kind in ("mask", "box", "point")}
    j, present, believed, predicted = tables["mask"]
    long = _tables(backbone, make, replace(short, frames=32), "mask", draws=1)
    alone = _tables(backbone, make, short, "mask", draws=2, memory=False)
    shown = ~np.isnan(j[1:])
    right = (believed == present)[1:]
    return {
        "j1": _mean(j[1]),
        "j": _mean(j[1:]),
        "j_last": _mean(j[-1]),
        "j_long": _mean(long[0][1:]),
        "no_memory": _mean(alone[0][1:]),
        "box": _mean(tables["box"][0][0]),
        "point": _mean(tables["point"][0][0]),
        "presence": _mean(right.astype(float)),
        "absent": _mean(right[~present[1:]].astype(float)),
        "presence_long": _mean((long[1] == long[2])[1:].astype(float)),
        "calibration": _rank_correlation(predicted[1:][shown], j[1:][shown]),
    }


Tables = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.float64]]


def _tables(
    backbone: Sam2Backbone, make: MakeBatch, stage: Stage, kind: str, *, draws: int, memory: bool = True
) -> Tables:
    """(T, R) true IoU (NaN = absent), presence, believed presence and predicted IoU over some validation batches."""
    columns: list[list[NDArray[Any]]] = []
    for draw in range(draws):
        batch = make((VALIDATION_SEED, draw, stage.frames), stage, 0.0, backbone.sizes.image)
        batch = replace(batch, kinds=(kind,) * len(batch.kinds), gap=0, correct=0, teach=np.zeros_like(batch.teach))
        rows = [
            _row(r, batch.masks[t].to(backbone.device), t) for t, r in enumerate(track(backbone, batch, memory=memory))
        ]
        columns.append([np.stack([row[k] for row in rows]) for k in range(4)])
    return tuple(np.concatenate([column[k] for column in columns], axis=1) for k in range(4))  # type: ignore[return-value]


def _row(result: FrameResult, masks: Tensor, t: int) -> tuple[NDArray[Any], ...]:
    side = masks.shape[-1]
    rows = torch.arange(len(masks), device=masks.device)
    logits = F.interpolate(result.logits, size=(side, side), mode="bilinear", align_corners=False)
    inside, true = logits.flatten(1) > 0, masks.flatten(1) > 0.5
    iou = (inside & true).sum(dim=1) / (inside | true).sum(dim=1).clamp(min=1)
    area = true.sum(dim=1)
    iou = torch.where(area >= FEWEST_PIXELS, iou.float(), torch.nan)
    predicted = result.decoded.iou[rows, result.chosen]
    believed = result.decoded.object_score.reshape(-1) > 0
    return (
        iou.double().cpu().numpy(),
        (area > 0).cpu().numpy(),
        believed.cpu().numpy(),
        predicted.double().cpu().numpy(),
    )


def _mean(values: NDArray[np.float64]) -> float:
    values = values[~np.isnan(values)]
    return round(float(values.mean()), 4) if values.size else float("nan")


def _rank_correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Spearman's, with mean ranks of equal values."""
    if len(a) < 2:
        return float("nan")
    return round(float(np.corrcoef(_ranks(a), _ranks(b))[0, 1]), 4)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def export(
    backbone: Sam2Backbone, network: Network, weights: dict[str, Tensor], out: Path, notes: dict[str, Any]
) -> None:
    """Write weights in half precision as `<name>.safetensors`, and beside them what they are: the shipped form.

    Args:
        backbone: the network they belong to; it is not changed.
        network: its shape.
        weights: fp32, by name; rounding them to 16 bits halves the file and moves no score.
        out: folder.
        notes: kept beside the weights.
    """
    halves = copy.deepcopy(backbone.model).cpu()
    halves.load_state_dict(weights)
    save_weights(halves.half(), network, out, backbone.name, notes)


def draw_curve(out: Path) -> None:
    """Draw the loss and the validation scores of `log.jsonl` into `validation.png`."""
    try:
        from matplotlib.figure import Figure
    except ImportError:  # a machine for training may not have it; the log has all there is
        return
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    checks = [line for line in lines if "validation" in line]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    if steps:
        loss = np.array([line["loss"] for line in steps])
        width = min(50, len(loss))
        left.plot([line["step"] for line in steps][width - 1 :], np.convolve(loss, np.ones(width) / width, "valid"))
    left.set(xlabel="step", ylabel=f"training loss (mean of {width if steps else 50} steps)")
    names = {"j": "J, 8 frames", "j_long": "J, 32 frames", "no_memory": "J, no memory", "presence": "presence",
             "calibration": "rank corr. of IoU", "box": "J of a box"}  # fmt: skip
    for key, text in names.items():
        right.plot([c["step"] for c in checks], [c["validation"][key] for c in checks], label=text)
    right.set(xlabel="step", ylim=(0, 1), title="validation, averaged weights")
    right.legend(fontsize=7)
    write(out / "validation.png", lambda path: figure.savefig(path, dpi=110, format="png"))


def write(path: Path, make: Callable[[Path], object]) -> None:
    """Write a file beside its place and then move it there, so that it is never half written."""
    with replacing(path) as beside:
        make(beside)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", required=True, help="a model name or a .safetensors file of ours")
    parser.add_argument("--settings", type=Path, default=SETTINGS_FILE, help="of the run whose clips are used")
    parser.add_argument("--pack", type=Path, default=None, help="pictures of photographic clips")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.settings, seed=None, device=options.device)
        _, make = open_source(settings, options.pack)
        backbone = load_model(options.model, device=options.device, precision="fp32")
        with torch.no_grad():
            print(json.dumps(validation_scores(backbone, make), indent=1))  # type: ignore[arg-type]
    except (MosamError, OSError) as error:
        print(f"train_report: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
