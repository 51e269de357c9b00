"""From the options of `mosam run` and `mosam eval` to the runs they mean: everything that can be checked beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.codecs import CodecOptions
from mosam.datasets.base import DATASETS
from mosam.datasets.select import choose_sequences, split_list
from mosam.engine.capacity import parse_lanes
from mosam.errors import MosamError
from mosam.model.family import load_named
from mosam.results.folder import run_folder
from mosam.system import options as shared
from mosam.system.options import option
from mosam.tracking.events import Progress
from mosam.tracking.outside.engine import Limits
from mosam.tracking.outside.load import find_tracker
from mosam.tracking.outside.tracker import OutsideTracker
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
    frame_timeout: float | None = option(
        "Seconds a tracker of your own may take for an answer.", None, usual="any time; programs 30", least=0.001
    )
    sequence_timeout: float | None = option(
        "Seconds a tracker of your own may take for a pass over a sequence.", None, usual="any time", least=0.001
    )


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One tracker on one dataset, ready to start."""

    options: RunOptions
    dataset: Dataset
    policy: MemoryPolicy | OutsideTracker
    model: str
    preset: Preset
    output: CodecOptions
    out: Path

    @property
    def title(self) -> str:
        """What is run, in a line: `sam2 with random:nano on toy val (2 of 24 sequences)`."""
        subset = f" ({self.dataset.subset})" if self.dataset.subset else ""
        network = f" with {self.model}" if self.model else ""
        return f"{self.policy.label}{network} on {self.dataset.name} {self.dataset.split}{subset}"

    def load(self, load_model: Callable[..., Backbone]) -> Backbone | None:
        """The network, from `mosam.load_model` or one that remembers what it loaded; None where it needs none."""
        if isinstance(self.policy, OutsideTracker):
            return None
        return load_model(
            self.model,
            device=self.options.device,
            precision=self.options.precision or self.preset.precision or "auto",
            seed=self.options.seed,
            resize=self.preset.resize,
            compile=self.options.compile,
        )

    def start(self, model: Backbone | None, progress: Callable[[Progress], None]) -> RunResult:
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
    limits = Limits(options.frame_timeout, options.sequence_timeout)
    policies = [find_tracker(text, limits) for text in trackers]
    _check_use(options, policies)
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


def _plan(options: RunOptions, policy: MemoryPolicy | OutsideTracker, output: CodecOptions) -> PlannedRun:
    dataset = choose_dataset(options)
    own = isinstance(policy, OutsideTracker)
    chosen = Preset() if own else preset(options.settings, policy.name, dataset.info.task)
    model = "" if own else options.model or default_model(dataset.name)
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


def _check_use(options: RunOptions, policies: Sequence[MemoryPolicy | OutsideTracker]) -> None:
    """MosamError for options that say nothing to any of the trackers."""
    own = [isinstance(policy, OutsideTracker) for policy in policies]
    if not any(own) and (options.frame_timeout is not None or options.sequence_timeout is not None):
        raise MosamError("--frame-timeout, --sequence-timeout: are for trackers of your own; leave them out")
    if not all(own):
        return
    label = policies[0].label
    for name, given in (
        ("model", options.model is not None),
        ("precision", options.precision is not None),
        ("compile", options.compile),
        ("gpus", options.gpus is not None),
        ("settings", options.settings != "common"),
    ):
        if given:
            raise MosamError(
                f"--{name}: {label} is not a policy over one of our networks, so this changes nothing; leave it out"
            )


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
