"""Experiments: a TOML file names trackers, a dataset and draws; one command runs them, scores them, prints the table.

    title = "What each part brings"
    dataset = "toy"
    split = "test"
    model = "nano"
    seeds = [0, 1, 2]
    columns = ["jf_mean", "presence"]
    baseline = "SAM 2.1"                       # differences are to this row
    [groups]                                   # optional: means over sequences with any of these attributes
    "hard" = ["full_occlusion", "distractors"]
    [[row]]
    label = "SAM 2.1"
    tracker = "sam2"

Values are means over all sequences of all draws, with percentile bootstrap intervals over sequences.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MissingDataError, MosamError

if TYPE_CHECKING:
    from mosam.evaluation.scores import Scores
    from mosam.evaluation.tables import Table
    from mosam.plan import RunOptions

ALL = "all"  # the group of every sequence
MAIN = "jf_mean"  # shown for groups and differences where the benchmark has it, else the first column


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a tracker with its options, and a model where it is not the experiment's."""

    label: str
    tracker: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """What an experiment file says; see the module's example.

    Attributes:
        title: above the table.
        dataset, split, model: of every row unless the command line says otherwise; split None = the dataset's usual.
        seeds: draws of a generated benchmark.
        columns: names of scores.
        groups: attributes of sequences whose mean is shown as a column of its own, by heading.
        baseline: label of the row that differences are taken from, or None.
        rows: in order.
    """

    title: str
    dataset: str
    rows: tuple[Row, ...]
    columns: tuple[str, ...]
    split: str | None = None
    model: str | None = None
    seeds: tuple[int, ...] = (0,)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baseline: str | None = None

    @property
    def main(self) -> str:
        """The value that groups and differences show."""
        return MAIN if MAIN in self.columns else self.columns[0]


