"""What a report is about: scores with the folders they come from, brought together by benchmark."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mosam.datasets.base import DATASETS, find_root
from mosam.errors import MissingDataError, MosamError
from mosam.evaluation.evaluate import evaluate, find_runs
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
    """

    places: Places = field(default_factory=Places)
    dataset: str | None = None
    split: str | None = None
    jobs: int = 1

    def gather(self, paths: Sequence[Path]) -> list[Group]:
        """Everything below some paths, by benchmark, in the order given.

        Args:
            paths: scores files, folders of runs, folders of those, or with `dataset` anybody's folders.
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
            yield from (_entry(scores, folder) for scores in load_scores(path))
            return
        files = sorted(_score_files(path))
        scored = {file.parent for file in files}
        for file in files:
            yield from (_entry(scores, file.parent) for scores in load_scores(file))
        found = bool(files)
        for folder in sorted(record.parent for record in path.rglob(RECORD) if record.parent not in scored):
            yield self._score(folder, read_record(folder))
            found = True
        if found:
            return
        if self.dataset is None:
            raise MissingDataError(
                f"{path}: expected scores or runs of ours, found none; name the --dataset of somebody's results"
            )
        dataset = self.places.open(self.dataset, self.split)
        for tracker, folder in find_runs(path, dataset):
            yield Entry(evaluate(folder, dataset, jobs=self.jobs, tracker=tracker), folder)

    def _score(self, folder: Path, record: RunRecord) -> Entry:
        settings = record.settings
        try:
            dataset = self.places.open(settings.dataset, settings.split, settings.seed)
            return Entry(evaluate(folder, dataset, allow_missing=True, jobs=self.jobs), folder, record)
        except MosamError as error:
            reason = str(error).splitlines()[0]
            raise MissingDataError(f"{folder}: not scored yet, and cannot be now: {reason}") from None


def scores_json(entry: Entry) -> str:
    """The raw scores of an entry, as `scores.json` has them."""
    return json.dumps(entry.scores.to_json(), allow_nan=False)


def _score_files(path: Path) -> Iterator[Path]:
    stem = Path(SCORES).stem
    for folder, names, files in os.walk(path):
        names[:] = [name for name in names if not name.startswith(".")]
        for file in files:
            if file == SCORES or (file.startswith(f"{stem}@") and file.endswith(".json")):
                yield Path(folder) / file


def _entry(scores: Scores, folder: Path | None) -> Entry:
    has_record = folder is not None and (folder / RECORD).is_file()
    return Entry(scores, folder, read_record(folder) if folder is not None and has_record else None)


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
