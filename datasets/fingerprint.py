"""A cheap hash of a sequence's pictures, by which a resumed run notices that they are others now."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from mosam.datasets.archives import TreePath
from mosam.datasets.base import FrameSource
from mosam.errors import DataError

SAMPLED = 16  # files that are looked into; no others are opened or asked for their size
PLACES = 64  # of a video that are looked at
BLOCK = 8192  # bytes read at each end of a picture and at each place of a video


def fingerprint_frames(source: FrameSource) -> str | None:
    """SHA-256 over the names of a sequence's picture files and over size and ends of a few of them.

    It is the same from a folder, a zip and an LMDB, and does not depend on times of files.

    Args:
        source: the frames of a `Sequence`.
    Returns:
        the hash; None where the frames are not stored in files.
    Raises:
        DataError: a file cannot be read.
    """
    source = getattr(source, "found", source)  # frames that are looked for late
    files = getattr(source, "files", None)
    if files is None:
        return None
    stored: list[tuple[TreePath, TreePath]] = list(files())
    digest = hashlib.sha256(f"{len(source)}\n".encode())
    for named, _ in stored:
        digest.update(os.fsencode(f"{named.name}\n"))
    if len(stored) == 1:
        digest.update(b"".join(_sample(stored[0][1], PLACES)))
    else:
        for index in _spread(len(stored), SAMPLED):
            digest.update(b"".join(_sample(stored[index][1], 2)))
    return digest.hexdigest()


def _spread(count: int, most: int) -> list[int]:
    """At most so many of `count` places, evenly spread, first and last included."""
    if count <= most:
        return list(range(count))
    return [round(number * (count - 1) / (most - 1)) for number in range(most)]


def _sample(path: TreePath, places: int) -> Iterable[bytes]:
    """Size of a file and blocks of it, evenly spread."""
    try:
        if not isinstance(path, Path):
            data = path.read_bytes()
            return [f"{len(data)}\n".encode(), *(data[at : at + BLOCK] for at in _starts(len(data), places))]
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            found = [f"{size}\n".encode()]
            for at in _starts(size, places):
                file.seek(at)
                found.append(file.read(BLOCK))
            return found
    except OSError as error:
        raise DataError(path, f"expected a picture or video, got {error.strerror or error}") from None


def _starts(size: int, places: int) -> list[int]:
    last = max(0, size - BLOCK)
    return sorted({last * number // (places - 1) for number in range(places)})
