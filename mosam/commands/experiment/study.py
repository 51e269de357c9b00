"""Experiments: a TOML file names trackers, models, datasets and draws; one command runs and scores them all.

    title = "What each part brings"
    dataset = "toy"
    split = "test"
    model = "nano"
    seeds = [0, 1, 2]
    columns = ["jf_mean", "presence"]
    baseline = "SAM 2.1"                       # differences are to this row
    figures = ["ablation"]                     # drawn with --plots
    [groups]                                   # optional: means over sequences with any of these attributes
    "hard" = ["full_occlusion", "distractors"]
    [[row]]
    label = "SAM 2.1"
    tracker = "sam2"

A grid has `models = [...]`, with which every row is run that has no `model` of its own, and `[[dataset]]` parts (name,
split, prompt, protocol, columns) in place of `dataset` and `split`; each makes a table of its own. `experiments/paper/`
has one such file for each published table, see `mosam.commands.paper`.

Values are means over all sequences of all draws, with percentile bootstrap intervals over sequences.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError, MissingDataError, MosamError
from mosam.system.typed import read_toml

if TYPE_CHECKING:
    from mosam.evaluation.scores import Scores
    from mosam.tracking.plan import RunOptions

LARGEST_SEED = 2**32 - 1
ALL = "all"  # the group of every sequence


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a tracker with its options.

    Attributes:
        label: its name in the table.
        tracker: policy with options; empty where `unsupported`.
        model: where it is not the experiment's.
        published: name of the method in published tables, where it is not the label.
        unsupported: why it cannot be run here, or None.
    """

    label: str
    tracker: str = ""
    model: str | None = None
    published: str | None = None
    unsupported: str | None = None


@dataclass(frozen=True, slots=True)
class Experiment:
    """One dataset of an experiment file; see the module's example.

    Attributes:
        title: above the table.
        dataset, split, model: of every row unless the command line says otherwise; split None = the dataset's usual.
        seeds: draws of a generated benchmark.
        columns: names of scores; groups and differences show the first.
        groups: attributes of sequences whose mean is shown as a column of its own, by heading.
        baseline: label of the row that differences are taken from, or None.
        rows: in order.
        prompt, protocol: None = the dataset's usual.
        settings: `common` or `published`, see `mosam.tracking.presets`.
        published: the dataset and split as published tables name them.
        metrics: names of scores by the name that published tables have for them; then `columns` may be left out.
        unsupported: why it cannot be run here, or None.
        remark: what a reader of its table must know.
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
    prompt: str | None = None
    protocol: str | None = None
    settings: str = "common"
    published: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
    unsupported: str | None = None
    remark: str | None = None

    @property
    def main(self) -> str:
        """The value that groups and differences show."""
        return self.columns[0]


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


@dataclass(frozen=True, slots=True)
class Study:
    """Everything an experiment file says.

    Attributes:
        title: of the file.
        experiments: one for each dataset.
        figures: kinds of figure it makes, as `mosam plot` names them.
        sources: of published numbers, as `published.csv` names them.
    """

    title: str
    experiments: tuple[Experiment, ...]
    figures: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def with_model(self, model: str | None) -> Study:
        """The same with one model for every row; None = as it is."""
        if model is None:
            return self
        return replace(
            self,
            experiments=tuple(
                replace(one, rows=tuple(dict.fromkeys(replace(row, model=model) for row in one.rows)))
                for one in self.experiments
            ),
        )


def load_study(path: str | Path, *, trust: bool | Collection[str] = ()) -> Study:
    """Read an experiment file.

    Args:
        path: the file.
        trust: which `package.module:Class` of its trackers may be imported, that is, run: these, or True for all.
    Raises:
        MissingDataError: no such file.
        DataError: not TOML, an unknown or missing key, a value of the wrong kind, or code that is not trusted.
    """
    path = Path(path)
    try:
        study = _study(read_toml(path, _File), path)
    except MissingDataError:
        raise MissingDataError(f"{path}: expected an experiment file, found nothing") from None
    if trust is not True:
        _check_trust(study, trust or (), path)
    for one in study.experiments:
        labels = {row.label for row in one.rows}
        if not labels or len({(row.label, row.model) for row in one.rows}) < len(one.rows):
            raise DataError(path, "expected at least one [[row]], each with a label of its own")
        if one.baseline is not None and one.baseline not in labels:
            raise DataError(path, f"baseline: expected the label of a row, got {one.baseline!r}")
    return study


def _check_trust(study: Study, trusted: Collection[str], path: Path) -> None:
    """DataError where running the file would import code that it names and nobody else does."""
    rows = [(f"row {row.label!r}", name) for row in study.experiments[0].rows for name in _foreign_code(row.tracker)]
    datasets = [("dataset", one.dataset) for one in study.experiments]
    models = [("model", model) for one in study.experiments for model in (one.model, *(row.model for row in one.rows))]
    others = [(what, name) for what, name in (*datasets, *models) if name and ":" in name]
    for where, name in (*rows, *(one for one in others if not one[1].startswith("random:"))):
        if name not in trusted:
            raise DataError(
                path,
                f"{where}: would import {name[:80]!r}, code that this file names; if you trust it, "
                f"give --import {name[:80]}, or --trust for all of the file",
            )


def _foreign_code(tracker: str) -> list[str]:
    """What a tracker's options name as `package.module:Class`; no name of ours has a colon.

    >>> _foreign_code("mosam[sparse=my.points:Points,dense=off]")
    ['my.points:Points']
    """
    return [word.strip() for word in re.split(r"[\[\],=]", tracker) if ":" in word]


@dataclass(frozen=True, slots=True)
class _Part:
    """What an experiment file says of one dataset; what a `[[dataset]]` leaves out, the file says for all."""

    name: str = ""
    title: str | None = None
    split: str | None = None
    model: str | None = None
    seeds: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None
    groups: Mapping[str, tuple[str, ...]] | None = None
    baseline: str | None = None
    prompt: str | None = None
    protocol: str | None = None
    settings: Literal["common", "published"] | None = None
    published: str | None = None
    metrics: Mapping[str, str] | None = None
    unsupported: str | None = None
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class _File:
    """An experiment file as it is written; see the module's example."""

    title: str
    dataset: str | tuple[_Part, ...]
    row: tuple[Row, ...] = ()
    models: tuple[str, ...] | None = None
    figures: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    split: str | None = None
    model: str | None = None
    seeds: tuple[int, ...] | None = None
    columns: tuple[str, ...] | None = None
    groups: Mapping[str, tuple[str, ...]] | None = None
    baseline: str | None = None
    prompt: str | None = None
    protocol: str | None = None
    settings: Literal["common", "published"] | None = None
    published: str | None = None
    metrics: Mapping[str, str] | None = None
    unsupported: str | None = None
    remark: str | None = None


