"""Trees inside one file: an uncompressed zip or an LMDB, read through the few path methods that loaders use.

A loader writes `root / "Annotations" / name` and calls `is_dir`, `iterdir`, `read_bytes`; whether `root` is a folder, a
zip or a packed LMDB it need not know. Nothing is ever extracted to disk.
"""

from __future__ import annotations

import os
import re
import struct
import threading
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol, TypeAlias

from mosam.datasets.lmdb_pages import PageReader
from mosam.errors import DataError, MissingDataError
from mosam.system.typed import read_json

LMDB_FILE = "data.mdb"
MANIFEST = "manifest.json"
MANIFEST_FORMAT: Literal[1] = 1
MAX_FILE_BYTES = 2 << 30  # a member that says to be larger is refused: no frame, mask, list or video of a benchmark is
_DEFLATE_LIMIT = 1032  # most that deflate can shrink; a member that declares more is lying
_DEEPEST_DOUBLE = 2
_LONGEST_NAME = 255  # bytes of a part of a name, as on a disk
_DRIVE = re.compile(r"[A-Za-z]:")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # what a terminal obeys, and halves of characters

ZIP_ERRORS = (zipfile.BadZipFile, OSError, RuntimeError, ValueError, EOFError, zlib.error, struct.error)

Kind = Literal["file", "folder"]


class Archive(Protocol):
    """A read-only tree of files by `/`-separated name; the root is the empty name. Safe to use from several threads."""

    location: Path

    def kind(self, name: str) -> Kind | None:
        """What is stored under a name; None = nothing."""

    def children(self, name: str) -> list[str]:
        """Last parts of the names directly in a folder, sorted; empty where there is no such folder."""

    def read(self, name: str) -> bytes:
        """A file's content; FileNotFoundError where there is none, DataError where it is damaged."""


class ArchivePath:
    """A file or folder inside an archive; has the methods of `pathlib.Path` that only read.

    Args:
        archive: where it is.
        inner: name inside, `""` for the root.
    """

    __slots__ = ("archive", "inner")

    def __init__(self, archive: Archive, inner: str = ""):
        self.archive = archive
        self.inner = inner

    def __truediv__(self, part: str) -> ArchivePath:
        return self.joinpath(part)

    def joinpath(self, *parts: str) -> ArchivePath:
        """The path of something further inside; `..` is not resolved and finds nothing."""
        return ArchivePath(self.archive, "/".join(filter(None, (self.inner, *(part.strip("/") for part in parts)))))

    @property
    def name(self) -> str:
        """Last part of the path; the archive's own file name at the root."""
        return self.inner.rpartition("/")[2] or self.archive.location.name

    @property
    def stem(self) -> str:
        """`name` without its last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """Last suffix of `name`, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> ArchivePath:
        """The folder it is in; the root is its own parent."""
        return ArchivePath(self.archive, self.inner.rpartition("/")[0])

    def with_name(self, name: str) -> ArchivePath:
        """A neighbor."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> ArchivePath:
        """A neighbor with another last suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, other: ArchivePath) -> PurePosixPath:
        """The path below a folder of the same archive; ValueError where it is not below."""
        if other.archive is not self.archive:
            raise ValueError(f"{self} is not in {other}")
        return PurePosixPath(self.inner).relative_to(other.inner)

    def is_dir(self) -> bool:
        """Whether it is a folder that holds something."""
        return self.archive.kind(self.inner) == "folder"

    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.archive.kind(self.inner) == "file"

    def exists(self) -> bool:
        """Whether it is a file or folder."""
        return self.archive.kind(self.inner) is not None

    def iterdir(self) -> Iterator[ArchivePath]:
        """What a folder holds, sorted; FileNotFoundError or NotADirectoryError where it is none."""
        kind = self.archive.kind(self.inner)
        if kind is None:
            raise FileNotFoundError(2, "No such file or directory", str(self))
        if kind == "file":
            raise NotADirectoryError(20, "Not a directory", str(self))
        for name in self.archive.children(self.inner):
            yield self / name

    def glob(self, pattern: str) -> Iterator[ArchivePath]:
        """What a folder holds whose name fits a pattern without `/`; nothing where it is no folder."""
        for name in self.archive.children(self.inner):
            if fnmatchcase(name, pattern):
                yield self / name

    def read_bytes(self) -> bytes:
        """The file's content; errors as `Archive.read`."""
        return self.archive.read(self.inner)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The file's content as text."""
        return self.read_bytes().decode(encoding)

    def __str__(self) -> str:
        return str(self.archive.location / self.inner)

    def __fspath__(self) -> str:
        return str(self)

    def __repr__(self) -> str:
        return f"ArchivePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ArchivePath) and (self.archive, self.inner) == (other.archive, other.inner)

    def __lt__(self, other: ArchivePath) -> bool:
        return self.inner < other.inner

    def __hash__(self) -> int:
        return hash((id(self.archive), self.inner))

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.archive.location, self.inner)


