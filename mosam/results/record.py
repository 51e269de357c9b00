"""The record of a run: `run.json`, which says how its results were made and what became of each sequence."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mosam.errors import DataError, MissingDataError
from mosam.system.files import read_regular
from mosam.system.option_names import present_label, present_options
from mosam.system.typed import from_data, parse_json

RECORD = "run.json"
BACKUP = "run.json.bak"
FORMAT = 1

Scalar: TypeAlias = "str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What must be equal for two results to belong to one run.

    Attributes:
        dataset, split, prompt: what is tracked.
        seed: of a generated benchmark, and of random weights.
        tracker: the policy with the options that differ from its defaults, `mosam[stride=3]`.
        policy: every field of its configuration.
        model: name of the network.
        weights_hash: SHA-256 of its weights.
        precision: type it computes in.
        device: kind of device (`cpu`, `cuda`, `mps`); rounding differs between them.
        network: other choices of the network: rounding formulas, resize filter.
        engine: parity settings, see `mosam.engine.parity`.
        output: result format, value for absent objects, box convention.
        plugins: version and SHA-256 of each plugin that the dataset, tracker, network or motion is from.
        outside: of a tracker that is no memory policy: its class, or its command and the hashes of its files; such a
            one has no network, and the fields about it are empty.
    """

    dataset: str
    split: str
    prompt: str
    seed: int
    tracker: str
    policy: Mapping[str, Any]
    model: str
    weights_hash: str
    precision: str
    device: str
    network: Mapping[str, Any]
    engine: Mapping[str, Any]
    output: Mapping[str, Any]
    plugins: Mapping[str, Any] = field(default_factory=dict)
    outside: Mapping[str, Any] = field(default_factory=dict)

    def differences(self, other: RunSettings) -> list[str]:
        """Fields in which `other` differs, each as `name: own value -> other's value`."""
        mine, theirs = _flatten(dataclasses.asdict(self)), _flatten(dataclasses.asdict(other))
        absent = "(not recorded)"
        return [
            f"{key}: {mine.get(key, absent)} -> {theirs.get(key, absent)}"
            for key in dict.fromkeys([*mine, *theirs])
            if mine.get(key, absent) != theirs.get(key, absent)
        ]


@dataclass(frozen=True, slots=True)
class SequenceRecord:
    """What became of one sequence.

    Attributes:
        status: `done` or `failed`.
        frames: frames tracked.
        seconds: time spent in the engine, without waiting for frames; a batch's time is shared equally.
        wall_seconds: from opening the sequence to its finished files.
        annotation: hash of the annotation it was started from.
        pictures: fingerprint of its frames (`mosam.datasets.fingerprint`); None = not taken, as in older records.
        hash: SHA-256 over names and bytes of its result files.
        reason: why it failed, one line.
    """

    status: Literal["done", "failed"]
    frames: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    annotation: str | None = None
    pictures: str | None = None
    hash: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything needed to redo a run, as kept in `run.json`.

    Attributes:
        settings: what its results depend on.
        selection: names of the sequences the run was asked for, or None = all of the split.
        annotation_hash: hash of the annotation of those sequences.
        environment: code version, package versions, machine; see `mosam.results.environment`.
        sequences: by name, in the order they were finished.
    """

    settings: RunSettings
    selection: tuple[str, ...] | None = None
    annotation_hash: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    sequences: Mapping[str, SequenceRecord] = field(default_factory=dict)

    @property
    def done(self) -> list[str]:
        """Names of the finished sequences."""
        return [name for name, record in self.sequences.items() if record.status == "done"]

    @property
    def failed(self) -> dict[str, str]:
        """Reason of each failed sequence."""
        return {name: record.reason or "" for name, record in self.sequences.items() if record.status == "failed"}

    @property
    def fps(self) -> float | None:
        """Frames per second of the finished sequences, or None where nothing was timed."""
        finished = [record for record in self.sequences.values() if record.status == "done"]
        seconds = sum(record.seconds for record in finished)
        return sum(record.frames for record in finished) / seconds if seconds > 0 else None

    def to_json(self) -> dict[str, Any]:
        """The content of `run.json`."""
        settings = dataclasses.asdict(self.settings)
        for empty in [key for key in ("plugins", "outside") if not settings[key]]:
            del settings[empty]
        return {
            "format": FORMAT,
            **settings,
            "selection": None if self.selection is None else list(self.selection),
            "annotation_hash": self.annotation_hash,
            "environment": dict(self.environment),
            "sequences": {
                name: {key: value for key, value in dataclasses.asdict(record).items() if value is not None}
                for name, record in self.sequences.items()
            },
        }

    @classmethod
    def from_json(cls, data: object, where: str | os.PathLike[str] = RECORD) -> RunRecord:
        """The inverse of `to_json`.

        Raises:
            DataError: something is missing or of a wrong type.
        """
        fields = from_data(dict[str, Any], data, where)
        if fields.get("format") != FORMAT:
            raise DataError(where, f"format: expected {FORMAT}, got {str(fields.get('format'))[:20]!r}")
        rest = from_data(_Rest, fields, where, unknown=True)
        return cls(
            _present(from_data(RunSettings, fields, where, unknown=True)),
            rest.selection, rest.annotation_hash, rest.environment, rest.sequences,
        )  # fmt: skip


def _present(settings: RunSettings) -> RunSettings:
    """Settings with the options of the tracker by their present names."""
    policy = present_options(settings.tracker.partition("[")[0], settings.policy)
    return dataclasses.replace(settings, tracker=present_label(settings.tracker), policy=policy)


@dataclass(frozen=True, slots=True)
class _Rest:
    """Fields of `run.json` beside the settings."""

    selection: tuple[str, ...] | None
    annotation_hash: str
    environment: Mapping[str, Any]
    sequences: Mapping[str, SequenceRecord]


def read_record(folder: str | os.PathLike[str]) -> RunRecord:
    """The record of a run.

    Args:
        folder: a run's folder.
    Raises:
        MissingDataError: it holds no `run.json`.
        DataError: `run.json` is damaged.
    """
    path = Path(folder) / RECORD
    try:
        return parse_record(read_regular(path), path)
    except MissingDataError:
        raise MissingDataError(f"{folder}: expected a run's folder with {RECORD}, found none") from None
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ")
        raise DataError(
            path,
            f"expected the record of a run, but it is damaged ({detail}); repeat the command that made the run, which "
            "mends it and keeps what is intact",
        ) from None


def parse_record(data: bytes | str, path: Path) -> RunRecord:
    """The record in the text of a `run.json`; DataError where it holds none."""
    return RunRecord.from_json(parse_json(data, path, nan=True), path)  # options of a policy may be infinite


def saved_of(path: Path) -> RunRecord | None:
    """What a torn record says up to its last whole sequence; None where that is nothing."""
    with contextlib.suppress(DataError, MissingDataError):
        text = read_regular(path).decode("utf-8", "ignore")
        end = text.rfind("\n  }")  # as `to_text` indents them
        if end >= 0:
            return parse_record(f"{text[:end]}\n  }}\n }}\n}}", path)
    return None


def to_text(record: RunRecord) -> str:
    """The text of `run.json`."""
    text = json.dumps(record.to_json(), indent=1, ensure_ascii=False, default=str) + "\n"
    return text.encode(errors="replace").decode()  # a reason may quote a file name that is not Unicode


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    flat: dict[str, Scalar] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        elif isinstance(value, list | tuple):
            flat[f"{prefix}{key}"] = " ".join(map(str, value))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
