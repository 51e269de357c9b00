"""Rows of a benchmark's table that papers printed: the shipped published numbers, each with its source."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from mosam.commands.experiment.study import Experiment, load_study
from mosam.commands.gather import Group
from mosam.commands.paper.cells import NO_SIZE
from mosam.commands.paper.numbers import Published, load_numbers, published_folder, table_names
from mosam.datasets.base import DATASETS


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """One method of one source.

    Attributes:
        name: the method with its size, as printed.
        source: where it is printed, and how it was read there.
        numbers: by name of the score they are of.
    """

    name: str
    source: str
    numbers: dict[str, Published] = field(default_factory=dict)

    @property
    def doubtful(self) -> bool:
        """Whether one of its numbers is doubtful or contradicts its own table."""
        return any(number.doubtful or number.slip for number in self.numbers.values())


def published_rows(group: Group, values: Collection[str]) -> list[PublishedRow]:
    """What is published of a benchmark under the protocol of a group.

    Args:
        group: of measured scores.
        values: names of the scores its table shows.
    """
    if group.dataset not in DATASETS:
        return []
    rows: dict[tuple[str, str, str], PublishedRow] = {}
    for sources, experiment in _experiments(group):
        for number in load_numbers():
            value = experiment.metrics.get(number.metric)
            if value in values and number.place == experiment.published and number.source in sources:
                name = number.method if number.size == NO_SIZE else f"{number.method} {number.size}"
                source = f"{number.source} ({number.access})"
                row = rows.setdefault((number.method, number.size, source), PublishedRow(name, source))
                row.numbers.setdefault(str(value), number)
    return list(rows.values())


def scaled(number: Published) -> float:
    """A published number as scores have it: percent as a fraction."""
    return float(number.value) / (100 if number.unit == "%" else 1)


def _experiments(group: Group) -> list[tuple[tuple[str, ...], Experiment]]:
    """Published tables of the same benchmark, split and protocol, with their sources."""
    info = DATASETS[group.dataset].info
    studies = [load_study(published_folder() / f"{name}.toml") for name in table_names()]
    return [
        (study.sources, one)
        for study in studies
        for one in study.experiments
        if (one.dataset, one.split or info.default_split) == (group.dataset, group.split)
        and (one.protocol or info.protocol) == group.protocol
    ]
