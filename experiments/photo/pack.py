"""One file with all pictures, readable with NumPy alone.

Colors are coded as JPEG codes them: luma and halved chroma, cosine transform of 8 x 8 blocks, coarse steps for high
frequencies. Decoding is one matrix product a picture, so a machine needs no image library. Alpha is kept as it is.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mosam.errors import DataError
from mosam.system.files import replacing

CUTOUT_SIDE = 192
PHOTO_SIDE = 448
MOST_PICTURES = 5000
MOST_BYTES = 1 << 31  # of all arrays of a pack, unpacked
_PARTS = ("codes", "alpha", "names", "held", "cutouts")


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A cut-out or a photograph.

    Attributes:
        name: package and path.
        held: whether it is for validation alone.
        pixels: (side, side, 4) uint8 RGBA of a cut-out, (side, side, 3) RGB of a photograph.
    """

    name: str
    held: bool
    pixels: NDArray[np.uint8]

    @property
    def cutout(self) -> bool:
        """Whether it has a mask."""
        return self.pixels.shape[2] == 4


def _cosines() -> NDArray[np.float32]:
    """(64, 64) orthonormal cosine transform of a flattened 8 x 8 block."""
    n = np.arange(8)
    one = np.cos(np.pi * (2 * n[None] + 1) * n[:, None] / 16) * np.where(n == 0, np.sqrt(1 / 8), 0.5)[:, None]
    return np.kron(one, one).astype(np.float32)


COSINES = _cosines()
# Steps grow with the frequency; the first keeps the mean of a block, up to 8 x 128, within 8 bits.
STEPS = (8 + 2.0 * np.add.outer(np.arange(8), np.arange(8))).astype(np.float32).reshape(64)
# ITU-R BT.601 full range, as in JPEG.
_TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)
_TO_RGB = np.linalg.inv(_TO_YCC).astype(np.float32)


def encode(rgb: NDArray[np.uint8]) -> NDArray[np.int8]:
    """(side, side, 3) colors -> flat codes; the side is a multiple of 16."""
    planes = rgb.astype(np.float32) @ _TO_YCC.T
    half = planes[..., 1:].reshape(len(rgb) // 2, 2, len(rgb) // 2, 2, 2).mean(axis=(1, 3))
    parts = [planes[..., 0] - 128, half[..., 0], half[..., 1]]
    blocks = np.concatenate([_blocks(part) for part in parts])
    codes = np.clip(np.rint(blocks @ COSINES.T / STEPS), -127, 127).astype(np.int8)
    return codes.T.ravel()  # frequency by frequency: long runs of zeros


def decode(codes: NDArray[np.int8], side: int) -> NDArray[np.uint8]:
    """Inverse of `encode`, up to its losses."""
    blocks = (codes.reshape(64, -1).T * STEPS) @ COSINES
    luma, chroma = side * side // 64, side * side // 256
    y = _plane(blocks[:luma], side) + 128
    b, r = (_plane(blocks[luma + k * chroma :][:chroma], side // 2) for k in range(2))
    full = np.stack([y, *(part.repeat(2, axis=0).repeat(2, axis=1) for part in (b, r))], axis=-1)
    return np.clip(np.rint(full @ _TO_RGB.T), 0, 255).astype(np.uint8)


def coded_length(side: int) -> int:
    """Codes of one picture."""
    return side * side * 3 // 2


def _blocks(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    n = len(plane) // 8
    return plane.reshape(n, 8, n, 8).swapaxes(1, 2).reshape(-1, 64)


def _plane(blocks: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    n = side // 8
    return blocks.reshape(n, n, 8, 8).swapaxes(1, 2).reshape(side, side)


def write_pack(path: Path, pictures: Iterable[Picture]) -> None:
    """Write pictures, cut-outs first."""
    ordered = sorted(pictures, key=lambda picture: not picture.cutout)
    cutouts = [picture for picture in ordered if picture.cutout]
    values = {
        "codes": np.concatenate([encode(picture.pixels[..., :3]) for picture in ordered]),
        "alpha": np.stack([picture.pixels[..., 3] for picture in cutouts]),
        "names": np.frombuffer(json.dumps([picture.name for picture in ordered]).encode(), np.uint8),
        "held": np.array([picture.held for picture in ordered]),
        "cutouts": np.array([len(cutouts)]),
    }
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **values)


def read_pack(path: Path) -> list[Picture]:
    """Pictures of a file by `write_pack`.

    Raises:
        DataError: the file is damaged or something else; one line.
    """
    values = _arrays(path)
    try:
        names = json.loads(values["names"].tobytes())
        held, codes, alpha = values["held"], values["codes"], values["alpha"]
        cutouts = len(alpha)
        photos = len(names) - cutouts
        expected = cutouts * coded_length(CUTOUT_SIDE) + photos * coded_length(PHOTO_SIDE)
        sound = (
            all(isinstance(name, str) for name in names)
            and 0 < cutouts <= len(names) <= MOST_PICTURES
            and held.shape == (len(names),)
            and held.dtype == bool
            and alpha.shape == (cutouts, CUTOUT_SIDE, CUTOUT_SIDE)
            and alpha.dtype == np.uint8
            and codes.shape == (expected,)
            and codes.dtype == np.int8
            and int(values["cutouts"][0]) == cutouts
        )
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise DataError(path, f"expected a pack of pictures, got {type(error).__name__}; make it again") from None
    if not sound:
        raise DataError(path, "expected a pack of pictures whose parts belong together, they do not; make it again")
    pictures, start = [], 0
    for number, name in enumerate(names):
        side = CUTOUT_SIDE if number < cutouts else PHOTO_SIDE
        colors = decode(codes[start : start + coded_length(side)], side)
        start += coded_length(side)
        pixels = np.dstack([colors, alpha[number]]) if number < cutouts else colors
        pictures.append(Picture(name, bool(held[number]), pixels))
    return pictures


def _arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a file, none of which may be larger than a pack can be, or be an object."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
                raise DataError(path, f"expected at most {MOST_BYTES} bytes, the file declares more")
        with np.load(path, allow_pickle=False) as loaded:
            missing = sorted(set(_PARTS) - set(loaded.files))
            if missing:
                raise DataError(path, f"expected a pack of pictures, it has no {', '.join(missing)}; make it again")
            return {name: loaded[name] for name in _PARTS}
    except FileNotFoundError:
        raise
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, MemoryError, RuntimeError) as error:
        raise DataError(path, f"expected a pack of pictures, got {type(error).__name__}; make it again") from None
    except Exception as error:  # zlib.error and what else a damaged archive raises
        if isinstance(error, DataError):
            raise
        raise DataError(path, f"expected a pack of pictures, got {type(error).__name__}; make it again") from None
