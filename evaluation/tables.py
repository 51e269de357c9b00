"""Tables of scores. Pure: scores in, text out; percent and rounding happen here and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from mosam.errors import MismatchError, MosamError, UnknownNameError
from mosam.evaluation.columns import Column
from mosam.evaluation.intervals import difference, interval
from mosam.evaluation.layouts import FORMATS, MISSING, Cell, Line, Table, assemble, render
from mosam.evaluation.metrics.bootstrap import LEVEL
from mosam.evaluation.protocols.base import column_of, columns_of, protocols_called
from mosam.evaluation.scores import Scores

__all__ = [  # with what is laid out elsewhere
    "ALL", "FORMATS", "Column", "Table", "attribute_table", "by_attribute", "by_score", "by_sequence",
    "choose_rows", "column_of", "compare", "comparison", "main_column", "profile_table", "render", "require_comparable",
    "sequence_table", "tabulate", "tracker_name",
]  # fmt: skip

SIZES = ("nano", "tiny", "small", "base-plus", "large")  # LaTeX groups the rows by these ends of a model's name
NAMED = 5  # sequences that a note names
BY = ("tracker", "attribute", "sequence")
ALL = "all"
ALL_SEQUENCES = "all sequences"


def tabulate(
    scores: Iterable[Scores],
    *,
    by: str = "tracker",
    columns: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    format: str = "text",
    mark: bool | None = None,
    intervals: bool = False,
    differences: bool = False,
) -> str:
    """What `mosam table` prints: one table by tracker, or one for each column by attribute or sequence.

    Args:
        scores: of one dataset, split and protocol.
        by: one of `BY`.
        columns: names of values; None = the protocol's `brief` ones or all (in CSV always all), by attribute or
            sequence only the first of them; `all` alone = all.
        rows: trackers, in order; see `choose_rows`.
        format, mark: see `render`.
        intervals, differences: see `comparison`; by tracker only.
    Raises:
        MismatchError, UnknownNameError, MosamError: as `comparison`, `by_attribute` and `by_sequence`.
    """
    items = choose_rows(require_comparable(scores), rows)
    if by not in BY:
        raise UnknownNameError("kind of table", by, BY)
    if by == "tracker":
        columns = columns or ([ALL] if format == "csv" else None)
        table = comparison(items, columns=columns, intervals=intervals, differences=differences)
        return render(table, format, mark=mark)
    if intervals or differences:
        raise MosamError(f"table by {by}: expected no intervals, got a wish for them; leave out --ci and --paired")
    make = attribute_table if by == "attribute" else sequence_table
    names = list(_columns(items, columns))[: None if columns else 1]
    return "\n\n".join(render(make(items, name), format, mark=mark) for name in names)


def compare(
    scores: Iterable[Scores], *, columns: Sequence[str] | None = None, format: str = "text", mark: bool | None = None
) -> str:
    """One row a tracker, with its overall numbers.

    Args:
        scores: of one dataset, split and protocol.
        columns: names of values, in order; None = the protocol's `brief` ones, else all the scores have;
            `all` alone = all.
        format: one of `FORMATS`.
        mark: whether the best and second of a column are marked; None = in LaTeX only.
    Raises:
        MismatchError: scores of different datasets, splits or protocols (says which).
        UnknownNameError: a column that none of the scores has, or an unknown format.
        MosamError: no scores.
    """
    return render(comparison(scores, columns=columns), format, mark=mark)


def by_attribute(scores: Iterable[Scores], value: str, *, format: str = "text", mark: bool | None = None) -> str:
    """One row a tracker, one column an attribute: a value's mean over the sequences that have the attribute.

    Args:
        scores: of one dataset, split and protocol.
        value: its name.
        format, mark: see `render`.
    Raises:
        MismatchError, UnknownNameError, MosamError: as `compare`; also where no sequence has attributes.
    """
    return render(attribute_table(scores, value), format, mark=mark)


def by_sequence(scores: Iterable[Scores], value: str, *, format: str = "text", mark: bool | None = None) -> str:
    """One row a sequence, one column a tracker; the last row is the overall number.

    Args:
        scores: of one dataset, split and protocol.
        value: its name.
        format, mark: see `render`; here the best of each row is marked.
    Raises:
        MismatchError, UnknownNameError, MosamError: as `compare`; also where no sequence was scored.
    """
    return render(sequence_table(scores, value), format, mark=mark)


def comparison(
    scores: Iterable[Scores],
    *,
    columns: Sequence[str] | None = None,
    intervals: bool = False,
    differences: bool = False,
) -> Table:
    """The table that `compare` lays out; see there.

    Args:
        scores, columns: see `compare`.
        intervals: each number with its 95 % bootstrap interval over sequences.
        differences: behind each column another one with the paired difference from the first row, and its interval.
    """
    items = require_comparable(scores)
    chosen, whole = _columns(items, columns), _whole(items)
    parts = []
    for name, column in chosen.items():
        parts.append((column.title, _value_cells(items, name, column, whole, intervals)))
        if differences:
            parts.append((_difference_heading(items[0], column), _difference_cells(items, name, column)))
    notes = []
    if intervals or differences:
        notes.append(f"in parentheses: {LEVEL:.0%} bootstrap intervals over sequences".replace("%", " %"))
    if intervals:
        notes += _without_interval(items, chosen)
    if differences:
        notes += _unequal(items)
    return _by_tracker(_title(items), items, [heading for heading, _ in parts], [cells for _, cells in parts], notes)


def _value_cells(
    items: Sequence[Scores], name: str, column: Column, whole: Sequence[bool], intervals: bool
) -> list[Cell]:
    cells = column.cells([item.overall.get(name, math.nan) for item in items], whole=whole)
    found = [interval(item, name) if intervals else None for item in items]
    return [replace(cell, detail=column.between(one)) for cell, one in zip(cells, found, strict=True)]


def _difference_heading(base: Scores, column: Column) -> str:
    return f"{column.heading} - {tracker_name(base)}" + (f" [{column.unit}]" if column.unit else "")


def _difference_cells(items: Sequence[Scores], name: str, column: Column) -> list[Cell]:
    """Differences from the first tracker: over the sequences both have where there is an interval."""
    cells = [Cell(MISSING)]
    for item in items[1:]:
        found = difference(item, items[0], name)
        value = found.value if found else item.overall.get(name, math.nan) - items[0].overall.get(name, math.nan)
        cells.append(Cell(column.show_signed(value), detail=column.between(found, signed=True)))
    return cells


def _without_interval(items: Sequence[Scores], chosen: Mapping[str, Column]) -> list[str]:
    """A note on defined values that have no interval."""
    without = [
        column.heading
        for name, column in chosen.items()
        if not any(interval(item, name) for item in items)
        and any(not math.isnan(item.overall.get(name, math.nan)) for item in items)
    ]
    return [f"no interval, being no mean over sequences: {', '.join(without)}"] if without else []


def attribute_table(scores: Iterable[Scores], value: str) -> Table:
    """The table that `by_attribute` lays out; see there."""
    items = require_comparable(scores)
    column = _columns(items, [value])[value]
    attributes = sorted({name for item in items for name in item.attributes})
    if not attributes:
        raise MosamError(f"{items[0].dataset}: expected sequences with attributes, got none")
    whole = _whole(items)
    cells = [
        column.cells([item.attributes.get(name, {}).get(value, math.nan) for item in items], whole=whole)
        for name in attributes
    ]
    return _by_tracker(f"{_title(items)}, {column.title} by attribute", items, attributes, cells)


def main_column(values: Collection[str], protocol: str) -> Column | None:
    """The number a benchmark is known by, of some values: the protocol's own main one, else its first, or None.

    Args:
        values: names of what the scores have.
        protocol: its label; of one that is unknown the first main number of any protocol counts.
    """
    own = [column for cls in protocols_called(protocol) for column in cls.columns]
    main = [column for column in columns_of(protocol).values() if column.main]
    ranked = [*(column for column in own if column.main), *own, *main]
    return next((column for column in ranked if column.name in values), None)


def by_score(scores: Iterable[Scores]) -> list[Scores]:
    """The scores, the best by the protocol's main number first; undefined ones last, equal ones as they were."""
    items = require_comparable(scores)
    column = main_column({name for item in items for name in item.overall}, items[0].protocol)
    if column is None:
        return items

    def place(item: Scores) -> float:
        value = item.overall.get(column.name, math.nan)
        return math.inf if math.isnan(value) else value if column.lower else -value

    return sorted(items, key=place)


