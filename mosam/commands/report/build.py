"""From gathered scores to the page: everything the template shows, as plain values."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mosam.commands.gather import Entry, Gatherer, Group, Places, scores_json
from mosam.commands.labels import label_entries, load_labels
from mosam.commands.page import color_class, data_url, palette, render, sortable
from mosam.commands.page.settings import flat_settings
from mosam.commands.report.sequences import HEIGHT, WIDTH, Job, SequenceView, view_sequences
from mosam.errors import MissingDataError, MosamError, one_line
from mosam.evaluation.figures import FIGURES, save
from mosam.evaluation.figures.style import color
from mosam.evaluation.intervals import interval
from mosam.evaluation.layouts import MISSING
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import column_of, comparison, main_column
from mosam.system import options as shared
from mosam.system.options import option

HERE = Path(__file__).parent
SCALE = 1.6  # CSS pixels of a figure by its points
NOTES = 20  # shown of a tracker; all are in its file


@dataclass(frozen=True, slots=True)
class ReportOptions:
    """What goes into a report."""

    title: str = option("Title of the report.", "mosam report")
    root: Path | None = shared.ROOT.field(help="Folder of the benchmark, if there is only one.")
    data: Path | None = option("Folder with DATASET/ folders.", None, usual="$MOSAM_DATA")
    dataset: str | None = shared.DATASET.field(
        positional=False, default=None, help="Benchmark of results that are not runs of mosam."
    )
    split: str | None = shared.SPLIT.field()
    strips: bool = option("Show frames of each sequence.", True)
    frames: bool = option("Read raw results, for curves and frames.", True, name="curves")
    jobs: int | None = shared.SCORING_JOBS.field()
    labels: Path | None = shared.LABELS.field()

    @property
    def places(self) -> Places:
        """Where benchmarks lie."""
        return Places(self.root, self.data)


Progress = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]


def build_report(
    paths: Sequence[Path], options: ReportOptions | None = None, *, progress: Progress | None = None
) -> str:
    """The page.

    Args:
        paths: scores files, folders of runs, or folders of those; see `Gatherer.gather`.
        options: what goes into it.
        progress: makes a context for a title and a count that gives a function to call with each sequence's name.
    Raises:
        MissingDataError: no scores.
        DataError: damaged scores or records, or such of a later version.
    """
    options = options or ReportOptions()
    gatherer = Gatherer(options.places, options.dataset, options.split, options.jobs or os.cpu_count() or 1)
    labels = load_labels(options.labels)
    groups = [replace(one, entries=label_entries(one.entries, labels)) for one in gatherer.gather(paths)]
    if not groups:
        raise MissingDataError(f"report: expected scores, found none in {', '.join(map(str, paths)) or 'nothing'}")
    shown = [_group(f"b{number}", group, options, progress) for number, group in enumerate(groups, start=1)]
    context = {"title": options.title, "groups": shown, "width": WIDTH, "height": HEIGHT}
    trackers = (entry.scores.tracker for group in groups for entry in group.entries)
    return render(HERE / "report.html.jinja", context, colors=palette(trackers))


def _group(key: str, group: Group, options: ReportOptions, progress: Progress | None) -> dict[str, Any]:
    entries = group.entries
    names = list(dict.fromkeys(n for entry in entries for n in (*entry.scores.sequences, *entry.scores.missing)))
    views, note = _views(group, names, options, progress)
    values = list(dict.fromkeys(name for entry in entries for name in entry.scores.overall))
    known = main_column(values, group.protocol)
    main = known.name if known else values[0] if values else None
    return {
        "key": key,
        "title": group.title,
        "protocol": group.protocol,
        "entries": [_entry(f"{key}-r{number}", entry) for number, entry in enumerate(entries, start=1)],
        "overview": _overview(entries, values, main, group.protocol),
        "overview_csv": data_url(_csv(entries, values), "text/csv"),
        "figures": _figures([entry.scores for entry in entries if entry.scores.sequences]),
        "main": column_of(main, group.protocol).title if main else "",
        "sequences": [
            _sequence(f"{key}-s{number}", name, entries, values, main, group.protocol, views.get(name, SequenceView()))
            for number, name in enumerate(names, start=1)
        ],
        "attributes": sorted({attribute for view in views.values() for attribute in view.attributes}),
        "note": note,
        "settings": _settings(entries),
        "has_records": any(entry.record for entry in entries),
    }


# ---------------------------------------------------------------------------------------------- overview


def _overview(entries: Sequence[Entry], values: Sequence[str], main: str | None, protocol: str) -> dict[str, Any]:
    """The table of `mosam table`, with its marks, ranks and notes, ready to be sorted.

    The page's template lays it out, not `layouts.render`: each cell also carries the number that a click sorts by, its
    row a color and links, and all of it must be escaped as HTML, which the template does by itself.
    """
    table = comparison([entry.scores for entry in entries], columns=values or None)
    rows = []
    for number, entry in enumerate(entries):
        line = []
        for place, name in enumerate(values, start=table.names):
            between = interval(entry.scores, name) if name == main else None
            line.append({
                "text": table.rows[number][place],
                "sort": sortable(entry.scores.overall.get(name, math.nan)),
                "rank": table.ranks[number][place],
                "interval": column_of(name, protocol).range(between),
            })  # fmt: skip
        look = color_class(entry.scores.tracker)
        own = {"name": entry.name, "link": "", "tag": "", "tags": "", "mark": table.marks[number]}
        rows.append({**own, "cells": line, "color": look})
    return {"columns": table.header[table.names :], "rows": rows, "notes": table.notes[:NOTES]}


def _csv(entries: Sequence[Entry], values: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["tracker", "sequence", *values])
    for entry in entries:
        for name, numbers in (("overall", entry.scores.overall), *entry.scores.sequences.items()):
            writer.writerow([entry.name, name, *(_plain(numbers.get(value, math.nan)) for value in values)])
    return out.getvalue()


def _entry(key: str, entry: Entry) -> dict[str, Any]:
    scores, record = entry.scores, entry.record
    safe = "".join(c if c.isalnum() or c in "-._=" else "-" for c in entry.name)
    return {
        "key": key,
        "name": entry.name,
        "color": color_class(entry.scores.tracker),
        "file": f"{scores.dataset}-{scores.split}-{safe}.json",
        "url": data_url(scores_json(entry), "application/json"),
        "mark": scores.coverage,
        "missing": scores.missing,
        "notes": scores.notes[:NOTES],
        "more_notes": max(0, len(scores.notes) - NOTES),
        "failed": record.failed if record else {},
    }


# ---------------------------------------------------------------------------------------------- figures


def _figures(scores: Sequence[Scores]) -> list[dict[str, Any]]:
    """Every kind that suits the scores, as SVG; the others are left out."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for figure in sorted((FIGURES[kind] for kind in FIGURES), key=lambda figure: (figure.order, figure.kind)):
            try:
                [path] = save(figure(scores), Path(folder) / figure.kind, formats=("svg",))
            except MosamError:  # scores without what it shows
                continue
            text = path.read_text(encoding="utf-8")
            size = {name: round(SCALE * _points(text, name)) for name in ("width", "height")}
            url = data_url(text, "image/svg+xml")
            found.append({"kind": figure.kind, "title": figure.title, "url": url, **size})
    return found


