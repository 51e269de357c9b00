"""From the bytes of a picture to pixels: Pillow says what is right, a faster JPEG decoder may do the work.

Another decoder than Pillow is asked for plain 8-bit JPEGs only, and whatever it refuses goes to Pillow, whose errors
are the ones a user sees. So the choice changes the time a frame takes and nothing else, as long as the decoder gives
Pillow's pixels; `auto` takes those only that do, which it finds out by decoding a few small pictures once.

The choice belongs to the process, not to a dataset or a run: whatever reads a frame here, from any thread, uses it.
`use_decoder` makes it; commands call it once, before the first frame is read, and each worker process calls it anew.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from mosam.codecs.images import check_declared_size
from mosam.errors import DataError, MosamError, UnknownNameError
from mosam.types import Image, Size

if TYPE_CHECKING:
    from PIL import Image as PillowImage  # loaded where it is needed: scores of boxes and regions need no pictures

PILLOW = "pillow"
# Fastest first. Measured on 1280x720 JPEGs, one core: simplejpeg 0.6 and torchvision 0.7 of Pillow's time; jpeg4py is
# a thin layer over the same library as simplejpeg, but converts colors in a second pass.
FAST = ("simplejpeg", "jpeg4py", "torchvision")
TORCHCODEC = "torchcodec"  # of video files: PyAV is what says what is right there
DECODERS = ("auto", PILLOW, *FAST, TORCHCODEC)
_PLAIN_MODES = ("RGB", "L")  # of a JPEG: neither CMYK nor YCCK
_WIDE_MODES = ("I", "F")  # Pillow's prefixes of 16-bit, 32-bit and float pictures, whose range nobody states

_ORIENTATION = 0x0112  # tag of EXIF

JpegDecoder = Callable[[bytes], Image]


def decode_image(data: bytes, where: str | os.PathLike[str]) -> Image:
    """A picture as stored, uint8 RGB (H, W, 3); gray, palette, CMYK and RGBA are converted (transparency is dropped).

    Args:
        data: content of a JPEG, PNG ... file.
        where: its name, for errors.
    Raises:
        DataError: truncated, not a picture, of more pixels than Pillow allows or more than 8 bits a channel.
    """
    return decode_turned(data, where)[0]


def decode_turned(data: bytes, where: str | os.PathLike[str]) -> tuple[Image, int]:
    """As `decode_image`, and the file's EXIF orientation (1 = none): `turn` with it gives the upright picture."""
    with _open(data, where) as picture:
        if picture.mode.startswith(_WIDE_MODES):
            raise DataError(where, f"expected 8 bits a channel, got a picture of mode {picture.mode}; convert it")
        fast = _chosen()
        if fast is not None and picture.format == "JPEG" and picture.mode in _PLAIN_MODES:
            image = _try(fast, data)
            if image is not None and image.shape == (picture.height, picture.width, 3):
                return image, _orientation(picture)
        return _decode(picture, where), _orientation(picture)


def decode_size(data: bytes | BinaryIO, where: str | os.PathLike[str], *, upright: bool = False) -> Size:
    """(height, width) of a picture (its bytes or an open file), from its header alone; DataError as `decode_image`.

    Args:
        data, where: as for `decode_image`.
        upright: of the picture turned as its EXIF orientation says, not as stored.
    """
    with _open(data, where) as picture:
        height, width = picture.height, picture.width
        return (width, height) if upright and _orientation(picture) >= 5 else (height, width)


def turn(image: Image, code: int) -> Image:
    """A picture turned and mirrored as the code of an EXIF orientation says; 1 and unknown codes leave it as it is.

    Args:
        image: (H, W, ...) any dtype.
        code: 1 to 8; 6 is a quarter turn clockwise, 8 one counter-clockwise, above 4 exchange height and width.
    """
    if code not in range(2, 9):
        return image
    if code >= 5:
        image = image.swapaxes(0, 1)
    if code in (3, 4, 7, 8):
        image = image[::-1]
    if code in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def use_decoder(name: str) -> str:
    """Chooses how this process decodes frames from now on, for every dataset and thread.

    Args:
        name: one of `DECODERS`; `auto` (the default) is the fastest installed one that gives Pillow's pixels, and PyAV
            for video files. `torchcodec` is for those, and leaves pictures to `auto`.
    Returns:
        The one in use for pictures from now on.
    Raises:
        UnknownNameError: another name.
        MosamError: that one is not installed.
    """
    if name not in DECODERS:
        raise UnknownNameError("decoder", name, DECODERS, where="--decoder")
    if name in FAST and _load(name) is None:
        raise MosamError(f"--decoder {name}: expected it to be installed; pip install {name}, or choose auto")
    if name == TORCHCODEC and load_torchcodec() is None:
        raise MosamError(
            "--decoder torchcodec: expected it and the system's FFmpeg to be installed; pip install torchcodec and "
            "install FFmpeg's libraries, or choose auto"
        )
    _of_this_process.torchcodec = name == TORCHCODEC
    _of_this_process.name = "auto" if name == TORCHCODEC else name
    return decoder_in_use()


def video_decoder() -> Any:
    """torchcodec's `VideoDecoder` where that was chosen, else None for PyAV."""
    return load_torchcodec() if _of_this_process.torchcodec else None


@cache
def load_torchcodec() -> Any:
    """The class `VideoDecoder`, or None where torchcodec or the FFmpeg it needs is not installed; loads torch."""
    try:
        return importlib.import_module("torchcodec.decoders").VideoDecoder
    except (ImportError, OSError, RuntimeError):  # it finds out at import that no FFmpeg fits
        return None