TreePath: TypeAlias = Path | ArchivePath


def as_path(path: str | os.PathLike[str]) -> TreePath:
    """A path as it is if it can be read, else made one of the file system."""
    return path if isinstance(path, ArchivePath) else Path(path)


def open_tree(path: str | os.PathLike[str]) -> TreePath:
    """The root of what a user names: a folder as it is, a zip or a packed LMDB as the tree inside.

    Raises:
        DataError: an archive that is damaged, cut off, or has members outside of itself.
    """
    path = as_path(path)
    if isinstance(path, ArchivePath):
        return path
    if (path / LMDB_FILE).is_file() or (path.suffix.lower() == ".zip" and path.is_file()):
        return ArchivePath(open_archive(path))
    return path


def zip_of(folder: Path) -> Path:
    """The zip that stands for a folder: of its name, beside it."""
    return folder.with_name(f"{folder.name}.zip")


def folder_or_zip(folder: Path) -> Path:
    """A folder, or its zip where only that is there."""
    archive = zip_of(folder)
    return archive if archive.is_file() and not folder.exists() else folder


def possible_roots(root: TreePath) -> Iterator[TreePath]:
    """A root, and where archives often hide it: the only folder inside, or one of the same name, twice at most."""
    for _ in range(_DEEPEST_DOUBLE + 1):
        yield root
        try:
            inside = [entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
        except OSError:
            return
        inside = [entry for entry in inside if entry.name != "__MACOSX"]
        same = [entry for entry in inside if entry.name == root.stem]
        if len(inside) != 1 and not same:
            return
        root = same[0] if same else inside[0]


def relative_name(path: TreePath, root: TreePath) -> str:
    """`/`-separated name of a path below a root; ValueError where it is not below."""
    if isinstance(path, ArchivePath) and isinstance(root, ArchivePath):
        return path.relative_to(root).as_posix()
    return Path(path).relative_to(Path(root)).as_posix()


# ---------------------------------------------------------------------------------------------- opening

_open: weakref.WeakValueDictionary[tuple[str, int, int], ZipArchive | LmdbArchive] = weakref.WeakValueDictionary()
_opening = threading.Lock()


def open_archive(location: Path) -> ZipArchive | LmdbArchive:
    """The zip or LMDB stored at a path; one object for one archive, since an LMDB may be opened once a process.

    Raises:
        DataError: damaged, cut off, not there, or with members that reach outside.
    """
    is_lmdb = location.is_dir()
    try:
        state = (location / LMDB_FILE if is_lmdb else location).stat()
    except OSError as error:
        raise DataError(location, f"expected an archive, got {error.strerror or error}") from None
    key = (str(location.resolve()), state.st_mtime_ns, state.st_size)
    with _opening:
        archive = _open.get(key)
        if archive is None:
            archive = LmdbArchive(location) if is_lmdb else ZipArchive(location)
            _open[key] = archive
        return archive


def _reopen(location: Path, inner: str) -> ArchivePath:
    return ArchivePath(open_archive(location), inner)


# ---------------------------------------------------------------------------------------------- zip


class ZipArchive:
    """A zip file, best without compression (`zip -0`): pictures do not shrink, and reading needs no unpacking.

    Args:
        location: the file.
    Raises:
        DataError: not a whole zip, or a member's name is absolute or leads out of the archive.
    """

    def __init__(self, location: Path):
        self.location = location
        try:
            self._size = location.stat().st_size
            self._zip = zipfile.ZipFile(location)
            members = self._zip.infolist()
        except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, EOFError, struct.error) as error:
            raise DataError(location, f"expected a whole zip archive, got {_reason(error)}; get it again") from None
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._folders: dict[str, dict[str, None]] = {"": {}}
        for member in members:
            self._add(member)

    def kind(self, name: str) -> Kind | None:
        """See `Archive.kind`."""
        if name in self._folders:
            return "folder"
        return "file" if name in self._members else None

    def children(self, name: str) -> list[str]:
        """See `Archive.children`."""
        return sorted(self._folders.get(name, ()))

    def read(self, name: str) -> bytes:
        """See `Archive.read`; a member that declares an impossible or enormous size is refused unread."""
        member = self.member(name)
        try:
            return self._zip.read(member)
        except ZIP_ERRORS as error:
            raise damaged_member(f"{self.location}/{name}", error) from None

    def names(self) -> Iterator[str]:
        """Every file, in the order of the archive."""
        yield from self._members

    def open(self, name: str, *, most: int = MAX_FILE_BYTES) -> IO[bytes]:
        """A file to read from; errors as of `member`, and `ZIP_ERRORS` while it is read."""
        member = self.member(name, most=most)
        try:
            return self._zip.open(member)
        except ZIP_ERRORS as error:
            raise damaged_member(f"{self.location}/{name}", error) from None

    def member(self, name: str, *, most: int = MAX_FILE_BYTES) -> zipfile.ZipInfo:
        """What the archive says of a file, `most` bytes long.

        Raises:
            FileNotFoundError: there is none.
            DataError: of a size that it cannot have, or packed in a way that is not read.
        """
        member = self._members.get(name)
        if member is None:
            raise FileNotFoundError(2, "No such file or directory", f"{self.location}/{name}")
        path = f"{self.location}/{name}"
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(
                path,
                f"expected a member stored or deflated, got method {member.compress_type}; make it anew with zip -0",
            )
        packed = member.compress_size * (1 if member.compress_type == zipfile.ZIP_STORED else _DEFLATE_LIMIT) + 64
        if member.compress_size > self._size or member.file_size > min(most, packed):
            declared = max(member.file_size, member.compress_size)
            raise DataError(path, f"expected a file, got a member that declares {declared} bytes; refused")
        return member

    def _add(self, member: zipfile.ZipInfo) -> None:
        name = member.orig_filename  # `filename` ends where a NUL stands
        parts = name.rstrip("/").split("/")
        fault = fault_of_name(parts) or ("one that is absolute" if name.startswith("/") else None)
        if fault is not None:
            raise DataError(
                self.location, f"expected names of files inside the archive, got {name[:80]!r}, {fault}; refused"
            )
        is_folder = name.endswith("/")
        parts = [part for part in parts if part not in ("", ".")]
        if not parts or parts[0] == "__MACOSX":
            return
        path = "/".join(parts)
        taken = path in self._members or (not is_folder and path in self._folders)
        if taken or any("/".join(parts[:depth]) in self._members for depth in range(1, len(parts))):
            raise DataError(self.location, f"expected each name once, got {path[:80]!r} again; refused")
        if not is_folder:
            self._members[path] = member
        for depth in range(len(parts) + is_folder):
            folder = "/".join(parts[:depth])
            self._folders.setdefault(folder, {})
            if depth < len(parts):
                self._folders[folder][parts[depth]] = None


