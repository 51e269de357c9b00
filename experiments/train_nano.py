"""Train `nano`, the small SAM 2.1 network that ships with the package, from nothing.

    python experiments/train_nano.py --out runs/nano

The same command continues a run that was stopped. On processors every step is split between `--processes`; the numbers
do not depend on how many there are. With `--device cuda` steps hold more clips and `--workers` processes paint them.

What is in the run folder: `settings.json`, `log.jsonl` (one line per step, one per validation), `last.pt` (to
continue), `nano.safetensors` with `nano.json` (averaged weights, ready to ship), `validation.png`.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from nano_training import (
    FEWEST_PIXELS,
    Batch,
    FrameResult,
    Helpers,
    LossWeights,
    Stage,
    frame_loss,
    make_batch,
    new_backbone,
    track,
)
from numpy.typing import NDArray
from torch import Tensor, nn

from mosam.errors import MismatchError, MosamError
from mosam.model.checkpoints import save_weights
from mosam.model.networks import NETWORKS
from mosam.model.sam2 import Sam2Backbone
from mosam.system.files import replacing

SETTINGS_FILE = Path(__file__).with_suffix(".toml")
VALIDATION_SEED = 1_000_000  # first number of a seed; training has 0
SAVE_SECONDS = 180.0
SMALLEST_HIDDEN = 32  # a layer with fewer inputs or outputs is a head, whose rows need steps of their own sizes


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what a run learns; the fields are explained in `train_nano.toml`."""

    name: str
    seed: int
    parts: int
    decay: float
    betas: tuple[float, float]
    clip_norm: float
    warmup: int
    average: float
    validate_every: int
    cuda_factor: int
    stages: tuple[Stage, ...]
    device: str = "cpu"

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(stage.length for stage in self.stages)

    def at(self, step: int) -> tuple[Stage, float]:
        """Stage of a step, and the share of that stage before it."""
        for stage in self.stages:
            if step < stage.length:
                return stage, step / stage.steps
            step -= stage.length
        raise IndexError(step)

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        stage, progress = self.at(step)
        start, end = stage.rate
        rate = end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
        return rate * min(1.0, (step + 1) / self.warmup)


def load_settings(path: Path, *, seed: int | None, device: str) -> Settings:
    """Read a settings file; `seed` replaces the file's.

    Raises:
        MismatchError: a field is missing or not known.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    values = tomllib.loads(path.read_text())
    stages = values.pop("stage", [])
    try:
        made = tuple(Stage(**{k: tuple(v) if isinstance(v, list) else v for k, v in stage.items()}) for stage in stages)
        settings = Settings(**{**values, "betas": tuple(values["betas"])}, stages=made, device=device)
    except (TypeError, KeyError) as error:
        raise MismatchError(f"{path}: expected the fields of {SETTINGS_FILE.name}, got {error}") from None
    return settings if seed is None else replace(settings, seed=seed)


def open_run(out: Path, settings: Settings) -> None:
    """Make the run folder, or check that it is the run of these settings.

    Raises:
        MismatchError: the folder holds something else.
    """
    record = json.loads(json.dumps(asdict(settings)))
    file = out / "settings.json"
    if file.is_file():
        found = json.loads(file.read_text())
        wrong = sorted(key for key in found.keys() | record.keys() if found.get(key) != record.get(key))
        if wrong:
            raise MismatchError(
                f"{out}: expected a run with these settings, found one with other {', '.join(wrong)}; use another --out"
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise MismatchError(
            f"{out}: expected an empty folder or a run of this program, found other files; use another --out"
        )
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(record, indent=1) + "\n")


def make_optimizers(model: nn.Module, settings: Settings) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices between layers, AdamW for the rest: tables, kernels, heads, biases and norms.

    Muon's steps are scaled to the size of AdamW's, so that one learning rate serves both. From nothing it reached in
    130 steps what AdamW alone reached in 200.
    """
    layers = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    hidden = [weight for weight in layers if min(weight.shape) >= SMALLEST_HIDDEN]
    taken = {id(weight) for weight in hidden}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": settings.decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return (
        torch.optim.Muon(hidden, lr=1.0, weight_decay=settings.decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(groups, lr=1.0, betas=settings.betas),
    )


