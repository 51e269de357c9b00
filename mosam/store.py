"""One run's folder: results that are there whole or not at all, and the record that says how they were made.

A sequence is written into a hidden folder beside its final place and renamed into it when it is complete; then the
record `run.json` is replaced, also by renaming. A run killed at any moment therefore leaves complete results, some of
them perhaps not yet in the record, and at most one hidden folder per open sequence. The next run clears those, compares
its own settings with the recorded ones, checks every recorded result by its hash, and goes on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mosam.errors import DataError, MismatchError, MissingDataError, MosamError

RECORD = "run.json"
SCORES = "scores.json"
LOCK = ".lock"
PARTIAL = ".partial-"
FORMAT = 1
_SHOWN = 6  # differences named in an error

Scalar: TypeAlias = "str | int | float | bool | None"

# What an operating system says when no sequence can be written any more, with the words a person understands.
_FATAL = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose another folder with --results",
    errno.EACCES: "no permission to write; choose another folder with --results",
    errno.EPERM: "no permission to write; choose another folder with --results",
}


class StoreError(MosamError):
    """Results cannot be written: full disk, no permission, or another process writes the same run."""


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What must be equal for two results to belong to one run.

    Attributes:
        dataset, split, prompt: what is tracked.
        seed: draw of a generated benchmark, and of random weights.
        tracker: the policy with the options that differ from its defaults, `mosam[stride=3]`.
        policy: every field of its configuration.
        model: name of the network.
        weights_hash: SHA-256 of its weights.
        precision: type it computes in.
        device: kind of processor (`cpu`, `cuda`, `mps`); rounding differs between them.
        network: other choices of the network: rounding formulas, resize filter.
        engine: parity settings, see `mosam.engine.parity`.
        output: result format, value for absent objects, box convention.
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
        hash: SHA-256 over names and bytes of its result files.
        reason: why it failed, one line.
    """

    status: Literal["done", "failed"]
    frames: int = 0
    seconds: float = 0.0
    wall_seconds: float = 0.0
    annotation: str | None = None
    hash: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Everything needed to redo a run, as kept in `run.json`.

    Attributes:
        settings: what its results depend on.
        selection: names of the sequences the run was asked for, or None = all of the split.
        annotation_hash: hash of the annotation of those sequences.
        environment: code version, package versions, machine; see `mosam.environment`.
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
        return {
            "format": FORMAT,
            **dataclasses.asdict(self.settings),
            "selection": None if self.selection is None else list(self.selection),
            "annotation_hash": self.annotation_hash,
            "environment": dict(self.environment),
            "sequences": {
                name: {key: value for key, value in dataclasses.asdict(record).items() if value is not None}
                for name, record in self.sequences.items()
            },
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunRecord:
        """The inverse of `to_json`; KeyError, TypeError or ValueError where something is missing or wrong."""
        if data["format"] != FORMAT:
            raise ValueError(f"expected format {FORMAT}, got {data['format']!r}")
        settings = RunSettings(**{f.name: data[f.name] for f in dataclasses.fields(RunSettings)})
        selection = data["selection"]
        return cls(
            settings=settings,
            selection=None if selection is None else tuple(selection),
            annotation_hash=data["annotation_hash"],
            environment=data["environment"],
            sequences={name: SequenceRecord(**record) for name, record in data["sequences"].items()},
        )


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
        return RunRecord.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise MissingDataError(f"{folder}: expected a run's folder with {RECORD}, found none") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(
            path, f"expected the record of a run, but it is damaged ({detail}); repeat with --overwrite"
        ) from error


def run_name(
    tracker: str,
    model: str,
    *,
    split: str | None = None,
    prompt: str | None = None,
    settings: str | None = None,
    seed: int = 0,
) -> str:
    """Folder name of a run: `<tracker>[-<options>]-<model>`, then `@` and each setting that is not the usual one.

    Args:
        tracker: policy label, `mosam[stride=3,mgp=off]`.
        model: model name as given; of a path the last part counts, without the suffix of a checkpoint file.
        split, prompt, settings: where they are not the default, else None.
        seed: shown where it is not 0.

    >>> run_name("mosam[stride=3,mgp=off]", "random:nano", split="test", seed=2)
    'mosam-stride=3,mgp=off-random-nano@test@seed2'
    """
    path = Path(model)
    short = path.stem if path.suffix in (".pt", ".pth", ".safetensors") else path.name
    name = f"{tracker.replace('[', '-').replace(']', '')}-{short.replace(':', '-')}"
    extras = [split, prompt, settings, f"seed{seed}" if seed else None]
    return "@".join([name, *filter(None, extras)])


def content_hash(folder: Path, paths: Iterable[str]) -> str | None:
    """SHA-256 over names and bytes of result files.

    Args:
        folder: the run's folder.
        paths: files or folders in it; folders count with all their files, in sorted order.
    Returns:
        the hash, or None where a path is missing.
    """
    digest = hashlib.sha256()
    for relative in sorted(paths):
        path = folder / relative
        if not path.exists():
            return None
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            data = file.read_bytes()
            digest.update(f"{file.relative_to(folder).as_posix()}\0{len(data)}\0".encode())
            digest.update(data)
    return digest.hexdigest()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission, met while writing under `path`, into one `StoreError`."""
    try:
        yield
    except OSError as error:
        what = _FATAL.get(error.errno or 0)
        if what is None:
            raise
        raise StoreError(f"{path}: {what} and repeat the command (finished sequences are kept)") from error


class RunStore:
    """The open folder of one run; a context manager that holds its lock.

    Args:
        folder: `results/<dataset>/<name>`; created where missing.
        settings: of this run; must equal those of the results already there.
        selection: sequences this run is asked for, None = all of the split. A run can be extended later: what was asked
            for before stays part of it.
        annotation_hash: of those sequences.
        environment: versions and machine, recorded as they are.
        overwrite: throw away what another run left in the folder.
    Raises:
        MismatchError: the folder holds results made with other settings, or files of somebody else.
        StoreError: another process writes this run, or the folder cannot be written.
        DataError: a damaged `run.json`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        settings: RunSettings,
        *,
        selection: Iterable[str] | None = None,
        annotation_hash: str = "",
        environment: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ):
        self.folder = Path(folder)
        record = RunRecord(
            settings, None if selection is None else tuple(selection), annotation_hash, environment or {}
        )
        self.record = RunRecord.from_json(json.loads(_to_text(record)))  # as it will be read back, to be comparable
        self._overwrite = overwrite
        self._lock: int | None = None

    def __enter__(self) -> RunStore:
        with writing(self.folder):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise StoreError(f"{self.folder}: expected a folder to write results to, found a file") from None
            self._lock = _take_lock(self.folder / LOCK)
            try:
                self._continue()
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(OSError):
            self._clear_partial()
        self._close()

    def partial(self, name: str) -> Path:
        """A new empty folder to write the results of one sequence into."""
        folder = self.folder / f"{PARTIAL}{name}"
        with writing(self.folder):
            _remove(folder)
            folder.mkdir(parents=True)
        return folder

    def check(self, name: str, paths: Iterable[str]) -> str | None:
        """None if the files of a finished sequence are as they were written, else what is wrong with them."""
        found = content_hash(self.folder, paths)
        if found == self.record.sequences[name].hash:
            return None
        return "its result files are missing" if found is None else "its result files have changed since"

    def forget(self, name: str, paths: Iterable[str]) -> None:
        """Removes what is left of a sequence that has to be done again, record first."""
        kept = {other: record for other, record in self.record.sequences.items() if other != name}
        self.record = dataclasses.replace(self.record, sequences=kept)
        self._write()
        with writing(self.folder):
            for relative in paths:
                _remove(self.folder / relative)

    def commit(
        self, name: str, paths: Iterable[str], record: SequenceRecord, *, unhashed: Iterable[str] = ()
    ) -> SequenceRecord:
        """Moves the finished files of a sequence into place and records them.

        Args:
            name: the sequence whose `partial` folder is complete.
            paths: its files and folders, relative.
            record: frames and times; the hash is filled in.
            unhashed: what is moved along but is no result (logs).
        """
        paths = list(paths)
        partial = self.folder / f"{PARTIAL}{name}"
        with writing(self.folder):
            digest = content_hash(partial, paths)
            if digest is None:
                missing = [p for p in paths if not (partial / p).exists()]
                raise FileNotFoundError(f"{name}: the result writer left no {', '.join(missing)}")
            for relative in [*paths, *unhashed]:
                target = self.folder / relative
                _remove(target)
                target.parent.mkdir(parents=True, exist_ok=True)
                (partial / relative).replace(target)
            _remove(partial)
        record = dataclasses.replace(record, status="done", hash=digest)
        self._add(name, record)
        return record

    def fail(self, name: str, record: SequenceRecord) -> None:
        """Records why a sequence failed and drops what it had written."""
        self.discard(name)
        self._add(name, record)

    def discard(self, name: str) -> None:
        """Drops the unfinished results of a sequence, to be started again."""
        _remove(self.folder / f"{PARTIAL}{name}")

    def _continue(self) -> None:
        """Clears what a killed run left, and takes over the record of an earlier one if it is of the same run."""
        self._clear_partial()
        others = [path for path in self.folder.iterdir() if path.name not in (LOCK, f"{RECORD}.new")]
        has_record = (self.folder / RECORD).exists()
        strange = [path for path in others if not path.name.startswith(".")]  # hidden ones are of workers
        if strange and not has_record:
            raise MismatchError(
                f"{self.folder}: expected an empty folder or a run with {RECORD}, found other files "
                f"({strange[0].name}); choose another folder with --results"
            )
        if has_record and self._overwrite:
            for path in strange:
                if path.name != RECORD:  # last of all, so that an interrupted overwrite can be repeated
                    _remove(path)
        elif has_record:
            old = read_record(self.folder)
            differences = old.settings.differences(self.record.settings)
            if differences:
                more = f" and {len(differences) - _SHOWN} more" if len(differences) > _SHOWN else ""
                raise MismatchError(
                    f"{self.folder}: holds results of another run: {'; '.join(differences[:_SHOWN])}{more}; "
                    "choose another folder with --results, or throw the old results away with --overwrite"
                )
            selection = self.record.selection
            if selection is not None:
                earlier = old.selection
                selection = None if earlier is None else tuple(dict.fromkeys([*earlier, *selection]))
            self.record = dataclasses.replace(self.record, selection=selection, sequences=dict(old.sequences))
        self._write()

    def _add(self, name: str, record: SequenceRecord) -> None:
        sequences = {**self.record.sequences, name: record}
        self.record = dataclasses.replace(self.record, sequences=sequences)
        self._write()

    def _write(self) -> None:
        new = self.folder / f"{RECORD}.new"
        with writing(self.folder):
            new.write_text(_to_text(self.record), encoding="utf-8")
            new.replace(self.folder / RECORD)

    def _clear_partial(self) -> None:
        for path in self.folder.glob(f"{PARTIAL}*"):
            _remove(path)

    def _close(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                (self.folder / LOCK).unlink()
            os.close(self._lock)
            self._lock = None


def _take_lock(path: Path) -> int:
    """Open descriptor holding the lock; the kernel frees it when the process ends, however it ends."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip()
            os.close(descriptor)
            raise StoreError(
                f"{path.parent}: another process ({owner or 'unknown'}) writes this run; wait for it or choose another "
                "folder with --results"
            ) from None
        if _same_file(path, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)  # its owner removed it between our opening and locking: take the new one


def _to_text(record: RunRecord) -> str:
    return json.dumps(record.to_json(), indent=1, ensure_ascii=False, default=str) + "\n"


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    flat: dict[str, Scalar] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
