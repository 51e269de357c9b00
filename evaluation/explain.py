"""Why two programs give different numbers for the same results: every applicable protocol, and each convention alone.

Three tables for one tracker: its numbers under each protocol; what each convention changes when it alone is chosen
otherwise; and the way from the benchmark's own protocol to each of the others, as a sum of such changes. All of it is
computed from the results at hand.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mosam.codecs import CODECS
from mosam.errors import MosamError
from mosam.evaluation.columns import TIMING
from mosam.evaluation.conventions import (
    BOX_CHOICES,
    BOXES,
    MASK_CHOICES,
    MASKS,
    BoxConventions,
    MaskConventions,
    ShownScores,
    Sums,
    box_values,
    mask_values,
    steps,
    walk,
)
from mosam.evaluation.evaluate import evaluate, find_runs
from mosam.evaluation.explain_regions import REGION_CHOICES, REGIONS, gather, region_values
from mosam.evaluation.layouts import MISSING, Table, render
from mosam.evaluation.protocols.base import PROTOCOLS, TrackerResults, parse_protocol
from mosam.evaluation.protocols.boxes import box_truth
from mosam.evaluation.protocols.masks import FrameScores, frame_jf, mask_truth, read_pair
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of, tracker_name
from mosam.system.processes import map_in_processes

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset

# Protocols for the same kind of experiment: a result with resets is no one-pass result.
FAMILIES = (("vot", "pysot"), ("multistart",), ("vot-lt",), ("vots",))
NEEDS = {"box": "boxes", "mask": "masks", "region": "regions"}
NEGLIGIBLE = 5e-7  # what two computations of one number may differ by (PyTracking's curves are 32-bit floats)
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Step:
    """One convention chosen otherwise.

    Attributes:
        convention: its name.
        before, after: the choices.
        change: by value, what that adds to it.
    """

    convention: str
    before: str
    after: str
    change: Values


@dataclass(frozen=True, slots=True)
class Way:
    """From the benchmark's own protocol to another.

    Attributes:
        protocol: the other's.
        steps: in order; their changes add up to `change`, but for `rest`.
        change: by value, the other protocol's number less the own one's.
        rest: by value, what no step accounts for.
    """

    protocol: str
    steps: tuple[Step, ...]
    change: Values
    rest: Values


@dataclass(frozen=True, slots=True)
class Explanation:
    """One tracker's results under everything that applies to them.

    Attributes:
        scores: under each protocol, the benchmark's own first.
        alone: each convention alone, chosen otherwise than the own protocol does.
        ways: to the other protocols that are a choice of conventions.
        refused: why protocols of the right kind could not score the results, by protocol.
    """

    scores: tuple[Scores, ...]
    alone: tuple[Step, ...]
    ways: tuple[Way, ...]
    refused: Mapping[str, str]


def explain(
    path: str | os.PathLike[str],
    dataset: Dataset,
    *,
    protocol: str | None = None,
    allow_missing: bool = False,
    jobs: int = 1,
) -> Explanation:
    """Scores one tracker under every applicable protocol, and measures each convention.

    Args:
        path, dataset, allow_missing, jobs: see `evaluate`.
        protocol: the one to start from; None = the benchmark's own.
    Raises:
        MosamError: the first protocol cannot score the results (see `evaluate`).
    """
    own = parse_protocol(protocol or dataset.info.protocol, task=dataset.info.task).label
    score = partial(evaluate, path, dataset, allow_missing=allow_missing, jobs=jobs)
    scores, refused = {own: score(protocol=own)}, {}
    for label in applicable(dataset, own):
        try:
            scores[label] = score(protocol=label)
        except MosamError as error:
            refused[label] = str(error)
    folder = find_runs(path, dataset)[0][1]
    names = list(scores[own].sequences)
    measured = _measure(dataset, folder, names, own, list(scores), jobs)
    return Explanation(
        tuple(scores.values()),
        measured.alone() if measured else (),
        tuple(measured.ways(scores)) if measured else (),
        refused,
    )


def applicable(dataset: Dataset, own: str) -> list[str]:
    """Protocols for results of this kind other than `own`, and each with each of its options."""
    task, first = dataset.info.task, own.partition("[")[0]
    kinds = next((family for family in FAMILIES if first in family), None)
    codec = CODECS[dataset.info.result_format]
    labels = []
    for filed in PROTOCOLS:
        name, _, of_task = filed.partition(":")
        if of_task not in ("", task) or (not of_task and f"{name}:{task}" in PROTOCOLS):
            continue
        cls = PROTOCOLS[filed]
        if NEEDS[task] not in cls.needs or not all(getattr(codec, kind, False) for kind in cls.needs):
            continue
        if kinds is not None and name not in kinds:
            continue
        options = [option.name for option in dataclasses.fields(cls)]
        labels += [name, *(f"{name}[{option}]" for option in options)]
    return [label for label in labels if label != own]


# ---- measuring -------------------------------------------------------------------------------------------------------


class Measured:
    """Numbers under many conventions.

    Args:
        own: conventions of the protocol to start from.
        known: conventions by protocol.
        choices: of each convention.
        values: numbers under each conventions.
    """

    def __init__(
        self, own: Any, known: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]], values: Mapping[Any, Values]
    ):
        self._own, self._known, self._choices, self._values = own, known, choices, values

    def alone(self) -> tuple[Step, ...]:
        """Each convention chosen otherwise, the others as they are."""
        return tuple(
            Step(name, getattr(self._own, name), choice, self._change(self._own, changed))
            for name, choice, changed in alternatives(self._own, self._choices)
        )

    def ways(self, scores: Mapping[str, Scores]) -> Iterable[Way]:
        """To each other protocol that was scored and is a choice of conventions."""
        first = next(iter(scores.values()))
        for label, score in scores.items():
            if label not in self._known or score is first:
                continue
            last = self._known[label]
            path = walk(self._own, last)
            taken = tuple(
                Step(*named, self._change(before, after))
                for named, before, after in zip(steps(self._own, last), path, path[1:], strict=False)
            )
            change = {}
            for name in self._values[self._own]:
                ends = [_value(name, item) for item in (first, score)]
                change[name] = ends[1] - ends[0]
            rest = {name: value - sum(step.change.get(name, 0.0) for step in taken) for name, value in change.items()}
            yield Way(label, taken, change, rest)

    def _change(self, before: Any, after: Any) -> Values:
        old, new = self._values[before], self._values[after]
        return {name: new.get(name, float("nan")) - value for name, value in old.items()}


def alternatives(own: Any, choices: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str, Any]]:
    """Convention, choice, and all conventions with that choice, for every choice that `own` does not make."""
    return [
        (name, choice, replace(own, **{name: choice}))
        for name, several in choices.items()
        for choice in several
        if choice != getattr(own, name)
    ]


def _value(name: str, scores: Scores) -> float:
    """A number of a protocol; GOT-10k's success is its average overlap."""
    return scores.overall.get(name, scores.overall.get("ao", float("nan")) if name == "success_auc" else float("nan"))


