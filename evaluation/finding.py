"""Results of trackers below a folder, in whatever layout: whose they are, and what was taken for what.

A run of ours is known by `run.json`, other results by files named after sequences of the benchmark. They may lie at any
place below the folder: `TRACKER/`, pytracking's `TRACKER/PARAMETERS/`, the GOT-10k toolkit's `BENCHMARK/TRACKER/`, or
in zips.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from mosam.codecs import CODECS, Codec
from mosam.datasets.archives import open_tree, relative_name
from mosam.datasets.base import Dataset
from mosam.errors import MismatchError, MissingDataError, printable
from mosam.results.record import RECORD, RunRecord, read_record
from mosam.system.arguments import has, path_like

DEEPEST = 8  # folders below the one that is searched
TOLD = 20  # trackers that `describe_found` names


def find_run(path: str | os.PathLike[str], dataset: Dataset) -> tuple[str, Path, RunRecord | None]:
    """The only tracker below a folder.

    Args:
        path, dataset: see `find_runs`.
    Returns:
        tracker, folder, and the record of a run of ours.
    Raises:
        MissingDataError, MismatchError: as `find_runs`; also of several trackers.
        DataError: a damaged `run.json`.
    """
    found = find_runs(path, dataset)
    if len(found) > 1:
        trackers = ", ".join(name for name, _ in found)
        raise MismatchError(
            f"{path}: expected results of one tracker, got {len(found)} ({trackers}); choose one of them"
        )
    tracker, folder = found[0]
    return tracker, folder, read_record(folder) if is_run(folder) else None


def find_runs(path: str | os.PathLike[str], dataset: Dataset, *, links: bool = True) -> list[tuple[str, Path]]:
    """Results of a benchmark below a folder, by tracker.

    Args:
        path: a run's folder, or any folder above: of runs (`R/<dataset>`, `R`), of anybody's trackers, of one tracker.
            A run is known by `run.json`, other results by files named after sequences of the dataset; zips are looked
            into where there are no others, and one may be named too.
        dataset: whose results to look for; runs of other datasets and splits are passed over.
        links: whether symbolic links to folders are followed.
    Returns:
        (tracker, folder), sorted by folder; the tracker of a run is its policy with options, else the first name below
        `path` that tells it from the others.
    Raises:
        MissingDataError: nothing there.
        MismatchError: `path` itself is a run of another benchmark, split or seed.
    """
    if not hasattr(path, "iterdir"):
        path_like(path, "find_runs: path")
    has(dataset, ("info", "has_truth"), "find_runs: dataset", "a dataset (mosam.load_dataset)")
    root = cast("Path", open_tree(path))  # what is in a zip is read by the same methods
    if not root.is_dir():
        raise MissingDataError(f"{root}: expected a folder of results, found nothing")
    if is_run(root):
        record = read_record(root)
        check_record(record, dataset, root)
        return [(record.settings.tracker, root)]
    search = _Search(dataset, links)
    if search.holds_results(root):
        return [(root.resolve().name if isinstance(root, Path) else root.stem, root)]
    start = () if isinstance(root, Path) else (root.stem,)
    places = list(search.below(root, start)) or list(search.in_zips(root, start))
    if not places:
        raise MissingDataError(
            f"{root}: expected results of {dataset.name} {dataset.split}, found none; give a run's folder, a folder of "
            f"runs, or files named after its sequences ({next(iter(dataset), 'none')} ...), in a folder or zip"
        )
    names = iter(_names([place.parts for place in places if place.tracker is None], dataset))
    return [(place.tracker or next(names), place.folder) for place in places]


def describe_found(root: Path, found: Sequence[tuple[str, Path]], dataset: Dataset) -> list[str]:
    """What was taken for what, a line a tracker: `ATOM <- lasot/ATOM: lasot results of 280 of 280 sequences`.

    Args:
        root: the folder that was searched.
        found: of `find_runs`.
        dataset: given to it.
    """
    codec = CODECS[dataset.info.result_format]
    lines = []
    for tracker, folder in found[:TOLD]:
        count = len(codec.listed(folder).intersection(dataset))
        kind = "a run of mosam" if is_run(folder) else f"{dataset.info.result_format} results"
        place = printable(f"{tracker} <- {_below(folder, root)}")
        lines.append(f"{place}: {kind}, {count} of {len(dataset)} sequences")
    if len(found) > TOLD:
        lines.append(f"and {len(found) - TOLD} more")
    return lines


def is_run(folder: Path) -> bool:
    """Whether a folder is a run of ours; a zip is not, whatever it holds."""
    return isinstance(folder, Path) and (folder / RECORD).is_file()


def check_record(record: RunRecord, dataset: Dataset, folder: Path) -> None:
    """MismatchError where a run is of another benchmark, split or draw."""
    settings = record.settings
    if (settings.dataset, settings.split) != (dataset.name, dataset.split):
        raise MismatchError(
            f"{folder}: expected a run on {dataset.name} {dataset.split}, got one on {settings.dataset} "
            f"{settings.split}; name that dataset and --split"
        )
    if not _same_seed(settings.seed, dataset):
        raise MismatchError(
            f"{folder}: expected a run with seed {dataset.seed}, got seed {settings.seed}, which is another "
            f"{dataset.name}; repeat with --seed {settings.seed}"
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder of results.

    Attributes:
        parts: names on the way to it.
        folder: it, perhaps in a zip.
        tracker: of a run of ours, else None.
    """

    parts: tuple[str, ...]
    folder: Path
    tracker: str | None = None


