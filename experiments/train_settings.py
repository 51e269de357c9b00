"""What a run of `train_nano.py` learns from: its settings, stage by stage, and the folder that is tied to them."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mosam.errors import MismatchError
from mosam.model.networks import NETWORKS, Network

SETTINGS_FILE = Path(__file__).with_name("train_nano.toml")


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch of training with clips of one length.

    Attributes:
        steps: optimizer steps over which rates and shares change.
        frames: frames of a clip.
        clips: clips of a step.
        targets: objects asked for in each clip.
        teach: probability that a memory is of the true mask, at the start and at the end of the stage.
        rate: learning rate at the start and at the end, cosine in between.
        jumps: share of the steps in which the prompted frame lies well before the others.
        prompts: weight of the loss of boxes and points alone: one for every object, on frame 0.
        balance: share of class-balanced cross-entropy in the mask loss, at the start and at the end.
        prompt_balance: the least such share in the loss of boxes and points alone.
        by_mask: share of the objects that are given by their mask; the others by a box or a point.
        stride: clips may take every n-th frame of their scene, up to this n.
        every: share of the mean over the three masks in the loss of the best of them.
        helpers: weight of the losses of `Helpers`.
        absent: weight of the presence of an object that is gone against one that shows.
        skip: steps whose gradient is longer than this change nothing, as memory can make it explode; 0 = none.
        cut: frames after which gradients through the memory end, as through all frames of a long clip they explode; the
            memory of frame 0 keeps its gradient. 0 = never.
        stop: steps after which the stage is left all the same; 0 = run it whole.
        scenarios: share of the clips whose scene is one of the benchmark's; the others mix all difficulties.
        hard: difficulty of photographic clips in [0, 1], at the start and at the end.
        generated: share of the steps whose clips are generated ones also where the source is photographs.
        image: side of the frames in this stage; 0 = the network's.
        share: of the time of a run that lasts a number of minutes.
    """

    steps: int
    frames: int
    clips: int
    targets: int
    teach: tuple[float, float]
    rate: tuple[float, float]
    jumps: float = 0.0
    prompts: float = 0.0
    balance: tuple[float, float] = (0.0, 0.0)
    prompt_balance: float = 0.0
    by_mask: float = 0.5
    stride: int = 2
    scenarios: float = 0.0
    every: float = 0.0
    helpers: float = 0.0
    absent: float = 1.0
    skip: float = 0.0
    cut: int = 0
    stop: int = 0
    hard: tuple[float, float] = (1.0, 1.0)
    generated: float = 0.0
    image: int = 0
    share: float = 0.0

    @property
    def length(self) -> int:
        """Optimizer steps that are done."""
        return self.stop or self.steps


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that decides what a run learns; most fields are explained in `train_nano.toml`.

    Attributes:
        name: of the network, and of the files with its weights.
        source: `generated` clips (`datasets/toy_scenes.py`) or `photo` clips (`photo/`).
        network: its shape; None = that of the name.
        start: weights to begin with, a model name or a file; empty = drawn at random.
        minutes: length of a run that is measured in time: stages then end by the clock, and so does the run.
        device: `cpu` or `cuda`.
        bf16: whether the network computes in bfloat16; weights and losses stay in 32 bits. Slower on processors.
    """

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
    source: str = "generated"
    network: Network | None = None
    start: str = ""
    bf16: bool = False
    minutes: float = 0.0

    @property
    def shape(self) -> Network:
        """Sizes of the network."""
        return self.network or NETWORKS[self.name]

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return sum(stage.length for stage in self.stages)

    def at(self, step: int, seconds: float = 0.0) -> tuple[Stage, float]:
        """Stage of a step, and the share of that stage before it.

        Args:
            step: number of the step, from 0.
            seconds: spent before it; decides in a run of some minutes.
        Raises:
            IndexError: the run is over.
        """
        if self.minutes:
            return self._at_time(seconds / (60 * self.minutes))
        for stage in self.stages:
            if step < stage.length:
                return stage, step / stage.steps
            step -= stage.length
        raise IndexError(step)

    def _at_time(self, spent: float) -> tuple[Stage, float]:
        total = sum(stage.share for stage in self.stages)
        for stage in self.stages:
            share = stage.share / total
            if spent < share:
                return stage, spent / share
            spent -= share
        raise IndexError("the time of the run is over")

    def rate(self, step: int, seconds: float = 0.0) -> float:
        """Learning rate of a step."""
        stage, progress = self.at(step, seconds)
        start, end = stage.rate
        rate = end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
        return rate * min(1.0, (step + 1) / self.warmup)


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How the parts of the loss are weighted.

    Attributes:
        focal, dice: of a mask.
        iou: of the error of the predicted IoU.
        presence: of the object score.
        balance: share of class-balanced cross-entropy in place of the focal loss.
        prompts: of the masks that boxes and points alone give on frame 0.
        prompt_balance: the least `balance` of these.
        absent: of the presence of an object that is gone, against one that shows.
        helpers: of the losses of `Helpers`.
        every: share of the mean over the three masks; the rest is the best of them. The best alone lets the masks come
            to differ, and the one that goes on, by predicted IoU, is then much worse than the best.
    """

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    balance: float = 0.0
    prompts: float = 0.0
    prompt_balance: float = 0.0
    absent: float = 1.0
    helpers: float = 0.0
    every: float = 0.0

    @classmethod
    def of(cls, stage: Stage, progress: float) -> LossWeights:
        """Weights of a moment of a stage."""
        balance = stage.balance[0] + (stage.balance[1] - stage.balance[0]) * progress
        return cls(
            balance=balance,
            prompts=stage.prompts,
            prompt_balance=stage.prompt_balance,
            absent=stage.absent,
            helpers=stage.helpers,
            every=stage.every,
        )


def load_settings(path: Path, *, seed: int | None, device: str, **changes: Any) -> Settings:
    """Read a settings file; `seed` and other values replace the file's.

    Raises:
        MismatchError: a field is missing or not known, or a value cannot be.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    values = tomllib.loads(path.read_text())
    stages, shape = values.pop("stage", []), values.pop("network", None)
    try:
        made = tuple(Stage(**{k: tuple(v) if isinstance(v, list) else v for k, v in stage.items()}) for stage in stages)
        if shape is not None:
            values["network"] = Network(**{k: tuple(v) if isinstance(v, list) else v for k, v in shape.items()})
        settings = Settings(**{**values, "betas": tuple(values["betas"])}, stages=made, device=device)
    except (TypeError, KeyError, ValueError) as error:
        raise MismatchError(f"{path}: expected the fields of {SETTINGS_FILE.name}, got {error}") from None
    settings = replace(settings, **changes)
    if seed is not None:
        settings = replace(settings, seed=seed)
    if settings.minutes and not all(stage.share > 0 for stage in settings.stages):
        raise MismatchError(f"{path}: expected a share of the time for every stage of a run of some minutes")
    return settings


def _record(settings: Settings) -> dict[str, Any]:
    return json.loads(json.dumps(asdict(settings)))


def open_run(out: Path, settings: Settings) -> None:
    """Make the run folder, or check that it is the run of these settings.

    Raises:
        MismatchError: the folder holds something else.
    """
    record = _record(settings)
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
