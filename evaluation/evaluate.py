"""From raw results on disk to scores: reads one sequence at a time, brings the sequences together.

Anybody's results are scored: those of a run of ours (a folder with `run.json`) and those of other programs, laid out as
the benchmark has it. Nothing here needs a GPU or imports torch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from mosam.codecs import CODECS, Codec
from mosam.datasets.base import Dataset
from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.evaluation.cache import keep, load_kept, score_key
from mosam.evaluation.columns import TIMING
from mosam.evaluation.finding import find_run
from mosam.evaluation.protocols.base import Protocol, SequenceScore, ShortResultError, TrackerResults, parse_protocol
from mosam.evaluation.realtime import RealTime, check_realtime, delayed, in_time
from mosam.evaluation.scores import Scores
from mosam.results.record import RunRecord
from mosam.system.arguments import callback, has, instance, path_like, switch, whole
from mosam.system.processes import map_in_processes

LISTED = 10  # missing sequences that an error names
NAMED = 5  # sequences that a note names
T = TypeVar("T")


def evaluate(
    path: str | os.PathLike[str],
    dataset: Dataset,
    *,
    protocol: str | Protocol | None = None,
    allow_missing: bool = False,
    jobs: int = 1,
    progress: Callable[[str], None] | None = None,
    cache: Path | None = None,
    resample: bool = False,
    realtime: RealTime | None = None,
    tracker: str | None = None,
) -> Scores:
    """Scores of one tracker.

    A run that was asked for some of the sequences only is scored on those. Results longer than the annotation are cut
    (and noted), as the official programs do.

    Args:
        path: a run's folder, or any folder of one tracker in the benchmark's own layout.
        dataset: the benchmark, or some sequences of it; a root without frames is enough.
        protocol: `name[option,...]`; None = the benchmark's own.
        allow_missing: score what is there and mark it, instead of failing where results are missing or short.
        jobs: processes.
        progress: called with the name of each scored sequence.
        cache: folder of scores made before (see `evaluation.cache`); None = score anew and keep nothing.
        resample: also resample the sequences for numbers that are not means over them (`Scores.resamples`).
        realtime: score what the results would be at this rate (see `evaluation.realtime`); None = as they are.
        tracker: its name in the scores; None = as `find_runs` calls it.
    Raises:
        MissingDataError: no results there, or results of some sequences are missing or short (they are named); no times
            to simulate a rate with.
        DataError: a damaged result.
        MismatchError: results of another benchmark, split or seed, or a protocol that does not suit.
        ValueError: an argument of another type or out of range.
    """
    has(dataset, ("info", "has_truth"), "evaluate: dataset", "a dataset (mosam.load_dataset)")
    instance(protocol, (str, Protocol, type(None)), "evaluate: protocol", "a name, a protocol or None")
    whole(jobs, "evaluate: jobs", 1)
    for name, value in (("allow_missing", allow_missing), ("resample", resample)):
        switch(value, f"evaluate: {name}")
    callback(progress, "evaluate: progress")
    if cache is not None:
        path_like(cache, "evaluate: cache")
        cache = Path(cache)
    unscored = dataset.unscored()
    if unscored is not None:
        raise MissingDataError(unscored)
    task = dataset.info.task
    chosen = (
        protocol if isinstance(protocol, Protocol) else parse_protocol(protocol or dataset.info.protocol, task=task)
    )
    chosen.check_suits(dataset)
    if realtime is not None:
        check_realtime(dataset)
    own, folder, record = find_run(path, dataset)
    tracker = own if tracker is None else tracker
    names = _wanted(dataset, record, folder)
    dataset.select(names).require()

    cache = cache if isinstance(folder, Path) else None  # what is in a zip is scored anew
    key = None if cache is None else score_key(dataset, names, folder, (chosen, allow_missing, resample, realtime))
    kept = None if cache is None or key is None else load_kept(cache, key)
    if kept is not None:
        return replace(kept, tracker=tracker)  # the folder may have another name now
    codec, timing = _codec(dataset), _timing(record)
    results = TrackerResults(folder, codec if realtime is None else delayed(codec, realtime, timing), timing)
    outcomes = _score_all(names, dataset, chosen, results, jobs, progress)
    scores = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, SequenceScore)}
    lacking = {name: outcome for name, outcome in outcomes.items() if isinstance(outcome, str)}
    if lacking and not (allow_missing and scores):
        raise MissingDataError(_describe_lacking(folder, lacking, len(names), record))
    found_scores = _collect(dataset, chosen, tracker, record, scores, tuple(lacking), resample=resample)
    if realtime is not None:
        found_scores = replace(found_scores, protocol=realtime.mark(found_scores.protocol))
    if cache is not None and key is not None:
        keep(cache, key, found_scores)
    return found_scores


def _codec(dataset: Dataset) -> Codec:
    return CODECS[dataset.info.result_format]


def _wanted(dataset: Dataset, record: RunRecord | None, folder: Path) -> list[str]:
    """The sequences to score: those of the dataset that the run was asked for."""
    if record is None or record.selection is None:
        return list(dataset)
    asked = set(record.selection)
    names = [name for name in dataset if name in asked]
    if not names:
        raise MismatchError(
            f"{folder}: expected some of the {len(dataset)} chosen sequences, but the run was asked for others "
            f"({', '.join(record.selection[:3])} ...); choose from those"
        )
    return names


def _timing(record: RunRecord | None) -> dict[str, tuple[int, float]]:
    if record is None:
        return {}
    return {name: (done.frames, done.seconds) for name, done in record.sequences.items() if done.status == "done"}


# ---------------------------------------------------------------------------------------------- scoring


@dataclass(frozen=True, slots=True)
class _Raised:
    """An error of a worker process; ours take other arguments than they keep, so pickle cannot carry them."""

    kind: type[MosamError]
    args: tuple[object, ...]
    state: Mapping[str, object]

    def error(self) -> MosamError:
        error = self.kind.__new__(self.kind, *self.args)
        error.__dict__.update(self.state)
        return error


def carry(error: MosamError) -> _Raised:
    """An error as a value, so that a worker process can hand it back."""
    return _Raised(type(error), error.args, dict(error.__dict__))


def raised(outcome: T | _Raised) -> T:
    """What a worker handed back; an error is raised."""
    if isinstance(outcome, _Raised):
        raise outcome.error()
    return outcome


def _score_all(
    names: list[str],
    dataset: Dataset,
    chosen: Protocol,
    results: TrackerResults,
    jobs: int,
    progress: Callable[[str], None] | None,
) -> dict[str, SequenceScore | str]:
    """Each sequence's score, or what its result lacks; one sequence is in memory for each process."""
    listed = results.codec.listed(results.folder)
    present = [name for name in names if name in listed]
    outcomes: dict[str, SequenceScore | str] = {name: "missing" for name in names if name not in listed}
    work = partial(_score_one, dataset=dataset, chosen=chosen, results=results)
    for name, outcome in zip(present, map_in_processes(work, present, jobs), strict=True):
        outcomes[name] = cast("SequenceScore | str", raised(outcome))
        if progress is not None:
            progress(name)
    return {name: outcomes[name] for name in names}


