"""Scores of one run, and the file `scores.json` they are kept in."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mosam.errors import DataError, MissingDataError
from mosam.system.files import read_regular, write_text
from mosam.system.option_names import present_label
from mosam.system.typed import from_data, parse_json

SCHEMA = 1
Values = Mapping[str, float]
_Key = TypeVar("_Key", str, int)


@dataclass(frozen=True, slots=True)
class Scores:
    """What one tracker reaches on one benchmark under one protocol.

    Values are fractions in [0, 1] at full precision, but for `failures`, `fps`, `robustness` of `pysot` and the decays;
    NaN is undefined (null in the file).

    Attributes:
        dataset, split, protocol: what was scored and how; the protocol with its options.
        tracker: policy with its options, or the name of a third-party folder.
        model: network of one of our runs, else None.
        overall: the benchmark's numbers by name.
        sequences: each sequence's numbers.
        curves: mean curves by name, over the thresholds of `evaluation.metrics`.
        objects: numbers of each object by sequence and object id, where sequences have several.
        attributes: the numbers over the sequences that have an attribute.
        counts: by sequence and value what it weighs in `overall`, where that is not 1 (objects, frames).
        subset: `k of n sequences` where fewer were scored than the benchmark's folder has, else None.
        official: `k of n official sequences` where fewer were scored than the official split has, else None.
        missing: sequences left out because their results are missing or short (`--allow-missing`).
        notes: what a reader should know of single sequences.
        resamples: of overall numbers that are not means over sequences, their values over sequences resampled with
            replacement, in the same way for every tracker on the same sequences; `draws` in the file.
        label: shown in place of tracker and model, or None; not in the file.
    """

    dataset: str
    split: str
    tracker: str
    model: str | None
    protocol: str
    overall: Values
    sequences: Mapping[str, Values]
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    objects: Mapping[str, Mapping[int, Values]] = field(default_factory=dict)
    attributes: Mapping[str, Values] = field(default_factory=dict)
    counts: Mapping[str, Values] = field(default_factory=dict)
    subset: str | None = None
    official: str | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    resamples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    label: str | None = None

    @property
    def coverage(self) -> str | None:
        """How many sequences were scored where it is not all of them, else None."""
        return self.official or self.subset

    def to_json(self) -> dict[str, Any]:
        """The content of `scores.json`; NaN becomes None."""
        content = _plain(dataclasses.asdict(self))
        content["draws"] = content.pop("resamples")
        del content["label"]
        return {"schema": SCHEMA, **content}

    @classmethod
    def from_json(cls, data: object, *, where: str = "scores") -> Scores:
        """The inverse of `to_json`.

        Args:
            data: one object of a scores file; what it lacks beside the names is taken as empty.
            where: file, for errors.
        Raises:
            DataError: not scores, or of a later schema.
        """
        head = {key: data[key] for key in ("schema",) if key in data} if isinstance(data, Mapping) else data
        schema = from_data(_Schema, head, where).schema
        if schema > SCHEMA:
            raise DataError(where, f"expected scores of schema {SCHEMA}, got {schema}; update mosam")
        stored = from_data(_Stored, data, where)
        return cls(
            dataset=stored.dataset,
            split=stored.split,
            tracker=present_label(stored.tracker),
            model=stored.model,
            protocol=stored.protocol,
            overall=_values(stored.overall),
            sequences=_nested(stored.sequences),
            curves={name: tuple(map(_number, curve)) for name, curve in stored.curves.items()},
            objects={name: _nested(objects) for name, objects in stored.objects.items()},
            attributes=_nested(stored.attributes),
            counts=_nested(stored.counts),
            subset=stored.subset,
            official=stored.official,
            missing=stored.missing,
            notes=stored.notes,
            resamples={name: tuple(map(_number, values)) for name, values in stored.draws.items()},
        )


_Numbers = Mapping[str, float | None]  # null is NaN


@dataclass(frozen=True, slots=True)
class _Schema:
    """What says whether the rest can be understood."""

    schema: int = SCHEMA


@dataclass(frozen=True, slots=True)
class _Stored:
    """One object of a scores file, see `Scores`."""

    dataset: str
    split: str
    tracker: str
    protocol: str
    overall: _Numbers
    sequences: Mapping[str, _Numbers]
    schema: int = SCHEMA
    model: str | None = None
    curves: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    objects: Mapping[str, Mapping[int, _Numbers]] = field(default_factory=dict)
    attributes: Mapping[str, _Numbers] = field(default_factory=dict)
    counts: Mapping[str, _Numbers] = field(default_factory=dict)
    subset: str | None = None
    official: str | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    draws: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)


def save_scores(path: Path, scores: Scores | Iterable[Scores]) -> None:
    """Writes one object for one tracker, a list for several; a reader never sees half a file."""
    content = scores.to_json() if isinstance(scores, Scores) else [item.to_json() for item in scores]
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def load_scores(path: Path) -> list[Scores]:
    """All scores of a file: of `scores.json`, or of the list that `--json` writes.

    Raises:
        MissingDataError: no such file.
        DataError: not JSON, or not scores.
    """
    try:
        content = parse_json(read_regular(path), path)
    except MissingDataError:
        raise MissingDataError(f"{path}: expected a scores file, found none; make it with mosam score --json") from None
    items = content if isinstance(content, list) else [content]
    if not items:
        raise DataError(path, "expected scores, got an empty list; repeat mosam score")
    return [Scores.from_json(item, where=str(path)) for item in items]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):  # NumPy's floats are floats too, and print as numbers only after this
        return float(value) if math.isfinite(value) else None
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _values(data: _Numbers) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in data.items()}


def _nested(data: Mapping[_Key, _Numbers]) -> dict[_Key, dict[str, float]]:
    return {name: _values(values) for name, values in data.items()}
