"""How published tables are shown beside our numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict

from mosam.commands.paper.cells import DIFFERS, IMPLIED, NOT_COMPARED, NOT_RUN, REPRODUCED, Cell, PaperTable
from mosam.evaluation import layouts
from mosam.evaluation.layouts import MISSING, Line, Table, assemble


def paper_table(table: PaperTable) -> Table:
    """The table as it is printed: a line for each number, sources and slips below, then what is missing.

    Args:
        table: of `load_table` or `Laboratory.fill`.
    """
    sources = list(dict.fromkeys((cell.published.source, cell.published.access) for cell in table.cells))
    letters = {source: _letter(number) for number, source in enumerate(sources)}
    width = max((len(cell.verdict) for cell in table.cells), default=0)
    lines = [_line(cell, letters[cell.published.source, cell.published.access], width) for cell in table.cells]
    header = ("Tracker", "Model", "Benchmark", "Metric", "Source", "Published", "Ours", "Difference",
              "95 % interval", "Verdict".ljust(width))  # fmt: skip
    notes = [f"{letter} {source} ({access})" for (source, access), letter in letters.items()]
    notes += [f"{one.published}: {one.remark}" for one in table.study.experiments if one.remark]
    notes += [f"{SUMMARY[kind]}: {what}" for kind, what in _obstacles(table.cells)]
    return assemble(f"{table.name}: {table.study.title}", header, lines, notes)


def _line(cell: Cell, letter: str, width: int) -> Line:
    number = cell.published
    digits = max(len(number.value.partition(".")[2]), 1 if number.unit == "%" else 3 if number.unit == "" else 0)
    model = cell.model if cell.verdict.startswith(NOT_COMPARED) else (cell.model or MISSING)
    place = "speed" if number.place == "- -" else number.place
    metric = f"{number.metric} [{number.unit}]" if number.unit else number.metric
    defined = not math.isnan(cell.ours)
    numbers = (
        number.value,
        f"{cell.ours:.{digits}f}" if defined else MISSING,
        f"{cell.difference:+.{digits}f}" if defined else MISSING,
        MISSING if math.isnan(cell.low) else f"{cell.low:.{digits}f} to {cell.high:.{digits}f}",
        cell.verdict.ljust(width),
    )
    why = "slip in the published table" if number.slip else "doubtful" if number.doubtful else None
    mark = None if why is None else f"{why}: {number.note}"
    return Line((cell.label, model, place, metric, letter), tuple(map(layouts.Cell, numbers)), mark)


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
