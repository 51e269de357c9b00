"""Archives that are put on disk: zips and tars, tars in parts too; refused where one would reach out or swell.

Only files and folders with plain names are taken, by the rules of `mosam.datasets.archives`: no links, devices or
pipes, no name that is absolute or leads out, and not more bytes than pictures can have been packed from. Every file is
there whole or not at all, so that an unpacking that was interrupted goes on.
"""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

from mosam.datasets.archives import ZIP_ERRORS, ZipArchive, damaged_member, fault_of_name
from mosam.errors import DataError
from mosam.system.files import Inside

MOST_SWELLING, SLACK = 20, 256 << 20  # times the archive's length, and bytes more: pictures do not shrink
_TAR_ERRORS = (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError)
ERRORS: dict[str, tuple[type[Exception], ...]] = {"zip": ZIP_ERRORS, "tar": _TAR_ERRORS}

Wanted = Callable[[str], bool]


def unpack(archives: Sequence[Path], inside: Inside, folder: str = "", *, wanted: Wanted, resume: bool = False) -> int:
    """Puts the files of an archive below a folder.

    Args:
        archives: one `.zip`, `.tar`, `.tar.gz` or `.tgz`; of a tar also its parts, in order.
        inside: the root, which nothing leaves.
        folder: below it; empty = the root itself.
        wanted: whether a file is, by its `/`-separated name in the archive.
        resume: files that are there with the right length are left as they are.
    Returns:
        how many files were wanted.
    Raises:
        DataError: not an archive, damaged, or with something in it that is no plain file or folder.
        PathError: a folder on the way is a link.
        OSError: the disk is full, or may not be written to.
    """
    first = archives[0]
    if first.suffix.lower() == ".zip":
        return _unpack_zip(first, inside, folder, wanted, resume)
    return _unpack_tar(archives, inside, folder, wanted, resume)


def _unpack_zip(archive: Path, inside: Inside, folder: str, wanted: Wanted, resume: bool) -> int:
    source, most = ZipArchive(archive), _most_bytes([archive])
    names = [name for name in source.names() if wanted(name) and not _is_litter(name)]
    if sum(source.member(name, most=most).file_size for name in names) > most:
        raise _swollen(archive, most)
    for name in names:
        member = source.member(name, most=most)
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _no_file(archive, name)
        target = f"{folder}/{name}" if folder else name
        if resume and _length(inside, target) == member.file_size:
            continue
        with source.open(name, most=most) as stream:
            inside.write_from(target, _Guarded(stream, member.file_size, "zip", f"{archive}/{name}"))
    return len(names)


class _Guarded:
    """A member's content; what is wrong with it is a DataError, not to be taken for an error of the disk it goes to."""

    def __init__(self, stream: IO[bytes] | None, length: int, kind: str, where: str):
        self._stream, self._left, self._kind, self._where = stream, length, kind, where

    def read(self, size: int = -1) -> bytes:
        """At most so many bytes; nothing at the end."""
        try:
            data = b"" if self._stream is None else self._stream.read(size)
        except ERRORS[self._kind] as error:
            raise damaged_member(self._where, error, self._kind) from None
        self._left -= len(data)
        if not data and self._left > 0:
            raise damaged_member(self._where, EOFError("one that ends early"), self._kind)
        return data


def _unpack_tar(archives: Sequence[Path], inside: Inside, folder: str, wanted: Wanted, resume: bool) -> int:
    found, total, most = 0, 0, _most_bytes(archives)
    for member, stream in _tar_members(archives):
        name = _checked_name(archives[0], member)
        if member.isdir() or not name or _is_litter(name) or not wanted(name):
            continue
        total += member.size
        if total > most:
            raise _swollen(archives[0], most)
        found += 1
        target = f"{folder}/{name}" if folder else name
        if not (resume and _length(inside, target) == member.size):
            inside.write_from(target, stream)
    return found


def _tar_members(archives: Sequence[Path]) -> Iterator[tuple[tarfile.TarInfo, _Guarded]]:
    """Members one after the other, each with its content; DataError where the tar cannot be read on."""
    with _Joined(archives) as joined:
        packed = archives[0].name.lower().endswith("z")
        stream: IO[bytes] = gzip.GzipFile(fileobj=joined) if packed else joined  # type: ignore[assignment]
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for member in tar:
                    content = tar.extractfile(member) if member.isreg() else None
                    yield member, _Guarded(content, member.size, "tar", f"{archives[0]}/{member.name}")
            while stream.read(1 << 20):  # the sum of all of it stands at the end
                pass
        except _TAR_ERRORS as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            raise DataError(archives[0], f"expected a whole tar archive, got {reason}; get it again") from None


class _Joined(io.RawIOBase):
    """Files read as one, in order."""

    def __init__(self, paths: Sequence[Path]):
        self._paths = list(paths)
        self._open: IO[bytes] | None = None
        self._next()

    def _next(self) -> None:
        if self._open is not None:
            self._open.close()
        self._open = self._paths.pop(0).open("rb") if self._paths else None

    def read(self, size: int = -1) -> bytes:
        """See `io.RawIOBase.read`."""
        while self._open is not None:
            data = self._open.read(size)
            if data:
                return data
            self._next()
        return b""

    def close(self) -> None:
        """Closes what is open."""
        self._paths.clear()
        self._next()
        super().close()


def _checked_name(archive: Path, member: tarfile.TarInfo) -> str:
    """The member's name without what means nothing; DataError where it is no plain file or folder inside."""
    parts = member.name.rstrip("/").split("/")
    fault = fault_of_name(parts) or ("one that is absolute" if member.name.startswith("/") else None)
    if fault is not None:
        shown = f"{member.name[:80]!r}, {fault}"
        raise DataError(archive, f"expected names of files inside the archive, got {shown}; refused")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise _no_file(archive, member.name)
    return "/".join(part for part in parts if part not in ("", "."))


def _is_litter(name: str) -> bool:
    """Whether it is what macOS adds."""
    parts = name.split("/")
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] == ".DS_Store"


def _length(inside: Inside, name: str) -> int | None:
    return inside.path(name).stat().st_size if inside.kind(name) == "file" else None


def _most_bytes(archives: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in archives) * MOST_SWELLING + SLACK


def _no_file(archive: Path, name: str) -> DataError:
    return DataError(archive, f"expected files and folders, got {name[:80]!r}, a link, a device or the like; refused")


def _swollen(archive: Path, most: int) -> DataError:
    return DataError(archive, f"expected at most {most / 1e9:.1f} GB in it, got more: no pictures shrink so; refused")
