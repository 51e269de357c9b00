"""What workers leave in a run's folder, and how whoever holds the run's lock takes it over.

A worker writes each sequence into a hidden folder of its own, `.work-<sequence>@<token>`, which becomes `.ready-...`
when it is complete. Only the holder of the lock moves such folders to their place and into the record, so that a
sequence counts once, whoever died when. What `outcome.json` in them says is believed as far as it can be checked: the
name must be one of the dataset's, the hash must be that of the files, and which files these are the result format says.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mosam.codecs import times_path
from mosam.errors import MismatchError, MosamError
from mosam.results.folder import content_hash, hidden_name, writing
from mosam.results.frame_log import log_path
from mosam.results.record import RunSettings, SequenceRecord
from mosam.results.store import RunStore
from mosam.system.files import Inside, PathError
from mosam.system.typed import read_json

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset

WORK = ".work-"  # a sequence that a worker writes
READY = ".ready-"  # one that is complete and not yet in its place
OUTCOME = "outcome.json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker says of a sequence, as `outcome.json` holds it."""

    name: str
    settings: RunSettings
    record: SequenceRecord


class WorkerResultSink:
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
        self._inside = Inside(folder)
        self._settings, self._token, self._report = settings, token, report

    def partial(self, name: str) -> Path:
        """See `mosam.tracking.events.ResultSink`."""
        with writing(self.folder):
            return self._inside.make_folder(self._place(WORK, name), new=True)

    def commit(
        self, name: str, paths: Iterable[str], record: SequenceRecord, *, unhashed: Iterable[str] = ()
    ) -> SequenceRecord:
        """See `mosam.tracking.events.ResultSink`."""
        paths, folder = list(paths), self.folder / self._place(WORK, name)
        digest = content_hash(folder, paths)
        if digest is None:
            missing = [p for p in paths if not (folder / p).exists()]
            raise FileNotFoundError(f"{name}: the result writer left no {', '.join(missing)}")
        record = dataclasses.replace(record, hash=digest)
        self._leave(name, record)
        return record

    def fail(self, name: str, record: SequenceRecord) -> None:
        """See `mosam.tracking.events.ResultSink`."""
        self.partial(name)
        self._leave(name, record)

    def discard(self, name: str) -> None:
        """See `mosam.tracking.events.ResultSink`."""
        self._inside.remove(self._place(WORK, name), quiet=True)

    def _place(self, kind: str, name: str) -> str:
        return place_of(kind, name, self._token(name))

    def _leave(self, name: str, record: SequenceRecord) -> None:
        outcome = json.dumps(dataclasses.asdict(Outcome(name, self._settings, record)), default=str)
        work, ready = self._place(WORK, name), self._place(READY, name)
        with writing(self.folder):
            self._inside.write_text(f"{work}/{OUTCOME}", outcome)
            self._inside.move(work, ready)
        self._report("done" if record.status == "done" else "failed", name, ready)


def place_of(kind: str, name: str, token: str) -> str:
    """Name of a worker's folder for a sequence."""
    return f"{hidden_name(kind, name)}@{token}"


def ready_folders(folder: Path) -> list[str]:
    """Names of what is complete and waits in a run's folder."""
    return _left(folder, READY)


def is_ready(folder: Path, name: str, run: str) -> bool:
    """Whether a worker of some run has finished a sequence that nobody has collected yet.

    Args:
        folder: of the run.
        name: the sequence.
        run: what the worker's tokens begin with.
    """
    return any(ready.startswith(place_of(READY, name, f"{run}-")) for ready in ready_folders(folder))


