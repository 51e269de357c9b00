"""`mosam.run`: checks what it is given, opens the run's folder, finds the sequences left to do, and tracks them.

The tracking itself is `mosam.tracking.loop`. Launchers (`mosam.tracking.launch`) use the other functions here.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mosam.errors import MismatchError
from mosam.results.handover import take_over
from mosam.results.record import RunRecord, RunSettings
from mosam.results.store import RunStore
from mosam.system.arguments import callback, has, instance, path_like, switch, whole
from mosam.system.plugins import origins
from mosam.tracking.events import Progress as Progress
from mosam.tracking.events import ProgressReporter, Report
from mosam.tracking.loop import annotation_hash, frames_hash, track_sequences
from mosam.tracking.modes import ONCE
from mosam.tracking.schedule import Job, JobQueue, Lanes, longest_first

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset
    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.model.family import ModelFamily
    from mosam.policies.base import MemoryPolicy

NETWORK_OPTIONS = ("formulas", "resize")  # choices some networks have besides weights and precision


@dataclass(frozen=True, slots=True)
class RunResult:
    """Where a run lies and what became of its sequences.

    Attributes:
        path: its folder.
        done: sequences of this call that have results, in the dataset's order.
        failed: reason of each that has none.
        record: what `run.json` holds.
    """

    path: Path
    done: tuple[str, ...]
    failed: Mapping[str, str]
    record: RunRecord


def run(
    dataset: Dataset,
    model: Backbone,
    policy: MemoryPolicy,
    *,
    out: str | Path,
    max_lanes: int | Literal["auto"] | None = 1,
    parity: Parity | None = None,
    options: CodecOptions | None = None,
    overwrite: bool = False,
    log: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> RunResult:
    """Tracks every sequence of a dataset and writes raw results in the benchmark's own format.

    Started again with the same arguments it keeps what is finished and intact and does the rest. A sequence that fails
    is recorded with its reason, and the others go on.

    Args:
        dataset: what to track; `Dataset.select` takes some of its sequences.
        model: the network.
        policy: the tracker.
        out: the run's folder.
        max_lanes: rows of one batch: objects (times hypotheses) tracked together, of as many sequences as that takes,
            the longest first; when one ends the next takes its place. `auto` = what suits the device and its free
            memory; None = that on a GPU, else 1. Fewer are used where they do not fit.
        parity: which program the engine imitates; None = the official one.
        options: how results are written; None = as the benchmark usually has it.
        overwrite: throw away what another run left in `out`.
        log: also write what was read and chosen on every frame, `log/<sequence>.jsonl` (`mosam.results.frame_log`);
            sequences that were done before have none.
        progress: called on every event, from this thread.
    Raises:
        MissingDataError: a sequence that was asked for, or weights of a motion estimator, are not on disk.
        MosamError: no such motion estimator.
        ValueError: an argument of another type or out of range.
        MismatchError: `out` holds results made with other settings, or from other annotations.
        StoreError: results cannot be written; finished sequences are kept.
    """
    from mosam.codecs import CodecOptions
    from mosam.engine.parity import Parity

    _check_arguments(dataset, model, policy, out, max_lanes, parity, options, progress)
    for name, value in (("overwrite", overwrite), ("log", log)):
        switch(value, f"run: {name}")
    dataset.require(frames=True)
    _check_motion(policy)
    parity = Parity() if parity is None else parity
    options = CodecOptions(box_from_mask=dataset.info.box_from_mask) if options is None else options
    settings = describe_settings(dataset, model, policy, parity=parity, options=options)
    lanes, note = choose_lanes(model, policy, max_lanes)
    store = open_store(dataset, settings, environment_of(model, lanes), out=out, overwrite=overwrite)
    with store:
        reporter = ProgressReporter(len(dataset), progress)
        take_over(store, dataset, overwrite=overwrite)
        if note is not None:
            reporter.report("note", "", reason=note)
        jobs = describe_jobs(dataset, find_work(dataset, store, reporter.report), policy, ordered=lanes > 1)
        reporter.expect(jobs)
        queue = JobQueue(jobs) if lanes > 1 else _InOrder(jobs)
        track_sequences(dataset, model, policy, parity, options, store, Lanes(queue, lanes), reporter.report, log=log)
        return result_of(dataset, store)


def _check_arguments(
    dataset: Any, model: Any, policy: Any, out: Any, max_lanes: Any, parity: Any, options: Any, progress: Any
) -> None:
    """ValueError that names the argument of `run` which is of another type or out of range."""
    from mosam.codecs import CodecOptions
    from mosam.engine.parity import Parity

    has(dataset, ("info", "require"), "run: dataset", "a dataset (mosam.load_dataset)")
    has(model, ("weights_hash",), "run: model", "a network (mosam.load_model)")
    has(policy, ("label", "hypotheses"), "run: policy", "a policy (mosam.load_policy)")
    path_like(out, "run: out")
    if max_lanes is not None and max_lanes != "auto":
        whole(max_lanes, "run: max_lanes", 1)
    instance(parity, (Parity, type(None)), "run: parity", "a mosam.Parity or None")
    instance(options, (CodecOptions, type(None)), "run: options", "mosam.CodecOptions or None")
    callback(progress, "run: progress")


def open_store(
    dataset: Dataset, settings: RunSettings, environment: Mapping[str, Any], *, out: str | Path, overwrite: bool
) -> RunStore:
    """The folder of a run; a context manager."""
    return RunStore(
        out,
        settings,
        selection=None if dataset.subset is None else list(dataset),
        annotation_hash=dataset.annotation_hash(),
        environment=environment,
        overwrite=overwrite,
        names=list(dataset),
    )


def result_of(dataset: Dataset, store: RunStore) -> RunResult:
    """What became of the dataset's sequences, from the store's record."""
    wanted = set(dataset)
    failed = {name: why for name, why in store.record.failed.items() if name in wanted}
    done = tuple(name for name in dataset if name not in failed)
    return RunResult(store.folder, done, failed, store.record)


def find_work(dataset: Dataset, store: RunStore, report: Report) -> list[str]:
    """Names of the sequences that still have to be done; what is finished and intact is kept.

    Raises:
        MismatchError: a finished one was tracked from another annotation or from other pictures.
    """
    from mosam.codecs import CODECS

    for note in store.notes:
        report("note", "", reason=note)
    codec, left = CODECS[dataset.info.result_format], []
    for name in dataset:
        record = store.record.sequences.get(name)
        if record is not None and record.status == "done":
            sequence = dataset[name]
            paths = codec.paths(sequence)
            why = store.check(name, paths)
            if why is None:
                if record.annotation != annotation_hash(dataset, name):
                    raise MismatchError(
                        f"{store.folder}: {name} was tracked from another annotation than is there now; choose another "
                        "folder with --results, or throw the old results away with --overwrite"
                    )
                if record.pictures is not None and record.pictures != frames_hash(sequence):
                    raise MismatchError(
                        f"{store.folder}: {name} was tracked from other pictures than are there now; put those back, "
                        "choose another folder with --results, or throw the old results away with --overwrite"
                    )
                report("kept", name)
                continue
            store.forget(name, paths)
            report("redo", name, reason=why)
        elif record is not None:
            report("redo", name, reason=f"failed before: {record.reason}")
        left.append(name)
    return left


def describe_jobs(dataset: Dataset, names: Iterable[str], policy: MemoryPolicy, *, ordered: bool = True) -> list[Job]:
    """Sequences as jobs.

    Args:
        dataset: theirs.
        names: which.
        policy: the tracker; its hypotheses are rows.
        ordered: whether their order matters, so that lengths must be known; one that cannot be opened counts as
            shortest and fails when its turn comes.
    """
    jobs = []
    for name in names:
        job = Job(name)
        if ordered:
            with contextlib.suppress(Exception):
                sequence = dataset[name]
                job = Job(name, len(sequence), max(1, len(sequence.object_ids)) * policy.hypotheses)
        jobs.append(job)
    return longest_first(jobs) if ordered else jobs


def choose_lanes(
    model: Backbone, policy: MemoryPolicy, max_lanes: int | Literal["auto"] | None, *, free: int | None = None
) -> tuple[int, str | None]:
    """Rows of a batch, and a note for the user where they differ from what was asked for.

    Args:
        model: on its device.
        policy: the tracker.
        max_lanes: as for `run`.
        free: bytes of memory for it; None = all that is free.
    """
    from mosam.engine import capacity

    if max_lanes is None:
        max_lanes = "auto" if model.device.type == "cuda" else 1
    if max_lanes == 1:
        return 1, None
    return capacity.choose_lanes(max_lanes, capacity.measure_capacity(model, policy, free=free))


class _InOrder:
    """Jobs one after the other, as they are given."""

    def __init__(self, jobs: Iterable[Job]):
        self._jobs = iter(jobs)

    def take(self, room: int | None = None) -> Job | None:
        """See `mosam.tracking.schedule.Source`."""
        return next(self._jobs, None)


def describe_settings(
    dataset: Dataset, model: Backbone, policy: MemoryPolicy, *, parity: Parity, options: CodecOptions
) -> RunSettings:
    """What the results of a run depend on, as `run.json` records it and a resumed run compares it."""
    return RunSettings(
        dataset=dataset.name,
        split=dataset.split,
        prompt=dataset.prompt,
        seed=dataset.seed,
        tracker=policy.label,
        policy=dataclasses.asdict(policy.config),
        model=model.name,
        weights_hash=model.weights_hash,
        precision=str(model.dtype).removeprefix("torch."),
        device=model.device.type,
        network={key: getattr(model, key) for key in NETWORK_OPTIONS if hasattr(model, key)},
        engine=dataclasses.asdict(parity),
        output={
            "format": dataset.info.result_format,
            **({} if dataset.info.mode == ONCE else {"play": dataset.info.mode}),
            **options.describe(),
        },
        plugins=origins(dataset, model, policy, *_families(model.name), *_estimators(policy)),
    )


def _families(name: str) -> list[ModelFamily]:
    """The family of a network that goes by a published or random name."""
    from mosam.model.family import families

    size = name.removeprefix("random:")
    return [family for family in families() if family.name_of(name) or size in family.random_sizes]


def _estimators(policy: MemoryPolicy) -> list[type]:
    """Classes that estimate the motion a policy reads."""
    needs = policy.motion()
    if needs is None:
        return []
    from mosam.motion.base import FLOW_ESTIMATORS, POINT_ESTIMATORS, find_estimator

    points = [] if needs.sparse == "off" else [find_estimator(POINT_ESTIMATORS, needs.sparse)]
    return [*points, *([] if needs.dense == "off" else [find_estimator(FLOW_ESTIMATORS, needs.dense)])]


def _check_motion(policy: MemoryPolicy) -> None:
    """Estimators are built once before anything is written, so that a wrong name or missing weights fail at once."""
    needs = policy.motion()
    if needs is not None:
        from mosam.motion.field import build_estimators

        build_estimators(needs.sparse, needs.dense)


def environment_of(model: Backbone, max_lanes: int) -> dict[str, Any]:
    """What a run's record says of the machine and of what changes speed but no setting."""
    from mosam.results.environment import describe_environment

    compiled = {"compiled": True} if getattr(model, "compiled", False) else {}
    return {**describe_environment(), "device": str(model.device), "max_lanes": max_lanes, **compiled}
