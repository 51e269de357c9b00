"""`mosam paper`: published tables beside our own numbers, with a verdict on each.

`experiments/paper/` has an experiment file (`mosam.commands.experiment.study`) for each published table, and
`published.csv` with the numbers; both ship as data of the package `mosam.commands.published`. For each number its run
is looked up, made if it is missing and the data are there, scored, and compared. What cannot be run names exactly what
is missing.
"""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosam.commands.experiment.study import Experiment, Row, Study, load_study
from mosam.datasets.base import DATA_VARIABLE, DATASETS, Dataset
from mosam.errors import DataError, MissingDataError, MosamError, UnknownNameError
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.intervals import interval
from mosam.evaluation.layouts import MISSING, Table
from mosam.evaluation.protocols.base import PROTOCOLS
from mosam.evaluation.scores import Scores, load_scores, save_scores
from mosam.results.folder import SCORES
from mosam.results.record import RECORD, read_record
from mosam.system import options as shared
from mosam.system.files import read_regular
from mosam.system.options import option
from mosam.system.typed import from_data
from mosam.tracking.plan import PlannedRun, RunOptions, choose_dataset, plan_runs

if TYPE_CHECKING:
    from mosam.model.backbone import Backbone

# in an installed wheel, and in a checkout
FOLDER = Path(__file__).parent / "published"
NUMBERS = "published.csv"
SIZES = {"tiny": "T", "small": "S", "base-plus": "B+", "large": "L"}
CHECKPOINTS = {size: f"sam2.1_hiera_{size.replace('-', '_')}.pt" for size in SIZES}  # names of Meta's files
FRACTIONS = frozenset({"EAO", "Q", "Quality", "Accuracy", "Robustness"})  # published in 0..1; others in percent
# How far from what the published digits can mean counts as reproduced. The same weights on another machine and version
# moved SA-V test by 0.2 (SAM 2.1 tiny: 76.5 in its README, 76.3 in SAM2Long's run), base-plus by 0.5.
TOLERANCE = {"%": 0.3, "": 0.003}

_NUMBER = re.compile(r"[+-]?\d{1,9}(\.\d{1,9})?", re.ASCII)

REPRODUCED, DIFFERS, IMPLIED = "reproduced", "differs", "reproduced as implied"
NOT_RUN, NOT_COMPARED = "not run", "not compared"


@dataclass(frozen=True, slots=True)
class Published:
    """One number of a published table.

    Attributes:
        method, size, dataset, split, metric: as printed, with the names of `published.csv`.
        value: as printed, digits and all; percent, or a fraction for `FRACTIONS`, or frames per second.
        slip: the table contradicts itself or its source here; `note` says how.
        implied: what the other numbers imply instead, or None.
        source: of the number.
        access: `primary` = read where its authors keep it, `primary-picture` = off a picture of theirs,
            `transcription` = in a transcription of the paper, `secondary` = re-reported by others, `memory` = not
            verified.
        note: what else is known of it.
    """

    method: str
    size: str
    dataset: str
    split: str
    metric: str
    value: str
    slip: bool
    implied: float | None
    source: str
    access: str
    note: str

    @property
    def place(self) -> str:
        """Dataset and split."""
        return f"{self.dataset} {self.split}"

    @property
    def unit(self) -> str:
        """`%`, `frames/s`, or nothing for a fraction."""
        return "frames/s" if self.metric == "FPS" else "" if self.metric in FRACTIONS else "%"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a number was not computed.

    Attributes:
        kind: `dataset`, `checkpoint`, `server`, `unsupported`, `failed`, `skipped`.
        what: one line: what is missing and how to get it.
    """

    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A published number beside ours.

    Attributes:
        label: of the tracker.
        published: the number and where it is from.
        model: that it was or would be computed with.
        ours: in the published unit; NaN = not computed.
        low, high: ends of our 95 % interval over sequences, in the same unit; NaN where there is none.
        verdict: `reproduced`, `reproduced as implied`, `differs`, `not compared: ...`, `not run: ...`.
        obstacles: why it was not run.
        run: folder of the run it comes from.
    """

    label: str
    published: Published
    model: str
    ours: float = math.nan
    low: float = math.nan
    high: float = math.nan
    verdict: str = NOT_RUN
    obstacles: tuple[Obstacle, ...] = ()
    run: str | None = None

    @property
    def difference(self) -> float:
        """Ours less the published value; NaN without one."""
        return self.ours - float(self.published.value)


