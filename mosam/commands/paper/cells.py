"""Published tables, a cell for each number, and the verdict on ours."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mosam.commands.experiment.study import Study, load_study
from mosam.commands.paper.numbers import Published, load_numbers, published_folder, table_names
from mosam.errors import UnknownNameError
from mosam.evaluation.intervals import interval
from mosam.evaluation.scores import Scores

SIZES = {"tiny": "T", "small": "S", "base-plus": "B+", "large": "L"}
SIZES |= {f"sam2.0-{name}": size for name, size in SIZES.items()}
NO_SIZE = "-"  # of a network that comes in one
# How far from what the published digits can mean counts as reproduced. The same weights on another machine and version
# moved SA-V test by 0.2 (SAM 2.1 tiny: 76.5 in its README, 76.3 in SAM2Long's run), base-plus by 0.5.
TOLERANCE = {"%": 0.3, "": 0.003}

REPRODUCED, DIFFERS, IMPLIED = "reproduced", "differs", "reproduced as implied"
NOT_RUN, NOT_COMPARED = "not run", "not compared"


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
                and number.size == SIZES.get(model, NO_SIZE)
            ]
    return PaperTable(name, study, tuple(cells))


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
    near = TOLERANCE.get(number.unit, 0.0) + number.rounding
    if math.isnan(ours):
        verdict = f"{NOT_COMPARED}: undefined"
    elif stands_in:
        verdict = f"{NOT_COMPARED}: model {cell.model}"
    elif scores.coverage:
        verdict = f"{NOT_COMPARED}: {scores.coverage.replace(' official', '')}"
    elif number.doubtful:
        verdict = f"{NOT_COMPARED}: doubtful number"
    elif abs(ours - float(number.value)) <= near + 1e-9:
        verdict = REPRODUCED
    elif number.implied is not None and abs(ours - number.implied) <= near + 1e-9:
        verdict = IMPLIED
    else:
        verdict = DIFFERS
    return replace(cell, ours=ours, low=low, high=high, verdict=verdict)


def not_run(cell: Cell, obstacles: Sequence[Obstacle]) -> Cell:
    """A cell whose verdict names the kinds of obstacles."""
    words = {"dataset": "dataset missing", "checkpoint": "checkpoint missing", "server": "scored by a server only"}
    words |= {"skipped": "no results"}
    kinds = list(dict.fromkeys(obstacle.kind for obstacle in obstacles))
    if kinds == ["dataset", "checkpoint"]:
        reason = "dataset and checkpoint missing"
    else:
        reason = ", ".join(words.get(kind, kind) for kind in kinds)
    return replace(cell, verdict=f"{NOT_RUN}: {reason}", obstacles=tuple(obstacles))
