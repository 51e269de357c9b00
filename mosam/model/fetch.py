"""Checkpoints on their way to this machine: from the hub or as Meta's files, resumed, checked and stored once.

The hub's files lie in its own cache, which other programs share; Meta's in `$MOSAM_CACHE/checkpoints` (by default
`~/.cache/mosam`). `MOSAM_OFFLINE=1` (or the hub's `HF_HUB_OFFLINE=1`) keeps everything off the network.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from mosam.errors import MismatchError, MissingDataError, MosamError, UnknownNameError
from mosam.system.files import open_part

OFFLINE_VARIABLES = ("MOSAM_OFFLINE", "HF_HUB_OFFLINE")
CACHE_VARIABLE, MIRROR_VARIABLE = "MOSAM_CACHE", "MOSAM_CHECKPOINT_URL"
LIST = Path(__file__).parent / "published.json"
CHUNK = 1 << 20
TRIES, TIMEOUT = 5, 30.0  # broken connections in a row without a new byte; seconds
WEIGHTS = "model.safetensors"

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One of Meta's checkpoint files, or a file of numbers that a policy needs.

    Attributes:
        size: `tiny`, `small`, `base-plus` or `large`, or the name of what it holds.
        file: its name.
        bytes: its length.
        sha256: of its content.
        url: where it is.
        instead: the tracker that does without it, "" where none does.
    """

    size: str
    file: str
    bytes: int
    sha256: str
    url: str
    instead: str = ""


def published_file(size: str) -> PublishedFile:
    """The file of a name; `$MOSAM_CHECKPOINT_URL` names a folder that mirrors all of them.

    Raises:
        UnknownNameError: no such size.
    """
    listed = json.loads(LIST.read_text(encoding="utf-8"))
    if size not in listed["files"]:
        raise UnknownNameError("checkpoint", size, listed["files"], where="model fetch")
    entry = listed["files"][size]
    mirror = os.environ.get(MIRROR_VARIABLE)
    url = f"{(mirror or listed['address']).rstrip('/')}/{entry['file']}"
    if not mirror and "url" in entry:
        url = entry["url"]
    return PublishedFile(size, entry["file"], entry["bytes"], entry["sha256"], url, entry.get("instead", ""))


def other_files() -> list[str]:
    """Names of the files that hold no network."""
    listed = json.loads(LIST.read_text(encoding="utf-8"))["files"]
    return [name for name, entry in listed.items() if "url" in entry]


def published_bytes(name: str) -> int | None:
    """Length of Meta's file of a network; None where no source states it."""
    listed = json.loads(LIST.read_text(encoding="utf-8"))["files"]
    return listed[name]["bytes"] if name in listed else None


def is_offline() -> bool:
    """Whether the environment forbids the network."""
    return any(os.environ.get(name, "").lower() not in ("", "0", "false", "no", "off") for name in OFFLINE_VARIABLES)


def cache_folder() -> Path:
    """Where Meta's files are kept: `$MOSAM_CACHE/checkpoints`, by default in the user's cache folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    base = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mosam"
    return base.expanduser() / "checkpoints"


def find_file(size: str) -> Path | None:
    """Meta's file of a size, where it was fetched before; its content is checked when it is fetched, not here."""
    if published_bytes(size) is None:
        return None
    path = cache_folder() / published_file(size).file
    return path if path.is_file() else None


