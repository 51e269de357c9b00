"""Tables of scores. Pure: scores in, text out; percent and rounding happen here and nowhere else."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mosam.errors import MismatchError, MosamError, UnknownNameError
from mosam.evaluation.scores import Scores

MISSING = "-"  # shown for a value that is undefined


@dataclass(frozen=True, slots=True)
class Column:
    """How a value is shown.

    Attributes:
        heading: without the unit.
        unit: `%` (the fraction times 100), or a unit that is only named.
        digits: after the point.
        lower: whether less is better.
    """

    heading: str
    unit: str = "%"
    digits: int = 1
    lower: bool = False

    @property
    def title(self) -> str:
        """Heading with its unit."""
        return f"{self.heading} [{self.unit}]" if self.unit else self.heading

    def show(self, value: float) -> str:
        """The value as text, `-` where it is undefined."""
        if math.isnan(value):
            return MISSING
        return f"{value * (100 if self.unit == '%' else 1):.{self.digits}f}"


COLUMNS: Mapping[str, Column] = {
    "success_auc": Column("AUC"),
    "precision": Column("P"),
    "norm_precision": Column("Pnorm"),
    "norm_precision_auc": Column("Pnorm AUC"),
    "mean_overlap": Column("Overlap"),
    "op50": Column("OP50"),
    "op75": Column("OP75"),
    "ao": Column("AO"),
    "sr50": Column("SR50"),
    "sr75": Column("SR75"),
    "jf_mean": Column("J&F"),
    "j_mean": Column("J"),
    "j_recall": Column("J recall"),
    "j_decay": Column("J decay", lower=True),
    "f_mean": Column("F"),
    "f_recall": Column("F recall"),
    "f_decay": Column("F decay", lower=True),
    "v_mean": Column("V", lower=True),
    "j_seen": Column("J seen"),
    "j_unseen": Column("J unseen"),
    "f_seen": Column("F seen"),
    "f_unseen": Column("F unseen"),
    "v_seen": Column("V seen", lower=True),
    "v_unseen": Column("V unseen", lower=True),
    "jf_objects": Column("J&F by object"),
    "presence": Column("Presence"),
    "eao": Column("EAO", unit="", digits=3),
    "accuracy": Column("Accuracy", unit="", digits=3),
    "robustness": Column("Robustness", unit="", digits=3),
    "failures": Column("Failures", unit="", digits=0, lower=True),
    "quality": Column("Quality", unit="", digits=3),
    "nre": Column("NRE", unit="", digits=3, lower=True),
    "dre": Column("DRE", unit="", digits=3, lower=True),
    "adq": Column("ADQ", unit="", digits=3),
    "fps": Column("Speed", unit="frames/s"),
}
# One name means another number under some protocols; it must not look the same.
HEADINGS: Mapping[str, Mapping[str, Column]] = {
    "trackingnet": {"precision": Column("P area"), "norm_precision": Column("Pnorm area")},
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table before it is laid out.

    Attributes:
        title: one line above it.
        header: of each column; the first columns name the row.
        rows: text of each cell.
        marks: of each row what must be known of it (`5 of 280 official sequences`), or None.
        names: how many columns at the left are names (set flush left).
        notes: lines below it.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[str | None, ...]
    names: int = 1
    notes: tuple[str, ...] = ()

    @property
    def signs(self) -> dict[str, str]:
        """Asterisks for each different mark."""
        marks = dict.fromkeys(mark for mark in self.marks if mark)
        return {mark: "*" * (position + 1) for position, mark in enumerate(marks)}

    @property
    def signed_rows(self) -> list[tuple[str, ...]]:
        """The rows, the name of a marked one followed by its sign."""
        signs = self.signs
        return [
            (f"{row[0]} {signs[mark]}", *row[1:]) if mark else row
            for row, mark in zip(self.rows, self.marks, strict=True)
        ]

    @property
    def signed_notes(self) -> list[str]:
        """The notes, those that explain signs first."""
        return [f"{sign} {mark}" for mark, sign in self.signs.items()] + list(self.notes)


def compare(scores: Iterable[Scores], *, columns: Sequence[str] | None = None, format: str = "text") -> str:
    """One row a tracker, with its overall numbers.

    Args:
        scores: of one dataset, split and protocol.
        columns: names of values, in order; None = all the scores have.
        format: one of `FORMATS`.
    Raises:
        MismatchError: scores of different datasets, splits or protocols (says which).
        UnknownNameError: a column that none of the scores has, or an unknown format.
        MosamError: no scores.
    """
    return render(comparison(scores, columns=columns), format)


def by_attribute(scores: Iterable[Scores], value: str, *, format: str = "text") -> str:
    """One row a tracker, one column an attribute: a value's mean over the sequences that have the attribute.

    Args:
        scores: of one dataset, split and protocol.
        value: its name.
        format: one of `FORMATS`.
    Raises:
        MismatchError, UnknownNameError, MosamError: as `compare`; also where no sequence has attributes.
    """
    items = _comparable(scores)
    column = _columns(items, [value])[value]
    attributes = sorted({name for item in items for name in item.attributes})
    if not attributes:
        raise MosamError(f"{items[0].dataset}: expected sequences with attributes, got none")
    rows = [[column.show(item.attributes.get(name, {}).get(value, math.nan)) for name in attributes] for item in items]
    return render(_table(f"{_title(items)}, {column.title} by attribute", attributes, items, rows), format)


def comparison(scores: Iterable[Scores], *, columns: Sequence[str] | None = None) -> Table:
    """The table that `compare` lays out; see there."""
    items = _comparable(scores)
    chosen = _columns(items, columns)
    rows = [[column.show(item.overall.get(name, math.nan)) for name, column in chosen.items()] for item in items]
    return _table(_title(items), [column.title for column in chosen.values()], items, rows)


def render(table: Table, format: str = "text") -> str:
    """A table as text.

    Args:
        table: what to lay out.
        format: `text`, `markdown` or `csv` (which has a column of marks instead of signs, and no notes).
    Raises:
        UnknownNameError: another format.
    """
    if format not in FORMATS:
        raise UnknownNameError("table format", format, FORMATS)
    return FORMATS[format](table)


def _comparable(scores: Iterable[Scores]) -> list[Scores]:
    items = list(scores)
    if not items:
        raise MosamError("tables: expected scores, got none")
    for what in ("dataset", "split", "protocol"):
        trackers: dict[str, list[str]] = {}
        for item in items:
            trackers.setdefault(getattr(item, what), []).append(_name(item))
        if len(trackers) > 1:
            found = "; ".join(f"{value} ({', '.join(names)})" for value, names in trackers.items())
            raise MismatchError(f"tables: expected scores of one {what}, got {found}; make one table of each")
    return items


def _columns(items: Sequence[Scores], names: Sequence[str] | None) -> dict[str, Column]:
    known = list(dict.fromkeys(name for item in items for name in item.overall))
    for name in names or ():
        if name not in known:
            raise UnknownNameError("column", name, known, where=f"{items[0].dataset} {items[0].protocol}")
    special = HEADINGS.get(items[0].protocol.partition("[")[0], {})
    return {name: special.get(name) or COLUMNS.get(name) or Column(name, "", 3) for name in names or known}


def _table(title: str, header: Sequence[str], items: Sequence[Scores], rows: Sequence[Sequence[str]]) -> Table:
    with_model = any(item.model for item in items)
    cells = [
        (item.tracker, *([item.model or MISSING] if with_model else []), *row)
        for item, row in zip(items, rows, strict=True)
    ]
    names = ("Tracker", "Model") if with_model else ("Tracker",)
    notes = tuple(f"{_name(item)}: {note}" for item in items for note in _notes(item))
    return Table(title, (*names, *header), tuple(cells), tuple(item.mark for item in items), len(names), notes)


def _notes(item: Scores) -> list[str]:
    notes = list(item.notes)
    if item.missing:
        notes.append(f"{len(item.missing)} without results left out: {', '.join(item.missing)}")
    return notes


def _title(items: Sequence[Scores]) -> str:
    item, counts = items[0], {len(item.sequences) for item in items}
    count = f", {len(item.sequences)} sequence{'s' * (counts != {1})}" if len(counts) == 1 else ""
    return f"{item.dataset} {item.split}, protocol {item.protocol}{count}"


def _name(item: Scores) -> str:
    return f"{item.tracker} {item.model}" if item.model else item.tracker


# ---------------------------------------------------------------------------------------------- layouts


def _text(table: Table) -> str:
    rows = table.signed_rows
    columns = list(zip(table.header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if number < table.names else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "  ".join(padded).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([table.title, rule, line(table.header), rule, *map(line, rows), rule, *table.signed_notes])


def _markdown(table: Table) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("*", "\\*") for cell in cells) + " |"

    rules = [":--" if number < table.names else "--:" for number in range(len(table.header))]
    lines = [f"**{table.title}**", "", line(table.header), f"| {' | '.join(rules)} |", *map(line, table.signed_rows)]
    notes = [note.replace("*", "\\*") for note in table.signed_notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])])


def _csv(table: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    marks = [[mark or "" for mark in table.marks]] if any(table.marks) else []
    writer.writerow([*table.header, *(["Subset"] if marks else [])])
    columns = [*zip(*table.rows, strict=True), *marks]
    writer.writerows(["" if cell == MISSING else cell for cell in row] for row in zip(*columns, strict=True))
    return out.getvalue().rstrip("\n")


FORMATS: Mapping[str, Callable[[Table], str]] = {"text": _text, "markdown": _markdown, "csv": _csv}