class _Search:
    """Looks for results of one benchmark."""

    def __init__(self, dataset: Dataset, links: bool):
        self._dataset, self._links = dataset, links
        self._codec: Codec = CODECS[dataset.info.result_format]
        self._names = frozenset(dataset)
        own = getattr(dataset, "root", None)
        self._own = own.resolve() if isinstance(own, Path) else None

    def holds_results(self, folder: Path) -> bool:
        """Whether a folder has files named after a sequence."""
        return not self._codec.listed(folder).isdisjoint(self._names)

    def below(self, folder: Path, parts: tuple[str, ...]) -> Iterator[_Place]:
        """Results in the folders of a folder; nothing is looked for inside of results."""
        for child in self._folders(folder):
            inner = (*parts, child.name)
            if is_run(child):
                settings = read_record(child).settings
                if self._is_mine(settings.dataset, settings.split, settings.seed):
                    yield _Place(inner, child, settings.tracker)
            elif self.holds_results(child):
                yield _Place(inner, child)
            elif len(inner) < DEEPEST:
                yield from self.below(child, inner)

    def in_zips(self, folder: Path, parts: tuple[str, ...]) -> Iterator[_Place]:
        """Results in the zips of a folder and of those below."""
        if not isinstance(folder, Path):
            return
        for path in sorted(folder.glob("*.zip")):
            if path.is_file() and (self._links or not path.is_symlink()):
                tree = cast("Path", open_tree(path))
                inner = (*parts, path.stem)
                yield from [_Place(inner, tree)] if self.holds_results(tree) else self.below(tree, inner)
        for child in self._folders(folder):
            if len(parts) < DEEPEST and not is_run(child):
                yield from self.in_zips(child, (*parts, child.name))

    def _folders(self, folder: Path) -> list[Path]:
        found = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]
        if isinstance(folder, Path):
            found = [path for path in found if not path.is_symlink() or (self._links and not _is_loop(path))]
            # the benchmark itself, whose annotation is named as results are
            found = [path for path in found if self._own is None or path.resolve() != self._own]
        return sorted(found)

    def _is_mine(self, dataset: str, split: str, seed: int) -> bool:
        return (dataset, split) == (self._dataset.name, self._dataset.split) and _same_seed(seed, self._dataset)


def _is_loop(link: Path) -> bool:
    """Whether a link leads to a folder that it is in."""
    return link.absolute().parent.resolve().is_relative_to(link.resolve())


def _same_seed(seed: int, dataset: Dataset) -> bool:
    return not dataset.generated or seed == dataset.seed


def _names(ways: Sequence[tuple[str, ...]], dataset: Dataset) -> list[str]:
    """Names of trackers from the ways to their folders, without what is the same for all and the benchmark's own name.

    The fewest leading names that no other tracker begins with: `atom` of `atom/default`, `dimp/dimp50` beside
    `dimp/dimp18`.
    """
    if not ways:
        return []
    own = {_plain(word) for word in (dataset.name, dataset.info.title, dataset.split)}
    kept = [tuple(part for part in way if _plain(part) not in own) or way[-1:] for way in ways]
    shared = next((n for n, names in enumerate(zip(*kept, strict=False)) if len(set(names)) > 1), min(map(len, kept)))
    same = shared if len(kept) > 1 else _generic(kept[0])
    kept = [way[min(same, len(way) - 1) :] for way in kept]
    found = []
    for number, way in enumerate(kept):
        others = [other for place, other in enumerate(kept) if place != number]
        count = next((n for n in range(1, len(way)) if not any(other[:n] == way[:n] for other in others)), len(way))
        found.append("/".join(way[:count]))
    return found


def _generic(way: tuple[str, ...]) -> int:
    """How many names at the start of the way to a single tracker say only that results follow."""
    count = 0
    while count < len(way) - 1 and _plain(way[count]) in ("results", "trackingresults", "rawresults"):
        count += 1
    return count


def _plain(word: str) -> str:
    """A name without what writers differ in: `GOT-10k`, `got10k`."""
    return "".join(letter for letter in word.lower() if letter.isalnum())


def _below(folder: Path, root: Path) -> str:
    """The way to a folder, as short as it can be said."""
    try:
        return relative_name(folder, cast("Path", open_tree(root))) or "."
    except ValueError:
        return str(folder)
