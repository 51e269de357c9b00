"""Experiments: a TOML file names trackers, a dataset and draws; one command runs them, scores them, prints the table.

    title = "What each part brings"
    dataset = "toy"
    split = "test"
    model = "nano"
    seeds = [0, 1, 2]
    columns = ["jf_mean", "presence"]
    baseline = "SAM 2.1"                       # differences are to this row
    attributes = true                          # also a table by attribute
    [groups]                                   # optional: also a table of sequences with any of these attributes
    "hard" = ["full_occlusion", "distractor"]
    [[row]]
    label = "SAM 2.1"
    tracker = "sam2"

Values are means over all sequences of all draws, with percentile bootstrap intervals over sequences; differences from
the baseline are drawn in pairs. What is tracked is kept, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MissingDataError, MosamError, one_line

if TYPE_CHECKING:
    from mosam.evaluation.scores import Scores
    from mosam.evaluation.tables import Table
    from mosam.plan import PlannedRun, RunOptions

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
        groups: attributes of sequences whose mean is shown in a table of its own, by heading.
        attributes: show the mean over the sequences that have an attribute, for each of them.
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
    attributes: bool = False
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
    experiment: Experiment,
    options: RunOptions,
    *,
    jobs: int = 1,
    workers: int = 1,
    view: Callable[[], Any] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> list[RowScores]:
    """Run and score every row and draw; what is there already is kept.

    Args:
        experiment: what to run.
        options: of the command line; what it leaves open, the experiment says.
        jobs: processes that score.
        workers: processes that track, a row and draw each.
        view: makes a context that shows progress (`mosam.progress.progress_view`), of one worker; None = nothing is
            shown.
        tell: called with a line for each run that several workers finished.
    Raises:
        MosamError: data, model or a name is wrong, or a sequence failed.
    """
    from mosam.evaluation.evaluate import evaluate
    from mosam.evaluation.scores import save_scores
    from mosam.model.checkpoints import load_model
    from mosam.plan import plan_runs, remembering
    from mosam.store import SCORES

    asked = {
        (row.label, seed): _options(experiment, row, seed, options)
        for row in experiment.rows
        for seed in experiment.seeds
    }
    planned = {which: plan_runs(one)[0] for which, one in asked.items()}  # every name is checked before anything runs
    if workers > 1:
        _track_all(asked, planned, workers, tell)
    load = remembering(load_model)
    collected = []
    for row in experiment.rows:
        by_seed: dict[int, Scores] = {}
        attributes: dict[tuple[int, str], frozenset[str]] = {}
        for seed in experiment.seeds:
            plan = planned[row.label, seed]
            if workers == 1:
                _require(row.label, _start(plan, plan.load(load), view).failed)
            by_seed[seed] = evaluate(plan.out, plan.dataset, jobs=jobs)
            save_scores(plan.out / SCORES, by_seed[seed])
            attributes |= {(seed, name): plan.dataset[name].attributes for name in plan.dataset}
        collected.append(RowScores(row, by_seed, attributes))
    return collected


def _options(experiment: Experiment, row: Row, seed: int, options: RunOptions) -> RunOptions:
    """What is asked for one row and draw."""
    return replace(
        options,
        dataset=experiment.dataset if not options.dataset else options.dataset,
        split=options.split or experiment.split,
        model=options.model or row.model or experiment.model,
        tracker=row.tracker,
        seed=seed,
    )


def _track_all(
    asked: Mapping[tuple[str, int], RunOptions],
    planned: Mapping[tuple[str, int], PlannedRun],
    workers: int,
    tell: Callable[[str], None],
) -> None:
    """Every run in one of several processes; two rows that are the same run are one."""
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    once = {planned[which].out: which for which in asked}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(track_one, asked[which]): which for which in once.values()}
        try:
            for done in as_completed(waiting):
                which = waiting[done]
                _require(which[0], done.result())
                tell(f"{planned[which].title} -> {planned[which].out}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def track_one(options: RunOptions) -> dict[str, str]:
    """The run that some options ask for, in a process of its own; the reasons of what failed."""
    from mosam.model.checkpoints import load_model
    from mosam.plan import plan_runs

    try:
        [planned] = plan_runs(options)
        return dict(planned.start(planned.load(load_model), lambda event: None).failed)
    except MosamError as error:  # its own class may not travel between processes
        raise MosamError(one_line(error)) from None


def _require(label: str, failed: Mapping[str, str]) -> None:
    if failed:
        name, reason = next(iter(failed.items()))
        raise MosamError(f"{label}: {len(failed)} sequences failed, the first {name}: {reason}")


def _start(planned: Any, model: Any, view: Callable[[], Any] | None) -> Any:
    if view is None:
        return planned.start(model, lambda event: None)
    with view() as shown:
        shown.note(f"{planned.title} -> {planned.out}")
        return planned.start(model, shown)


def experiment_tables(experiment: Experiment, results: Sequence[RowScores]) -> list[Table]:
    """The tables of an experiment: overall, by group and by attribute.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
    """
    tables = [experiment_table(experiment, results)]
    if experiment.groups:
        tables.append(_group_table(experiment, results, experiment.groups, "groups of sequences"))
    if experiment.attributes:
        known = sorted({tag for tags in results[0].attributes.values() for tag in tags})
        if known:
            tables.append(_group_table(experiment, results, {tag: (tag,) for tag in known}, "attributes"))
    return tables


def experiment_table(experiment: Experiment, results: Sequence[RowScores]) -> Table:
    """One line a row: overall values, the main one with its interval and its paired difference from the baseline.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
    """
    from mosam.evaluation.metrics.bootstrap import bootstrap_interval
    from mosam.evaluation.tables import COLUMNS, Column, Table

    main = experiment.main
    shown = COLUMNS.get(main, Column(main))
    header = ["Tracker", f"{shown.title} (95 % interval)"]
    others = [name for name in experiment.columns if name != main]
    header += [COLUMNS.get(name, Column(name)).title for name in others]
    base = _base(experiment, results)
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
        line += [COLUMNS.get(name, Column(name)).show(_mean(*result.values(name))) for name in others]
        if base is not None:
            line.append("" if result is base else _difference(result, base, main, shown))
        lines.append(tuple(line))
    marks = tuple(next(iter(result.scores.values())).mark for result in results)
    return Table(_title(experiment, results), tuple(header), tuple(lines), marks)


def _group_table(
    experiment: Experiment, results: Sequence[RowScores], groups: Mapping[str, tuple[str, ...]], what: str
) -> Table:
    """One line a group of sequences, one column a tracker: the main value, and its paired difference from the baseline.

    Args:
        experiment: what was run.
        results: of `run_experiment`.
        groups: attributes by heading; a sequence with any of them belongs.
        what: the groups are, for the title.
    """
    from mosam.evaluation.tables import COLUMNS, Column, Table

    main = experiment.main
    shown = COLUMNS.get(main, Column(main))
    base = _base(experiment, results)
    lines, details = [], []
    for name, group in groups.items():
        values = [result.values(main, group) for result in results]
        counts = str(len(values[0][0]))
        lines.append((name, counts, *(shown.show(_mean(*pair)) for pair in values)))
        gaps = (
            f"({_difference(result, base, main, shown, group)})" if base is not None and result is not base else ""
            for result in results
        )
        details.append(("", "", *gaps))
    header = (what.split()[0].rstrip("s").capitalize(), "Sequences", *(result.row.label for result in results))
    about = f"{shown.title} by {what}"
    if base is not None:
        about += f", in brackets the difference from {experiment.baseline} and its 95 % interval"
    title = f"{_title(experiment, results)}. {about}"
    return Table(title, header, tuple(lines), (None,) * len(lines), names=1, details=tuple(details))


def _title(experiment: Experiment, results: Sequence[RowScores]) -> str:
    first = next(iter(results[0].scores.values()))
    count = len(results[0].values(experiment.main)[0])
    draws = f", draws {', '.join(map(str, experiment.seeds))}" if len(experiment.seeds) > 1 else ""
    return f"{experiment.title}: {first.dataset} {first.split}, {first.model}, {count} sequences{draws}"


def _base(experiment: Experiment, results: Sequence[RowScores]) -> RowScores | None:
    return next((result for result in results if result.row.label == experiment.baseline), None)


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    known = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")


def _difference(result: RowScores, base: RowScores, name: str, shown: Any, group: tuple[str, ...] | None = None) -> str:
    from mosam.evaluation.metrics.bootstrap import bootstrap_difference

    (mine, weights), (theirs, _) = result.values(name, group), base.values(name, group)
    gap = bootstrap_difference(mine, theirs, weights=weights)
    return f"{shown.show_signed(gap.value)}, {shown.show_signed(gap.low)} to {shown.show_signed(gap.high)}"
