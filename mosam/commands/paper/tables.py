"""How published tables are shown beside our numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict

from mosam.commands.paper.cells import DIFFERS, IMPLIED, NOT_COMPARED, NOT_RUN, REPRODUCED, Cell, PaperTable
from mosam.evaluation.layouts import MISSING, Table


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