def profile_table(scores: Iterable[Scores]) -> Table | None:
    """Attributes, a row each and one for all sequences: the numbers of one tracker, or the main number of several.

    Returns:
        None without attributes, or without a number to show.
    """
    items = require_comparable(scores)
    chosen = {name: column for name, column in columns_of(items[0].protocol).items() if column.profile}
    chosen = {name: column for name, column in chosen.items() if any(name in item.overall for item in items)}
    attributes = sorted({name for item in items for name in item.attributes})
    if not (attributes and chosen):
        return None
    if len(items) > 1:
        main = main_column(chosen, items[0].protocol) or next(iter(chosen.values()))
        return _attributes_of_several(items, attributes, main)
    [item] = items
    values = {**dict(sorted(item.attributes.items())), ALL_SEQUENCES: item.overall}
    lines = [
        Line(
            (name,),
            tuple(column.cell(own.get(key, math.nan)) for key, column in chosen.items()),
            group="" if name in item.attributes else "all",
        )
        for name, own in values.items()
    ]
    title = f"{tracker_name(item)} by attribute ({_title([item])})"
    return assemble(title, ("Attribute", *(column.title for column in chosen.values())), lines)


def _attributes_of_several(items: Sequence[Scores], attributes: Sequence[str], column: Column) -> Table:
    rows = {name: [item.attributes.get(name, {}) for item in items] for name in attributes}
    rows[ALL_SEQUENCES] = [item.overall for item in items]
    whole = _whole(items)
    lines = [
        Line(
            (name,),
            tuple(column.cells([values.get(column.name, math.nan) for values in own], whole=whole)),
            group="" if name in attributes else "all",
        )
        for name, own in rows.items()
    ]
    same = len({item.model for item in items}) == 1
    names = [item.tracker if same else tracker_name(item) for item in items]
    return assemble(f"{column.title} by attribute ({_title(items)})", ("Attribute", *names), lines)