class Trainer:
    """One process of a run: its share of every step.

    Attributes:
        backbone: the network that is trained.
        average: its averaged weights, by name.
        step: steps done.
        seconds: time spent training, over all restarts.
    Args:
        settings: of the run.
        out: its folder.
        rank: number of this process; 0 writes the files.
        processes: how many there are; divides `settings.parts`.
        workers: processes that paint clips ahead; 0 = paint in this one.
    """

    def __init__(self, settings: Settings, out: Path, *, rank: int = 0, processes: int = 1, workers: int = 0):
        self.settings, self.out, self.rank, self.processes = settings, out, rank, processes
        self.backbone = new_backbone(settings.seed, settings.device, settings.name)
        self.model = self.backbone.model
        self.optimizers = make_optimizers(self.model, settings)
        self.helpers = Helpers(self.backbone.sizes.width).to(self.backbone.device)
        self.helping = torch.optim.AdamW(self.helpers.parameters(), lr=1.0, betas=settings.betas)
        self.average = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self._pool = ProcessPoolExecutor(workers, initializer=_one_thread) if workers else None
        self._ahead = 2 * workers
        self._pending: dict[tuple[int, int], Future[Batch]] = {}
        if (out / "last.pt").is_file():
            self._load()

    def run(self, until: int) -> None:
        """Train up to step `until`, writing log lines, validations and checkpoints."""
        saved = begun = time.monotonic()
        before, parent = self.seconds, os.getppid()
        while self.step < until:
            if self.processes > 1 and os.getppid() != parent:
                raise SystemExit("train_nano: the process that started the run has gone")
            stage, _ = self.settings.at(self.step)
            line = self.train_step()
            self.seconds = before + time.monotonic() - begun
            last = self.step == until
            if self.rank == 0:
                self._log({"step": self.step, "frames": stage.frames, "seconds": round(self.seconds, 1), **line})
                every = self.settings.validate_every
                if every and (self.step % every == 0 or self.step == self.settings.steps):
                    self._log({"step": self.step, "seconds": round(self.seconds, 1), "validation": self.validate()})
                if last or time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
            if self.processes > 1 and last:
                dist.barrier()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def train_step(self) -> dict[str, float]:
        """One optimizer step; returns the numbers of its log line."""
        settings, step = self.settings, self.step
        rate = settings.rate(step)
        for optimizer in (*self.optimizers, self.helping):
            for group in optimizer.param_groups:
                group["lr"] = rate
        stage, progress = settings.at(step)
        balance = stage.balance[0] + (stage.balance[1] - stage.balance[0]) * progress
        weights = LossWeights(
            balance=balance,
            prompts=stage.prompts,
            prompt_balance=stage.prompt_balance,
            absent=stage.absent,
            helpers=stage.helpers,
            every=stage.every,
        )
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=False)
        self.helping.zero_grad()
        sums: dict[str, float] = {}
        for part in range(self.rank, settings.parts, self.processes):
            batch = self._batch(step, part)
            total, parts = clip_loss(self.backbone, batch, weights, self.helpers)
            (total / settings.parts).backward()
            for key, value in {"loss": total.detach(), **parts}.items():
                sums[key] = sums.get(key, 0.0) + float(value) / settings.parts
        if self.processes > 1:
            sums = self._reduce(sums)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), settings.clip_norm)
        if not stage.skip or float(norm) <= stage.skip:
            for optimizer in self.optimizers:
                optimizer.step()
            if stage.helpers:
                self.helping.step()
        self.step += 1
        self._update_average()
        return {key: round(value, 6) for key, value in {**sums, "norm": float(norm), "rate": rate}.items()}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Scores of the averaged weights on clips that training never draws."""
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        scores = validation_scores(self.backbone)
        self.model.load_state_dict(kept)
        return scores

    def save(self) -> None:
        """Write the state to continue from, the averaged weights and the curve."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "helpers": self.helpers.state_dict(),
            "helping": self.helping.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        _write(self.out / "last.pt", lambda path: torch.save(state, path))
        settings = self.settings
        notes = {"steps": self.step, "of": settings.steps, "seconds": round(self.seconds), "seed": settings.seed}
        export(self.backbone, self.average, self.out, {**notes, "trained_by": "experiments/train_nano.py"})
        draw_curve(self.out)

    def _load(self) -> None:
        state = torch.load(self.out / "last.pt", map_location=self.backbone.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        for optimizer, found in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(found)
        self.helpers.load_state_dict(state["helpers"])
        self.helping.load_state_dict(state["helping"])
        self.step, self.seconds = state["step"], state["seconds"]
        if self.rank == 0:  # the log may be ahead of the checkpoint
            log = self.out / "log.jsonl"
            lines = [line for line in log.read_text().splitlines() if json.loads(line)["step"] <= self.step]
            _write(log, lambda path: path.write_text("".join(line + "\n" for line in lines)))

    def _batch(self, step: int, part: int) -> Batch:
        if self._pool is None:
            return self._make(step, part)
        for ahead in range(step, min(step + self._ahead, self.settings.steps)):
            for other in range(self.rank, self.settings.parts, self.processes):
                if (ahead, other) not in self._pending and (ahead, other) >= (step, part):
                    self._pending[ahead, other] = self._pool.submit(make_batch, *self._request(ahead, other))
        return self._pending.pop((step, part)).result()

    def _make(self, step: int, part: int) -> Batch:
        return make_batch(*self._request(step, part))

    def _request(self, step: int, part: int) -> tuple[tuple[int, ...], Stage, float, int]:
        stage, progress = self.settings.at(step)
        if self.settings.device != "cpu":
            stage = replace(stage, clips=stage.clips * self.settings.cuda_factor)
        return (0, self.settings.seed, step, part), stage, progress, self.backbone.sizes.image

    def _reduce(self, sums: dict[str, float]) -> dict[str, float]:
        """Adds gradients and log numbers over the processes."""
        everything = [*self.model.parameters(), *self.helpers.parameters()]
        parameters = [parameter for parameter in everything if parameter.requires_grad]
        # a process whose clips had no box, say, has no gradient where another has one: all send the same layout
        pieces = [torch.zeros_like(p).view(-1) if p.grad is None else p.grad.reshape(-1) for p in parameters]
        used = torch.tensor([float(p.grad is not None) for p in parameters])
        flat = torch.cat([*pieces, used, torch.tensor(list(sums.values()))])
        dist.all_reduce(flat)
        used = flat[-len(sums) - len(parameters) : -len(sums)]
        for p, piece, count in zip(
            parameters, flat.split([*map(len, pieces), len(flat) - sum(map(len, pieces))])[:-1], used, strict=True
        ):
            p.grad = piece.view_as(p).clone() if count > 0 else None
        return dict(zip(sums, flat[-len(sums) :].tolist(), strict=True))

    def _update_average(self) -> None:
        keep = min(self.settings.average, self.step / (self.step + 10))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - keep)

    def _log(self, line: dict[str, Any]) -> None:
        with (self.out / "log.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")