@dataclass(frozen=True, slots=True)
class PaperTable:
    """A published table: its experiment file, and a cell for each number."""

    name: str
    study: Study
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class PaperOptions:
    """How tables are recomputed.

    Numbers of a trial network (`model`) or of some sequences (`limit`) are not compared with published ones.
    """

    results: Path = shared.RESULTS.field(default=Path("results"))
    data: Path | None = option("Folder with DATASET/ folders.", None, usual="$MOSAM_DATA")
    checkpoints: Path | None = option("Folder of sam2.1_hiera_*.pt.", None, usual="the hub")
    model: str | None = option("One network for every size, for a trial.", None, complete="model")
    device: str = shared.DEVICE.field()
    precision: str | None = shared.PRECISION.field(usual="as published")
    limit: int | None = shared.LIMIT.field()
    lanes: str | None = shared.LANES.field()
    run: bool = option("Track what is missing, or score what is there.", True)
    jobs: int | None = shared.SCORING_JOBS.field()


# ---------------------------------------------------------------------------------------------- what is published


def published_folder() -> Path:
    """Where the tables and numbers lie.

    Raises:
        MissingDataError: nowhere; the installation is not whole.
    """
    if (FOLDER / NUMBERS).is_file():
        return FOLDER
    raise MissingDataError(f"{FOLDER}: expected the published numbers, found none; install mosam again")


def table_names() -> list[str]:
    """Names of the published tables."""
    return sorted(path.stem for path in published_folder().glob("*.toml"))


@functools.lru_cache
def load_numbers(path: Path | None = None) -> tuple[Published, ...]:
    """Every published number, in the order of the file.

    Args:
        path: None = the shipped file.
    Raises:
        DataError: another table.
    """
    path = path or published_folder() / NUMBERS
    try:
        reader = csv.DictReader(io.StringIO(read_regular(path).decode("utf-8"), newline=""), strict=True)
        return tuple(_published(row, f"{path}:{line}") for line, row in enumerate(reader, start=2))
    except UnicodeDecodeError as error:
        raise DataError(path, f"expected text, got byte {error.object[error.start]:#04x}") from None
    except csv.Error as error:
        raise DataError(path, f"expected a table with commas, got {error}") from None


def _published(row: Mapping[str, object], where: str) -> Published:
    """One row of a table of published numbers."""
    if None in row:
        raise DataError(where, "expected as many fields as in the first line, got more")
    values = dict(row)
    for name in ("value", "implied"):
        text = values.get(name)
        if isinstance(text, str) and (text or name == "value") and not _NUMBER.fullmatch(text):
            raise DataError(where, f"{name}: expected a number, got {text[:40]!a}")
    values["implied"] = float(str(values["implied"])) if values.get("implied") else None
    values["slip"] = values.get("slip") == "yes"
    return from_data(Published, values, where)


def load_table(name: str, numbers: Iterable[Published] | None = None) -> PaperTable:
    """A published table with nothing computed yet.

    Args:
        name: of `table_names`.
        numbers: to take its own from; None = the shipped ones.
    Raises:
        UnknownNameError: no such table.
    """
    path = published_folder() / f"{name}.toml"
    if name not in table_names():
        raise UnknownNameError("published table", name, table_names(), where="paper")
    study = load_study(path)
    numbers = load_numbers() if numbers is None else tuple(numbers)
    cells = []
    for experiment in study.experiments:
        for row in experiment.rows:
            model = row.model or experiment.model or ""
            cells += [
                Cell(row.label, number, model)
                for number in numbers
                if number.source in study.sources
                and number.place == experiment.published
                and number.method == (row.published or row.label)
                and number.size == SIZES[model]
            ]
    return PaperTable(name, study, tuple(cells))