def _score_one(
    name: str, *, dataset: Dataset, chosen: Protocol, results: TrackerResults
) -> SequenceScore | str | _Raised:
    try:
        sequence = dataset[name]
        score = chosen.score(sequence, results)
        score = replace(score, means={**score.means, **in_time(sequence, results)})
        return replace(score, attributes=sequence.attributes, notes=(*score.notes, *_nothing_counts(score)))
    except ShortResultError as error:
        return error.detail
    except MosamError as error:
        return carry(error)


def _nothing_counts(score: SequenceScore) -> tuple[str, ...]:
    """A note where a sequence has no part in any mean."""
    measured = [mean for name, mean in score.means.items() if name not in TIMING]
    counts = any(mean.count and not math.isnan(mean.total) for mean in measured)
    return () if counts else ("no frame counts, left out of the means",)


def _describe_lacking(folder: Path, lacking: Mapping[str, str], total: int, record: RunRecord | None) -> str:
    failed = {} if record is None else record.failed
    parts = []
    for name, detail in lacking.items():
        detail = f"failed: {failed[name]}" if name in failed and detail == "missing" else detail
        parts.append(name if detail == "missing" else f"{name} ({detail})")
    many = len(parts) > LISTED
    shown = [*parts[:LISTED], f"and {len(parts) - LISTED} more"] if many else parts
    remedy = "make them" if many else f"make them with --sequences {','.join(lacking)}"
    return (
        f"{folder}: expected results of {total} sequences, {len(lacking)} are missing or short: {', '.join(shown)}; "
        f"{remedy}, or score the others with --allow-missing"
    )


# ---------------------------------------------------------------------------------------------- collecting


def _collect(
    dataset: Dataset,
    chosen: Protocol,
    tracker: str,
    record: RunRecord | None,
    scores: Mapping[str, SequenceScore],
    missing: tuple[str, ...],
    *,
    resample: bool,
) -> Scores:
    everything = list(scores.values())
    count, total, official = len(scores), len(tuple(dataset.list_names())), dataset.official_count
    return Scores(
        dataset=dataset.name,
        split=dataset.split,
        tracker=tracker,
        model=None if record is None else record.settings.model,
        protocol=chosen.label,
        overall=chosen.overall(everything),
        sequences={name: score.values for name, score in scores.items()},
        curves={name: tuple(curve.tolist()) for name, curve in chosen.curves(everything).items()},
        objects={name: score.objects for name, score in scores.items() if score.objects},
        attributes=_attribute_values(chosen, everything),
        counts=_counts(scores),
        subset=f"{count} of {total} sequences" if count < total else None,
        official=f"{count} of {official} official sequences" if official is not None and count < official else None,
        missing=missing,
        notes=_joined_notes(scores),
        resamples=chosen.resamples(everything) if resample else {},
    )


def _joined_notes(scores: Mapping[str, SequenceScore]) -> tuple[str, ...]:
    """Notes with the names of their sequences; one that many share is reported once."""
    by_note: dict[str, list[str]] = {}
    for name, score in scores.items():
        for note in score.notes:
            by_note.setdefault(note, []).append(name)
    joined = []
    for note, names in by_note.items():
        if len(names) <= NAMED:
            joined += [f"{name}: {note}" for name in names]
        else:
            joined.append(f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more: {note}")
    return tuple(joined)


def _attribute_values(chosen: Protocol, scores: Iterable[SequenceScore]) -> dict[str, dict[str, float]]:
    members: dict[str, list[SequenceScore]] = {}
    for score in scores:
        for attribute in score.attributes:
            members.setdefault(attribute, []).append(score)
    return {attribute: chosen.overall(members[attribute]) for attribute in sorted(members)}


def _counts(scores: Mapping[str, SequenceScore]) -> dict[str, dict[str, float]]:
    counts = {
        name: {value: float(mean.count) for value, mean in score.means.items() if mean.count != 1}
        for name, score in scores.items()
    }
    return {name: values for name, values in counts.items() if values}