def _points(svg: str, name: str) -> float:
    """Width or height of an SVG, in points."""
    found = re.search(rf'<svg [^>]*\b{name}="([0-9.]+)pt"', svg)
    return float(found[1]) if found else 0.0


# ---------------------------------------------------------------------------------------------- sequences


def _views(
    group: Group, names: Sequence[str], options: ReportOptions, progress: Progress | None
) -> tuple[dict[str, SequenceView], str]:
    """What is known of the frames of each sequence, and why nothing is where that is so."""
    if not options.frames or not names:
        return {}, ""
    if not any(entry.folder for entry in group.entries):
        return {}, "No curves or frames: the scores came without the folders of raw results."
    try:
        dataset = options.places.open(group.dataset, group.split, group.seed)
        if not dataset.has_truth:
            return {}, f"No curves or frames: {dataset.unscored()}."
    except MosamError as error:
        return {}, f"No curves or frames: {one_line(error)}."
    runs = tuple((e.scores.tracker, e.scores.model, e.folder, color(e.scores.tracker)) for e in group.entries)
    job = Job(dataset, runs, options.strips)
    known = [name for name in names if name in dataset]
    with progress(group.title, len(known)) if progress else nullcontext() as step:
        views = view_sequences(job, known, jobs=options.jobs or os.cpu_count() or 1, progress=step)
    if not any(view.curves for view in views.values()):
        return views, "No curves or frames: no raw results lie beside the scores."
    if options.strips and not any(view.strip for view in views.values()):
        return views, "No frames: this copy of the benchmark holds the annotation only."
    return views, ""


