"""Scores kept by what they were made of, so that the same results are not scored twice.

The key of a kept score is a hash over the content of the results, the content of the annotation, the source of every
module a score comes from, the version of NumPy, and what was asked for. Dates play no part: a changed byte is another
key, and what lies under the old one is never looked at again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

import mosam.codecs
import mosam.datasets.base
import mosam.geometry
import mosam.regions
from mosam.datasets.base import Dataset
from mosam.errors import DataError, MissingDataError
from mosam.evaluation.scores import Scores
from mosam.results.record import RECORD
from mosam.system.files import PathError, read_regular, write_text
from mosam.system.typed import parse_json

VARIABLE = "MOSAM_CACHE"
MOST_KEPT = 500  # scores; the oldest go first
_KEY = re.compile("[0-9a-f]{40}")  # other files in the folder are not ours
_PACKAGES = (mosam.codecs, mosam.datasets.base, mosam.regions)  # which decide a score, beside this one
_NAME_ENDS = "_."  # what may follow a sequence's name in the name of its files


def cache_folder() -> Path | None:
    """Where scores are kept: `$MOSAM_CACHE`, or None where that is set to nothing; else the user's cache folder."""
    given = os.environ.get(VARIABLE)
    if given is not None:
        return Path(given) / "scores" if given else None
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mosam" / "scores"


def score_key(dataset: Dataset, names: Iterable[str], folder: Path, asked: Iterable[object]) -> str:
    """What a score depends on, as one hash.

    Args:
        dataset: with its annotation on disk.
        names: the sequences to score.
        folder: of one tracker's results.
        asked: everything else that decides, such as the protocol; anything with a stable `repr`.
    """
    names = tuple(names)
    digest = hashlib.blake2b(digest_size=20)

    def add(*words: object) -> None:
        digest.update(repr(words).encode())

    asked = tuple(asked)
    add(scorer_version(), np.__version__, *map(_sources_of, (dataset, *asked)), *asked)
    add(dataset.name, dataset.split, names, tuple(dataset.list_names()), dataset.select(names).annotation_hash())
    for path in dataset.shared_files():
        if path.is_file():
            add(path.name, hashlib.sha256(path.read_bytes()).hexdigest())
    for name, path in _result_files(folder, frozenset(names)):
        content = path.read_bytes()
        add(name, len(content))
        digest.update(content)
    return digest.hexdigest()


@lru_cache(maxsize=1)
def scorer_version() -> str:
    """Hash of the source of all modules that a score comes from, and of the lists they read."""
    digest = hashlib.blake2b(digest_size=20)
    folders = [Path(__file__).parent, *(Path(str(module.__file__)).parent for module in _PACKAGES)]
    paths = [path for folder in folders for path in sorted(folder.rglob("*.*")) if path.suffix in (".py", ".txt")]
    for path in [*paths, Path(str(mosam.geometry.__file__))]:
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _sources_of(item: object) -> tuple[str, ...]:
    """Hashes of the modules of an object's classes: a dataset's or a protocol's may be a plugin's."""
    return tuple(filter(None, map(_source_of, type(item).__mro__)))


def _source_of(loader: type) -> str:
    """Hash of the module a class is in."""
    file = getattr(sys.modules.get(loader.__module__), "__file__", None)
    return hashlib.sha256(Path(file).read_bytes()).hexdigest() if file and Path(file).is_file() else ""


def load_kept(folder: Path, key: str) -> Scores | None:
    """The scores under a key; None where there are none, or they cannot be read."""
    path = folder / f"{key}.json"
    try:
        scores = Scores.from_json(parse_json(read_regular(path), path), where=str(path))
    except (DataError, MissingDataError):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used: not the oldest any more
    return scores


def keep(folder: Path, key: str, scores: Scores) -> None:
    """Keeps scores under a key, and throws away the oldest where there are too many; a full disk is no error."""
    path = folder / f"{key}.json"
    with contextlib.suppress(OSError, PathError):
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(scores.to_json(), allow_nan=False))
        ours = [file for file in folder.glob("*.json") if _KEY.fullmatch(file.stem)]
        kept = sorted(ours, key=lambda file: file.stat().st_mtime)
        for old in kept[: max(len(kept) - MOST_KEPT, 0)]:
            old.unlink(missing_ok=True)


def _result_files(folder: Path, names: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """The record, and files that may belong to one of the sequences, by their names below the folder."""
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(parent).relative_to(folder)
        of_folder = any(_may_belong(part, names) for part in inside.parts)
        for file in sorted(files):
            name = str(inside / file)
            belongs = name == RECORD or of_folder or _may_belong(file, names)
            if belongs and (Path(parent) / file).is_file():  # a pipe would be waited for
                yield name, Path(parent) / file


def _may_belong(part: str, names: frozenset[str]) -> bool:
    """Whether a file's or folder's name is a sequence's, alone or with something behind it.

    >>> [_may_belong(part, frozenset({"cup_1"})) for part in ("cup_1", "cup_1_time.txt", "cup_1.txt", "cup_12.txt")]
    [True, True, True, False]
    """
    return part in names or any(part[:at] in names for at, letter in enumerate(part) if letter in _NAME_ENDS)
