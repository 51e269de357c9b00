"""What a table, a report or a board is about: scores with the folders they come from, brought together by benchmark.

Folders are searched at any depth. Links are not followed, and of what the files say nothing is imported or run: a
dataset, tracker or plugin that a record names stays a name.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.datasets.base import DATASETS, find_root
from mosam.errors import MissingDataError, MosamError, one_line
from mosam.evaluation.evaluate import evaluate
from mosam.evaluation.finding import find_runs, is_run
from mosam.evaluation.scores import Scores, load_scores
from mosam.evaluation.tables import tracker_name
from mosam.results.folder import SCORES
from mosam.results.record import RECORD, RunRecord, read_record
from mosam.tracking.plan import RunOptions, choose_dataset

if TYPE_CHECKING:
    from mosam.datasets.base import Dataset


@dataclass(frozen=True, slots=True)
class Entry:
    """One tracker of a report.

    Attributes:
        scores: with a tracker's name that no other entry of its group has.
        folder: of its raw results, or None where only scores were given.
        record: what `run.json` says, or None.
    """

    scores: Scores
    folder: Path | None = None
    record: RunRecord | None = None

    @property
    def name(self) -> str:
        """The tracker with its model."""
        return tracker_name(self.scores)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries whose numbers may stand side by side: of one dataset, split, draw and protocol.

    Attributes:
        seed: draw of a generated benchmark, else 0.
        entries: at least one.
    """

    dataset: str
    split: str
    protocol: str
    seed: int = 0
    entries: tuple[Entry, ...] = ()

    @property
    def title(self) -> str:
        """`toy val, draw 2, protocol toy`."""
        draw = f", draw {self.seed}" if self.seed else ""
        return f"{self.dataset} {self.split}{draw}, protocol {self.protocol}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where benchmarks are.

    Attributes:
        root: of the only benchmark, or None.
        data: folder with a folder of each, in place of `$MOSAM_DATA`.
    """

    root: Path | None = None
    data: Path | None = None

    def open(self, name: str, split: str | None = None, seed: int = 0) -> Dataset:
        """A dataset; MissingDataError where it is not there."""
        root = self.root if self.data is None else find_root(name, self.root, self.data)
        return choose_dataset(RunOptions(name, root, split, seed=seed))


@dataclass
class Gatherer:
    """Finds scores, and scores what has none.

    Args:
        places: of benchmarks, for results that are to be scored.
        dataset: of results that are no runs of ours.
        split: of that.
        jobs: processes that score.
        records: whether each `run.json` is read; False = only where a draw must be known.
        score: whether runs without scores are scored; False = they are left out, with a note.
        lenient: leave out what is damaged or cannot be scored, with a note, instead of failing.
    Attributes:
        notes: what was left out, and why.
    """

    places: Places = field(default_factory=Places)
    dataset: str | None = None
    split: str | None = None
    jobs: int = 1
    records: bool = True
    score: bool = True
    lenient: bool = False
    notes: list[str] = field(default_factory=list, init=False)

    def gather(self, paths: Sequence[Path]) -> list[Group]:
        """Everything below some paths, by benchmark, in the order given.

        Args:
            paths: scores files, folders of runs, folders of those at any depth, or with `dataset` anybody's folders.
        Raises:
            MissingDataError: nothing there.
            DataError: damaged scores or records, or such of a later version.
        """
        entries = [entry for path in paths for entry in self._read(path)]
        groups: dict[tuple[str, str, str, int], list[Entry]] = {}
        for entry in entries:
            scores = entry.scores
            seed = entry.record.settings.seed if entry.record and _is_generated(scores.dataset) else 0
            groups.setdefault((scores.dataset, scores.split, scores.protocol, seed), []).append(entry)
        return [Group(*key, tuple(_told_apart(items))) for key, items in groups.items()]

    def _read(self, path: Path) -> Iterator[Entry]:
        if not path.is_dir():
            folder = path.parent if path.name.startswith(Path(SCORES).stem) else None
            yield from self._scored(path, folder)
            return
        found = False
        files, runs, links = search(path)
        for link in links:
            self._leave_out(MosamError(f"{link}: a link, which is not followed"), raising=False)
        for file in files:
            for entry in self._scored(file, file.parent):
                found = True
                yield entry
        scored = {file.parent for file in files}
        for folder in runs:
            if folder not in scored and not self.score:
                self.notes.append(f"left out: {folder}: not scored yet; see mosam score")
            elif folder not in scored:
                found = True
                yield from self._tried(partial(self._score, folder))
        if self.dataset is not None:
            yield from self._score_others(path, scored, required=not found)
        elif not found and not self.notes:
            raise MissingDataError(
                f"{path}: expected scores or runs of ours, found none; name the --dataset of somebody's results"
            )

    def _tried(self, make: Callable[[], list[Entry]]) -> list[Entry]:
        """What a function makes, or a note on why it cannot."""
        try:
            return make()
        except MosamError as error:
            self._leave_out(error)
            return []

    def _leave_out(self, error: MosamError, *, raising: bool = True) -> None:
        if raising and not self.lenient:
            raise error
        self.notes.append(f"left out: {one_line(error)}")

    def _scored(self, file: Path, folder: Path | None) -> list[Entry]:
        return self._tried(lambda: [self._entry(scores, folder) for scores in load_scores(file)])

    def _entry(self, scores: Scores, folder: Path | None) -> Entry:
        wanted = self.records or _is_generated(scores.dataset)
        has_record = wanted and folder is not None and (folder / RECORD).is_file()
        return Entry(scores, folder, read_record(folder) if folder is not None and has_record else None)

    def _score(self, folder: Path) -> list[Entry]:
        record = read_record(folder)
        self._refuse_unread(folder)
        settings = record.settings
        try:
            dataset = self.places.open(settings.dataset, settings.split, settings.seed)
            return [Entry(evaluate(folder, dataset, allow_missing=True, jobs=self.jobs), folder, record)]
        except MosamError as error:
            reason = str(error).splitlines()[0]
            raise MissingDataError(f"{folder}: not scored yet, and cannot be now: {reason}") from None

    def _score_others(self, path: Path, scored: Collection[Path], *, required: bool) -> Iterator[Entry]:
        """Scores of anybody's results of the dataset that have none."""
        dataset = self.places.open(self.dataset or "", self.split)
        try:
            runs = find_runs(path, dataset, links=False)
        except MissingDataError:
            if required:
                raise
            return
        for tracker, folder in runs:
            if folder not in scored and not is_run(folder):
                yield from self._tried(partial(self._score_other, tracker, folder, dataset))

    def _score_other(self, tracker: str, folder: Path, dataset: Dataset) -> list[Entry]:
        self._refuse_unread(folder)
        return [Entry(evaluate(folder, dataset, allow_missing=self.lenient, jobs=self.jobs, tracker=tracker), folder)]

    def _refuse_unread(self, folder: Path) -> None:
        found = first_unread(folder) if self.lenient else None
        if found is not None:
            raise MosamError(f"{found}: a link, pipe or device among raw results, which is not read")


