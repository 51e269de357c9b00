"""An experiment's tables beyond the first: its main value by group of sequences and by attribute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mosam.commands.experiment.study import Experiment, RowScores
from mosam.evaluation.layouts import MISSING
from mosam.evaluation.metrics.bootstrap import bootstrap_difference, bootstrap_interval
from mosam.evaluation.tables import Table, column_of


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
    main = experiment.main
    first = next(iter(results[0].scores.values()))
    shown = column_of(main, first.protocol)
    base = next((result for result in results if result.row.label == experiment.baseline), None)
    lines, details = [], []
    for name, group in groups.items():
        line, behind = [name, str(len(results[0].values(main, group)[0]))], ["", ""]
        for result in results:
            values, weights = result.values(main, group)
            found = bootstrap_interval(values, weights=weights)
            line.append(shown.show(found.value))
            if base is None or result is base:
                behind.append(f"({shown.show(found.low)} to {shown.show(found.high)})")
                continue
            gap = bootstrap_difference(values, base.values(main, group)[0], weights=weights)
            ends = f"{shown.show_signed(gap.low)} to {shown.show_signed(gap.high)}"
            behind.append(f"({shown.show_signed(gap.value)}, {ends})")
        lines.append(tuple(line))
        details.append(tuple("" if cell == MISSING else text for cell, text in zip(line, behind, strict=True)))
    title = f"{experiment.title}: {shown.title} on {first.dataset} {first.split} by {heading.lower()}"
    if base is not None:
        title += f"; in brackets the difference from {base.row.label} with its 95 % interval"
    header = (heading, "Sequences", *(result.row.label for result in results))
    marks = {scores.coverage for result in results for scores in result.scores.values() if scores.coverage}
    return Table(title, header, tuple(lines), (None,) * len(lines), details=tuple(details), notes=tuple(sorted(marks)))
