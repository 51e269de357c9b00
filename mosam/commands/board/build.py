"""From a folder of runs to the files of a static site: an index, a page a benchmark, a card a result."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mosam.commands.board.cards import CardJob, make_card
from mosam.commands.board.published import PublishedRow, published_rows, scaled
from mosam.commands.gather import Entry, Gatherer, Group, Places
from mosam.commands.labels import label_entries, load_labels
from mosam.commands.page import color_class, palette, render, sortable
from mosam.datasets.base import DATASETS
from mosam.errors import MissingDataError
from mosam.evaluation.columns import Column
from mosam.evaluation.intervals import interval
from mosam.evaluation.metrics.paired import FLIPS
from mosam.evaluation.protocols.base import protocols_called
from mosam.evaluation.significance import LEVEL, paired_tests
from mosam.evaluation.tables import column_of, comparison, main_column
from mosam.results.environment import describe_code
from mosam.system import options as shared
from mosam.system.options import option
from mosam.system.processes import map_in_processes

HERE = Path(__file__).parent
COMPARED = 20  # trackers in the table of differences: the best ones
NOTES = 20  # below a table; a card has those of its tracker
LONGEST = 80  # letters of a file's name
SPEED = "fps"
Cell = dict[str, Any]


@dataclass(frozen=True, slots=True)
class BoardOptions:
    """What goes into a board."""

    title: str = option("Heading of its first page.", "mosam board")
    root: Path | None = shared.ROOT.field(help="Folder of the only benchmark.")
    data: Path | None = option("Folder with DATASET/ folders.", None, usual="$MOSAM_DATA")
    dataset: str | None = shared.DATASET.field(
        positional=False, default=None, help="Benchmark of results that are not runs of mosam."
    )
    split: str | None = shared.SPLIT.field()
    labels: Path | None = shared.LABELS.field()
    published: bool = option("Show published numbers beside measured ones.", True)
    jobs: int | None = shared.SCORING_JOBS.field()


def build_board(folder: Path, options: BoardOptions | None = None, *, write: Callable[[str, str], None]) -> list[str]:
    """Makes the site's files.

    Args:
        folder: with runs at any depth; what is damaged there is left out and named.
        options: what goes into the site.
        write: called with each file's plain relative path and its text.
    Returns:
        what was left out, a line each.
    Raises:
        MissingDataError: nothing there.
    """
    options = options or BoardOptions()
    jobs = options.jobs or os.cpu_count() or 1
    places = Places(options.root, options.data)
    gatherer = Gatherer(places, options.dataset, options.split, jobs, lenient=True)
    groups = gatherer.gather([folder])
    if not groups:
        raise MissingDataError(f"{folder}: expected scores or runs, found none; {'; '.join(gatherer.notes[:3])}")
    labels = load_labels(options.labels)
    pages = _Names()
    benchmarks = []
    for group in groups:
        made = _Benchmark(replace(group, entries=label_entries(group.entries, labels)), folder, pages, options)
        benchmarks.append(made.summary())
        write(f"{made.name}.html", made.page())
        write(f"{made.name}.csv", made.csv())
        for job, (page, raw) in zip(made.cards, map_in_processes(make_card, made.cards, jobs), strict=True):
            card = job.file.removesuffix(".json")
            write(f"{made.name}/{card}.html", page)
            write(f"{made.name}/{card}.json", raw)
    context = {
        "title": options.title,
        "benchmarks": benchmarks,
        "notes": gatherer.notes,
        "version": describe_code()["version"] or "",
    }
    write("index.html", render(HERE / "index.html.jinja", context))
    return gatherer.notes


class _Names:
    """File names made of anybody's words: plain, short, none twice."""

    def __init__(self) -> None:
        self._used: set[str] = {"index"}

    def make(self, words: str) -> str:
        plain = re.sub(r"[^a-z0-9._=-]+", "-", words.lower()).strip("-.")[:LONGEST].strip("-.") or "unnamed"
        name, number = plain, 2
        while name in self._used:
            name, number = f"{plain}-{number}", number + 1
        self._used.add(name)
        return name


