"""Train small SAM 2.1 networks: `nano`, which ships with the package, and `micro`.

    python experiments/train_nano.py --out runs/nano
    python experiments/train_nano.py --out runs/micro --settings experiments/train_micro.toml --pack photo.pack

The same command continues a run that was stopped. On processors every step is split between `--processes`; the numbers
do not depend on how many there are. With `--device cuda` steps hold more clips; `--workers` processes paint generated
ones, photographic ones are painted on the GPU. `--minutes` ends the run, and its stages, by the clock.

What is in the run folder: `settings.json`, `log.jsonl` (one line per step, one per validation), `last.pt` (to
continue), `<name>.safetensors` with `<name>.json` (averaged weights, ready to ship), `validation.png`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from nano_training import Batch, Helpers, begin_with, frame_loss, new_backbone, resized, track
from sources import open_source
from torch import Tensor, nn
from train_report import draw_curve, export, validation_scores, write
from train_settings import SETTINGS_FILE, LossWeights, Settings, Stage, load_settings, open_run

from mosam.errors import MismatchError, MosamError
from mosam.model.checkpoints import load_model
from mosam.model.sam2 import Sam2Backbone

SAVE_SECONDS = 180.0
SMALLEST_HIDDEN = 32  # a layer with fewer inputs or outputs is a head, whose rows need steps of their own sizes


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
        pack: pictures of photographic clips.
    """

    def __init__(
        self,
        settings: Settings,
        out: Path,
        *,
        rank: int = 0,
        processes: int = 1,
        workers: int = 0,
        pack: Path | None = None,
    ):
        self.settings, self.out, self.rank, self.processes = settings, out, rank, processes
        self._make, self._make_held = open_source(settings, pack)
        self.backbone = new_backbone(settings.seed, settings.device, settings.name, settings.network)
        if settings.start:
            begin_with(self.backbone, load_model(settings.start, device="cpu").model.state_dict())
        self._sized = {self.backbone.sizes.image: self.backbone}
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
        while not self.is_over(until):
            if self.processes > 1 and os.getppid() != parent:
                raise SystemExit("train_nano: the process that started the run has gone")
            stage, _ = self.settings.at(self.step, self.seconds)
            line = self.train_step()
            self.seconds = before + time.monotonic() - begun
            last = self.is_over(until)
            if self.rank == 0:
                self._log({"step": self.step, "frames": stage.frames, "seconds": round(self.seconds, 1), **line})
                every = self.settings.validate_every
                if every and (self.step % every == 0 or self.is_over(self.settings.steps)):
                    self._log({"step": self.step, "seconds": round(self.seconds, 1), "validation": self.validate()})
                if last or time.monotonic() - saved > SAVE_SECONDS:
                    self.save()
                    saved = time.monotonic()
            if self.processes > 1 and last:
                dist.barrier()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def is_over(self, until: int) -> bool:
        """Whether step `until` is done, or the time of a run of some minutes has passed."""
        minutes = self.settings.minutes
        return self.seconds >= 60 * minutes if minutes else self.step >= until

    def train_step(self) -> dict[str, float]:
        """One optimizer step; returns the numbers of its log line."""
        settings, step = self.settings, self.step
        rate = settings.rate(step, self.seconds)
        for optimizer in (*self.optimizers, self.helping):
            for group in optimizer.param_groups:
                group["lr"] = rate
        stage, progress = settings.at(step, self.seconds)
        weights = LossWeights.of(stage, progress)
        backbone = self._at_size(stage.image)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=False)
        self.helping.zero_grad()
        sums: dict[str, float] = {}
        for part in range(self.rank, settings.parts, self.processes):
            batch = self._batch(step, part)
            with self._precision():
                total, parts = clip_loss(backbone, batch, weights, self.helpers)
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
        with self._precision():
            scores = validation_scores(self.backbone, self._make_held)
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
        write(self.out / "last.pt", lambda path: torch.save(state, path))
        settings = self.settings
        of = f"{settings.minutes:g} minutes" if settings.minutes else settings.steps
        notes = {"steps": self.step, "of": of, "seconds": round(self.seconds), "seed": settings.seed}
        notes["trained_by"] = "experiments/train_nano.py"
        export(self.backbone, settings.shape, self.average, self.out, notes)
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
            write(log, lambda path: path.write_text("".join(line + "\n" for line in lines)))

    def _at_size(self, image: int) -> Sam2Backbone:
        """The network for frames of another size, with the same parameters; 0 = its own size."""
        image = image or self.backbone.sizes.image
        if image not in self._sized:
            self._sized[image] = resized(self.backbone, self.settings.shape, image)
        return self._sized[image]

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.backbone.device.type, torch.bfloat16, enabled=self.settings.bf16)

    def _batch(self, step: int, part: int) -> Batch:
        if self._pool is None:
            return self._make(*self._request(step, part))
        for ahead in range(step, min(step + self._ahead, self.settings.steps)):
            for other in range(self.rank, self.settings.parts, self.processes):
                if (ahead, other) not in self._pending and (ahead, other) >= (step, part):
                    self._pending[ahead, other] = self._pool.submit(self._make, *self._request(ahead, other))
        return self._pending.pop((step, part)).result()

    def _request(self, step: int, part: int) -> tuple[tuple[int, ...], Stage, float, int]:
        stage, progress = self.settings.at(step, self.seconds)
        if self.settings.device != "cpu":
            stage = replace(stage, clips=stage.clips * self.settings.cuda_factor)
        return (0, self.settings.seed, step, part), stage, progress, stage.image or self.backbone.sizes.image

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
                looks = helpers.looks_loss(result.raw, batch.bodies(backbone.device))
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