_SHARED = tuple(field.name for field in fields(_Part) if field.name != "name")


def _study(file: _File, path: Path) -> Study:
    """What a file says; DataError where its parts do not fit each other."""
    rows = file.row
    for row in rows:
        if not row.tracker and not row.unsupported:
            raise DataError(path, f"row {row.label!r}: expected a tracker, found none")
    if file.models is not None:
        meant = ((row, (row.model,) if row.model else file.models) for row in rows)
        rows = tuple(replace(row, model=model) for row, models in meant for model in models)
    parts = (_Part(file.dataset),) if isinstance(file.dataset, str) else file.dataset
    if not parts:
        raise DataError(path, "dataset: expected at least one, found none")
    experiments = []
    for part in parts:
        own = {name: getattr(file, name) if getattr(part, name) is None else getattr(part, name) for name in _SHARED}
        own = {name: value for name, value in own.items() if value is not None}
        own["columns"] = own.get("columns") or tuple(own.get("metrics", {}).values())
        if not own["columns"] and not own.get("unsupported"):
            raise DataError(path, f"dataset {part.name!r}: expected columns or metrics, found none")
        if "seeds" in own and (not own["seeds"] or min(own["seeds"]) < 0 or max(own["seeds"]) > LARGEST_SEED):
            raise DataError(path, f"seeds: expected numbers from 0 to {LARGEST_SEED}")
        experiments.append(Experiment(dataset=part.name, rows=rows, **own))
    return Study(file.title, tuple(experiments), file.figures, file.sources)


def planned_runs(experiment: Experiment, options: RunOptions) -> list[tuple[Row, int, RunOptions]]:
    """Every run of an experiment: its row, its seed, and the options of `mosam run` that it means.

    Args:
        experiment: what to run; rows that are not supported have no run.
        options: of the command line; what it leaves open, the experiment says.
    """
    if experiment.unsupported:
        return []
    return [
        (
            row,
            seed,
            replace(
                options,
                dataset=options.dataset or experiment.dataset,
                split=options.split or experiment.split,
                model=options.model or row.model or experiment.model,
                tracker=row.tracker,
                prompt=options.prompt or experiment.prompt,
                settings=experiment.settings,
                seed=seed,
            ),
        )
        for row in experiment.rows
        if not row.unsupported
        for seed in experiment.seeds
    ]


