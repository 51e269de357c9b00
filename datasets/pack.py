"""`mosam data pack`: a benchmark's frames and annotation in one LMDB, byte for byte as they were."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

from mosam.datasets.archives import (
    MANIFEST,
    MANIFEST_FORMAT,
    ArchivePath,
    LmdbArchive,
    PackedFolder,
    TreePath,
    relative_name,
)
from mosam.datasets.base import Dataset
from mosam.errors import DataError, MismatchError, MosamError
from mosam.system.files import Inside

PARTIAL = ".partial-"
_FILES = {"data.mdb", "lock.mdb", MANIFEST}
_PENDING_BYTES = 64 << 20  # of one transaction
_FIRST_MAP = 1 << 30  # grown as needed

Progress = Callable[[str, int, int], None]


def pack(dataset: Dataset, out: str | os.PathLike[str], *, progress: Progress | None = None) -> Path:
    """Write the chosen sequences as an LMDB that can be given as `--root` instead of the tree.

    Keys are the names of the files below the root (frames of a zip as if it were unpacked), values their bytes. The
    folder gets its name when it is complete; `manifest.json` counts and hashes the files of every folder.

    Args:
        dataset: what to pack, from a folder, a zip or an LMDB.
        out: folder to make; must be new or empty.
        progress: called as (sequence, done, all) before each sequence.
    Returns:
        The folder.
    Raises:
        MissingDataError: a chosen sequence or its frames are not there.
        DataError: a file that cannot be read.
        MosamError: a generated dataset, a folder that holds files, or a name too long for a key.
    """
    if dataset.root is None:
        raise MosamError(f"{dataset.name}: expected a benchmark on disk to pack, got a generated one")
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise MosamError(f"{folder}: expected a new or empty folder, found files; choose another with --out")
    dataset.require(frames=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    parent, name = Inside(folder.parent), f"{PARTIAL}{folder.name}"
    if not set(parent.names(name) if parent.kind(name) in (None, "folder") else ["a file"]) <= _FILES:
        raise MosamError(f"{folder.with_name(name)}: expected what is left of an earlier pack, found others; remove it")
    partial = parent.make_folder(name, new=True)
    try:
        counts = _write_all(partial, _files(dataset, progress))
        manifest = {
            "format": MANIFEST_FORMAT,
            "dataset": dataset.name,
            "split": dataset.split,
            "sequences": len(dataset),
            "files": sum(count.files for count in counts.values()),
            "bytes": sum(count.bytes for count in counts.values()),
            "folders": {name: count.to_json() for name, count in sorted(counts.items())},
        }
        parent.write_text(f"{name}/{MANIFEST}", json.dumps(manifest, indent=1) + "\n")
        (partial / "lock.mdb").unlink(missing_ok=True)
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    except BaseException:
        parent.remove(name, quiet=True)
        raise
    return folder


def check_packed(root: TreePath) -> Iterator[str]:
    """What of a packed tree is not as its manifest says, one line each; nothing for trees of another kind."""
    if not isinstance(root, ArchivePath) or not isinstance(root.archive, LmdbArchive):
        return
    archive = root.archive
    for name, expected in archive.manifest.folders.items():
        found = Tally()
        for child in archive.children(name):
            path = f"{name}/{child}" if name else child
            if archive.kind(path) == "file":
                found.add(child, archive.read(path))
        if PackedFolder(**found.to_json()) != expected:
            where = archive.location / name
            yield f"{where}: expected its files as the manifest says, got others or changed ones; pack it again"


class Tally:
    """Count and hash of the files of one folder, taken in sorted order."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self._hashes: dict[str, bytes] = {}

    def add(self, name: str, data: bytes) -> None:
        """One file."""
        self.files += 1
        self.bytes += len(data)
        self._hashes[name] = hashlib.sha256(data).digest()

    def to_json(self) -> dict[str, Any]:
        """`files`, `bytes`, and `sha256` over the names and hashes in sorted order."""
        digest = hashlib.sha256()
        for name in sorted(self._hashes):
            digest.update(f"{name}\0".encode() + self._hashes[name])
        return {"files": self.files, "bytes": self.bytes, "sha256": digest.hexdigest()}


def _files(dataset: Dataset, progress: Progress | None) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file the loader may read, each once."""
    root = dataset.root
    assert root is not None
    seen: set[str] = set()

    def read(named: TreePath, stored: TreePath) -> Iterator[tuple[str, bytes]]:
        name = relative_name(named, root)
        if name not in seen:
            seen.add(name)
            try:
                yield name, stored.read_bytes()
            except OSError as error:
                raise DataError(stored, f"expected a file to pack, got {error.strerror or error}") from None

    for path in dataset.shared_files():
        yield from read(path, path)
    for done, name in enumerate(dataset):
        if progress is not None:
            progress(name, done, len(dataset))
        for path in dataset.annotation_files(name):
            yield from read(path, path)
        for named, stored in _stored_frames(dataset, name):
            yield from read(named, stored)


def _stored_frames(dataset: Dataset, name: str) -> Iterator[tuple[TreePath, TreePath]]:
    source = dataset.open_frames(name)
    files = getattr(source, "files", None)
    if files is None:
        raise MismatchError(f"{name}: expected frames stored in files, got {type(source).__name__}")
    yield from files()


def _write_all(folder: Path, files: Iterator[tuple[str, bytes]]) -> dict[str, Tally]:
    import lmdb

    tallies: dict[str, Tally] = {}
    # the writer's pages are synced once, at the end: an interrupted packing is thrown away in any case
    environment = lmdb.open(str(folder), map_size=_FIRST_MAP, sync=False, lock=False, readahead=False)
    with environment:
        longest = environment.max_key_size()
        pending: list[tuple[bytes, bytes]] = []
        size = 0
        for name, data in files:
            key = name.encode()
            if len(key) > longest:
                raise MosamError(f"{name}: expected a name of at most {longest} bytes to pack, got {len(key)}")
            parent, _, child = name.rpartition("/")
            tallies.setdefault(parent, Tally()).add(child, data)
            pending.append((key, data))
            size += len(data) + PAGESIZE
            if size > _PENDING_BYTES:
                _put(environment, pending)
                pending, size = [], 0
        _put(environment, pending)
        environment.sync(True)
    return tallies


def _put(environment: Any, items: list[tuple[bytes, bytes]]) -> None:
    import lmdb

    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, value in items:
                    transaction.put(key, value)
            return
        except lmdb.MapFullError:
            environment.set_mapsize(environment.info()["map_size"] * 2)