def _one_thread() -> None:
    with contextlib.suppress(ImportError):
        import cv2

        cv2.setNumThreads(1)
    torch.set_num_threads(1)


def _process(
    rank: int, processes: int, settings: Settings, out: Path, until: int, workers: int, pack: Path | None
) -> None:
    """Entry of one process of a run."""
    if settings.device == "cpu":
        _one_thread()
    torch.use_deterministic_algorithms(settings.device == "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{out.resolve()}/.rendezvous", rank=rank, world_size=processes
        )
    Trainer(settings, out, rank=rank, processes=processes, workers=workers, pack=pack).run(until)
    if processes > 1:
        dist.destroy_process_group()


def train(
    settings: Settings,
    out: Path,
    *,
    processes: int = 1,
    workers: int = 0,
    until: int | None = None,
    pack: Path | None = None,
) -> None:
    """Start or continue a run.

    Args:
        settings: of the run.
        out: its folder.
        processes: that share each step; 1 or `settings.parts`.
        workers: that paint clips ahead, per process.
        until: stop after this step (the run can be continued); None = at the end.
        pack: pictures of photographic clips.
    Raises:
        MismatchError: the folder is another run's, the parts cannot be shared, or torch is too old.
    """
    if not hasattr(torch.optim, "Muon"):
        raise MismatchError(f"training: expected torch 2.9 or newer, which has Muon, got {torch.__version__}")
    if workers and settings.source != "generated":
        raise MismatchError("--workers: expected 0 for photographic clips, which are painted where the network trains")
    if settings.parts % processes:
        raise MismatchError(f"--processes: expected a divisor of {settings.parts} (parts), got {processes}")
    open_run(out, settings)
    until = settings.steps if until is None else min(until, settings.steps)
    if processes == 1:
        _process(0, 1, settings, out, until, workers, pack)
        return
    (out / ".rendezvous").unlink(missing_ok=True)
    torch.multiprocessing.spawn(_process, (processes, settings, out, until, workers, pack), nprocs=processes)


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
    parser.add_argument("--pack", type=Path, default=None, help="pictures of photographic clips (photo/packages.py)")
    parser.add_argument("--minutes", type=float, default=None, help="length of the run by the clock, not in steps")
    parser.add_argument("--start", default=None, help="weights to begin with: a model name or a file")
    options = parser.parse_args(arguments)
    changes = {name: getattr(options, name) for name in ("minutes", "start") if getattr(options, name) is not None}
    try:
        settings = load_settings(options.settings, seed=options.seed, device=options.device, **changes)
        sharing = {"processes": options.processes, "workers": options.workers}
        train(settings, options.out, until=options.until, pack=options.pack, **sharing)
    except (MosamError, OSError) as error:
        print(f"train_nano: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