def _measure(
    dataset: Dataset, folder: Path, names: list[str], own: str, labels: list[str], jobs: int
) -> Measured | None:
    """Every convention that is asked about, on all sequences; None where the own protocol is no choice of them."""
    results = TrackerResults(folder, CODECS[dataset.info.result_format])
    if own in BOXES:
        known, choices = BOXES, BOX_CHOICES
        work: Any = partial(_boxes_of, dataset=dataset, results=results)
    elif own in MASKS:
        known, choices = MASKS, MASK_CHOICES  # type: ignore[assignment]
        work = partial(_masks_of, dataset=dataset, results=results)
    elif own in REGIONS:
        frames = gather(dataset, results, names, jobs)
        return _measured(own, labels, REGIONS, REGION_CHOICES, lambda item: region_values(frames, item))
    else:
        return None
    sums = {item: Sums() for item in _wanted_conventions(own, labels, known, choices)}
    for found in map_in_processes(partial(work, wanted=tuple(sums)), names, jobs):
        for item, entries in found:
            for values, weight in entries:
                sums[item].add(values, weight)
    return _measured(own, labels, known, choices, lambda item: sums[item].values)


def _wanted_conventions(
    own: str, labels: list[str], known: Mapping[str, Any], choices: Mapping[str, tuple[str, ...]]
) -> list[Any]:
    start = known[own]
    wanted = [changed for _, _, changed in alternatives(start, choices)]
    wanted += [item for label in labels if label in known for item in walk(start, known[label])]
    return list(dict.fromkeys([start, *wanted]))


def _measured(
    own: str,
    labels: list[str],
    known: Mapping[str, Any],
    choices: Mapping[str, tuple[str, ...]],
    values: Callable[[Any], Values],
) -> Measured:
    wanted = _wanted_conventions(own, labels, known, choices)
    return Measured(known[own], known, choices, {item: values(item) for item in wanted})


def _boxes_of(
    name: str, *, dataset: Dataset, results: TrackerResults, wanted: tuple[BoxConventions, ...]
) -> list[tuple[BoxConventions, list[tuple[dict[str, float], float]]]]:
    sequence = dataset[name]
    truth = box_truth(sequence)
    predicted, _ = results.single(sequence, len(truth))
    return [(item, [box_values(predicted, truth, item, size=sequence.size)]) for item in wanted]


