"""Our numbers for published tables: runs are looked up, made where missing and possible, and scored."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.commands.experiment.study import Experiment, Row
from mosam.commands.paper.cells import SIZES, Cell, Obstacle, PaperTable, compare, not_run
from mosam.datasets.base import DATA_VARIABLE, DATASETS, Dataset, find_root
from mosam.errors import MissingDataError, MosamError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.protocols.base import PROTOCOLS
from mosam.evaluation.scores import Scores, load_scores, save_scores
from mosam.results.folder import SCORES
from mosam.results.record import RECORD, read_record
from mosam.system import options as shared
from mosam.system.options import option
from mosam.tracking.plan import PlannedRun, RunOptions, choose_dataset, plan_runs

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone

CHECKPOINTS = {  # names of Meta's files
    name: f"{'sam2' if '.' in name else 'sam2.1'}_hiera_{name.removeprefix('sam2.0-').replace('-', '_')}.pt"
    for name in SIZES
}


@dataclass(frozen=True, slots=True)
class PaperOptions:
    """How tables are recomputed.

    Numbers of a trial network (`model`) or of some sequences (`limit`) are not compared with published ones.
    """

    results: Path = shared.RESULTS.field(default=Path("results"))
    data: Path | None = option("Folder with DATASET/ folders.", None, usual="$MOSAM_DATA")
    checkpoints: Path | None = option("Folder of Meta's sam2*_hiera_*.pt.", None, usual="the hub")
    model: str | None = option("One network for every size, for a trial.", None, complete="model")
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field(usual="as published")
    limit: int | None = shared.LIMIT.field()
    lanes: str | None = shared.LANES.field()
    run: bool = option("Track what is missing; otherwise only score existing results.", True)
    jobs: int | None = shared.SCORING_JOBS.field()


@dataclass
class Laboratory:
    """Finds, makes and scores runs for tables; what one table needed is there for the next.

    Args:
        options: how.
        view: makes a context that shows progress (`mosam.commands.progress.progress_view`); None = nothing is shown.
        load_model: loads a network; None = `mosam.load_model`. A test gives another.
    """

    options: PaperOptions = field(default_factory=PaperOptions)
    view: Callable[[], Any] | None = None
    load_model: Callable[..., Backbone] | None = None
    _known: dict[tuple[object, ...], Scores | tuple[Obstacle, ...]] = field(default_factory=dict)
    _load: Callable[..., Backbone] | None = None

    def fill(self, table: PaperTable) -> PaperTable:
        """The table with our numbers and a verdict in every cell."""
        places = {one.published: one for one in table.study.experiments}
        cells = []
        for cell in table.cells:
            experiment = places[cell.published.place]
            rows = [row for row in experiment.rows if (row.label, row.model) == (cell.label, cell.model)]
            cells.append(self._fill(cell, experiment, rows[0]))
        return replace(table, cells=tuple(cells))

    def _fill(self, cell: Cell, experiment: Experiment, row: Row) -> Cell:
        reason = row.unsupported or experiment.unsupported
        if reason is None and cell.published.metric not in experiment.metrics:
            reason = f"{cell.published.metric} is no number of ours"
        if reason is not None:
            return not_run(cell, (Obstacle("unsupported", reason),))
        model = self.options.model or cell.model
        found = self._scores(experiment, row, model)
        if not isinstance(found, Scores):
            return not_run(replace(cell, model=model), found)
        return compare(replace(cell, model=model), found, experiment.metrics, stands_in=model != cell.model)

    def _scores(self, experiment: Experiment, row: Row, model: str) -> Scores | tuple[Obstacle, ...]:
        of = (experiment.dataset, experiment.split, experiment.prompt, experiment.protocol, experiment.settings)
        key = (*of, row.tracker, model)
        if key not in self._known:
            self._known[key] = self._find(experiment, row, model)
        return self._known[key]

    def _find(self, experiment: Experiment, row: Row, model: str) -> Scores | tuple[Obstacle, ...]:
        info = DATASETS[experiment.dataset].info
        split = experiment.split or info.default_split
        protocol = experiment.protocol or info.protocol
        if split in info.no_truth:
            words = f"mosam run {experiment.dataset} --split {split} --tracker {row.tracker} --model {model}, then"
            what = f"{info.title} {split} is scored by its server only: {words} mosam submit {experiment.dataset}"
            return (Obstacle("server", what),)
        if protocol.partition("[")[0] not in PROTOCOLS and f"{protocol.partition('[')[0]}:{info.task}" not in PROTOCOLS:
            return (Obstacle("unsupported", f"protocol {protocol} of {info.title} is not written"),)
        try:
            dataset = choose_dataset(self._asked(experiment, row, model))
            dataset.require()
        except MissingDataError as error:
            obstacle = _missing_dataset(experiment.dataset, split, error, self.options.data)
            stored = self._stored(experiment, row, model, split, protocol)
            return stored or (obstacle, *self._missing_checkpoint(model))
        return self._with_data(experiment, row, model, dataset)

    def _with_data(
        self, experiment: Experiment, row: Row, model: str, dataset: Dataset
    ) -> Scores | tuple[Obstacle, ...]:
        """Scores of a run whose annotation is there; tracks where results are missing and everything else is there."""
        places = [plan_runs(self._asked(experiment, row, name))[0] for name in self._names(model)]
        for planned in places:
            if _is_complete(planned, dataset):
                return self._score(planned, experiment, dataset)
        if not self.options.run:
            return (Obstacle("skipped", f"no results in {places[0].out}; leave out --no-run to track"),)
        absent = dataset.missing(frames=True)
        if absent:
            what = f"frames of {len(absent)} of {len(dataset)} sequences of {dataset.info.title} {dataset.split}"
            return (Obstacle("dataset", f"{what}: {', '.join(absent[:3])}{' ...' * (len(absent) > 3)}"),)
        try:
            network = self._network(places[-1])
        except MissingDataError as error:
            return (Obstacle("checkpoint", str(error)),)
        try:
            failed = self._track(places[-1], network)
            return failed or self._score(places[-1], experiment, dataset)
        except MosamError as error:
            return (Obstacle("failed", str(error)),)

    def _asked(self, experiment: Experiment, row: Row, model: str) -> RunOptions:
        options = self.options
        root = None if options.data is None else find_root(experiment.dataset, data=options.data)
        return RunOptions(
            experiment.dataset, root, experiment.split, row.tracker, model, options.device, options.precision,
            limit=options.limit, prompt=experiment.prompt, settings=experiment.settings, results=options.results,
            lanes=options.lanes,
        )  # fmt: skip

    def _names(self, model: str) -> list[str]:
        """What a size may be called in a run's folder; the last is what a new run takes."""
        own = self._checkpoint(model)
        return [model] if own is None else [model, str(own)]

    def _checkpoint(self, model: str) -> Path | None:
        if self.options.checkpoints is None or model not in CHECKPOINTS:
            return None
        file = self.options.checkpoints / CHECKPOINTS[model]
        return file if file.is_file() else None

    def _missing_checkpoint(self, model: str) -> tuple[Obstacle, ...]:
        from mosam.model.family import find_published
        from mosam.model.hub import is_local, repository_of

        found = find_published(model)
        if found is None or self._checkpoint(model) is not None or is_local(model):
            return ()
        what = f"weights {model}: a run downloads them from the hub ({repository_of(model)})"
        if model in CHECKPOINTS:
            what += f", or give a folder with {CHECKPOINTS[model]} to --checkpoints"
        if found[0].access:
            what += f"; {found[0].access}"
        return (Obstacle("checkpoint", what),)

    def _stored(self, experiment: Experiment, row: Row, model: str, split: str, protocol: str) -> Scores | None:
        """Scores that an earlier call left beside its results, where the data have gone since."""
        for name in self._names(model):
            folder = _folder(self._asked(experiment, row, name), split)
            path = folder / _scores_name(experiment)
            if not path.is_file():
                continue
            scores = load_scores(path)[0]
            if (scores.dataset, scores.split, scores.protocol) == (experiment.dataset, split, protocol):
                return scores
        return None

    def _network(self, planned: PlannedRun) -> Backbone | None:
        if self._load is None:
            from mosam.model.checkpoints import load_model
            from mosam.tracking.plan import remembering

            self._load = remembering(self.load_model or load_model)
        return planned.load(self._load)

    def _track(self, planned: PlannedRun, network: Backbone | None) -> tuple[Obstacle, ...]:
        if self.view is None:
            result = planned.start(network, lambda event: None)
        else:
            with self.view() as shown:
                shown.note(f"{planned.title} -> {planned.out}")
                result = planned.start(network, shown)
        if not result.failed:
            return ()
        name, reason = next(iter(result.failed.items()))
        return (Obstacle("failed", f"{planned.out}: {len(result.failed)} sequences failed, {name}: {reason}"),)

    def _score(self, planned: PlannedRun, experiment: Experiment, dataset: Dataset) -> Scores:
        scores = evaluate(
            planned.out, dataset, protocol=experiment.protocol, jobs=self.options.jobs or os.cpu_count() or 1
        )
        save_scores(planned.out / _scores_name(experiment), scores)
        return scores


