"""Video files that are cut off: how long they would be by what their own boxes say."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mosam.datasets.archives import TreePath


def missing_bytes(path: TreePath) -> int:
    """Bytes that a video file lacks at its end by what its own boxes say (MP4, Matroska, AVI); 0 = none, or unknown."""
    if not isinstance(path, Path):
        return 0
    try:
        length = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(64)
            if head[:4] == b"\x1aE\xdf\xa3":
                return max(0, _matroska_end(head) - length)
            if head[:4] == b"RIFF" or head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide"):
                return max(0, _boxes_end(file, length, little=head[:4] == b"RIFF") - length)
    except (OSError, IndexError):
        pass
    return 0


def _boxes_end(file: BinaryIO, length: int, *, little: bool) -> int:
    """Where the last of the boxes that follow one another would end."""
    at = 0
    while at + 8 <= length:
        file.seek(at)
        head = file.read(16)
        if little:  # RIFF: name, size without these 8 bytes, an even number
            if head[:4] != b"RIFF":
                return at
            size = int.from_bytes(head[4:8], "little") + 8
            size += size % 2
        else:
            size = int.from_bytes(head[:4], "big")
            size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size < 8 or (little and size >= 0xFFFFFFFF):
            return at  # `until the end`, or not filled in
        at += size
    return at


def _matroska_end(head: bytes) -> int:
    """Where the first segment would end; 0 where its size is not said."""
    size, used = _vint(head, 4)
    at = 4 + used + size
    if head[at : at + 4] != b"\x18S\x80g":
        return 0
    size, used = _vint(head, at + 4)
    unknown = size == (1 << 7 * used) - 1
    return 0 if unknown else at + 4 + used + size


def _vint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and how many bytes it takes."""
    used = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1)
    return value, used