def _masks_of(
    name: str, *, dataset: Dataset, results: TrackerResults, wanted: tuple[MaskConventions, ...]
) -> list[tuple[MaskConventions, list[tuple[dict[str, float], float]]]]:
    sequence = dataset[name]
    truth, result = mask_truth(sequence), results.masks(sequence)
    rows: dict[int, list[tuple[float, float, bool, bool]]] = {object_id: [] for object_id in truth.object_ids}
    frames = truth.frame_indices
    for frame_index in frames:
        true, found = read_pair(truth, result, frame_index, sequence)
        for object_id, row in rows.items():
            there = object_id in true and bool(true[object_id].any())
            pair = frame_jf(found.get(object_id), true.get(object_id) if there else None)
            row.append((*pair, there, object_id in found))
    objects = {}
    for object_id, row in rows.items():
        j, f, true_there, found_there = np.array(row, dtype=np.float64).reshape(-1, 4).T
        objects[object_id] = ShownScores(FrameScores(j, f), true_there > 0, found_there > 0)
    return [(item, mask_values(objects, item)) for item in wanted]


# ---- showing ---------------------------------------------------------------------------------------------------------

INSTEAD = {"success_auc": "ao", "op50": "sr50", "op75": "sr75"}
MOST_COLUMNS = 7  # of the table of protocols; a terminal is no wider


def show_explanation(found: Explanation, *, format: str = "text") -> str:
    """The three tables as text, or in another of the formats of tables."""
    return "\n\n".join(render(table, format) for table in explanation_tables(found))


def explanation_tables(found: Explanation) -> list[Table]:
    """The tables, those of conventions only where the own protocol is a choice of some."""
    own = found.scores[0]
    tables = [_protocols_table(found)]
    names = list(found.alone[0].change) if found.alone else []
    if found.alone:
        rows = [(*_named(step), *_changes(step.change, names, own.protocol)) for step in found.alone]
        tables.append(
            _table(
                f"each convention alone, chosen otherwise than by {own.protocol}",
                ("Convention", "Choice"),
                names,
                rows,
                own,
            )
        )
    same = [way.protocol for way in found.ways if not _moves(way.change)]
    for way in found.ways:
        if way.protocol in same:
            continue
        rows = [(*_named(step), *_changes(step.change, names, own.protocol)) for step in way.steps]
        if _moves(way.rest):
            rows.append(("rest", "", *_changes(way.rest, names, own.protocol)))
        rows.append((way.protocol, "in all", *_changes(way.change, names, own.protocol)))
        tables.append(_table(f"from {own.protocol} to {way.protocol}", ("Convention", "Choice"), names, rows, own))
    if same:
        note = f"as {own.protocol} on these results: {', '.join(same)}"
        tables[-1] = replace(tables[-1], notes=(*tables[-1].notes, note))
    return tables


def _moves(change: Values) -> bool:
    return any(abs(value) > NEGLIGIBLE for value in change.values())


def _protocols_table(found: Explanation) -> Table:
    own = found.scores[0]
    names = list(dict.fromkeys(name for item in found.scores for name in item.overall if _is_short(name)))[
        :MOST_COLUMNS
    ]
    rows = [(item.protocol, *(_shown(item, name, own.protocol) for name in names)) for item in found.scores]
    notes = [f"{label}: does not apply ({reason})" for label, reason in found.refused.items()]
    own_notes = [f"{item.protocol}: {note}" for item in found.scores for note in item.notes[:3]]
    title = f"{own.dataset} {own.split}, {tracker_name(own)}, {len(own.sequences)} sequences under every protocol"
    header = ("Protocol", *(column_of(name, own.protocol).title for name in names))
    return Table(title, header, tuple(rows), (None,) * len(rows), notes=(*notes, *own_notes))


def _shown(item: Scores, name: str, own: str) -> str:
    """A number, named where it is another one than the column's: AO stands where AUC does."""
    name = name if name in item.overall else INSTEAD.get(name, name)
    column = column_of(name, item.protocol)
    shown = column.show(item.overall.get(name, float("nan")))
    known = {heading for known in (name, *INSTEAD) for heading in [column_of(known, own).heading]}
    same = column.heading in known and name not in INSTEAD.values()
    return shown if shown == MISSING or same else f"{shown} ({column.heading})"


def _is_short(name: str) -> bool:
    return not name.startswith(("accuracy_", "failures_", "eao_")) and name not in TIMING


def _named(step: Step) -> tuple[str, str]:
    return step.convention.replace("_", " "), f"{step.before} -> {step.after}"


def _changes(change: Values, names: list[str], protocol: str) -> list[str]:
    """Differences with two digits more than the numbers themselves are shown with."""
    cells = []
    for name in names:
        column = column_of(name, protocol)
        value = change.get(name, float("nan"))
        tiny = abs(value) <= NEGLIGIBLE
        exact = replace(column, digits=column.digits + 2)
        cells.append("0" if tiny else exact.show_signed(value) if not np.isnan(value) else MISSING)
    return cells


def _table(title: str, left: tuple[str, ...], names: list[str], rows: list[tuple[str, ...]], own: Scores) -> Table:
    header = (*left, *(column_of(name, own.protocol).title for name in names))
    return Table(title, header, tuple(rows), (None,) * len(rows), names=len(left))
