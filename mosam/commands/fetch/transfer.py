"""One file over the network: resumed, checked, and there only when it is whole.

`huggingface_hub` does the talking (ranges, servers that know none, redirects, proxies, repeated tries): it is there for
the checkpoints anyway, and `http_get` is what its own downloads of any address go through.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mosam.errors import MismatchError, MissingDataError, MosamError
from mosam.model.fetch import OFFLINE_VARIABLES, is_offline
from mosam.system.files import open_part

PART = ".part"  # of a file that is not whole; the next process goes on with it
_CHUNK = 1 << 20
_NO_RANGE = 416  # what a server answers that is asked for what comes after the end

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What is to be downloaded.

    Attributes:
        url: its address.
        bytes: its length, None where nobody states it.
        checksum: `sha256:...` or `md5:...`, None where none is published.
        headers: to send along, such as a token of the hub.
        most: what it may be long where its length is not known; None = anything.
    """

    url: str
    bytes: int | None = None
    checksum: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    most: int | None = None


class _TooLongError(Exception):
    """More came than a file has."""


def transfer(file: RemoteFile, place: Path, watch: Watch | None = None) -> None:
    """Downloads a file; what an earlier try left beside its place is not read again.

    Args:
        file: what.
        place: where it is put when it is whole and checked.
        watch: called with (bytes so far, bytes there are; 0 = not known).
    Raises:
        MissingDataError: not reachable; what came is kept.
        MismatchError: of another length or content; what came is deleted.
        MosamError: not enough room on the disk.
    """
    if is_offline():
        name = next(name for name in OFFLINE_VARIABLES if os.environ.get(name))
        raise MissingDataError(f"{file.url}: {name} forbids the network; unset it")
    part = place.with_name(place.name + PART)
    if file.bytes is not None and _length(part) > file.bytes:
        part.unlink()
    if _length(part) != file.bytes:
        require_room(place.parent, (file.bytes or 0) - _length(part))
        _download(file, part, watch)
    _check(file, part)
    part.replace(place)


def _download(file: RemoteFile, part: Path, watch: Watch | None) -> None:
    """Until all is there; a line that breaks is taken up again as long as something new comes."""
    while True:
        have = _length(part)
        try:
            with open_part(part, append=True) as opened:
                _get(file, opened, have, watch)
            return
        except _TooLongError:
            part.unlink()
            raise MismatchError(f"{file.url}: expected {file.bytes or file.most} bytes, got more; {_AGAIN}") from None
        except OSError as error:
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status is None:  # of the disk, not of the network
                raise MosamError(f"{part.parent}: cannot be written to: {error.strerror or error}") from None
            if status == _NO_RANGE and have:
                part.unlink()
                continue
            raise _missing(file, part, f"the server answered {status}") from None
        except network_errors() as error:
            if _length(part) <= have:
                raise _missing(file, part, " ".join(str(error).split())[:120] or type(error).__name__) from None


def _get(file: RemoteFile, opened: BinaryIO, have: int, watch: Watch | None) -> None:
    from huggingface_hub.file_download import http_get

    with _quiet():
        http_get(
            file.url,
            _Watched(opened, file, watch),  # type: ignore[arg-type]
            resume_size=have,
            headers={"User-Agent": "mosam", "Accept-Encoding": "identity", **file.headers},
            tqdm_class=_silent(),
        )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without a line for each of its tries; what ends them is told."""
    log = logging.getLogger("huggingface_hub.file_download")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


class _Watched:
    """A file that is written to, which tells how long it is and becomes no longer than it should."""

    def __init__(self, file: BinaryIO, remote: RemoteFile, watch: Watch | None):
        self._file, self._watch = file, watch
        self._total, self._most = remote.bytes or 0, remote.bytes or remote.most

    def write(self, data: bytes) -> int:
        """Writes some bytes."""
        if self._most is not None and self._file.tell() + len(data) > self._most:
            raise _TooLongError
        count = self._file.write(data)
        if self._watch is not None:
            self._watch(self._file.tell(), self._total)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _silent() -> type:
    """A bar that is not shown, since there is one of ours."""
    from huggingface_hub.utils.tqdm import tqdm

    class Silent(tqdm):  # type: ignore[type-arg,misc]
        def __init__(self, *arguments: Any, **named: Any):
            super().__init__(*arguments, **{**named, "disable": True})

    return Silent


def network_errors() -> tuple[type[Exception], ...]:
    """What the client of huggingface_hub raises: httpx's errors in its first releases, httpx2's in later ones."""
    from huggingface_hub.errors import HfHubHTTPError

    client = next(base for base in HfHubHTTPError.__bases__ if not issubclass(base, OSError))
    return (client,)  # type: ignore[return-value]


def _check(file: RemoteFile, part: Path) -> None:
    """MismatchError, with the file deleted, where it is not what was said."""
    got = _length(part)
    if file.bytes is not None and got != file.bytes:
        part.unlink()
        raise MismatchError(f"{file.url}: expected {file.bytes} bytes, got {got}; {_AGAIN}")
    if file.checksum is not None:
        kind, _, wanted = file.checksum.partition(":")
        found = file_digest(part, kind)
        if found != wanted:
            part.unlink()
            raise MismatchError(f"{file.url}: expected {kind.upper()} {wanted}, got {found}; {_AGAIN}")


_AGAIN = "the download is deleted: try again, and look whether a proxy changed it or its authors replaced it"


def file_digest(path: Path, kind: str) -> str:
    """A hash of a file's content, in hexadecimal digits."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def remote_length(url: str, headers: Mapping[str, str] | None = None) -> int | None:
    """What the server says of a file's length before it is fetched; None where it says nothing or is not reached."""
    from huggingface_hub import get_session

    if is_offline():
        return None
    with contextlib.suppress(OSError, *network_errors()):
        answer = get_session().head(url, headers={**(headers or {}), "Accept-Encoding": "identity"}, timeout=10)
        length = str(answer.headers.get("Content-Length", ""))
        if answer.status_code == 200 and length.isascii() and length.isdigit() and len(length) < 18:
            return int(length)
    return None


def read_remote(url: str, *, most: int) -> bytes:
    """A small file over the network; errors as `transfer`, MismatchError where it is longer than `most` bytes."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "file"
        transfer(RemoteFile(url, most=most), place)
        return place.read_bytes()


def _missing(file: RemoteFile, part: Path, reason: str) -> MissingDataError:
    have = _length(part)
    kept = f"; {have / 1e6:,.0f} MB of it are kept, the same command goes on from there" if have else ""
    return MissingDataError(f"{file.url}: could not be downloaded ({reason}){kept}; check the network and its proxy")


def require_room(folder: Path, wanted: float) -> None:
    """MosamError where a disk has less than so many bytes free."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise MosamError(
            f"{folder}: expected {in_words(wanted)} free, got {in_words(free)}; make room or change --root"
        )


def in_words(count: float) -> str:
    """A number of bytes.

    >>> in_words(832_766_765), in_words(12_345)
    ('0.8 GB', '0.01 MB')
    """
    return f"{count / 1e9:,.1f} GB" if count >= 1e8 else f"{count / 1e6:,.{1 if count >= 1e6 else 2}f} MB"


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