def fetch_file(size: str, watch: Watch | None = None) -> Path:
    """The file of a name in the cache, downloaded where it is missing or damaged.

    Processes that ask at once wait for each other.

    Args:
        size: as in `PublishedFile`.
        watch: called with (bytes so far, bytes there are).
    Raises:
        MissingDataError: not there and not reachable.
        MismatchError: what arrived is not the published file.
        MosamError: the cache cannot be written to, or the disk is too full.
    """
    from filelock import FileLock

    wanted = published_file(size)
    folder = cache_folder()
    path = folder / wanted.file
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{wanted.file}.lock"):
            if path.is_file():
                if file_hash(path) == wanted.sha256:
                    return path
                path.unlink()
            if is_offline():
                raise MissingDataError(
                    f"{wanted.file}: not in {folder} and {_offline_reason()} forbids the network; "
                    "unset it, or copy the file there"
                )
            download(wanted.url, path, wanted.bytes, wanted.sha256, watch)
    except OSError as error:
        reason = error.strerror or error
        raise MosamError(
            f"{folder}: expected a folder to keep checkpoints in, got {reason}; set {CACHE_VARIABLE}"
        ) from None
    return path


def download(url: str, path: Path, length: int, sha256: str, watch: Watch | None = None) -> None:
    """Downloads a file whose length and hash are known; what an earlier try left in `<path>.part` is not read again.

    Raises:
        MissingDataError: not reachable; the part is kept.
        MismatchError: another content; the part is deleted.
        MosamError: not enough room on the disk.
    """
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.is_file() else 0
    if have > length:
        part.unlink()
        have = 0
    free = shutil.disk_usage(path.parent).free
    if free < length - have:
        room = f"{_megabytes(length - have)} free for {path.name}, got {_megabytes(free)}"
        raise MosamError(f"{path.parent}: expected {room}; set {CACHE_VARIABLE} to another disk")
    idle = 0
    while have < length:
        try:
            _read_on(url, part, have, length, watch)
            reason = "the connection ended early"
        except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
            reason = _network_reason(error)
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                idle = TRIES  # trying again will not help
        now = part.stat().st_size if part.is_file() else 0
        if now > length:
            break
        idle = 0 if now > have else idle + 1
        have = now
        if idle >= TRIES or (idle and _is_no_network(reason)):
            kept = f"; {_megabytes(have)} of it are kept, the same command goes on from there" if have else ""
            raise MissingDataError(
                f"{url}: could not be downloaded ({reason}){kept}; "
                f"check the network or its proxy (https_proxy), or copy the file to {path}"
            )
    got = file_hash(part)
    if got != sha256:
        part.unlink()
        raise MismatchError(
            f"{url}: expected SHA-256 {sha256}, got {got}; "
            "the download is deleted, try again or look whether a proxy or mirror changed it"
        )
    part.replace(path)


def _read_on(url: str, part: Path, have: int, length: int, watch: Watch | None) -> None:
    headers = {"User-Agent": "mosam", **({"Range": f"bytes={have}-"} if have else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        resumed = have > 0 and answer.status == 206
        done = have if resumed else 0
        with open_part(part, append=resumed) as file:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                if watch is not None:
                    watch(done, length)
                if done > length:
                    return


def check_hub_folder(folder: Path) -> None:
    """Compares the weights of a hub model with the SHA-256 that the hub names them by.

    Raises:
        MismatchError: they differ.
    """
    check_hub_file(folder / WEIGHTS)


def check_hub_file(weights: Path) -> None:
    """As `check_hub_folder`, of one file."""
    blob = weights.resolve()
    expected = blob.name
    if len(expected) != 64 or any(letter not in "0123456789abcdef" for letter in expected):
        return  # a cache without links keeps no hash
    got = file_hash(blob)
    if got != expected:
        raise MismatchError(f"{weights}: expected SHA-256 {expected}, got {got}; delete {blob} and fetch it again")


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _network_reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    inner: Any = getattr(error, "reason", error)
    text = " ".join(str(inner).split()) or type(inner).__name__
    return f"no network: {text}"[:120]


def _is_no_network(reason: str) -> bool:
    """A name that is not resolved or a host that refuses will not answer a second later either."""
    return any(sign in reason for sign in ("resolution", "not known", "refused", "unreachable", "No address"))


def _offline_reason() -> str:
    return next(name for name in OFFLINE_VARIABLES if os.environ.get(name))


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.0f} MB"
