"""Scores of one run, and the file `scores.json` they are kept in."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosam.errors import DataError, MissingDataError

SCHEMA = 1
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scores:
    """What one tracker reaches on one benchmark under one protocol.

    Values are fractions in [0, 1] at full precision, but for `failures`, `fps`, `robustness` of `pysot` and the decays;
    NaN is undefined (null in the file).

    Attributes:
        dataset, split, protocol: what was scored and how; the protocol with its options.
        tracker: policy with its options, or the name of somebody's folder.
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
        draws: of overall numbers that are no mean over sequences, their values over sequences drawn again with
            replacement; the same draws for every tracker on the same sequences.
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
    draws: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def mark(self) -> str | None:
        """How many sequences were scored where it is not all of them, else None."""
        return self.official or self.subset

    def to_json(self) -> dict[str, Any]:
        """The content of `scores.json`; NaN becomes None."""
        return {"schema": SCHEMA, **_plain(dataclasses.asdict(self))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], *, where: str = "scores") -> Scores:
        """The inverse of `to_json`.

        Args:
            data: one object of a scores file; what it lacks beside the names is taken as empty.
            where: file, for errors.
        Raises:
            DataError: not scores, or of a later schema.
        """
        try:
            if data.get("schema", SCHEMA) > SCHEMA:
                raise DataError(where, f"expected scores of schema {SCHEMA}, got {data['schema']}; update mosam")
            return cls(
                **{name: data[name] for name in ("dataset", "split", "tracker", "protocol")},
                model=data.get("model"),
                overall=_values(data["overall"]),
                sequences=_nested(data["sequences"]),
                curves={name: tuple(map(_number, curve)) for name, curve in data.get("curves", {}).items()},
                objects={
                    name: {int(object_id): _values(values) for object_id, values in objects.items()}
                    for name, objects in data.get("objects", {}).items()
                },
                attributes=_nested(data.get("attributes", {})),
                counts=_nested(data.get("counts", {})),
                subset=data.get("subset"),
                official=data.get("official"),
                missing=tuple(data.get("missing", ())),
                notes=tuple(data.get("notes", ())),
                draws={name: tuple(map(_number, values)) for name, values in data.get("draws", {}).items()},
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise DataError(where, f"expected scores, got something else ({reason})") from None


def save_scores(path: Path, scores: Scores | Iterable[Scores]) -> None:
    """Writes one object for one tracker, a list for several; a reader never sees half a file."""
    content = scores.to_json() if isinstance(scores, Scores) else [item.to_json() for item in scores]
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def load_scores(path: Path) -> list[Scores]:
    """All scores of a file: of `scores.json`, or of the list that `--json` writes.

    Raises:
        MissingDataError: no such file.
        DataError: not JSON, or not scores.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise MissingDataError(f"{path}: expected a scores file, found none; make it with mosam score --json") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(path, f"expected scores in JSON, got something else ({error})") from None
    items = content if isinstance(content, list) else [content]
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


def _values(data: Mapping[str, float | None]) -> dict[str, float]:
    return {name: _number(value) for name, value in data.items()}


def _nested(data: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    return {name: _values(values) for name, values in data.items()}
