"""What a worker needs and what it leaves: the work as it travels, and finished sequences in the run's folder.

A worker, wherever it runs, writes each sequence into a hidden folder of its own inside the run's folder and renames it
when it is complete. Only whoever holds the run's lock moves such folders to their place and into the record, so that a
sequence counts once, whoever died when. No clock of one machine is compared with that of another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from mosam.errors import MismatchError
from mosam.runner import Tell, describe_settings
from mosam.store import RunSettings, RunStore, SequenceRecord, StoreError, content_hash, writing

if TYPE_CHECKING:
    from mosam.codecs import CodecOptions
    from mosam.datasets.base import Dataset
    from mosam.engine.parity import Parity
    from mosam.model.backbone import Backbone
    from mosam.policies.base import MemoryPolicy

WORK = ".work-"  # a sequence that a worker writes
READY = ".ready-"  # one that is complete and not yet in its place
PROBE = ".shared-"  # a file by which a worker knows that it sees the folder of whoever sent it
OUTCOME = "outcome.json"
PATIENCE = 20.0  # seconds until a network file system shows what another machine wrote


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker computes.

    Attributes:
        device: as for `load_model`; None = what the work itself says.
        threads: of its arithmetic on the processor; None = as torch likes.
        share: part of the free memory that is its own.
    """

    device: str | None = None
    threads: int | None = None
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Site:
    """What `mosam.run` gets, ready in a worker."""

    dataset: Dataset
    model: Backbone
    policy: MemoryPolicy
    parity: Parity
    options: CodecOptions

    def settings(self) -> RunSettings:
        """What the results depend on."""
        return describe_settings(self.dataset, self.model, self.policy, parity=self.parity, options=self.options)


class Work(Protocol):
    """What is to be tracked, in a form that can be sent to a worker."""

    @property
    def dataset(self) -> Dataset:
        """The sequences."""

    @property
    def policy(self) -> MemoryPolicy:
        """The tracker."""

    def open(self, place: Place) -> Site:
        """Loads the network there."""


def cores() -> int:
    """Processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


class WorkerSink:
    """A worker's way to the run's folder.

    Args:
        folder: of the run.
        settings: that the results are made with.
        token: names the attempt at a sequence; no two attempts have the same.
        report: called with `done` or `failed`, the sequence's name and its ready folder's name.
    """

    def __init__(
        self,
        folder: Path,
        settings: RunSettings,
        token: Callable[[str], str],
        report: Callable[[Literal["done", "failed"], str, str], None],
    ):
        self.folder = folder
        self._settings, self._token, self._report = settings, token, report

    def partial(self, name: str) -> Path:
        """See `mosam.runner.Sink`."""
        folder = self._work(name)
        with writing(self.folder):
            remove(folder)
            folder.mkdir(parents=True)
        return folder

    def commit(
        self, name: str, paths: Iterable[str], record: SequenceRecord, *, unhashed: Iterable[str] = ()
    ) -> SequenceRecord:
        """See `mosam.runner.Sink`."""
        paths, folder = list(paths), self._work(name)
        digest = content_hash(folder, paths)
        if digest is None:
            missing = [p for p in paths if not (folder / p).exists()]
            raise FileNotFoundError(f"{name}: the result writer left no {', '.join(missing)}")
        record = dataclasses.replace(record, hash=digest)
        self._leave(name, record, paths, list(unhashed))
        return record

    def fail(self, name: str, record: SequenceRecord) -> None:
        """See `mosam.runner.Sink`."""
        self.partial(name)
        self._leave(name, record, [], [])

    def discard(self, name: str) -> None:
        """See `mosam.runner.Sink`."""
        remove(self._work(name))

    def _work(self, name: str) -> Path:
        return self.folder / f"{WORK}{name}@{self._token(name)}"

    def _leave(self, name: str, record: SequenceRecord, paths: list[str], unhashed: list[str]) -> None:
        outcome = {
            "name": name,
            "settings": dataclasses.asdict(self._settings),
            "record": dataclasses.asdict(record),
            "paths": paths,
            "unhashed": unhashed,
        }
        ready = self.folder / f"{READY}{name}@{self._token(name)}"
        with writing(self.folder):
            text = json.dumps(outcome, ensure_ascii=False, default=str)
            (self._work(name) / OUTCOME).write_text(text, encoding="utf-8")
            remove(ready)
            self._work(name).rename(ready)
        self._report("done" if record.status == "done" else "failed", name, ready.name)


def ready_folders(folder: Path) -> list[Path]:
    """Complete sequences that wait in a run's folder."""
    return sorted(folder.glob(f"{READY}*")) if folder.is_dir() else []