# ---------------------------------------------------------------------------------------------- ours


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
            return _not_run(cell, (Obstacle("unsupported", reason),))
        model = self.options.model or cell.model
        found = self._scores(experiment, row, model)
        if not isinstance(found, Scores):
            return _not_run(replace(cell, model=model), found)
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
        root = None if options.data is None else _root(options.data, experiment.dataset)
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
        from mosam.model.checkpoints import is_local

        if model not in CHECKPOINTS or self._checkpoint(model) is not None or is_local(model):
            return ()
        what = (
            f"weights {model}: a run downloads them from the hub (facebook/sam2.1-hiera-{model}), or give a folder "
            f"with {CHECKPOINTS[model]} to --checkpoints"
        )
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

    def _network(self, planned: PlannedRun) -> Backbone:
        if self._load is None:
            from mosam.model.checkpoints import load_model
            from mosam.tracking.plan import remembering

            self._load = remembering(self.load_model or load_model)
        return planned.load(self._load)

    def _track(self, planned: PlannedRun, network: Backbone) -> tuple[Obstacle, ...]:
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


def compare(cell: Cell, scores: Scores, metrics: Mapping[str, str], *, stands_in: bool = False) -> Cell:
    """A cell with our number and the verdict.

    Args:
        cell: without one.
        scores: of its run.
        metrics: names of scores by published name.
        stands_in: another network than the published one was used, for a trial.
    """
    number = cell.published
    name = metrics[number.metric]
    scale = 100.0 if number.unit == "%" else 1.0
    ours = scores.overall.get(name, math.nan) * scale
    found = interval(scores, name)
    low, high = (found.low * scale, found.high * scale) if found else (math.nan, math.nan)
    near = TOLERANCE.get(number.unit, 0.0) + 0.5 * 10.0 ** -len(number.value.partition(".")[2])
    if math.isnan(ours):
        verdict = f"{NOT_COMPARED}: undefined"
    elif stands_in:
        verdict = f"{NOT_COMPARED}: model {cell.model}"
    elif scores.mark:
        verdict = f"{NOT_COMPARED}: {scores.mark.replace(' official', '')}"
    elif abs(ours - float(number.value)) <= near + 1e-9:
        verdict = REPRODUCED
    elif number.implied is not None and abs(ours - number.implied) <= near + 1e-9:
        verdict = IMPLIED
    else:
        verdict = DIFFERS
    return replace(cell, ours=ours, low=low, high=high, verdict=verdict)


def _not_run(cell: Cell, obstacles: Sequence[Obstacle]) -> Cell:
    words = {"dataset": "dataset missing", "checkpoint": "checkpoint missing", "server": "scored by a server only"}
    words |= {"skipped": "no results"}
    kinds = list(dict.fromkeys(obstacle.kind for obstacle in obstacles))
    if kinds == ["dataset", "checkpoint"]:
        reason = "dataset and checkpoint missing"
    else:
        reason = ", ".join(words.get(kind, kind) for kind in kinds)
    return replace(cell, verdict=f"{NOT_RUN}: {reason}", obstacles=tuple(obstacles))


def _missing_dataset(name: str, split: str, error: MissingDataError, data: Path | None) -> Obstacle:
    info = DATASETS[name].info
    count = info.official_counts.get(split)
    number = f" ({count} sequences)" if count else ""
    if str(error).startswith(f"{name}: no folder given") or "found nothing" in str(error):
        place = f"{data or f'the folder that {DATA_VARIABLE} or --data names'}"
        source = f" from {info.source}" if info.source else ""
        return Obstacle("dataset", f"{info.title} {split}{number}: get it{source} and put it at {name}/ in {place}")
    return Obstacle("dataset", f"{info.title} {split}{number}: {str(error).splitlines()[0]}")


def _root(data: Path, name: str) -> Path:
    folder, archive = data / name, data / f"{name}.zip"
    return archive if archive.is_file() and not folder.exists() else folder


def _folder(options: RunOptions, split: str) -> Path:
    """A run's folder, named without its dataset; as `mosam.tracking.plan` names it."""
    from mosam.policies.base import load_policy, parse_tracker
    from mosam.results.folder import run_name

    info = DATASETS[options.dataset].info
    name, values = parse_tracker(options.tracker or "")
    run = run_name(
        load_policy(name, **values).label,
        options.model or "",
        split=None if split == info.default_split else split,
        prompt=None if options.prompt in (None, info.prompts[0]) else options.prompt,
        settings=None if options.settings == "common" else options.settings,
    )
    return options.results / options.dataset / run