def first_unread(folder: Path) -> Path | None:
    """A link, pipe or device anywhere in a folder of results that nobody vouches for, or None."""
    for parent, names, files in os.walk(folder) if isinstance(folder, Path) else ():
        for name in (*names, *files):
            mode = (Path(parent) / name).lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                return Path(parent) / name
    return None


def search(path: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Scores files, runs of ours, and links that were not followed, below a folder at any depth, sorted."""
    stem = Path(SCORES).stem
    files, runs, links = [], [], []
    for parent, names, inside in os.walk(path):
        folder = Path(parent)
        names[:] = sorted(name for name in names if not name.startswith("."))
        links += [folder / name for name in names if (folder / name).is_symlink()]
        for name in inside:
            is_scores = name == SCORES or (name.startswith(f"{stem}@") and name.endswith(".json"))
            if not is_scores and name != RECORD:
                continue
            if (folder / name).is_symlink():
                links.append(folder / name)
            elif is_scores:
                files.append(folder / name)
            else:
                runs.append(folder)
    return sorted(files), sorted(runs), sorted(links)


def scores_json(entry: Entry) -> str:
    """The raw scores of an entry, as `scores.json` has them."""
    return json.dumps(entry.scores.to_json(), allow_nan=False)


def _is_generated(dataset: str) -> bool:
    return dataset in DATASETS and DATASETS[dataset].generated


def _told_apart(entries: list[Entry]) -> Iterator[Entry]:
    """Entries of one name get what their folders are called behind the first `@`, else a number."""
    names = [entry.name for entry in entries]
    used: set[str] = set()
    for entry in entries:
        if names.count(entry.name) > 1 or entry.name in used:
            extra = entry.folder.name.partition("@")[2] if entry.folder else ""
            tracker = f"{entry.scores.tracker} @{extra}" if extra else entry.scores.tracker
            number = 1
            while tracker_name(replace(entry.scores, tracker=tracker)) in used:
                number += 1
                tracker = f"{entry.scores.tracker} ({number})"
            entry = replace(entry, scores=replace(entry.scores, tracker=tracker))
        used.add(entry.name)
        yield entry