def decoder_in_use() -> str:
    """Name of the decoder that JPEG frames are read with; `pillow` where nothing faster is installed and exact."""
    return _automatic() if _of_this_process.name == "auto" else _of_this_process.name


def is_exact(name: str) -> bool | None:
    """Whether an installed decoder gives Pillow's pixels and refuses a cut-off file; None where it is not installed."""
    if name == PILLOW:
        return True
    decoder = _load(name)
    return None if decoder is None else all(_agrees(decoder, data) for data in _probes()) and _refuses_half(decoder)


@dataclass
class _Choice:
    """How a process decodes: pictures by name, and videos by torchcodec or not."""

    name: str = "auto"
    torchcodec: bool = False


_of_this_process = _Choice()


def _chosen() -> JpegDecoder | None:
    name = decoder_in_use()
    return None if name == PILLOW else _load(name)


def _automatic() -> str:
    with_torch = "torch" in sys.modules  # reading frames must not be what loads it
    return _fastest_exact(with_torch)


@cache
def _fastest_exact(with_torch: bool) -> str:
    names = [name for name in FAST if with_torch or name != "torchvision"]
    return next((name for name in names if is_exact(name)), PILLOW)


def _open(data: bytes | BinaryIO, where: str | os.PathLike[str]) -> PillowImage.Image:
    from PIL import Image as Pillow

    try:
        picture = Pillow.open(io.BytesIO(data) if isinstance(data, bytes) else data)
        if isinstance(data, bytes):
            check_declared_size(picture.size, len(data))
        return picture
    except Exception as error:  # Pillow's parsers raise whatever broken bytes make them raise
        raise DataError(where, f"expected a JPEG or PNG picture, got {_one_line(error)}") from error


def _decode(picture: PillowImage.Image, where: str | os.PathLike[str]) -> Image:
    try:
        picture.load()
    except Exception as error:  # as in _open
        raise DataError(where, f"expected a whole picture, got {_one_line(error)}; replace the file") from error
    return np.array(picture if picture.mode == "RGB" else picture.convert("RGB"))


def _orientation(picture: PillowImage.Image) -> int:
    """EXIF orientation, 1 (none) to 8; to be asked for after decoding, as a PNG may have it behind the pixels."""
    try:
        code = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged block of metadata; the pixels are sound
        return 1
    return code if code in range(2, 9) else 1


def _one_line(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "a file of another kind"
    return " ".join(str(error).split()) or type(error).__name__


# ---------------------------------------------------------------------------------------------- decoders


def _try(decoder: JpegDecoder, data: bytes) -> Image | None:
    try:
        return decoder(data)
    except Exception:  # of any of the libraries; Pillow then decodes, or says what is wrong
        return None


@cache
def _load(name: str) -> JpegDecoder | None:
    """A decoder of JPEG bytes to uint8 RGB (H, W, 3), or None where it or its system library is not installed."""
    try:
        return _LOADERS[name]()
    except (ImportError, OSError):  # jpeg4py raises OSError where libturbojpeg is absent
        return None


def _load_simplejpeg() -> JpegDecoder:
    decode = importlib.import_module("simplejpeg").decode_jpeg
    return lambda data: decode(data, colorspace="RGB")


def _load_jpeg4py() -> JpegDecoder:
    jpeg = importlib.import_module("jpeg4py").JPEG
    return lambda data: jpeg(np.frombuffer(data, dtype=np.uint8)).decode()


def _load_torchvision() -> JpegDecoder:
    torch, images = importlib.import_module("torch"), importlib.import_module("torchvision.io")

    def decode(data: bytes) -> Image:
        tensor = images.decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=images.ImageReadMode.RGB)
        return np.ascontiguousarray(tensor.permute(1, 2, 0).numpy())

    return decode


_LOADERS: dict[str, Callable[[], JpegDecoder]] = {
    "simplejpeg": _load_simplejpeg,
    "jpeg4py": _load_jpeg4py,
    "torchvision": _load_torchvision,
}


# ---------------------------------------------------------------------------------------------- probing


def _agrees(decoder: JpegDecoder, data: bytes) -> bool:
    from PIL import Image as Pillow

    image = _try(decoder, data)
    return image is not None and np.array_equal(image, np.array(Pillow.open(io.BytesIO(data)).convert("RGB")))


def _refuses_half(decoder: JpegDecoder) -> bool:
    return all(_try(decoder, data[: len(data) // 2]) is None for data in _probes())


@cache
def _probes() -> tuple[bytes, ...]:
    """Small JPEGs of each kind that benchmarks hold: color sampling 4:4:4, 4:2:2 and 4:2:0, progressive, gray, odd."""
    from PIL import Image as Pillow

    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:45, 0:67]
    smooth = np.stack([rows * 4, columns * 3, (rows + columns) * 2], axis=2)
    pixels = np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)
    picture = Pillow.fromarray(pixels)
    kinds: list[tuple[PillowImage.Image, dict[str, object]]] = [
        (picture, {"quality": 95, "subsampling": 0}),
        (picture, {"quality": 75, "subsampling": 1}),
        (picture, {"quality": 90, "subsampling": 2}),
        (picture, {"quality": 60, "subsampling": 2, "progressive": True}),
        (picture.convert("L"), {"quality": 90}),
    ]
    found = []
    for image, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **options)
        found.append(buffer.getvalue())
    return tuple(found)