def sequence_table(scores: Iterable[Scores], value: str) -> Table:
    """The table that `by_sequence` lays out; see there."""
    items = require_comparable(scores)
    column = _columns(items, [value])[value]
    names = list(dict.fromkeys(name for item in items for name in (*item.sequences, *item.missing)))
    if not names:
        raise MosamError(f"{items[0].dataset}: expected scored sequences, got none")
    lines = [
        Line((name,), tuple(column.cells([item.sequences.get(name, {}).get(value, math.nan) for item in items])))
        for name in names
    ]
    overall = column.cells([item.overall.get(value, math.nan) for item in items], whole=_whole(items))
    lines.append(Line(("overall",), tuple(overall), group="overall"))
    marks = [f"{tracker_name(item)}: {item.coverage}" for item in items if item.coverage]
    notes = [*marks, *_notes_of(items)]
    title = f"{_title(items)}, {column.title} by sequence"
    return assemble(title, ("Sequence", *map(tracker_name, items)), lines, notes)


def require_comparable(scores: Iterable[Scores], *, where: str = "tables") -> list[Scores]:
    """The scores, if they may stand side by side.

    Args:
        scores: at least one.
        where: what is made of them, for errors.
    Returns:
        they, those marked as a subset that lack a sequence which others have.
    Raises:
        MismatchError: of different datasets, splits or protocols (says which).
        MosamError: no scores.
    """
    items = list(scores)
    if not items:
        raise MosamError(f"{where}: expected scores, got none")
    for what in ("dataset", "split", "protocol"):
        trackers: dict[str, list[str]] = {}
        for item in items:
            trackers.setdefault(getattr(item, what), []).append(tracker_name(item))
        if len(trackers) > 1:
            found = "; ".join(f"{value} ({', '.join(names)})" for value, names in trackers.items())
            raise MismatchError(f"{where}: expected scores of one {what}, got {found}; make one of each")
    return _marked(items)


def _marked(items: list[Scores]) -> list[Scores]:
    """The scores; one that lacks a sequence which others have says so, with a mark and a note."""
    everything = list(dict.fromkeys(name for item in items for name in item.sequences))
    found = []
    for item in items:
        lacking = [name for name in everything if name not in item.sequences and name not in item.missing]
        if lacking and item.sequences:
            subset = item.subset or f"{len(item.sequences)} of {len(everything)} sequences"
            more = f" and {len(lacking) - NAMED} more" if len(lacking) > NAMED else ""
            note = f"lacks {', '.join(lacking[:NAMED])}{more}, which others have"
            item = replace(item, subset=subset, notes=(*item.notes, *(() if note in item.notes else (note,))))
        found.append(item)
    return found


