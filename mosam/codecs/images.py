"""Label maps: images whose pixels are object ids, in the palette that DAVIS and its relatives use."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mosam.codecs.text import Readable
from mosam.errors import DataError, MismatchError, MissingDataError
from mosam.types import Mask, Size

_PNG_START = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
_LABEL_MODES = ("P", "L", "1", "RGB")
# More pixels than a byte of any compressed picture can stand for (PNG: deflate's 1,032 times 8 of one bit); a file that
# declares more is damaged, or made to fill the memory.
MAX_PIXELS_PER_BYTE = 10_000
MANY_LABELS = 16
LARGEST_LABEL = 254  # label maps are 8-bit and DAVIS keeps 255 for void


@lru_cache(maxsize=1)
def voc_palette() -> bytes:
    """The 256 colors x RGB of the PASCAL VOC label maps, which DAVIS uses: the bits of the label, dealt out in turn.

    >>> list(voc_palette()[3:9])
    [128, 0, 0, 0, 128, 0]
    """
    label = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            palette[:, channel] |= (((label >> channel) & 1) << (7 - bit)).astype(np.uint8)
        label = label >> 3
    return palette.tobytes()


def write_labels(path: Path, labels: NDArray[np.uint8]) -> None:
    """A label map (H, W) as a palette PNG (mode P, VOC palette); the same labels give the same bytes."""
    from PIL import Image

    image = Image.fromarray(labels)
    image.putpalette(voc_palette())
    image.save(path, format="PNG", optimize=False)


def read_labels(path: Readable, *, rgb: bool = True) -> NDArray[np.integer]:
    """A label map from an image.

    Args:
        path: the file.
        rgb: also take RGB images, as some annotation is stored.
    Returns:
        (H, W) uint8 for palette and gray images; of RGB ones the gray value where the three are equal everywhere, else
        int32 `R + 256 G + 65536 B`.
    Raises:
        MissingDataError: no such file.
        DataError: not an image, truncated, of another kind, or declaring more pixels than Pillow allows.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise MissingDataError(f"{path}: expected a label map, found nothing") from None
    except OSError as error:
        raise DataError(path, f"expected a label map, got {error.strerror or error}") from None
    plain = _plain_png(data)
    if plain is not None:
        return plain
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            check_declared_size(image.size, len(data))
            mode, array = image.mode, np.asarray(image) if image.mode in _LABEL_MODES else None
    except UnidentifiedImageError:
        raise DataError(path, "expected a PNG label map, got a file that is not an image") from None
    except Exception as error:  # Pillow's parsers raise whatever broken bytes make them raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(path, f"the image cannot be read: {reason}") from None
    if array is not None and mode == "RGB" and not rgb:
        raise DataError(
            path,
            "expected a label map (mode P or L), got an RGB picture, at which the official programs stop; save the "
            "object ids themselves, not their colors",
        )
    if array is None:
        raise DataError(path, f"expected a label map (mode P, L, 1 or RGB), got mode {mode}; {_remedy(mode)}")
    if mode == "RGB":
        if (array == array[..., :1]).all():
            return array[..., 0]
        return np.dot(array.astype(np.int32), np.array([1, 256, 65536], dtype=np.int32))
    return array.astype(np.uint8) if mode == "1" else array


def _remedy(mode: str) -> str:
    kind = "without its transparency, " if mode in ("RGBA", "LA", "PA", "La", "RGBa") else "with 8 bits a pixel, "
    return f"save it {kind}as a palette or gray PNG whose values are the object numbers"


def _plain_png(data: bytes) -> NDArray[np.uint8] | None:
    """(H, W) pixels of a PNG as nearly all label maps are: 8 bits, palette or gray, rows stored as they are.

    None for every other file, whole or damaged: Pillow reads it or says what is wrong. What Pillow does beside
    inflating takes as long again.
    """
    if data[:16] != _PNG_START or len(data) < 33:
        return None
    width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    length = height * (width + 1)
    if depth != 8 or color not in (0, 3) or interlaced or length > MAX_PIXELS_PER_BYTE * len(data):
        return None
    packed, at, kind = [], 8, b""
    while kind != b"IEND":
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return None
        if kind == b"IDAT":
            packed.append(data[at + 8 : end])
        at = end + 4
    stream = _inflater()
    try:
        raw = stream.decompress(b"".join(packed), length + 1)
    except Exception:  # each library has its own; Pillow finds the words
        return None
    if len(raw) != length or not stream.eof:
        return None
    rows = np.frombuffer(raw, dtype=np.uint8).reshape(height, width + 1)
    return None if rows[:, 0].any() else rows[:, 1:]


def _inflater() -> Any:
    """A decompressor of zlib-ng, which takes a quarter of the time, or of the standard library."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return zlib.decompressobj()
    return zlib_ng.decompressobj()


def label_ids(labels: NDArray[np.integer]) -> tuple[int, ...]:
    """Every label but 0 of a label map (H, W), ascending.

    >>> label_ids(np.array([[0, 3], [1, 3]], dtype=np.uint8))
    (1, 3)
    """
    largest = int(labels.max(initial=0))
    if largest <= MANY_LABELS:  # comparing is cheaper than counting for the few objects a frame usually has
        return tuple(label for label in range(1, largest + 1) if (labels == label).any())
    present = np.flatnonzero(np.bincount(labels.ravel())) if largest < 256 else np.unique(labels)
    return tuple(int(label) for label in present if label)


def check_declared_size(size: tuple[int, int], length: int) -> None:
    """ValueError where a picture of `length` bytes declares (width, height) that they cannot hold."""
    if size[0] * size[1] > MAX_PIXELS_PER_BYTE * (length + 100):
        raise ValueError(f"a declared size of {size[0]}x{size[1]} pixels exceeds limit of what {length} bytes can hold")


def masks_of_labels(labels: NDArray[np.integer]) -> dict[int, Mask]:
    """Masks (H, W) of every label but 0, by label, ascending.

    >>> sorted(masks_of_labels(np.array([[0, 3], [1, 3]], dtype=np.uint8)))
    [1, 3]
    """
    largest = int(labels.max(initial=0))
    if largest <= MANY_LABELS:
        return {label: mask for label in range(1, largest + 1) if (mask := labels == label).any()}
    return {label: labels == label for label in label_ids(labels)}


def labels_of_masks(masks: Mapping[int, Mask], size: Size) -> NDArray[np.uint8]:
    """One label map (H, W) uint8 of several masks; where masks overlap the lowest id wins.

    Raises:
        MismatchError: an id that does not fit into a label map.
        ValueError: a mask of another size.
    """
    labels = np.zeros(size, dtype=np.uint8)
    for object_id in sorted(masks, reverse=True):
        mask = masks[object_id]
        if not 1 <= object_id <= LARGEST_LABEL:
            raise MismatchError(f"object {object_id}: expected an id of 1 to {LARGEST_LABEL} for a label map")
        if mask.shape != tuple(size):
            raise ValueError(f"object {object_id}: expected a mask of {size}, got {mask.shape}")
        labels[mask] = object_id
    return labels