def _scores_name(experiment: Experiment) -> str:
    """Scores under the benchmark's own protocol are the run's; others lie beside them."""
    own = experiment.protocol in (None, DATASETS[experiment.dataset].info.protocol)
    return SCORES if own else f"{Path(SCORES).stem}@{experiment.protocol}.json"


def _is_complete(planned: PlannedRun, dataset: Dataset) -> bool:
    if not (planned.out / RECORD).is_file():
        return False
    done = read_record(planned.out).done
    return set(dataset) <= set(done)


# ---------------------------------------------------------------------------------------------- what is shown


def paper_table(table: PaperTable) -> Table:
    """The table as it is printed: a line for each number, sources and slips below, then what is missing.

    Args:
        table: of `load_table` or `Laboratory.fill`.
    """
    sources = list(dict.fromkeys((cell.published.source, cell.published.access) for cell in table.cells))
    letters = {source: _letter(number) for number, source in enumerate(sources)}
    rows, marks = [], []
    width = max((len(cell.verdict) for cell in table.cells), default=0)
    for cell in table.cells:
        number = cell.published
        digits = max(len(number.value.partition(".")[2]), 1 if number.unit == "%" else 3 if number.unit == "" else 0)
        place = "speed" if number.place == "- -" else number.place
        model = cell.model if cell.verdict.startswith(NOT_COMPARED) else (cell.model or MISSING)
        between = f"{cell.low:.{digits}f} to {cell.high:.{digits}f}" if not math.isnan(cell.low) else MISSING
        rows.append((
            cell.label, model, place, f"{number.metric} [{number.unit}]" if number.unit else number.metric,
            letters[number.source, number.access], number.value,
            MISSING if math.isnan(cell.ours) else f"{cell.ours:.{digits}f}",
            MISSING if math.isnan(cell.ours) else f"{cell.difference:+.{digits}f}",
            between, cell.verdict.ljust(width),
        ))  # fmt: skip
        marks.append(f"slip in the published table: {number.note}" if number.slip else None)
    header = ("Tracker", "Model", "Benchmark", "Metric", "Source", "Published", "Ours", "Difference",
              "95 % interval", "Verdict".ljust(width))  # fmt: skip
    notes = [f"{letter} {source} ({access})" for (source, access), letter in letters.items()]
    notes += [f"{one.published}: {one.remark}" for one in table.study.experiments if one.remark]
    notes += [f"{SUMMARY[kind]}: {what}" for kind, what in _obstacles(table.cells)]
    return Table(f"{table.name}: {table.study.title}", header, tuple(rows), tuple(marks), 5, tuple(notes))


SUMMARY = {
    "dataset": "missing data",
    "checkpoint": "missing checkpoint",
    "server": "no ground truth",
    "unsupported": "unsupported",
    "failed": "failed",
    "skipped": "not tracked",
}


def _obstacles(cells: Iterable[Cell]) -> list[tuple[str, str]]:
    found = dict.fromkeys((o.kind, o.what) for cell in cells for o in cell.obstacles)
    return sorted(found, key=lambda one: list(SUMMARY).index(one[0]))


def summary(tables: Iterable[PaperTable]) -> str:
    """How many numbers got which verdict, in a line.

    >>> summary([])
    'no numbers'
    """
    counts: dict[str, int] = {}
    for table in tables:
        for cell in table.cells:
            counts[cell.verdict.partition(":")[0]] = counts.get(cell.verdict.partition(":")[0], 0) + 1
    order = [REPRODUCED, IMPLIED, DIFFERS, NOT_COMPARED, NOT_RUN]
    parts = [f"{counts[verdict]} {verdict}" for verdict in order if verdict in counts]
    return f"{sum(counts.values())} numbers: {', '.join(parts)}" if parts else "no numbers"


def to_json(tables: Iterable[PaperTable]) -> str:
    """Every cell, as JSON; numbers at full precision, null where there is none."""

    def plain(value: object) -> object:
        return None if isinstance(value, float) and math.isnan(value) else value

    content = [
        {
            "table": table.name,
            **{key: plain(value) for key, value in asdict(cell).items() if key != "published"},
            **{("source_note" if key == "note" else key): value for key, value in asdict(cell.published).items()},
            "difference": plain(cell.difference),
        }
        for table in tables
        for cell in table.cells
    ]
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _letter(number: int) -> str:
    return f"[{chr(ord('a') + number % 26)}{number // 26 or ''}]"
