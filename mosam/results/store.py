"""One run's folder: results that are there whole or not at all, and the record that says how they were made.

A sequence is written into a hidden folder beside its final place and renamed into it when it is complete; then the
record `run.json` is replaced, also by renaming, and a copy of it, `run.json.bak`. A run killed at any moment therefore
leaves complete results, some of them perhaps not yet in the record, and at most one hidden folder per open sequence.
The next run clears those, compares its own settings with the recorded ones, checks every recorded result by its hash,
and goes on. A record that is damaged all the same is mended from its copy and from what can still be read of it.

What is written, moved and removed has names that the result format gives to sequences, and goes through `Inside`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mosam.codecs import may_be_result, paths_of
from mosam.errors import DataError, MismatchError, MissingDataError, MosamError
from mosam.results.frame_log import log_path
from mosam.system.files import PARTIAL_PREFIX, PARTIAL_SUFFIX, Inside, PathError, read_regular
from mosam.system.typed import from_data, parse_json

RECORD = "run.json"
BACKUP = "run.json.bak"
SCORES = "scores.json"
LOCK = ".lock"
PARTIAL = ".partial-"
HIDDEN = (PARTIAL, ".work-", ".ready-", ".shared-", ".settings-")  # what a run keeps in its folder while it goes on
FORMAT = 1
_SHOWN = 6  # differences named in an error
_NAME_BYTES = 100  # of a sequence's name in a hidden folder's
_OWN_SCORES = re.compile(r"scores(@[^/]*)?\.json")

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
            from_data(RunSettings, fields, where, unknown=True),
            rest.selection, rest.annotation_hash, rest.environment, rest.sequences,
        )  # fmt: skip


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
        return _parse_record(read_regular(path), path)
    except MissingDataError:
        raise MissingDataError(f"{folder}: expected a run's folder with {RECORD}, found none") from None
    except DataError as error:
        detail = str(error).removeprefix(f"{path}: ")
        raise DataError(
            path,
            f"expected the record of a run, but it is damaged ({detail}); repeat the command that made the run, which "
            "mends it and keeps what is intact",
        ) from None


def _parse_record(data: bytes | str, path: Path) -> RunRecord:
    return RunRecord.from_json(parse_json(data, path, nan=True), path)  # options of a policy may be infinite


def _saved_of(path: Path) -> RunRecord | None:
    """What a torn record says up to its last whole sequence; None where that is nothing."""
    with contextlib.suppress(DataError, MissingDataError):
        text = read_regular(path).decode("utf-8", "ignore")
        end = text.rfind("\n  }")  # as `_to_text` indents them
        if end >= 0:
            return _parse_record(f"{text[:end]}\n  }}\n }}\n}}", path)
    return None


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
    return "@".join([name, *filter(None, extras)]).replace("/", "_")  # one folder, whatever an option says


def hidden_name(prefix: str, name: str) -> str:
    """Name of a sequence's hidden folder: with its own name, or a hash of one that is too long or no file's name.

    >>> hidden_name(".partial-", "car"), hidden_name(".work-", "a/b")
    ('.partial-car', '.work-~575aa62220a2c597f5def8d269b6acac')
    """
    data = name.encode(errors="surrogatepass")
    if len(data) <= _NAME_BYTES and not re.search("[/\0\ud800-\udfff]", name):
        return f"{prefix}{name}"
    return f"{prefix}~{hashlib.blake2b(data, digest_size=16).hexdigest()}"


def content_hash(folder: Path, paths: Iterable[str], *, links: bool = True) -> str | None:
    """SHA-256 over names and bytes of result files.

    Args:
        folder: the run's folder.
        paths: files or folders in it; folders count with all their files, in sorted order.
        links: whether results may be links to files.
    Returns:
        the hash, or None where a path is missing, or no file or folder.
    """
    digest = hashlib.sha256()
    for relative in sorted(paths):
        path = folder / relative
        inside = sorted(path.rglob("*")) if path.is_dir() else []
        if not (path.is_file() or path.is_dir()) or (not links and any(p.is_symlink() for p in [path, *inside])):
            return None
        for file in [p for p in inside if p.is_file()] if path.is_dir() else [path]:
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
        overwrite: throw away what another run left in the folder, as its record names it.
        names: of the sequences that may be tracked.
    Attributes:
        notes: one line for each thing the user should know of what was found.
    Raises:
        MismatchError: the folder holds results made with other settings, or files of somebody else.
        StoreError: another process writes this run, or the folder cannot be written.
        DataError: a damaged `run.json` that nothing can mend.
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
        names: Iterable[str] = (),
    ):
        self.folder = Path(folder)
        self.inside = Inside(self.folder)
        self.notes: list[str] = []
        record = RunRecord(
            settings, None if selection is None else tuple(selection), annotation_hash, environment or {}
        )
        self.record = _parse_record(_to_text(record), self.folder / RECORD)  # as it will be read back, to be comparable
        self._overwrite, self._names = overwrite, tuple(names)
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

    def paths(self, name: str) -> tuple[str, ...]:
        """Where the results of a sequence lie, as the run's result format says."""
        return paths_of(str(self.record.settings.output["format"]), name)

    def partial(self, name: str) -> Path:
        """A new empty folder to write the results of one sequence into."""
        self._refuse_foreign(self.paths(name))
        with writing(self.folder):
            return self.inside.make_folder(hidden_name(PARTIAL, name), new=True)

    def check(self, name: str, paths: Iterable[str]) -> str | None:
        """None if the files of a finished sequence are as they were written, else what is wrong with them."""
        found, recorded = content_hash(self.folder, paths), self.record.sequences[name].hash
        if found is None:
            return "its result files are missing"
        if recorded is None:
            return "its record has no hash of its result files"
        return None if found == recorded else "its result files have changed since"

    def forget(self, name: str, paths: Iterable[str]) -> None:
        """Removes what is left of a sequence that has to be done again, record first.

        Raises:
            MismatchError: files that no run writes lie among its results; nothing is removed then.
        """
        paths = list(paths)
        self._refuse_foreign(paths)
        kept = {other: record for other, record in self.record.sequences.items() if other != name}
        self.record = dataclasses.replace(self.record, sequences=kept)
        self._write()
        with writing(self.folder):
            for relative in paths:
                self.inside.remove(relative)

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
        paths, partial = list(paths), hidden_name(PARTIAL, name)
        self._refuse_foreign(paths)
        with writing(self.folder):
            digest = content_hash(self.folder / partial, paths)
            if digest is None:
                missing = [p for p in paths if not (self.folder / partial / p).exists()]
                raise FileNotFoundError(f"{name}: the result writer left no {', '.join(missing)}")
            for relative in [*paths, *unhashed]:
                self.inside.move(f"{partial}/{relative}", relative)
        record = dataclasses.replace(record, status="done", hash=digest)
        self._add(name, record)
        with writing(self.folder):
            self.inside.remove(partial)  # last: until then it says that unrecorded files of that name are ours
        return record

    def take(
        self,
        ready: str,
        name: str,
        paths: Iterable[str],
        record: SequenceRecord,
        *,
        drop: Iterable[str] = (),
        unhashed: Iterable[str] = (),
    ) -> SequenceRecord:
        """Makes a folder that somebody filled the finished results of a sequence, as `commit` does.

        Args:
            ready: its name in this folder.
            name, paths, record, unhashed: as for `commit`.
            drop: files in it that are no results.
        """
        paths = list(paths)
        self._refuse_foreign(paths)
        with writing(self.folder):
            self.inside.move(ready, hidden_name(PARTIAL, name))
            for relative in drop:
                self.inside.remove(f"{hidden_name(PARTIAL, name)}/{relative}")
        return self.commit(name, paths, record, unhashed=unhashed)

    def fail(self, name: str, record: SequenceRecord) -> None:
        """Records why a sequence failed and drops what it had written."""
        self.discard(name)
        self._add(name, record)

    def discard(self, name: str) -> None:
        """Drops the unfinished results of a sequence, to be started again."""
        self.inside.remove(hidden_name(PARTIAL, name))

    def _continue(self) -> None:
        """Clears what a killed run left, and takes over the record of an earlier one if it is of the same run."""
        has_record = any(self.inside.kind(name) for name in (RECORD, BACKUP))
        strange = [name for name in self.inside.names() if not name.startswith(".") and name != f"{RECORD}.new"]
        if strange and not has_record:
            raise MismatchError(
                f"{self.folder}: expected an empty folder or a run with {RECORD}, found other files "
                f"({strange[0]}); choose another folder with --results"
            )
        old = self._recorded(alone=set(strange) <= {RECORD, BACKUP}) if has_record else None
        if self._overwrite and has_record:
            self._throw_away(old)
        elif old is not None:
            self._take_over(old)
        self._clear_partial()
        self.inside.remove(f"{RECORD}.new")  # of an earlier version
        self._write()

    def _recorded(self, *, alone: bool) -> RunRecord | None:
        """The record that is there, or what can be saved of a damaged one.

        Args:
            alone: nothing but the record is there, so that nothing is lost with it.
        """
        try:
            return read_record(self.folder)
        except MissingDataError:
            problem = "is not there"
        except DataError as error:
            problem = f"is damaged{str(error).partition('it is damaged')[2].partition('; repeat')[0]}"
        path = self.folder / BACKUP
        saved = _saved_of(self.folder / RECORD)
        with contextlib.suppress(DataError, MissingDataError):
            copy = _parse_record(read_regular(path), path)
            same = saved is not None and not copy.settings.differences(saved.settings)
            more = saved.sequences if saved is not None and same else {}
            saved = dataclasses.replace(copy, sequences={**copy.sequences, **more})
        if saved is None:
            if alone or self._overwrite:
                return None
            raise DataError(
                self.folder / RECORD,
                f"{problem}, and no {BACKUP} says how the results beside it were made; move them away or choose "
                "another folder with --results, or throw them away with --overwrite",
            )
        count = len(saved.done)
        self.notes.append(f"{self.folder / RECORD} {problem}; rebuilt: {count} finished sequences, each is checked")
        return saved

    def _take_over(self, old: RunRecord) -> None:
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

    def _throw_away(self, old: RunRecord | None) -> None:
        """Removes what a record names, or refuses where anything else is there; nothing is removed then.

        Files that a killed run had moved into place but not yet recorded belong to it: their hidden folder is there.
        """
        settings = self.record.settings if old is None else old.settings
        asked = {*self._names, *(self.record.selection or ()), *((old and old.selection) or ())}
        names = asked if old is None else {*old.sequences, *(n for n in asked if self._is_open(n))}
        own = {path for name in names for path in (*paths_of(str(settings.output.get("format")), name), log_path(name))}
        for path in own:  # PathError before anything is removed, should the record name what is not inside
            self.inside.kind(path)
        foreign = self._foreign(own)
        if foreign is not None:
            raise MismatchError(
                f"{self.folder}: --overwrite removes what this folder's {RECORD} names, but found {foreign} beside it; "
                "move that away or choose another folder with --results (nothing was removed)"
            )
        for path in sorted(own):  # the record goes last, when it is replaced, so that this can be repeated
            self.inside.remove(path)
        for name in self.inside.names():
            if _OWN_SCORES.fullmatch(name):
                self.inside.remove(name)
        for parent in sorted({parent for path in own for parent in _parents(path)}, reverse=True):
            if self.inside.kind(parent) == "folder" and not self.inside.names(parent):
                self.inside.remove(parent)

    def _is_open(self, name: str) -> bool:
        return self.inside.kind(hidden_name(PARTIAL, name)) is not None

    def _foreign(self, own: set[str]) -> str | None:
        """The first thing in the folder that is no result, record, score or hidden file."""
        parents = {parent for path in own for parent in _parents(path)}
        ours = {RECORD, BACKUP, f"{RECORD}.new"}
        waiting = [n for n in self.inside.names() if n not in ours and not n.startswith(".")]
        waiting = [n for n in waiting if not _OWN_SCORES.fullmatch(n)]
        while waiting:
            path = waiting.pop()
            if path in own:
                foreign = self._foreign_within(path)
                if foreign is not None:
                    return foreign
                continue
            if path not in parents or self.inside.kind(path) != "folder":
                return path
            waiting += [f"{path}/{name}" for name in self.inside.names(path)]
        return None

    def _foreign_within(self, path: str) -> str | None:
        """The first file in a sequence's folder that no run writes; hidden ones are the file manager's."""
        try:
            waiting = [path] if self.inside.kind(path) == "folder" else []
        except PathError:  # nothing is removed there: whatever would, refuses it
            return None
        while waiting:
            folder = waiting.pop()
            for name in self.inside.names(folder):
                inner = f"{folder}/{name}"
                if self.inside.kind(inner) == "folder":
                    waiting.append(inner)
                elif not name.startswith(".") and not may_be_result(inner.removeprefix(f"{path}/")):
                    return inner
        return None

    def _refuse_foreign(self, paths: Iterable[str]) -> None:
        """MismatchError where replacing a sequence's results would remove what no run wrote."""
        foreign = next(filter(None, map(self._foreign_within, paths)), None)
        if foreign is not None:
            raise MismatchError(
                f"{self.folder}: expected results of a run, found {foreign} among them; move that away and repeat the "
                "command (nothing was removed)"
            )

    def _add(self, name: str, record: SequenceRecord) -> None:
        sequences = {**self.record.sequences, name: record}
        self.record = dataclasses.replace(self.record, sequences=sequences)
        self._write()

    def _write(self) -> None:
        """The copy first: whichever is torn, the other has all that was recorded before."""
        text = _to_text(self.record)
        with writing(self.folder):
            self.inside.write_text(BACKUP, text)
            self.inside.write_text(RECORD, text)

    def _clear_partial(self) -> None:
        for name in self.inside.names():
            if name.startswith(PARTIAL) or (name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX)):
                self.inside.remove(name)

    def _close(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                if _same_file(self.folder / LOCK, self._lock):
                    (self.folder / LOCK).unlink()
            os.close(self._lock)
            self._lock = None


def _take_lock(path: Path) -> int:
    """Open descriptor holding the lock; the kernel frees it when the process ends, however it ends."""
    while True:
        descriptor = _open_lock(path)
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


def _open_lock(path: Path) -> int:
    """A descriptor of the lock file, which is made where it is missing; StoreError where something else is there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    wrong = StoreError(f"{path}: expected the lock of a run, found something else; move it away")
    try:
        descriptor = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.EISDIR, errno.ENXIO):
            raise wrong from None
        raise
    about = os.fstat(descriptor)
    if (
        not stat.S_ISREG(about.st_mode)
        or about.st_nlink > 1
        or not re.fullmatch(rb"\d*\n?", os.pread(descriptor, 64, 0))
    ):
        os.close(descriptor)
        raise wrong
    return descriptor


def _to_text(record: RunRecord) -> str:
    text = json.dumps(record.to_json(), indent=1, ensure_ascii=False, default=str) + "\n"
    return text.encode(errors="replace").decode()  # a reason may quote a file name that is not Unicode


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _parents(path: str) -> list[str]:
    """
    >>> _parents("a/b/c")
    ['a', 'a/b']
    """
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    flat: dict[str, Scalar] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