def collect(store: RunStore, ready: str, names: Container[object], report: Callable[..., None]) -> str | None:
    """Moves a complete sequence to its place and into the record.

    Args:
        store: of the run.
        ready: one of `ready_folders`.
        names: of the sequences this call is about; others are left where they are.
        report: called with `done` or `failed`, see `mosam.tracking.events.Report`.
    Returns:
        the sequence's name; None where it is not needed or was damaged on the way.
    Raises:
        MismatchError: it was made with other settings than the run.
    """
    outcome = _outcome(store, ready)
    if outcome is None:
        _refuse(store, ready)
        return None
    name, record = outcome.name, outcome.record
    if name not in names:
        return None
    known = store.record.sequences.get(name)
    if known is not None and known.status == "done":  # another worker was quicker
        _refuse(store, ready)
        return None
    differences = store.record.settings.differences(outcome.settings)
    if differences:
        _refuse(store, ready)
        raise MismatchError(
            f"{store.folder}: a worker made {name} with other settings: {'; '.join(differences[:3])}; give every "
            "worker the same code, weights and devices"
        )
    frames = {"frames": record.frames, "length": record.frames, "seconds": record.seconds}
    if record.status == "failed":
        _refuse(store, ready)
        store.fail(name, record)
        report("failed", name, reason=record.reason, **frames)
        return name
    paths = _intact(store, ready, name, record)
    if not paths:
        _refuse(store, ready)
        return None
    log = log_path(name)
    logs = [log] if store.inside.kind(f"{ready}/{log}") == "file" else []
    store.take(ready, name, paths, record, drop=[OUTCOME], unhashed=logs)
    report("done", name, **frames)
    return name


def _outcome(store: RunStore, ready: str) -> Outcome | None:
    try:
        return read_json(store.inside.path(f"{ready}/{OUTCOME}"), Outcome, unknown=True, nan=True)
    except MosamError:
        return None


def _intact(store: RunStore, ready: str, name: str, record: SequenceRecord) -> list[str]:
    """The result files of a sequence in a ready folder; none where they are not what its record says, or links."""
    try:
        beside = (log_path(name), times_path(name))
        kinds = {path: store.inside.kind(f"{ready}/{path}") for path in (*store.paths(name), *beside)}
        paths = [path for path in store.paths(name) if kinds[path] in ("file", "folder")]
        intact = record.hash is not None and content_hash(store.folder / ready, paths, links=False) == record.hash
    except (PathError, OSError):  # what cannot be read is done again
        return []
    return paths if intact else []


def _refuse(store: RunStore, ready: str) -> None:
    store.inside.remove(ready, quiet=True)


def take_over(store: RunStore, dataset: Dataset, *, overwrite: bool, but: str | None = None) -> None:
    """Collects what workers of an earlier process finished when nobody was there, and clears what they did not.

    What they finished of sequences that are not asked for now waits for a call that asks for them.

    Args:
        store: of the run.
        dataset: what is asked for.
        overwrite: throw it away instead.
        but: what the tokens of this process's own workers begin with; theirs are left alone.
    """
    others = set(dataset.list_names()) - set(dataset)
    for ready in _left(store.folder, READY, but=but):
        if not overwrite:
            with contextlib.suppress(MismatchError):
                collect(store, ready, dataset, lambda *arguments, **named: None)
        outcome = _outcome(store, ready)
        if overwrite or outcome is None or outcome.name not in others:
            _refuse(store, ready)
    for work in _left(store.folder, WORK, but=but):
        store.inside.remove(work, quiet=True)


def clear(folder: Path, *kinds: str, run: str | None = None) -> None:
    """Removes what workers left in a run's folder; one that is being stopped may still write to it.

    Args:
        folder: of the run.
        kinds: what the names begin with.
        run: what the tokens begin with; None = any.
    """
    for kind in kinds:
        for name in _left(folder, kind, of=run):
            Inside(folder).remove(name, quiet=True)


def _left(folder: Path, kind: str, *, of: str | None = None, but: str | None = None) -> list[str]:
    found = [(name, name.rpartition("@")[2]) for name in Inside(folder).names() if name.startswith(kind)]
    mine = [(name, token) for name, token in found if of is None or token.startswith(f"{of}-")]
    return [name for name, token in mine if but is None or not token.startswith(f"{but}-")]
