"""Where a planned run is tracked: in this process, in several of this machine, or by somebody's cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.datasets.select import split_list
from mosam.engine.capacity import parse_lanes
from mosam.errors import MosamError, UnknownNameError
from mosam.policies.base import parse_tracker
from mosam.system import plugins
from mosam.system.option_values import convert
from mosam.tracking.events import Progress
from mosam.tracking.launch.worker import RunSpec, TrackingSetup, WorkerSlot
from mosam.tracking.outside.load import elsewhere
from mosam.tracking.outside.tracker import OutsideTracker
from mosam.tracking.plan import PlannedRun, RunOptions, plan_runs
from mosam.tracking.run import RunResult

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy
    from mosam.tracking.launch.tasks import Launcher

LAUNCHERS = ("local", "ray", "slurm")


@dataclass(frozen=True)
class PlannedRunSpec:
    """A planned run as it is sent to workers: the words of the command, which mean the same everywhere.

    Attributes:
        options: with absolute paths.
        tracker: slot of the run among those of the command.
        plugins: files and modules that the command loaded; a worker loads them first.
    """

    options: RunOptions
    tracker: int = 0
    plugins: tuple[str, ...] = ()

    @classmethod
    def of(cls, planned: PlannedRun) -> PlannedRunSpec:
        """The spec of a planned run."""
        from mosam.datasets.base import DATASETS, find_root

        options = planned.options
        root = find_root(DATASETS.canonical(options.dataset), options.root)
        model = planned.model
        if model and Path(model).exists():
            model = str(Path(model).absolute())
        options = dataclasses.replace(
            options,
            root=None if root is None else Path(root).absolute(),
            model=model or None,
            tracker=None if options.tracker is None else ",".join(map(elsewhere, split_list(options.tracker))),
        )
        labels = [run.policy.label for run in plan_runs(options)]
        return cls(options, labels.index(planned.policy.label), plugins.named())

    @cached_property
    def planned(self) -> PlannedRun:
        """The run; planned anew by each process, from the same words."""
        plugins.load(self.plugins)
        return plan_runs(self.options)[self.tracker]

    def __getstate__(self) -> dict[str, Any]:
        return {"options": self.options, "tracker": self.tracker, "plugins": self.plugins}

    @property
    def dataset(self) -> Dataset:
        """See `mosam.tracking.launch.worker.RunSpec`."""
        return self.planned.dataset

    @property
    def policy(self) -> MemoryPolicy | OutsideTracker:
        """See `mosam.tracking.launch.worker.RunSpec`."""
        return self.planned.policy

    def open(self, slot: WorkerSlot) -> TrackingSetup:
        """See `mosam.tracking.launch.worker.RunSpec`."""
        from mosam.datasets.decoders import use_decoder

        use_decoder(self.options.decoder)
        planned = self.planned
        if isinstance(planned.policy, OutsideTracker):
            return TrackingSetup(planned.dataset, None, planned.policy, None, planned.output)
        from mosam.model.checkpoints import load_model
        from mosam.model.threads import limit_threads

        if slot.device in (None, "cpu"):
            limit_threads(slot.threads)
        if slot.device is not None:
            planned = dataclasses.replace(planned, options=dataclasses.replace(self.options, device=slot.device))
        model = planned.load(load_model)
        return TrackingSetup(planned.dataset, model, planned.policy, planned.preset.parity, planned.output)


def check_options(options: RunOptions) -> None:
    """What can be wrong with `--lanes`, `--jobs`, `--gpus` and `--launcher`, before anything is loaded.

    Raises:
        MosamError: it is.
    """
    parse_lanes(options.lanes)
    if options.jobs is not None and options.jobs < 1:
        raise MosamError(f"--jobs: expected at least 1, got {options.jobs}")
    name, values = parse_launcher(options.launcher)
    if name == "local" and values:
        raise MosamError("--launcher local: takes no options; see --jobs and --gpus")
    if name != "local" and options.gpus is not None:
        raise MosamError(f"--gpus: is for this machine; write --launcher {name}[gpus=1] for GPUs of a task")
    if options.gpus is not None and options.device.split(":")[0] not in ("auto", "cuda"):
        raise MosamError(f"--gpus {options.gpus}: does not go with --device {options.device}")


def prepare(
    planned: PlannedRun, load_model: Callable[..., Backbone]
) -> Callable[[Callable[[Progress], None]], RunResult]:
    """Makes a planned run ready where its options say: loads the network, or looks for the cluster.

    Args:
        planned: the run.
        load_model: as `mosam.load_model`, or one that remembers; used where this process tracks.
    Returns:
        what tracks it, called with `progress` as in `mosam.run`.
    Raises:
        MosamError: it cannot be.
    """
    options = planned.options
    name, values = parse_launcher(options.launcher)
    shared: dict[str, Any] = {
        "out": planned.out, "max_lanes": parse_lanes(options.lanes), "overwrite": options.overwrite, "log": options.log,
    }  # fmt: skip
    if name != "local":
        from mosam.tracking.launch.tasks import run_tasks

        return partial(_call, run_tasks, PlannedRunSpec.of(planned), _launcher(name, values, planned.out), shared)
    slots = local_slots(options, network=bool(planned.model))
    if len(slots) > 1:
        from mosam.tracking.launch.local import run_workers

        return partial(_call, run_workers, PlannedRunSpec.of(planned), slots, shared)
    if slots and slots[0].device is not None:
        planned = dataclasses.replace(planned, options=dataclasses.replace(options, device=slots[0].device))
    return partial(planned.start, planned.load(load_model))


def _call(run: Callable[..., RunResult], spec: RunSpec, where: Any, shared: dict[str, Any], progress: Any) -> RunResult:
    return run(spec, where, progress=progress, **shared)


def local_slots(options: RunOptions, *, network: bool = True) -> list[WorkerSlot]:
    """Workers on this machine that a command asks for; none = this process alone, as its device says.

    Args:
        options: of the command.
        network: whether the tracker has one; without it, no device is looked for.
    """
    from mosam.tracking.launch.local import cpu_slots, gpu_slots

    if network and options.gpus is not None:
        from mosam.model.devices import count_gpus

        return gpu_slots(options.gpus, count_gpus())
    if options.jobs is None or options.jobs < 2:
        return []
    if not network:
        return cpu_slots(options.jobs)
    from mosam.model.devices import choose_device

    return cpu_slots(options.jobs) if choose_device(options.device).type == "cpu" else []


def parse_launcher(text: str) -> tuple[str, dict[str, str]]:
    """`slurm[jobs=4,partition=gpu]` -> its name and its options.

    Raises:
        UnknownNameError: no launcher of that name.
    """
    name, values = parse_tracker(text)
    if name not in LAUNCHERS:
        raise UnknownNameError("launcher", name, LAUNCHERS, where="--launcher")
    return name, values


def _launcher(name: str, values: dict[str, str], out: Path) -> Launcher:
    if name == "ray":
        from mosam.tracking.launch.ray_cluster import RayLauncher, RayOptions

        return RayLauncher(_options(RayOptions, name, values))
    from mosam.tracking.launch.slurm_array import SlurmLauncher, SlurmOptions

    return SlurmLauncher(_options(SlurmOptions, name, values), out.absolute())


def _options(kind: type[Any], name: str, values: dict[str, str]) -> Any:
    import typing

    hints = typing.get_type_hints(kind)
    for key in values:
        if key not in hints:
            raise UnknownNameError("option", key, hints, where=f"--launcher {name}")
    return kind(**{key: convert(text, hints[key], f"--launcher {name}[{key}]") for key, text in values.items()})