def clip_loss(
    backbone: Sam2Backbone, batch: Batch, weights: LossWeights, helpers: Helpers | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean loss over the frames of a batch and its parts; `helpers` are needed where their losses have a weight."""
    total: Tensor | None = None
    sums: dict[str, Tensor] = {}
    frames = len(batch.masks)
    masks = batch.masks.to(backbone.device)
    extra: Tensor | float = 0.0
    for t, result in enumerate(track(backbone, batch, extra=weights.prompts > 0)):
        loss, parts = frame_loss(result.decoded, masks[t], weights)
        if result.extra is not None:
            balance = max(weights.balance, weights.prompt_balance)
            extra, _ = frame_loss(result.extra, masks[t], replace(weights, balance=balance))
            sums["prompts"] = extra.detach()
        if helpers is not None and weights.helpers > 0:
            if result.raw is not None:
                labels = torch.from_numpy(batch.labels).to(backbone.device)
                looks = helpers.looks_loss(result.raw, labels)
                loss = loss + weights.helpers * frames * looks  # once a clip, not once a frame
                sums["looks"] = looks.detach()
            if result.top is not None:
                early = helpers.mask_loss(result.top, masks[t])
                loss = loss + weights.helpers * early
                parts["early"] = early.detach()
        total = loss if total is None else total + loss
        for key, value in parts.items():
            sums[key] = sums.get(key, 0.0) + value / frames
    assert total is not None
    return total / frames + weights.prompts * extra, sums


def validation_scores(backbone: Sam2Backbone) -> dict[str, float]:
    """Overlap, presence and calibration on short and long clips.

    Keys: `j1`, `j`, `j_last` mean mask IoU on the first, all and the last tracked frame of 8, `j_long` of 32 frames,
    `no_memory` with memory left out; `box`, `point` on the prompted frame; `presence` share of frames with the right
    answer (`presence_long` of 32 frames), `absent` of those without the object; `calibration` rank correlation of
    predicted and true IoU.
    """
    short = Stage(1, 8, 6, 2, (0.0, 0.0), (0.0, 0.0), scenarios=0.7)
    tables = {kind: _tables(backbone, short, kind, draws=3) for kind in ("mask", "box", "point")}
    j, present, believed, predicted = tables["mask"]
    long = _tables(backbone, replace(short, frames=32), "mask", draws=1)
    alone = _tables(backbone, short, "mask", draws=2, memory=False)
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


def _tables(backbone: Sam2Backbone, stage: Stage, kind: str, *, draws: int, memory: bool = True) -> Tables:
    """(T, R) true IoU (NaN = absent), presence, believed presence and predicted IoU over some validation batches."""
    columns: list[list[NDArray[Any]]] = []
    for draw in range(draws):
        batch = make_batch((VALIDATION_SEED, draw, stage.frames), stage, 0.0, backbone.sizes.image)
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
    from scipy.stats import spearmanr

    return round(float(spearmanr(a, b).statistic), 4)


def export(backbone: Sam2Backbone, weights: dict[str, Tensor], out: Path, notes: dict[str, Any]) -> None:
    """Write weights in half precision as `<name>.safetensors`, and beside them what they are: the shipped form.

    Args:
        backbone: the network they belong to; it is not changed.
        weights: fp32, by name; rounding them to 16 bits halves the file and moves no score.
        out: folder.
        notes: kept beside the weights.
    """
    halves = copy.deepcopy(backbone.model).cpu()
    halves.load_state_dict(weights)
    save_weights(halves.half(), NETWORKS[backbone.name], out, backbone.name, notes)


def draw_curve(out: Path) -> None:
    """Draw the loss and the validation scores of `log.jsonl` into `validation.png`."""
    from matplotlib.figure import Figure

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
    _write(out / "validation.png", lambda path: figure.savefig(path, dpi=110, format="png"))


def _write(path: Path, write: Callable[[Path], object]) -> None:
    with replacing(path) as beside:
        write(beside)


def _one_thread() -> None:
    cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _process(rank: int, processes: int, settings: Settings, out: Path, until: int, workers: int) -> None:
    """Entry of one process of a run."""
    if settings.device == "cpu":
        _one_thread()
    torch.use_deterministic_algorithms(settings.device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{out.resolve()}/.rendezvous", rank=rank, world_size=processes
        )
    Trainer(settings, out, rank=rank, processes=processes, workers=workers).run(until)
    if processes > 1:
        dist.destroy_process_group()


def train(settings: Settings, out: Path, *, processes: int = 1, workers: int = 0, until: int | None = None) -> None:
    """Start or continue a run.

    Args:
        settings: of the run.
        out: its folder.
        processes: that share each step; 1 or `settings.parts`.
        workers: that paint clips ahead, per process.
        until: stop after this step (the run can be continued); None = at the end.
    Raises:
        MismatchError: the folder is another run's, the parts cannot be shared, or torch is too old.
    """
    if not hasattr(torch.optim, "Muon"):
        raise MismatchError(f"training: expected torch 2.9 or newer, which has Muon, got {torch.__version__}")
    if settings.parts % processes:
        raise MismatchError(f"--processes: expected a divisor of {settings.parts} (parts), got {processes}")
    open_run(out, settings)
    until = settings.steps if until is None else min(until, settings.steps)
    if processes == 1:
        _process(0, 1, settings, out, until, workers)
        return
    (out / ".rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(_process, (processes, settings, out, until, workers), nprocs=processes)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="run folder; an existing run of the same settings is continued"
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS_FILE)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--processes", type=int, default=1, help="processes that share a step (CPU)")
    parser.add_argument("--workers", type=int, default=0, help="processes that paint clips ahead")
    parser.add_argument("--until", type=int, default=None, help="stop after this step")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.settings, seed=options.seed, device=options.device)
        train(settings, options.out, processes=options.processes, workers=options.workers, until=options.until)
    except (MosamError, OSError) as error:
        print(f"train_nano: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