def fault_of_name(parts: Sequence[str]) -> str | None:
    """Why the parts of a name cannot be those of a file inside an archive, in a few words; None = they can."""
    if ".." in parts:
        return "one that leads out"
    if any("\\" in part for part in parts) or _DRIVE.match(parts[0]):
        return "one of another system"
    if any(_CONTROL.search(part) for part in parts):
        return "one with control characters"
    if any(len(os.fsencode(part)) > _LONGEST_NAME for part in parts):
        return f"one of more than {_LONGEST_NAME} bytes"
    return None


def damaged_member(path: str, error: Exception, kind: str = "zip") -> DataError:
    """The error for a member that cannot be read."""
    return DataError(path, f"expected a whole member of a {kind}, got {_reason(error)}; get it again")


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


# ---------------------------------------------------------------------------------------------- LMDB


class LmdbArchive:
    """A tree packed by `mosam data pack`: keys are names (`JPEGImages/480p/dog/00000.jpg`), values files as they were.

    Args:
        location: the folder with `data.mdb` and `manifest.json`.
    Raises:
        DataError: not finished, cut off, or not what the manifest says.

    Attributes:
        manifest: what `manifest.json` holds.
    """

    def __init__(self, location: Path):
        self.location = location
        self.manifest = read_manifest(location)
        self._pages = PageReader(location / LMDB_FILE)
        entries = self._pages.entries
        if entries != self.manifest.files:
            raise DataError(
                location / LMDB_FILE,
                f"expected the manifest's {self.manifest.files} files, got {entries}; pack it again",
            )

    def kind(self, name: str) -> Kind | None:
        """See `Archive.kind`."""
        key = os.fsencode(name)
        if key and next(self._pages.keys(key), None) == key:
            return "file"
        prefix = key + b"/" if key else b""
        first = next(self._pages.keys(prefix), None)
        return "folder" if first is not None and first.startswith(prefix) else None

    def children(self, name: str) -> list[str]:
        """See `Archive.children`; skips over what lies deeper."""
        prefix = os.fsencode(f"{name}/") if name else b""
        found: set[str] = set()
        start: bytes | None = prefix
        while start is not None:
            keys, start = self._pages.keys(start), None
            for key in keys:
                if not key.startswith(prefix):
                    break
                child, slash, _ = key[len(prefix) :].partition(b"/")
                found.add(self._checked(child))
                if slash:
                    start = prefix + child + b"0"  # "0" follows "/"
                    break
        return sorted(found)

    def read(self, name: str) -> bytes:
        """See `Archive.read`."""
        value = self._pages.get(os.fsencode(name)) if name else None
        if value is None:
            raise FileNotFoundError(2, "No such file or directory", f"{self.location}/{name}")
        return value

    def _checked(self, part: bytes) -> str:
        """One part of a name as text."""
        try:
            text = part.decode()
        except UnicodeDecodeError:
            text = None
        if not text or fault_of_name((text,)):
            raise DataError(self.location / LMDB_FILE, f"expected names of files, got {part[:80]!r}; pack it again")
        return text


@dataclass(frozen=True, slots=True)
class PackedFolder:
    """What a manifest says of one folder: `sha256` is over names and hashes of its files, see `mosam.datasets.pack`."""

    files: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is packed in an LMDB, as `manifest.json` says beside it.

    Attributes:
        dataset, split: what was packed.
        sequences, files, bytes: how much of it.
        folders: by name.
    """

    format: Literal[1]
    dataset: str
    split: str
    sequences: int
    files: int
    bytes: int
    folders: Mapping[str, PackedFolder]


def read_manifest(location: Path) -> Manifest:
    """The manifest of a packed LMDB.

    Raises:
        DataError: none, so that the packing was not finished; or damaged.
    """
    try:
        return read_json(location / MANIFEST, Manifest)
    except MissingDataError:
        raise DataError(location, f"expected {MANIFEST} beside {LMDB_FILE}, found none; pack it again") from None
    except DataError as error:
        raise DataError(error.path, f"{str(error).removeprefix(f'{error.path}: ')}; pack it again") from None
