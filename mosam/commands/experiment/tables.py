"""An experiment's tables: its rows, then its main value by group of sequences and by attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mosam.commands.experiment.study import Experiment, RowScores, weighted_mean
from mosam.evaluation.columns import Column
from mosam.evaluation.layouts import MISSING, Cell, Line, Table, assemble
from mosam.evaluation.metrics.bootstrap import bootstrap_difference, bootstrap_interval
from mosam.evaluation.tables import column_of


def experiment_table(experiment: Experiment, results: Sequence[RowScores]) -> Table:
    """One line a row: values, groups with intervals, and the paired difference from the baseline.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
    """
    first = next(iter(results[0].scores.values()))
    columns = [column_of(name, first.protocol) for name in experiment.columns if name != experiment.main]
    shown = column_of(experiment.main, first.protocol)
    several = len({result.row.model for result in results}) > 1
    bases = {result.row.model: result for result in results if result.row.label == experiment.baseline}
    header = [*(["Tracker", "Model"] if several else ["Tracker"]), f"{shown.title} (95 % interval)"]
    header += [f"{shown.heading} {name} [{shown.unit}]" for name in experiment.groups]
    header += [column.title for column in columns]
    if bases:
        header.append(f"{shown.heading} - {experiment.baseline} (95 % interval)")
    lines = []
    for result in results:
        cells = [_value_cell(result, shown)]
        cells += [shown.cell(weighted_mean(*result.values(shown.name, g))) for g in experiment.groups.values()]
        cells += [column.cell(weighted_mean(*result.values(column.name))) for column in columns]
        cells += [_difference_cell(result, bases.get(result.row.model), shown)] if bases else []
        names = (result.row.label, result.row.model or MISSING) if several else (result.row.label,)
        lines.append(Line(names, tuple(cells), next(iter(result.scores.values())).coverage))
    return assemble(_title(experiment, results, several), header, lines, filter(None, [experiment.remark]))


def _title(experiment: Experiment, results: Sequence[RowScores], several: bool) -> str:
    first = next(iter(results[0].scores.values()))
    count = len(results[0].values(experiment.main)[0])
    draws = f", draws {', '.join(map(str, experiment.seeds))}" if len(experiment.seeds) > 1 else ""
    model = "" if several else f", {first.model}"
    return f"{experiment.title}: {first.dataset} {first.split}{model}, {count} sequences{draws}"


def _value_cell(result: RowScores, shown: Column) -> Cell:
    values, weights = result.values(shown.name)
    found = bootstrap_interval(values, weights=weights)
    return Cell(f"{shown.show(found.value)} {shown.between(found)}")


def _difference_cell(result: RowScores, base: RowScores | None, shown: Column) -> Cell:
    if base is None or result is base:
        return Cell("")
    (mine, weights), (theirs, _) = result.values(shown.name), base.values(shown.name)
    gap = bootstrap_difference(mine, theirs, weights=weights)
    return Cell(f"{shown.show_signed(gap.value)} {shown.between(gap, signed=True)}")


def group_tables(experiment: Experiment, results: Sequence[RowScores]) -> list[Table]:
    """One table of the experiment's groups, one of every attribute its sequences have; none where there are none.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
    """
    tags = sorted({tag for own in results[0].attributes.values() for tag in own})
    parts = (("Group", experiment.groups), ("Attribute", {tag: (tag,) for tag in tags}))
    return [group_table(experiment, results, groups, heading) for heading, groups in parts if groups]


def group_table(
    experiment: Experiment, results: Sequence[RowScores], groups: Mapping[str, tuple[str, ...]], heading: str
) -> Table:
    """One line a group, one column a row of the experiment, over the sequences of all draws that belong to the group.

    Behind a value stands its interval in the baseline's column (and where there is no baseline), else its paired
    difference from the baseline with the interval of that.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
        groups: attributes by name; a sequence with any of them belongs.
        heading: of the first column.
    """
    first = next(iter(results[0].scores.values()))
    shown = column_of(experiment.main, first.protocol)
    base = next((result for result in results if result.row.label == experiment.baseline), None)
    lines = []
    for name, group in groups.items():
        cells = [_group_cell(result, base, experiment.main, group, shown) for result in results]
        lines.append(Line((name,), (Cell(str(len(results[0].values(experiment.main, group)[0]))), *cells)))
    title = f"{experiment.title}: {shown.title} on {first.dataset} {first.split} by {heading.lower()}"
    if base is not None:
        title += f"; in brackets the difference from {base.row.label} with its 95 % interval"
    header = (heading, "Sequences", *(result.row.label for result in results))
    marks = {scores.coverage for result in results for scores in result.scores.values() if scores.coverage}
    return assemble(title, header, lines, sorted(marks))


def _group_cell(result: RowScores, base: RowScores | None, main: str, group: tuple[str, ...], shown: Column) -> Cell:
    values, weights = result.values(main, group)
    found = bootstrap_interval(values, weights=weights)
    text = shown.show(found.value)
    if text == MISSING:
        return Cell(text)
    if base is None or result is base:
        return Cell(text, detail=shown.between(found))
    gap = bootstrap_difference(values, base.values(main, group)[0], weights=weights)
    return Cell(text, detail=f"({shown.show_signed(gap.value)}, {shown.range(gap, signed=True)})")