def _sequence(
    key: str,
    name: str,
    entries: Sequence[Entry],
    values: Sequence[str],
    main: str | None,
    protocol: str,
    view: SequenceView,
) -> dict[str, Any]:
    numbers = [entry.scores.sequences.get(name) for entry in entries]
    shown = column_of(main, protocol) if main else None
    cells: list[dict[str, Any]] = []
    for own in numbers:
        value = math.nan if own is None or main is None else own.get(main, math.nan)
        text = "missing" if own is None else shown.show(value) if shown else MISSING
        cells.append({"text": text, "sort": sortable(value)})
    defined = [cell["sort"] for cell in cells if cell["sort"] is not None]
    gap = max(defined) - min(defined) if len(defined) > 1 else math.nan
    rows = []
    for number, (entry, own) in enumerate(zip(entries, numbers, strict=True)):
        curve = next((one for one in view.curves if one.number == number), None)
        line = [column_of(v, protocol).show((own or {}).get(v, math.nan)) for v in values]
        rows.append({
            "name": entry.name, "cells": line, "color": color_class(entry.scores.tracker),
            "lost": "" if curve is None else "never" if curve.lost is None else str(curve.lost),
        })  # fmt: skip
    return {
        "key": key,
        "name": name,
        "cells": cells,
        "gap": {"text": shown.show(gap) if shown else MISSING, "sort": sortable(gap)},
        "columns": [column_of(v, protocol).title for v in values],
        "rows": rows,
        "view": view,
        "curves": [
            {
                "curve": curve,
                "color": color_class(entries[curve.number].scores.tracker),
                "dash": curve.number % 5,
                "name": entries[curve.number].name,
            }
            for curve in view.curves
        ],
        "label": _chart_label(view, entries),
    }


def _chart_label(view: SequenceView, entries: Sequence[Entry]) -> str:
    """What a screen reader says of a chart."""
    if not view.curves:
        return ""
    parts = []
    for curve in view.curves:
        mean = MISSING if math.isnan(curve.mean) else f"{100 * curve.mean:.0f}"
        lost = "" if curve.lost is None else f", first lost at frame {curve.lost}"
        parts.append(f"{entries[curve.number].name} mean {mean}{lost}")
    return f"{view.what} in percent over frames {view.first} to {view.last}: {'; '.join(parts)}"


# ---------------------------------------------------------------------------------------------- settings


def _settings(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """A row a setting, those that differ between the runs first."""
    columns = [_flat(entry) for entry in entries]
    keys = list(dict.fromkeys(key for column in columns for key in column))
    rows = []
    for key in keys:
        texts = [column.get(key, MISSING) for column in columns]
        recorded = [text for text, entry in zip(texts, entries, strict=True) if entry.record]
        rows.append({"name": key, "cells": texts, "differs": len(set(recorded)) > 1})
    return sorted(rows, key=lambda row: not row["differs"])


def _flat(entry: Entry) -> dict[str, str]:
    if entry.record is None:
        return {}
    found = flat_settings(entry.record)
    record = entry.record
    frames = sum(one.frames for one in record.sequences.values())
    found |= {
        "sequences done": str(len(record.done)),
        "sequences failed": str(len(record.failed)),
        "frames": str(frames),
    }
    if record.fps:
        found["frames per second"] = f"{record.fps:.2f}"
    return found


def _plain(value: float) -> float | str:
    return "" if math.isnan(value) else value
