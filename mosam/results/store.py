"""One run's folder: results that are there whole or not at all, and the record that says how they were made.

A sequence is written into a hidden folder beside its final place and renamed into it when it is complete; then the
record `run.json` is replaced, also by renaming, and a copy of it, `run.json.bak`. A run killed at any moment therefore
leaves complete results, some of them perhaps not yet in the record, and at most one hidden folder per open sequence.
The next run clears those, compares its own settings with the recorded ones, checks every recorded result by its hash,
and resumes. A record that is damaged all the same is repaired from its copy and from what can still be read of it.

What is written, moved and removed has names that the result format gives to sequences, and goes through `Inside`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mosam.codecs import may_be_result, paths_of, times_path
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.results.folder import LOCK, PARTIAL, StoreError, content_hash, hidden_name, writing
from mosam.results.frame_log import log_path
from mosam.results.lock import release_lock, take_lock
from mosam.results.record import (
    BACKUP,
    RECORD,
    RunRecord,
    RunSettings,
    SequenceRecord,
    parse_record,
    read_record,
    saved_of,
    to_text,
)
from mosam.system.files import PARTIAL_PREFIX, PARTIAL_SUFFIX, Inside, PathError, read_regular

_SHOWN = 6  # differences named in an error
_OWN_SCORES = re.compile(r"scores(@[^/]*)?\.json")


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
        MismatchError: the folder holds results made with other settings, or files that no run wrote.
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
        self.record = parse_record(to_text(record), self.folder / RECORD)  # as it will be read back, to be comparable
        self._overwrite, self._names = overwrite, tuple(names)
        self._lock: int | None = None

    def __enter__(self) -> RunStore:
        with writing(self.folder):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise StoreError(f"{self.folder}: expected a folder to write results to, found a file") from None
            self._lock = take_lock(self.folder / LOCK)
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
            for relative in (*paths, times_path(name)):
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
            times = times_path(name)  # of formats that have no place for them
            beside = [*unhashed, *([times] if self.inside.kind(f"{partial}/{times}") == "file" else [])]
            for relative in [*paths, *beside]:
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
        """Turns a folder that a worker filled into the finished results of a sequence, as `commit` does.

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
        saved = saved_of(self.folder / RECORD)
        with contextlib.suppress(DataError, MissingDataError):
            copy = parse_record(read_regular(path), path)
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
        kind = str(settings.output.get("format"))
        own = {path for name in names for path in (*paths_of(kind, name), log_path(name), times_path(name))}
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
        text = to_text(self.record)
        with writing(self.folder):
            self.inside.write_text(BACKUP, text)
            self.inside.write_text(RECORD, text)

    def _clear_partial(self) -> None:
        for name in self.inside.names():
            if name.startswith(PARTIAL) or (name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX)):
                self.inside.remove(name)

    def _close(self) -> None:
        if self._lock is not None:
            release_lock(self.folder / LOCK, self._lock)
            self._lock = None


def _parents(path: str) -> list[str]:
    """
    >>> _parents("a/b/c")
    ['a', 'a/b']
    """
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