def choose_rows(scores: Iterable[Scores], rows: Sequence[str] | None) -> list[Scores]:
    """The scores of some trackers, in the order asked for.

    Args:
        scores: of several trackers.
        rows: `TRACKER` (with each of its models) or `TRACKER MODEL`; None = all as they are.
    Raises:
        UnknownNameError: an unknown tracker.
    """
    items = list(scores)
    chosen: list[Scores] = []
    for row in rows or ():
        found = [item for item in items if row in (item.tracker, tracker_name(item), _unlabeled(item))]
        if not found:
            raise UnknownNameError("row", row, {tracker_name(item) for item in items})
        chosen += [item for item in found if item not in chosen]
    return chosen if rows else items


def has_rows(scores: Iterable[Scores], rows: Sequence[str]) -> bool:
    """Whether all of some rows, as `choose_rows` takes them, are there."""
    try:
        choose_rows(scores, rows)
    except UnknownNameError:
        return False
    return True


def _columns(items: Sequence[Scores], names: Sequence[str] | None) -> dict[str, Column]:
    known = list(dict.fromkeys(name for item in items for name in item.overall))
    protocol = items[0].protocol
    if names is None or list(names) == [ALL]:
        brief = [name for cls in protocols_called(protocol) for name in cls.brief if name in known]
        names = (brief if names is None else []) or known
    for name in names:
        if name not in known:
            raise UnknownNameError("column", name, known, where=f"{items[0].dataset} {protocol}")
    return {name: column_of(name, protocol) for name in names}


def _by_tracker(
    title: str,
    items: Sequence[Scores],
    header: Sequence[str],
    columns: Sequence[Sequence[Cell]],
    notes: Sequence[str] = (),
) -> Table:
    """Rows by tracker; those of one size of network follow each other where some have a network."""
    with_model = any(item.model for item in items)
    lines = [
        Line(
            (item.label or item.tracker, *((item.model or MISSING,) if with_model else ())),
            tuple(column[number] for column in columns),
            item.coverage,
            _size(item.model),
        )
        for number, item in enumerate(items)
    ]
    names = ("Tracker", "Model") if with_model else ("Tracker",)
    return assemble(title, (*names, *header), lines, (*_notes_of(items), *notes))


def _notes_of(items: Sequence[Scores]) -> list[str]:
    return [f"{tracker_name(item)}: {note}" for item in items for note in _notes(item)]


def _size(model: str | None) -> str:
    return next((size for size in SIZES if (model or "").endswith(size)), model or "")


def _whole(items: Sequence[Scores]) -> list[bool]:
    """Which trackers have every sequence that any has: a mean over fewer is neither best nor second."""
    everything = {name for item in items for name in item.sequences}
    return [everything <= set(item.sequences) for item in items]


def _unequal(items: Sequence[Scores]) -> list[str]:
    """A note on each tracker that was scored on other sequences than the first."""
    first, base, notes = set(items[0].sequences), tracker_name(items[0]), []
    for item in items[1:]:
        if set(item.sequences) != first:
            both = len(first & set(item.sequences))
            notes.append(f"{tracker_name(item)}: differences over the {both} sequences that {base} has too")
    return notes


def _notes(item: Scores) -> list[str]:
    notes = list(item.notes)
    if item.missing:
        notes.append(f"{len(item.missing)} without results left out: {', '.join(item.missing)}")
    return notes


def _title(items: Sequence[Scores]) -> str:
    item, kinds = items[0], {frozenset(item.sequences) for item in items}
    count = f", {len(item.sequences)} sequence{'s' * (len(item.sequences) != 1)}" if len(kinds) == 1 else ""
    return f"{item.dataset} {item.split}, protocol {item.protocol}{count}"


def _unlabeled(item: Scores) -> str:
    return tracker_name(replace(item, label=None))


def tracker_name(item: Scores) -> str:
    """The label of a tracker, else its name with its model, if it has one."""
    return item.label or (f"{item.tracker} {item.model}" if item.model else item.tracker)