@dataclass(frozen=True, slots=True)
class RowScores:
    """Scores of one row, one for each draw, and which attributes each sequence has, by (draw, sequence)."""

    row: Row
    scores: Mapping[int, Scores]
    attributes: Mapping[tuple[int, str], frozenset[str]]

    def values(
        self, name: str, group: tuple[str, ...] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each sequence's value and weight, over all draws; `group` keeps sequences with any of its attributes."""
        values, weights = [], []
        for seed, scores in self.scores.items():
            for sequence, own in scores.sequences.items():
                if group is None or self.attributes[seed, sequence] & set(group):
                    values.append(own.get(name, np.nan))
                    weights.append(scores.counts.get(sequence, {}).get(name, 1.0))
        return np.array(values, dtype=np.float64), np.array(weights, dtype=np.float64)


def load_experiment(path: str | Path) -> Experiment:
    """Read an experiment file.

    Raises:
        MissingDataError: no such file.
        DataError: not TOML, an unknown or missing key, or a value of the wrong kind.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingDataError(f"{path}: expected an experiment file, found nothing") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(path, f"expected TOML, got {error}") from None
    rows = values.pop("row", [])
    try:
        made = tuple(Row(**row) for row in rows)
        lists: dict[str, Any] = {key: tuple(values.pop(key)) for key in ("columns", "seeds") if key in values}
        groups = {name: tuple(members) for name, members in values.pop("groups", {}).items()}
        experiment = Experiment(rows=made, groups=groups, **lists, **values)
    except TypeError as error:
        raise DataError(path, f"expected the keys of an experiment, got a difference: {error}") from None
    labels = [row.label for row in experiment.rows]
    if not labels or len(set(labels)) < len(labels):
        raise DataError(path, "expected at least one [[row]], each with a label of its own")
    if experiment.baseline is not None and experiment.baseline not in labels:
        raise DataError(path, f"baseline: expected the label of a row, got {experiment.baseline!r}")
    return experiment


def run_experiment(
    experiment: Experiment, options: RunOptions, *, jobs: int = 1, view: Callable[[], Any] | None = None
) -> list[RowScores]:
    """Run and score every row and draw; what is there already is kept.

    Args:
        experiment: what to run.
        options: of the command line; what it leaves open, the experiment says.
        jobs: processes that score.
        view: makes a context that shows progress (`mosam.progress.progress_view`); None = nothing is shown.
    Raises:
        MosamError: data, model or a name is wrong, or a sequence failed.
    """
    from mosam.evaluation.evaluate import evaluate
    from mosam.evaluation.scores import save_scores
    from mosam.model.checkpoints import load_model
    from mosam.plan import plan_runs, remembering
    from mosam.store import SCORES

    load = remembering(load_model)
    collected = []
    for row in experiment.rows:
        by_seed: dict[int, Scores] = {}
        attributes: dict[tuple[int, str], frozenset[str]] = {}
        for seed in experiment.seeds:
            asked = replace(
                options,
                dataset=experiment.dataset if not options.dataset else options.dataset,
                split=options.split or experiment.split,
                model=options.model or row.model or experiment.model,
                tracker=row.tracker,
                seed=seed,
            )
            [planned] = plan_runs(asked)
            result = _start(planned, planned.load(load), view)
            if result.failed:
                name, reason = next(iter(result.failed.items()))
                raise MosamError(f"{row.label}: {len(result.failed)} sequences failed, the first {name}: {reason}")
            by_seed[seed] = evaluate(result.path, planned.dataset, jobs=jobs)
            save_scores(result.path / SCORES, by_seed[seed])
            attributes |= {(seed, name): planned.dataset[name].attributes for name in planned.dataset}
        collected.append(RowScores(row, by_seed, attributes))
    return collected


def _start(planned: Any, model: Any, view: Callable[[], Any] | None) -> Any:
    if view is None:
        return planned.start(model, lambda event: None)
    with view() as shown:
        shown.note(f"{planned.title} -> {planned.out}")
        return planned.start(model, shown)


def experiment_table(experiment: Experiment, results: Sequence[RowScores]) -> Table:
    """One line a row: values, groups with intervals, and the paired difference from the baseline.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
    """
    from mosam.evaluation.metrics.bootstrap import bootstrap_interval
    from mosam.evaluation.tables import COLUMNS, Column, Table

    main = experiment.main
    shown = COLUMNS.get(main, Column(main))
    header = ["Tracker", f"{shown.title} (95 % interval)"]
    header += [f"{shown.heading} {name} [{shown.unit}]" for name in experiment.groups]
    others = [name for name in experiment.columns if name != main]
    header += [COLUMNS.get(name, Column(name)).title for name in others]
    base = next((r for r in results if r.row.label == experiment.baseline), None)
    if base is not None:
        header.append(f"{shown.heading} - {experiment.baseline} (95 % interval)")
    lines = []
    for result in results:
        values, weights = result.values(main)
        interval = bootstrap_interval(values, weights=weights)
        line = [
            result.row.label,
            f"{shown.show(interval.value)} ({shown.show(interval.low)} to {shown.show(interval.high)})",
        ]
        line += [shown.show(_mean(*result.values(main, group))) for group in experiment.groups.values()]
        line += [COLUMNS.get(name, Column(name)).show(_mean(*result.values(name))) for name in others]
        if base is not None:
            line.append(_difference(result, base, main, shown))
        lines.append(tuple(line))
    first = next(iter(results[0].scores.values()))
    count = len(results[0].values(main)[0])
    draws = f", draws {', '.join(map(str, experiment.seeds))}" if len(experiment.seeds) > 1 else ""
    title = f"{experiment.title}: {first.dataset} {first.split}, {first.model}, {count} sequences{draws}"
    marks = tuple(next(iter(result.scores.values())).mark for result in results)
    return Table(title, tuple(header), tuple(lines), marks)


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    known = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")


def _difference(result: RowScores, base: RowScores, name: str, shown: Any) -> str:
    from mosam.evaluation.metrics.bootstrap import bootstrap_difference

    if result is base:
        return ""
    (mine, weights), (theirs, _) = result.values(name), base.values(name)
    gap = bootstrap_difference(mine, theirs, weights=weights)
    return f"{_signed(shown, gap.value)} ({_signed(shown, gap.low)} to {_signed(shown, gap.high)})"


def _signed(shown: Any, value: float) -> str:
    return ("+" if value >= 0 else "") + shown.show(value)