def collect(store: RunStore, ready: Path, tell: Tell) -> str | None:
    """Moves a complete sequence to its place and into the record.

    Args:
        store: of the run.
        ready: one of `ready_folders`.
        tell: called with `done` or `failed`.
    Returns:
        the sequence's name; None where it is no longer needed or was damaged on the way.
    Raises:
        MismatchError: it was made with other settings than the run.
    """
    try:
        outcome = json.loads((ready / OUTCOME).read_text(encoding="utf-8"))
        name, record = str(outcome["name"]), SequenceRecord(**outcome["record"])
        settings = RunSettings(**outcome["settings"])
    except (OSError, KeyError, TypeError, ValueError):
        remove(ready)
        return None
    differences = store.record.settings.differences(settings)
    if differences:
        remove(ready)
        raise MismatchError(
            f"{store.folder}: a worker made {name} with other settings: {'; '.join(differences[:3])}; give every "
            "worker the same code, weights and devices"
        )
    known = store.record.sequences.get(name)
    if known is not None and known.status == "done":  # somebody else was quicker
        remove(ready)
        return None
    frames = {"frames": record.frames, "length": record.frames, "seconds": record.seconds}
    if record.status == "failed":
        remove(ready)
        store.fail(name, record)
        tell("failed", name, reason=record.reason, **frames)  # type: ignore[arg-type]
        return name
    if content_hash(ready, outcome["paths"]) != record.hash:
        remove(ready)
        return None
    partial = store.partial(name)
    with writing(store.folder):
        partial.rmdir()
        ready.rename(partial)
        (partial / OUTCOME).unlink()
    store.commit(name, outcome["paths"], record, unhashed=outcome["unhashed"])
    tell("done", name, **frames)  # type: ignore[arg-type]
    return name


def collect_left(store: RunStore, *, but: str | None = None) -> None:
    """Takes over what workers of an earlier process finished when nobody was there to collect it, if it is of this run.

    Args:
        store: of the run.
        but: name of the process's own workers, as it stands in the folders' names; theirs are left for it to collect.
    """
    for ready in ready_folders(store.folder):
        if but is not None and ready.name.rpartition("@")[2].startswith(f"{but}-"):
            continue
        with contextlib.suppress(MismatchError):
            collect(store, ready, lambda *arguments, **named: None)


def clear(folder: Path, *kinds: str) -> None:
    """Removes what workers left unfinished in a run's folder."""
    for kind in kinds:
        for path in folder.glob(f"{kind}*"):
            remove(path)


def remove(path: Path) -> None:
    """A file or folder, if it is there; a worker that is being stopped may still write to it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def leave_probe(folder: Path) -> str:
    """A file with a random name in the run's folder; the name is what `check_shared` looks for."""
    name = f"{PROBE}{secrets.token_hex(8)}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return name


def check_shared(folder: Path, probe: str, *, patience: float = PATIENCE) -> None:
    """Whether this machine sees the folder of the one that sent the work.

    Raises:
        StoreError: it does not.
    """
    until = time.monotonic() + patience
    while not (folder / probe).exists():
        if time.monotonic() > until:
            raise StoreError(
                f"{folder}: expected the folder of the machine that sent the work, but its file {probe} is not there "
                f"on {os.uname().nodename}; choose a folder that all machines share with --results"
            )
        time.sleep(min(0.2, patience / 10))


def same_settings(expected: RunSettings | None, found: RunSettings, where: str) -> None:
    """MismatchError where a worker's settings are not those of the run."""
    if expected is None:
        return
    differences = expected.differences(found)
    if differences:
        raise MismatchError(
            f"{where}: expected the settings of the run, got {'; '.join(differences[:3])}; give every worker the same "
            "code, weights and devices, or throw old results away with --overwrite"
        )
