"""The card of a result: everything needed to trust a number or to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mosam.commands.gather import Entry, Group, scores_json
from mosam.commands.page import palette, render
from mosam.commands.page.settings import flat_settings
from mosam.datasets.base import DATASETS
from mosam.evaluation.intervals import interval
from mosam.evaluation.layouts import MISSING
from mosam.evaluation.tables import column_of
from mosam.results.record import RunRecord

HERE = Path(__file__).parent
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
NOTES = 50  # shown of a tracker; all are in its file
UNKNOWN = "not recorded"


@dataclass(frozen=True, slots=True)
class CardJob:
    """One card to make.

    Attributes:
        entry: the tracker.
        group: of its benchmark, without entries.
        page: of the benchmark, relative to the card.
        file: name of the file of raw scores beside the card.
        values: names of the numbers it shows.
        place: the folder of the run below the results.
    """

    entry: Entry
    group: Group
    page: str
    file: str
    values: tuple[str, ...]
    place: str


def make_card(job: CardJob) -> tuple[str, str]:
    """The card's page, and the raw scores as JSON."""
    entry, scores = job.entry, job.entry.scores
    numbers = []
    for name in job.values:
        column = column_of(name, scores.protocol)
        number = scores.overall.get(name)
        text = MISSING if number is None else column.show(number)
        numbers.append((column.title, text, column.range(interval(scores, name))))
    context = {
        "title": f"{entry.name} on {job.group.title}",
        "name": entry.name,
        "group": job.group.title,
        "page": job.page,
        "file": job.file,
        "mark": scores.coverage,
        "numbers": numbers,
        "facts": list(facts(entry, job.group, job.place).items()),
        "settings": list(flat_settings(entry.record).items()) if entry.record else [],
        "missing": scores.missing,
        "failed": entry.record.failed if entry.record else {},
        "notes": scores.notes[:NOTES],
        "more_notes": max(0, len(scores.notes) - NOTES),
    }
    return render(HERE / "card.html.jinja", context, colors=palette([scores.tracker])), scores_json(entry)


def facts(entry: Entry, group: Group, place: str) -> dict[str, str]:
    """What a card says of how a result was made, by heading; `not recorded` where nobody knows.

    Args:
        entry: the tracker.
        group: of its benchmark.
        place: the folder of the run.
    """
    scores, record = entry.scores, entry.record
    official = DATASETS[group.dataset].info.official_counts.get(group.split) if group.dataset in DATASETS else None
    found = {
        "Benchmark": f"{group.dataset} {group.split}" + (f", draw {group.seed}" if group.seed else ""),
        "Sequences": f"{len(scores.sequences)} scored"
        + (f" of {official} official" if official is not None else "")
        + (f", {len(scores.missing)} without results" if scores.missing else ""),
        "Protocol": scores.protocol,
        "Folder": place or UNKNOWN,
    }
    return found | (_of_record(record, place) if record else dict.fromkeys(_HEADINGS, UNKNOWN))


_HEADINGS = ("Annotation hash", "Weights", "Command", "Code", "Device", "Date", "Frames and seconds")


def _of_record(record: RunRecord, place: str) -> dict[str, str]:
    settings, done = record.settings, [one for one in record.sequences.values() if one.status == "done"]
    seconds = sum(one.seconds for one in done)
    frames = sum(one.frames for one in done)
    speed = f", {record.fps:.2f} frames/s" if record.fps else ""
    device = str(record.environment.get("device") or settings.device)
    values = (
        record.annotation_hash or UNKNOWN,
        f"{settings.model}, SHA-256 {settings.weights_hash}",
        command(record, place),
        _code(record.environment.get("code")),
        f"{device}, {settings.precision}, {record.environment.get('platform', 'platform not recorded')}",
        str(record.environment.get("date") or UNKNOWN),
        f"{frames} frames in {seconds:.1f} s of tracking{speed}",
    )
    return dict(zip(_HEADINGS, values, strict=True))


def _code(code: object) -> str:
    if not isinstance(code, Mapping):
        return UNKNOWN
    clean = code.get("clean")
    state = ", clean" if clean is True else ", with changes that are not committed" if clean is False else ""
    commit = f", commit {code['commit']}" if code.get("commit") else ""
    return f"mosam {code.get('version') or 'of unknown version'}{commit}{state}"


def command(record: RunRecord, place: str = "") -> str:
    """The command that repeats a run, from its record; a text to read, which nothing runs.

    Args:
        record: of the run.
        place: its folder, whose name says whether settings are the published ones.
    """
    return shlex.join(["mosam", "run", record.settings.dataset, *_words(record, place)])


def _words(record: RunRecord, place: str) -> Iterable[str]:
    settings, output = record.settings, record.settings.output
    info = DATASETS[settings.dataset].info if settings.dataset in DATASETS else None
    yield from ("--split", settings.split, "--tracker", settings.tracker, "--model", settings.model)
    yield from ("--device", settings.device)
    yield from ("--precision", PRECISIONS.get(settings.precision, settings.precision))
    options: dict[str, tuple[Any, Any]] = {
        "--prompt": (settings.prompt, info and info.prompts[0]),
        "--seed": (settings.seed, 0),
        "--absent-as": (output.get("absent_as"), "zeros"),
        "--box-from-mask": (output.get("box_from_mask"), info and info.box_from_mask),
        "--region-files": (output.get("region_files"), "auto"),
    }
    for name, (value, usual) in options.items():
        if value not in (None, "", usual):
            yield from (name, str(value))
    if "published" in Path(place).name.split("@")[1:]:
        yield from ("--settings", "published")
    if record.selection is not None:
        yield from ("--sequences", ",".join(record.selection))
