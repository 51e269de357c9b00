"""`mosam.run`: checks what it is given, opens the run's folder, finds the sequences left to do, and tracks them.

The tracking itself is `mosam.tracking.loop`. Launchers (`mosam.tracking.launch`) use the other functions here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

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
from mosam.tracking.outside.tracker import OutsideTracker
from mosam.tracking.schedule import Job, JobQueue, Lanes, longest_first
from mosam.tracking.tracker import Tracker, tracker_of

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset
    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy


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
    model: Backbone | None,
    policy: MemoryPolicy | OutsideTracker,
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
        model: the network; None for a tracker that needs none.
        policy: the tracker: a memory policy (`mosam.load_policy`), or one of your own (`mosam.load_tracker`).
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
        MissingDataError: a sequence that was asked for, or weights of a motion estimator or tracker, are not on disk.
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
    tracker = tracker_of(model, policy, Parity() if parity is None else parity)
    tracker.check()
    options = CodecOptions(box_from_mask=dataset.info.box_from_mask) if options is None else options
    settings = describe_settings(dataset, tracker, options=options)
    lanes, note = tracker.choose_lanes(max_lanes)
    store = open_store(dataset, settings, environment_of(tracker, lanes), out=out, overwrite=overwrite)
    with store:
        reporter = ProgressReporter(len(dataset), progress)
        take_over(store, dataset, overwrite=overwrite)
        if note is not None:
            reporter.report("note", "", reason=note)
        jobs = describe_jobs(dataset, find_work(dataset, store, reporter.report), policy, ordered=lanes > 1)
        reporter.expect(jobs)
        queue = JobQueue(jobs) if lanes > 1 else _InOrder(jobs)
        track_sequences(dataset, tracker, options, store, Lanes(queue, lanes), reporter.report, log=log)
        return result_of(dataset, store)


def _check_arguments(
    dataset: Any, model: Any, policy: Any, out: Any, max_lanes: Any, parity: Any, options: Any, progress: Any
) -> None:
    """ValueError that names the argument of `run` which is of another type or out of range."""
    from mosam.codecs import CodecOptions
    from mosam.engine.parity import Parity

    has(dataset, ("info", "require"), "run: dataset", "a dataset (mosam.load_dataset)")
    has(policy, ("label", "hypotheses"), "run: policy", "a tracker (mosam.load_policy, mosam.load_tracker)")
    if isinstance(policy, OutsideTracker):
        instance(model, type(None), "run: model", f"None, for {policy.label} needs no network")
    else:
        has(model, ("weights_hash",), "run: model", "a network (mosam.load_model)")
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


class HasRows(Protocol):
    """A tracker, as far as its jobs are concerned."""

    @property
    def hypotheses(self) -> int:
        """Rows of a batch that one object takes."""


def describe_jobs(dataset: Dataset, names: Iterable[str], policy: HasRows, *, ordered: bool = True) -> list[Job]:
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


class _InOrder:
    """Jobs one after the other, as they are given."""

    def __init__(self, jobs: Iterable[Job]):
        self._jobs = iter(jobs)

    def take(self, room: int | None = None) -> Job | None:
        """See `mosam.tracking.schedule.Source`."""
        return next(self._jobs, None)


def describe_settings(dataset: Dataset, tracker: Tracker, *, options: CodecOptions) -> RunSettings:
    """What the results of a run depend on, as `run.json` records it and a resumed run compares it."""
    own = tracker.settings()
    return RunSettings(
        dataset=dataset.name,
        split=dataset.split,
        prompt=dataset.prompt,
        seed=dataset.seed,
        output={
            "format": dataset.info.result_format,
            **({} if dataset.info.mode == ONCE else {"play": dataset.info.mode}),
            **options.describe(),
        },
        **{**own, "plugins": dict(sorted({**origins(dataset), **own["plugins"]}.items()))},
    )


def environment_of(tracker: Tracker, max_lanes: int) -> dict[str, Any]:
    """What a run's record says of the machine and of what changes speed but no setting."""
    from mosam.results.environment import describe_environment

    return {**describe_environment(), **tracker.environment(), "max_lanes": max_lanes}
