"""From the options of `mosam run` and `mosam eval` to the runs they mean: everything that can be checked beforehand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.codecs import CodecOptions
from mosam.datasets.base import DATASETS
from mosam.datasets.select import choose_sequences, split_list
from mosam.engine.capacity import parse_lanes
from mosam.errors import MosamError
from mosam.model.family import load_named
from mosam.policies.base import POLICIES, load_policy, parse_tracker
from mosam.results.folder import run_folder
from mosam.system import options as shared
from mosam.system.options import option
from mosam.tracking.events import Progress
from mosam.tracking.presets import Preset, default_model, default_tracker, preset
from mosam.tracking.run import RunResult, run

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of `mosam run`, as the user gave them; None = not given."""

    dataset: str = shared.DATASET.field(default="toy")
    root: Path | None = shared.ROOT.field()
    split: str | None = shared.SPLIT.field()
    tracker: str | None = shared.TRACKERS.field()
    model: str | None = shared.MODEL.field()
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field()
    sequences: str | None = shared.SEQUENCES.field()
    limit: int | None = shared.LIMIT.field()
    prompt: str | None = option("box or mask.", None, usual="the benchmark's usual", complete="box,mask")
    settings: str = shared.SETTINGS.field()
    seed: int = shared.SEED.field()
    results: Path = shared.RESULTS.field(default=Path("results"))
    lanes: int | str | None = shared.LANES.field()
    absent_as: str = option(
        "Box written for an absent object: zeros, last, nan or minus_one.", "zeros", complete="zeros,last,nan,minus_one"
    )
    box_from_mask: str | None = option(
        "Right edge of a mask's box: exclusive or inclusive.",
        None,
        usual="the benchmark's",
        complete="exclusive,inclusive",
    )
    region_files: str = option(
        "VOT's results: text, binary or auto (boxes text, masks binary).", "auto", complete="auto,text,binary"
    )
    overwrite: bool = option("Replace results made with other settings.", False)
    log: bool = option("Also log what was read and chosen on every frame.", False)
    decoder: str = option("auto, pillow, simplejpeg, jpeg4py, torchvision; torchcodec (videos).", "auto")
    jobs: int | None = option("Processes that track on the CPU.", None, usual="1", least=1)
    gpus: str | None = option("One process per GPU: all, a number, or a list (0,2).", None)
    launcher: str = option("local, ray[address=HOST:PORT,gpus=1] or slurm[partition=P,jobs=8,gpus=1].", "local")
    compile: bool = shared.COMPILE.field()


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One tracker on one dataset, ready to start."""

    options: RunOptions
    dataset: Dataset
    policy: MemoryPolicy
    model: str
    preset: Preset
    output: CodecOptions
    out: Path

    @property
    def title(self) -> str:
        """What is run, in a line: `sam2 with random:nano on toy val (2 of 24 sequences)`."""
        subset = f" ({self.dataset.subset})" if self.dataset.subset else ""
        return f"{self.policy.label} with {self.model} on {self.dataset.name} {self.dataset.split}{subset}"

    def load(self, load_model: Callable[..., Backbone]) -> Backbone:
        """The network, from `mosam.load_model` or one that remembers what it loaded."""
        return load_model(
            self.model,
            device=self.options.device,
            precision=self.options.precision or self.preset.precision or "auto",
            seed=self.options.seed,
            resize=self.preset.resize,
            compile=self.options.compile,
        )

    def start(self, model: Backbone, progress: Callable[[Progress], None]) -> RunResult:
        """Tracks with that network; `progress` as in `mosam.run`."""
        return run(
            self.dataset,
            model,
            self.policy,
            out=self.out,
            max_lanes=parse_lanes(self.options.lanes),  # type: ignore[arg-type]
            parity=self.preset.parity,
            options=self.output,
            overwrite=self.options.overwrite,
            log=self.options.log,
            progress=progress,
        )


def plan_runs(options: RunOptions) -> list[PlannedRun]:
    """The runs a command asks for, one a tracker, in the order given.

    Raises:
        MosamError: an unknown name or value, or data that are not there; nothing has been run then.
    """
    DATASETS.load_class(options.dataset)
    load_named(options.model)
    try:
        usual = DATASETS[options.dataset].info.box_from_mask
        output = CodecOptions(options.absent_as, options.box_from_mask or usual, options.region_files)
    except ValueError as error:
        option, _, rest = str(error).partition(":")
        raise MosamError(f"--{option.replace('_', '-')}:{rest}") from None
    trackers = [default_tracker()] if options.tracker is None else split_list(options.tracker)
    if not trackers:
        raise MosamError("--tracker: expected at least one name, got none")
    policies = []
    for text in trackers:
        name, values = parse_tracker(text)
        policies.append(load_policy(POLICIES.load_class(name), **values))
    labels = [policy.label for policy in policies]
    twice = {label for label in labels if labels.count(label) > 1}
    if twice:
        raise MosamError(f"--tracker: expected different trackers, got {', '.join(sorted(twice))} twice")
    return [_plan(options, policy, output) for policy in policies]


def choose_dataset(options: RunOptions) -> Dataset:
    """The dataset of a command, with `--sequences` and `--limit` applied."""
    return choose_sequences(
        options.dataset,
        options.root,
        options.split,
        prompt=options.prompt,
        seed=options.seed,
        sequences=options.sequences,
        limit=options.limit,
    )


def _plan(options: RunOptions, policy: MemoryPolicy, output: CodecOptions) -> PlannedRun:
    dataset = choose_dataset(options)
    chosen = preset(options.settings, policy.name, dataset.info.task)
    model = options.model or default_model(dataset.name)
    out = run_folder(
        options.results / dataset.name,
        policy.label,
        model,
        split=None if dataset.split == dataset.info.default_split else dataset.split,
        prompt=None if dataset.prompt == dataset.info.prompts[0] else dataset.prompt,
        settings=None if options.settings == "common" else options.settings,
        seed=options.seed,
    )
    return PlannedRun(options, dataset, policy, model, chosen, output, out)


def remembering(load: Callable[..., Backbone]) -> Callable[..., Backbone]:
    """`load`, but the network of the last call is given again where the arguments are the same."""
    last: list[Any] = []

    def load_again(*arguments: Any, **named: Any) -> Backbone:
        call = (arguments, named)
        if not last or last[0] != call:
            last[:] = []  # the old one goes before the new one comes
            last[:] = [call, load(*arguments, **named)]
        return last[1]

    return load_again
