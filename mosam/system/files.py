"""Writing that neither loses nor escapes: files that are there whole or not at all, and folders nothing leaves.

Every file that must not be seen half written is made by `replacing`, `write_text` or `write_bytes`. Every path that is
written, moved or removed below a folder of results goes through `Inside`, which takes plain relative paths only and
follows no link: what a file of the folder says can therefore reach nothing beside it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from mosam.errors import DataError, MissingDataError, MosamError

PARTIAL_PREFIX, PARTIAL_SUFFIX = ".mosam-", ".part"  # a file that is being written; what is left of a killed process
MOST_READ = 512 << 20  # bytes of a file that is read whole
_CHUNK = 1 << 20
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM}  # of file systems without fsync


class Readable(Protocol):
    """What can be read from."""

    def read(self, size: int = -1, /) -> bytes | None:
        """At most so many bytes; nothing at the end."""


class PathError(MosamError):
    """A path that is no plain relative one inside its folder, or a link where a file or folder is expected."""


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new empty file beside `path` to write to, by its name; it takes `path`'s place when the block ends well.

    The new file has a random name that nobody else has, so that no link and no other process is met; it is on the disk
    before it is renamed. A link at `path` is replaced, not followed. After an error `path` is as it was.

    Args:
        path: in a folder that exists.
    Raises:
        PathError: there is a folder, a device or a pipe.
        OSError: it cannot be written.
    """
    target = Path(path)
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _new_file(folder, target.name, str(target)) as name:
            yield target.parent / name
    finally:
        os.close(folder)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """A file with this content, or the one that was there; see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """A file with this text as UTF-8, or the one that was there; see `replacing`."""
    write_bytes(path, text.encode())


def open_part(path: str | os.PathLike[str], *, append: bool) -> BinaryIO:
    """A file under a name that the next process finds again, to write to or go on with; OSError where it is a link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_APPEND if append else os.O_TRUNC)
    return os.fdopen(os.open(path, flags, 0o666), "ab" if append else "wb")


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Content of a file; never waits for a pipe, never reads a device or what cannot fit into memory.

    Raises:
        MissingDataError: there is none.
        DataError: a folder, a pipe or a device, more than `MOST_READ` bytes, or it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingDataError(f"{os.fspath(path)}: expected a file, found none") from None
    except (OSError, ValueError) as error:
        raise DataError(path, f"expected a file that can be read, got {_why(error)}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise DataError(path, "expected a file, got a folder, a pipe or a device")
    if found.st_size > MOST_READ:
        os.close(descriptor)
        raise DataError(path, f"expected at most {MOST_READ >> 20} MiB, got {found.st_size >> 20} MiB")
    with os.fdopen(descriptor, "rb") as file:
        try:
            return file.read()
        except OSError as error:
            raise DataError(path, f"expected a file that can be read, got {_why(error)}") from None


def plain_parts(path: object, where: str) -> tuple[str, ...]:
    """Names on the way of a plain relative path: no `..` or `.`, not absolute, not empty, no NUL.

    Raises:
        PathError: it is none.

    >>> plain_parts("log/car.jsonl", "results/x")
    ('log', 'car.jsonl')
    """
    if not isinstance(path, str):
        raise PathError(f"{where}: expected a path as text, got {type(path).__name__}")
    parts = tuple(path.split("/"))
    if "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise PathError(f"{where}: expected a plain path inside this folder, got {path[:80]!r}; nothing was touched")
    return parts


class Inside:
    """A folder that everything written, moved or removed through this object lies in.

    Paths are plain and relative (`plain_parts`); on the way to one only folders are passed, never links. A link in the
    last place is replaced or removed itself. Folders are held open while they are used, so that nothing can be put in
    their place meanwhile.

    Args:
        folder: it; may itself be reached through links, for that is its owner's choice.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def path(self, relative: str) -> Path:
        """A path to read from, or to make a new file or folder at; PathError where it is not plain or a link is met."""
        parts = plain_parts(relative, str(self.folder))
        with contextlib.suppress(FileNotFoundError), self._parent(parts) as parent:
            self._refuse_link(parent, parts)
        return self.folder.joinpath(*parts)

    def kind(self, relative: str) -> str | None:
        """What is there: `file`, `folder`, `link`, `other`, or None."""
        parts = plain_parts(relative, str(self.folder))
        try:
            with self._parent(parts) as parent:
                return _kind(parent, parts[-1])
        except FileNotFoundError:
            return None

    def names(self, relative: str | None = None) -> list[str]:
        """What lies directly in the folder, or in one inside, sorted; nothing where there is no folder."""
        try:
            if relative is None:
                return sorted(path.name for path in self.folder.iterdir())
            with self._parent((*plain_parts(relative, str(self.folder)), "x")) as inner, os.scandir(inner) as found:
                return sorted(entry.name for entry in found)
        except FileNotFoundError:
            return []

    def make_folder(self, relative: str, *, new: bool = False) -> Path:
        """A folder and those above it.

        Args:
            relative: where.
            new: what is there already is removed first.
        """
        if new:
            self.remove(relative)
        parts = plain_parts(relative, str(self.folder))
        with self._parent((*parts, "x"), make=True):
            return self.folder.joinpath(*parts)

    def write_text(self, relative: str, text: str) -> None:
        """A file with this text as UTF-8, or the one that was there; folders above it are made."""
        parts = plain_parts(relative, str(self.folder))
        where = str(self.folder / relative)
        with self._parent(parts, make=True) as parent, _new_file(parent, parts[-1], where) as name:
            descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=parent)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())

    def write_from(self, relative: str, source: Readable) -> None:
        """A file with what a stream has left, or the one that was there; folders above it are made.

        It is not waited for until it is on the disk, as there may be a hundred thousand such files: `sync_disks` waits.
        """
        parts = plain_parts(relative, str(self.folder))
        where = str(self.folder / relative)
        with self._parent(parts, make=True) as parent, _new_file(parent, parts[-1], where, sync=False) as name:
            descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW, dir_fd=parent)
            with os.fdopen(descriptor, "wb") as file:
                while data := source.read(_CHUNK):
                    file.write(data)

    def move(self, source: str, target: str) -> None:
        """Moves a file or folder to another place inside; what was there is removed, folders above it are made.

        Raises:
            FileNotFoundError: nothing to move.
            PathError: it is a link.
        """
        old, new = plain_parts(source, str(self.folder)), plain_parts(target, str(self.folder))
        with self._parent(old) as before:
            self._refuse_link(before, old)
            os.stat(old[-1], dir_fd=before, follow_symlinks=False)  # before its target is removed
            with self._parent(new, make=True) as after:
                _remove(after, new[-1])
                os.rename(old[-1], new[-1], src_dir_fd=before, dst_dir_fd=after)

    def remove(self, relative: str, *, quiet: bool = False) -> None:
        """Removes a file, a link itself, or a folder with all in it; nothing where nothing is there.

        Args:
            relative: what.
            quiet: leave what cannot be removed, such as what another process still writes.
        """
        parts = plain_parts(relative, str(self.folder))
        with contextlib.suppress(OSError if quiet else FileNotFoundError), self._parent(parts) as parent:
            _remove(parent, parts[-1])

    def sync(self) -> None:
        """Waits until renames in the folder are on the disk."""
        with self._parent(("x",)) as descriptor:
            _sync(descriptor)

    @contextlib.contextmanager
    def _parent(self, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
        """Descriptor of the folder that holds the last part, reached through folders only."""
        current = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for count, part in enumerate(parts[:-1], start=1):
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=current)
                try:
                    inner = os.open(part, _FOLDER, dir_fd=current)
                except OSError as error:
                    if error.errno in (errno.ELOOP, errno.ENOTDIR):
                        where = self.folder.joinpath(*parts[:count])
                        raise PathError(
                            f"{where}: expected a folder, got a {_kind(current, part)}; nothing was touched"
                        ) from None
                    raise
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def _refuse_link(self, parent: int, parts: tuple[str, ...]) -> None:
        if _kind(parent, parts[-1]) == "link":
            raise PathError(f"{self.folder.joinpath(*parts)}: expected a file or folder, got a link; remove it")


def sync_disks() -> None:
    """Waits until what was written is on the disks."""
    os.sync()


@contextlib.contextmanager
def _new_file(folder: int, final: str, where: str, *, sync: bool = True) -> Iterator[str]:
    """Name of a new empty file in an open folder; takes the final name when the block ends well."""
    if _kind(folder, final) in ("folder", "other"):
        raise PathError(f"{where}: expected a file to write or replace, got a folder, a pipe or a device")
    name = f"{PARTIAL_PREFIX}{secrets.token_hex(8)}{PARTIAL_SUFFIX}"
    os.close(os.open(name, _NEW_FILE, 0o666, dir_fd=folder))
    try:
        yield name
        if sync:
            descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            try:
                _sync(descriptor)
            finally:
                os.close(descriptor)
        os.replace(name, final, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)
        raise
    if sync:
        _sync(folder)


def _sync(descriptor: int) -> None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _kind(folder: int, name: str) -> str | None:
    try:
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):  # nothing can have a name that is too long
            return None
        raise
    if stat.S_ISLNK(mode):
        return "link"
    return "folder" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "other"


def _remove(folder: int, name: str) -> None:
    """Removes what has this name in an open folder, without following links anywhere."""
    kind = _kind(folder, name)
    if kind == "folder":
        inner = os.open(name, _FOLDER, dir_fd=folder)
        try:
            with os.scandir(inner) as children:
                names = [child.name for child in children]
            for child in names:
                _remove(inner, child)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)
    elif kind is not None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _why(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