def run_experiment(
    experiment: Experiment, options: RunOptions, *, jobs: int = 1, view: Callable[[], Any] | None = None
) -> list[RowScores]:
    """Run and score every row and draw; what is there already is kept.

    Args:
        experiment: what to run.
        options: of the command line; what it leaves open, the experiment says.
        jobs: processes that score.
        view: makes a context that shows progress (`mosam.commands.progress.progress_view`); None = nothing is shown.
    Raises:
        MosamError: data, model or a name is wrong, or a sequence failed.
    """
    from mosam.evaluation.evaluate import evaluate
    from mosam.evaluation.scores import save_scores
    from mosam.model.checkpoints import load_model
    from mosam.results.folder import SCORES
    from mosam.tracking.plan import plan_runs, remembering

    load = remembering(load_model)
    collected: dict[int, RowScores] = {}
    for row, seed, asked in planned_runs(experiment, options):
        [planned] = plan_runs(asked)
        result = _start(planned, planned.load(load), view)
        if result.failed:
            name, reason = next(iter(result.failed.items()))
            raise MosamError(f"{row.label}: {len(result.failed)} sequences failed, the first {name}: {reason}")
        scores = evaluate(result.path, planned.dataset, protocol=experiment.protocol, jobs=jobs)
        save_scores(result.path / SCORES, scores)
        attributes = {(seed, name): planned.dataset[name].attributes for name in planned.dataset}
        known = collected.setdefault(id(row), RowScores(row, {}, {}))
        collected[id(row)] = replace(
            known, scores={**known.scores, seed: scores}, attributes={**known.attributes, **attributes}
        )
    return list(collected.values())


def _start(planned: Any, model: Any, view: Callable[[], Any] | None) -> Any:
    if view is None:
        return planned.start(model, lambda event: None)
    with view() as shown:
        shown.note(f"{planned.title} -> {planned.out}")
        return planned.start(model, shown)


def pooled_scores(result: RowScores) -> Scores:
    """One row's scores over all of its draws, to be drawn: sequences of several draws get the draw's number.

    Numbers are means over sequences as the table has them, so this is for protocols whose numbers are such means.

    Args:
        result: of `run_experiment`.
    """
    first = next(iter(result.scores.values()))
    if len(result.scores) == 1:
        return first
    keys = [(seed, name) for seed, scores in result.scores.items() for name in scores.sequences]
    attributes = sorted({attribute for key in keys for attribute in result.attributes[key]})
    share = {seed: len(scores.sequences) / len(keys) for seed, scores in result.scores.items()}
    return replace(
        first,
        overall={name: weighted_mean(*result.values(name)) for name in first.overall},
        sequences={f"{name}, draw {seed}": result.scores[seed].sequences[name] for seed, name in keys},
        counts={f"{name}, draw {seed}": result.scores[seed].counts.get(name, {}) for seed, name in keys},
        curves={
            name: tuple(
                np.sum([np.array(one.curves[name]) * share[seed] for seed, one in result.scores.items()], axis=0)
            )
            for name in first.curves
        },
        objects={},
        attributes={
            attribute: {name: weighted_mean(*result.values(name, (attribute,))) for name in first.overall}
            for attribute in attributes
        },
    )


def draw_figures(study: Study, results: Sequence[Sequence[RowScores]], folder: Path) -> list[Path]:
    """The figures an experiment makes, in every format, as `<file>-<dataset>-<split>-<kind>`.

    Args:
        study: what was run.
        results: of `run_experiment`, one for each dataset.
        folder: made where missing.
    Returns:
        the files.
    """
    from mosam.evaluation.figures import FIGURES, save

    paths = []
    for rows in results:
        for kind in study.figures:
            several = len({row.row.model for row in rows}) > 1
            labels = [f"{row.row.label} {row.row.model}" if several else row.row.label for row in rows]
            scores = [
                replace(pooled_scores(row), label=label) for row, label in zip(rows, labels, strict=True)
            ]  # the names of the experiment's table
            stem = "-".join([_slug(study.title), scores[0].dataset, scores[0].split, kind])
            paths += save(FIGURES[kind](scores), folder / stem)
    return paths


def _slug(text: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def weighted_mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """Weighted mean of the defined values; NaN where there are none."""
    known = ~np.isnan(values) & (weights > 0)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")
