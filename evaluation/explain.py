"""Why two programs give different numbers for the same results: every applicable protocol, and each convention alone.

Three tables for one tracker: its numbers under each protocol; the effect of changing each convention on its own; and
the way from the benchmark's own protocol to each of the others, as a sum of such changes. A protocol that declares its
`conventions` is scored by a function of them, so that each step is the protocol itself with one choice changed.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import numpy as np
from numpy.typing import NDArray

from mosam.codecs import CODECS
from mosam.errors import MosamError
from mosam.evaluation.columns import TIMING
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.explain_regions import gather, region_values
from mosam.evaluation.finding import find_runs
from mosam.evaluation.layouts import MISSING, Cell, Line, Table, assemble, render
from mosam.evaluation.protocols.base import PROTOCOLS, Mean, TrackerResults, parse_protocol, pooled
from mosam.evaluation.protocols.boxes import box_truth
from mosam.evaluation.protocols.masks import (
    MaskConventions,
    ObjectFrames,
    counted_scores,
    jf_values,
    mask_truth,
    read_objects,
)
from mosam.evaluation.protocols.one_pass import BoxConventions, error_curves, frame_errors, headline
from mosam.evaluation.protocols.regions import RegionConventions
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of, tracker_name
from mosam.system.processes import map_in_processes

if TYPE_CHECKING:
    from mosam.datasets.base import BoxTruth, Dataset
    from mosam.types import Size

# Protocols for the same kind of experiment: a result with resets is no one-pass result.
FAMILIES = (("vot", "pysot"), ("multistart",), ("vot-lt",), ("vots",))
NEEDS = {"box": "boxes", "mask": "masks", "region": "regions"}
NEGLIGIBLE = 5e-7  # what two computations of one number may differ by (PyTracking's curves are 32-bit floats)
MASK_VALUES = ("jf_mean", "j_mean", "f_mean")
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
    measured = _measure(dataset, folder, names, list(scores), jobs)
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
        known: conventions by protocol, of those that choose among the same.
        values: numbers under each conventions.
    """

    def __init__(self, own: Any, known: Mapping[str, Any], values: Mapping[Any, Values]):
        self._own, self._known, self._values = own, known, values

    def alone(self) -> tuple[Step, ...]:
        """Each convention chosen otherwise, the others as they are."""
        return tuple(
            Step(name, getattr(self._own, name), choice, self._change(self._own, changed))
            for name, choice, changed in alternatives(self._own)
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


def choices_of(conventions: Any) -> dict[str, tuple[str, ...]]:
    """What each convention may be."""
    return {name: get_args(kind) for name, kind in get_type_hints(type(conventions)).items()}


def alternatives(own: Any) -> list[tuple[str, str, Any]]:
    """Convention, choice, and all conventions with that choice, for every choice that `own` does not make."""
    return [
        (name, choice, replace(own, **{name: choice}))
        for name, several in choices_of(own).items()
        for choice in several
        if choice != getattr(own, name)
    ]


def steps(first: Any, last: Any) -> list[tuple[str, str, str]]:
    """The conventions in which two choices differ: name, what it was, what it becomes."""
    return [
        (name, getattr(first, name), getattr(last, name))
        for name in choices_of(first)
        if getattr(first, name) != getattr(last, name)
    ]


def walk(first: Any, last: Any) -> list[Any]:
    """From one choice to the other, one convention more at each step; both ends included."""
    path = [first]
    for name, _, after in steps(first, last):
        path.append(replace(path[-1], **{name: after}))
    return path


def _value(name: str, scores: Scores) -> float:
    """A number of a protocol; GOT-10k's success is its average overlap."""
    return scores.overall.get(name, scores.overall.get("ao", float("nan")) if name == "success_auc" else float("nan"))


def _measure(dataset: Dataset, folder: Path, names: list[str], labels: list[str], jobs: int) -> Measured | None:
    """The first protocol and the others under every convention that is asked about, on all sequences; None where it
    declares none.
    """
    known = {label: parse_protocol(label, task=dataset.info.task).conventions for label in labels}
    own = known[labels[0]]
    known = {label: item for label, item in known.items() if type(item) is type(own)}
    if own is None:
        return None
    wanted = [own, *(changed for _, _, changed in alternatives(own))]
    wanted = list(dict.fromkeys([*wanted, *(item for last in known.values() for item in walk(own, last))]))
    results = TrackerResults(folder, CODECS[dataset.info.result_format])
    if isinstance(own, RegionConventions):
        parts = gather(dataset, results, names, jobs)
        return Measured(own, known, {item: region_values(parts, item) for item in wanted})
    of_one = _boxes_of if isinstance(own, BoxConventions) else _masks_of
    means: dict[Any, dict[str, list[Mean]]] = {item: {} for item in wanted}
    for found in map_in_processes(partial(of_one, dataset=dataset, results=results, wanted=wanted), names, jobs):
        for item, (values, weight) in found:
            for name, value in values.items():
                means[item].setdefault(name, []).append(Mean(value * weight, weight))
    return Measured(own, known, {item: {name: pooled(each) for name, each in means[item].items()} for item in wanted})


Entries = list[tuple[Any, tuple[Values, float]]]


def _boxes_of(name: str, *, dataset: Dataset, results: TrackerResults, wanted: list[BoxConventions]) -> Entries:
    sequence = dataset[name]
    truth = box_truth(sequence)
    predicted, _ = results.single(sequence, len(truth))
    return [(item, box_values(predicted, truth, item, size=sequence.size)) for item in wanted]


def box_values(
    predicted: NDArray[np.float64], truth: BoxTruth, conventions: BoxConventions, *, size: Size | None = None
) -> tuple[Values, float]:
    """The numbers of one sequence of boxes, and what it weighs in the mean; see `frame_errors`."""
    frames = frame_errors(predicted, truth, conventions, size=size)
    values = headline(frames, error_curves(frames, conventions), conventions)
    return values, float(frames.count if conventions.aggregation == "frames" else 1)


def _masks_of(name: str, *, dataset: Dataset, results: TrackerResults, wanted: list[MaskConventions]) -> Entries:
    sequence = dataset[name]
    everything = MaskConventions(first_frame="counted", last_frame="counted", void="object")
    frames = read_objects(sequence, mask_truth(sequence), results.masks(sequence), everything)
    return [(item, entry) for item in wanted for entry in mask_values(frames, item)]


def mask_values(frames: ObjectFrames, conventions: MaskConventions) -> list[tuple[Values, float]]:
    """Numbers of one sequence of masks with what they weigh: one entry an object, or one of the sequence."""
    scores = {label: item for label, item in counted_scores(frames, conventions).items() if item.j.size}
    values = [{name: item[name] for name in MASK_VALUES} for item in jf_values(scores).values()]
    if conventions.aggregation == "sequences" and values:
        return [({name: float(np.mean([item[name] for item in values])) for name in MASK_VALUES}, 1.0)]
    frames_of = [float(item.j.size if conventions.aggregation == "frames" else 1) for item in scores.values()]
    return list(zip(values, frames_of, strict=True))


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
        tables.append(_table(f"each convention on its own, changed from {own.protocol}'s", found.alone, names, own))
    same = [way.protocol for way in found.ways if not _moves(way.change)]
    for way in found.ways:
        if way.protocol in same:
            continue
        last = [Line((way.protocol, "in all"), _changes(way.change, names, own))]
        if _moves(way.rest):
            last.insert(0, Line(("rest", ""), _changes(way.rest, names, own)))
        tables.append(_table(f"from {own.protocol} to {way.protocol}", way.steps, names, own, last))
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
    lines = [Line((name,), tuple(map(Cell, cells))) for name, *cells in rows]
    return assemble(title, header, lines, (*notes, *own_notes))


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


def _changes(change: Values, names: list[str], own: Scores) -> tuple[Cell, ...]:
    """Differences with two digits more than the numbers themselves are shown with."""
    cells = []
    for name in names:
        column = column_of(name, own.protocol)
        value = change.get(name, float("nan"))
        tiny = abs(value) <= NEGLIGIBLE
        exact = replace(column, digits=column.digits + 2)
        cells.append(Cell("0" if tiny else exact.show_signed(value) if not np.isnan(value) else MISSING))
    return tuple(cells)


def _table(title: str, steps: Iterable[Step], names: list[str], own: Scores, last: Iterable[Line] = ()) -> Table:
    """Steps, and the lines below them."""
    lines = [
        Line((step.convention.replace("_", " "), f"{step.before} -> {step.after}"), _changes(step.change, names, own))
        for step in steps
    ]
    header = ("Convention", "Choice", *(column_of(name, own.protocol).title for name in names))
    return assemble(title, header, [*lines, *last])
