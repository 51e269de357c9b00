"""Names that a reader sees in place of a tracker with all its options, from `--labels`.

    [labels]
    "mosam[stride=3]" = "MoSAM, every third frame"
    "sam2 large" = "SAM 2.1-L"

The names are those of tables: a tracker, a tracker with its model, or the name of a run's folder. An experiment file
is taken too: each row's label is the name of its tracker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from mosam.commands.gather import Entry
from mosam.errors import DataError, MissingDataError, MosamError
from mosam.evaluation.scores import Scores
from mosam.evaluation.tables import tracker_name
from mosam.system.option_names import present_label
from mosam.system.typed import read_toml


@dataclass(frozen=True, slots=True)
class _Row:
    """What is read of a row of an experiment file."""

    label: str
    tracker: str = ""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class _File:
    """What is read of a file of labels, or of an experiment file."""

    labels: Mapping[str, str] = field(default_factory=dict)
    row: tuple[_Row, ...] = ()


def load_labels(path: Path | None) -> dict[str, str]:
    """Labels by name; nothing of what the file names is imported.

    Args:
        path: a TOML file; None = no labels.
    Raises:
        MissingDataError: no such file.
        DataError: neither labels nor an experiment.
    """
    if path is None:
        return {}
    try:
        file = read_toml(path, _File, unknown=True)
    except MissingDataError:
        raise MissingDataError(f"--labels {path}: expected a file of labels or an experiment, found none") from None
    found = {present_label(name): label for name, label in file.labels.items()}
    for row in file.row:
        if row.tracker:
            found[" ".join(filter(None, (_as_shown(row.tracker), row.model)))] = row.label
    if not found:
        raise DataError(path, "expected [labels] or [[row]]s with a label and a tracker, found neither")
    return found


def label_scores(items: Iterable[Scores], labels: Mapping[str, str]) -> list[Scores]:
    """Scores with their labels; equal labels get the model behind them."""
    return [entry.scores for entry in label_entries(map(Entry, items), labels)]


def label_entries(entries: Iterable[Entry], labels: Mapping[str, str]) -> tuple[Entry, ...]:
    """Entries with their labels; equal labels get the model behind them, or are left as they were."""
    entries = tuple(entries)
    found = [_label(entry, labels) for entry in entries]
    used = Counter(found)
    pairs = zip(found, [entry.scores.model for entry in entries], strict=True)
    found = [f"{one} {model}" if one and model and used[one] > 1 else one for one, model in pairs]
    used = Counter(found)
    return tuple(
        replace(entry, scores=replace(entry.scores, label=one)) if one and used[one] == 1 else entry
        for entry, one in zip(entries, found, strict=True)
    )


def _label(entry: Entry, labels: Mapping[str, str]) -> str | None:
    scores = entry.scores
    names = (entry.folder.name if entry.folder else "", tracker_name(scores), scores.tracker)
    return next((labels[name] for name in names if name in labels), None)


def _as_shown(tracker: str) -> str:
    """A tracker as tables name it: without options that have their usual value, in their own order."""
    from mosam.policies.base import load_policy, parse_tracker

    if ":" in tracker:  # code of somebody's, which is not loaded for a name
        return tracker
    try:
        name, values = parse_tracker(tracker)
        return str(load_policy(name, **values).label)
    except (ValueError, MosamError):
        return tracker