def _missing_dataset(name: str, split: str, error: MissingDataError, data: Path | None) -> Obstacle:
    info = DATASETS[name].info
    count = info.official_counts.get(split)
    number = f" ({count} sequences)" if count else ""
    if str(error).startswith(f"{name}: no folder given") or "found nothing" in str(error):
        place = f"{data or f'the folder that {DATA_VARIABLE} or --data names'}"
        source = f" from {info.source}" if info.source else ""
        return Obstacle("dataset", f"{info.title} {split}{number}: get it{source} and put it at {name}/ in {place}")
    return Obstacle("dataset", f"{info.title} {split}{number}: {str(error).splitlines()[0]}")


def _folder(options: RunOptions, split: str) -> Path:
    """A run's folder, named without its dataset; as `mosam.tracking.plan` names it."""
    from mosam.policies.base import load_policy, parse_tracker
    from mosam.results.folder import run_folder

    info = DATASETS[options.dataset].info
    name, values = parse_tracker(options.tracker or "")
    return run_folder(
        options.results / options.dataset,
        load_policy(name, **values).label,
        options.model or "",
        split=None if split == info.default_split else split,
        prompt=None if options.prompt in (None, info.prompts[0]) else options.prompt,
        settings=None if options.settings == "common" else options.settings,
    )


def _scores_name(experiment: Experiment) -> str:
    """Scores under the benchmark's own protocol are the run's; others lie beside them."""
    own = experiment.protocol in (None, DATASETS[experiment.dataset].info.protocol)
    return SCORES if own else f"{Path(SCORES).stem}@{experiment.protocol}.json"


def _is_complete(planned: PlannedRun, dataset: Dataset) -> bool:
    if not (planned.out / RECORD).is_file():
        return False
    done = read_record(planned.out).done
    return set(dataset) <= set(done)