class _Benchmark:
    """One benchmark's page and what it links to."""

    def __init__(self, group: Group, folder: Path, pages: _Names, options: BoardOptions):
        found = list(dict.fromkeys(name for entry in group.entries for name in entry.scores.overall))
        known = main_column(found, group.protocol)
        self.main: Column | None = known or (column_of(found[0], group.protocol) if found else None)
        self.group = replace(group, entries=tuple(sorted(group.entries, key=self._place)))
        self.values = self._values(found)
        self.name = pages.make(f"{group.dataset}-{group.split}{f'-draw{group.seed}' if group.seed else ''}"
                               f"-{group.protocol}")  # fmt: skip
        self.published = published_rows(group, self.values) if options.published else []
        self.cards = list(self._cards(folder, found))

    def _place(self, entry: Entry) -> tuple[bool, float]:
        """Where a tracker stands, the best first and those without the main number last."""
        number = entry.scores.overall.get(self.main.name, math.nan) if self.main else math.nan
        return math.isnan(number), number if self.main and self.main.lower else -number

    def _values(self, found: Sequence[str]) -> list[str]:
        """Numbers of the table: the protocol's own, the main one first, and the speed."""
        brief = [name for cls in protocols_called(self.group.protocol) for name in cls.brief if name in found]
        names = [*([self.main.name] if self.main else []), *(brief or found)]
        return list(dict.fromkeys([*names, *([SPEED] if SPEED in found else [])]))

    def _cards(self, folder: Path, found: Sequence[str]) -> Iterator[CardJob]:
        names, own = _Names(), replace(self.group, entries=())
        for entry in self.group.entries:
            place = _below(entry.folder, folder)
            file = f"{names.make(entry.name)}.json"
            yield CardJob(entry, own, f"../{self.name}.html", file, tuple(found), place)

    def summary(self) -> dict[str, Any]:
        """Its row on the first page."""
        best = self.group.entries[0].scores
        number = best.overall.get(self.main.name, math.nan) if self.main else math.nan
        return {
            "page": f"{self.name}.html", "title": self.group.title, "runs": len(self.group.entries),
            "published": len(self.published), "tracker": self.group.entries[0].name,
            "sequences": max(len(entry.scores.sequences) for entry in self.group.entries),
            "main": self.main.title if self.main else "", "sort": sortable(number),
            "best": self.main.show(number) if self.main else "",
        }  # fmt: skip

    def page(self) -> str:
        """The page."""
        shown = comparison([entry.scores for entry in self.group.entries], columns=self.values or None)
        sources = list(dict.fromkeys(row.source for row in self.published))
        letters = {source: _letters(number) for number, source in enumerate(sources)}
        rows = [*self._measured(shown), *(self._printed(row, letters[row.source]) for row in self.published)]
        rows.sort(key=lambda row: row["order"])
        matrix, why = self._matrix()
        context = {
            "title": self.group.title, "about": self._about(), "columns": shown.header[shown.names :], "rows": rows,
            "caption": self._caption(), "csv": f"{self.name}.csv", "matrix": matrix, "why_no_matrix": why,
            "notes": [*shown.notes[:NOTES], *_more(len(shown.notes) - NOTES)],
            "sources": [(letter, source) for source, letter in letters.items()],
        }  # fmt: skip
        colors = palette(entry.scores.tracker for entry in self.group.entries)
        return render(HERE / "benchmark.html.jinja", context, colors=colors)

    def _about(self) -> str:
        group, info = self.group, DATASETS[self.group.dataset].info if self.group.dataset in DATASETS else None
        official = info.official_counts.get(group.split) if info else None
        count = f"; {official} official sequences" if official else ""
        source = f", {info.source}" if info and info.source else ""
        hashes = {entry.record.annotation_hash for entry in group.entries if entry.record} - {""}
        versions = f"annotation hash {min(hashes)}" if len(hashes) == 1 else f"{len(hashes)} hashes of annotation"
        told = f"; {versions}" if hashes else ""
        return f"{info.title if info else group.dataset}{source}; {len(group.entries)} measured runs{count}{told}"

    def _caption(self) -> str:
        between = f"; {self.main.title} with its 95 % interval over sequences" if self.main else ""
        return f"Overall numbers{between}"

    def _measured(self, shown: Any) -> Iterator[dict[str, Any]]:
        for number, (entry, card) in enumerate(zip(self.group.entries, self.cards, strict=True)):
            cells = []
            for place, name in enumerate(self.values, start=shown.names):
                column = column_of(name, self.group.protocol)
                between = interval(entry.scores, name) if self.main and name == self.main.name else None
                cells.append({
                    "text": shown.rows[number][place], "rank": shown.ranks[number][place],
                    "sort": sortable(entry.scores.overall.get(name, math.nan)), "interval": column.range(between),
                })  # fmt: skip
            link = f"{self.name}/{card.file.removesuffix('.json')}.html"
            yield {
                "name": entry.name, "link": link, "tag": "", "mark": shown.marks[number], "cells": cells,
                "color": color_class(entry.scores.tracker), "order": self._place(entry),
                "tags": "measured",
            }  # fmt: skip

    def _printed(self, row: PublishedRow, letter: str) -> dict[str, Any]:
        cells: list[Cell] = []
        for name in self.values:
            number = row.numbers.get(name)
            text, value = (number.value, scaled(number)) if number else ("", math.nan)
            cells.append({"text": text, "rank": 0, "sort": sortable(value), "interval": ""})
        main = cells[0]["sort"] if cells else None
        sign = 1 if self.main and self.main.lower else -1
        return {
            "name": row.name, "link": "", "tag": "published", "cells": cells, "color": "", "tags": "published",
            "mark": f"[{letter}]" + (" doubtful" if row.doubtful else ""),
            "order": (main is None, sign * main if main is not None else math.nan),
        }  # fmt: skip

    def _matrix(self) -> tuple[dict[str, Any] | None, str]:
        """Which of the best trackers differ; None with the reason where that cannot be said."""
        chosen = [entry for entry in self.group.entries if entry.scores.sequences][:COMPARED]
        if self.main is None or len(chosen) < 2:
            return None, "There is only one tracker."
        column = self.main
        tests = paired_tests([entry.scores for entry in chosen], column.name)
        if tests is None:
            return None, f"No test: {column.heading} is no mean over sequences."
        better = -1 if column.lower else 1
        rows = []
        for row, entry in enumerate(chosen):
            cells: list[Cell | None] = []
            for other in range(len(chosen)):
                gap, p = float(tests.differences[row, other]), float(tests.p[row, other])
                kind = better * tests.verdict(row, other)
                cells.append(None if row == other else {
                    "text": column.show_signed(gap), "p": "-" if math.isnan(p) else _p(p),
                    "kind": ("same", "better", "worse")[kind], "sign": ("", " ▲", " ▼")[kind],
                    "words": ("no difference shown", "better", "worse")[kind],
                })  # fmt: skip
            rows.append({"name": entry.name, "cells": cells})
        pairs = len(chosen) * (len(chosen) - 1) // 2
        limited = f" of the best {len(chosen)}" if len(chosen) < len(self.group.entries) else ""
        caption = (
            f"{column.title}{limited}: row less column, mean over the sequences both have. ▲ better, ▼ worse at "
            f"{LEVEL:.0%}: paired sign-flip test ({FLIPS:,} draws), p adjusted by Holm over {_counted(pairs)}."
        ).replace("%:", " %:")
        return {"names": [entry.name for entry in chosen], "rows": rows, "caption": caption}, ""

    def csv(self) -> str:
        """Overall numbers of every run."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = list(dict.fromkeys(name for entry in self.group.entries for name in entry.scores.overall))
        writer.writerow(["tracker", "coverage", *names])
        for entry in self.group.entries:
            numbers = [entry.scores.overall.get(name, math.nan) for name in names]
            plain = ["" if math.isnan(number) else number for number in numbers]
            writer.writerow([_no_formula(entry.name), entry.scores.coverage or "", *plain])
        return out.getvalue()


def _counted(pairs: int) -> str:
    return f"the {pairs} pairs shown" if pairs > 1 else "the only pair"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _no_formula(text: str) -> str:
    """A name that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _letters(number: int) -> str:
    """a, b, ... z, aa, ab ..."""
    return (_letters(number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _more(count: int) -> Collection[str]:
    return (f"and {count} more notes, on the cards",) if count > 0 else ()


def _below(folder: Path | None, root: Path) -> str:
    """Where a run lies below the results, for people: never a path of this machine."""
    if folder is None:
        return ""
    try:
        return str(folder.relative_to(root)) if folder != root else root.name
    except ValueError:
        return folder.name
