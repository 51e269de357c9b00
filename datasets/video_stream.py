"""From a video file to decoded frames: those that decode, in the order in which they decode.

`decode` is the one way from a file to frames; `VideoFrames` and the demo both use it. What a header says of length and
rate is not believed.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from mosam.datasets.archives import TreePath
from mosam.datasets.decoders import turn
from mosam.errors import DataError
from mosam.types import Image, Size

LISTS = ("concat", "hls", "dash", "imf", "sdp", "rtsp", "image2")  # FFmpeg's names of what points to other files
_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")  # 8 bits: a byte a sample


def open_video(path: TreePath) -> tuple[Any, Any]:
    """A video file, opened: PyAV's container and the stream of its pictures.

    Raises:
        DataError: no such file, no video, or of a codec that this FFmpeg does not have.
    """
    try:
        container = _open_container(path)
    except Exception as error:  # av has some forty classes of errors of its own, and raises others too
        detail = "no file" if isinstance(error, FileNotFoundError) else one_reason(error)
        raise DataError(path, f"expected a video file, got {detail}") from None
    try:
        if container.format.name.partition(",")[0] in LISTS:
            raise DataError(path, "expected a video, got a list of other files; give the video itself")
        stream = container.streams.best("video")
        if stream is None:
            raise DataError(path, "expected a video, got a file without pictures")
        if stream.codec_context is None or stream.codec_context.codec is None:
            raise unknown_codec(path)
    except BaseException as error:
        container.close()
        if isinstance(error, LookupError):  # av's DecoderNotFoundError is one
            raise unknown_codec(path) from None
        raise
    return container, stream


def unknown_codec(path: TreePath) -> DataError:
    """The error for a video that no decoder is for."""
    return DataError(
        path,
        "expected a video that can be decoded, got one of a codec that this FFmpeg does not know; "
        "convert it, as with ffmpeg -i IN -c:v libx264 OUT.mp4",
    )


def decode(container: Any, stream: Any, faults: list[str] | None = None) -> Iterator[Any]:
    """PyAV's frames that decode, in the order in which they decode. Packets that do not are passed over.

    Args:
        container, stream: as `open_video` gives them, at the start or after a seek.
        faults: takes what is wrong with each packet that does not decode.
    Raises:
        LookupError: no decoder for the codec.
    """
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except Exception as error:  # the file ends here, whatever else it holds; what waits in the decoder still comes
            _note(faults, error)
            yield from _decode(stream.codec_context, None, faults)
            return
        if packet is None:
            return
        yield from _decode(stream.codec_context, packet, faults)


def _decode(context: Any, packet: Any, faults: list[str] | None) -> list[Any]:
    try:
        return list(context.decode(packet))
    except LookupError:
        raise
    except Exception as error:  # av's InvalidDataError and its like: the decoder goes on with the next packet
        if not isinstance(error, EOFError):  # it was flushed before
            _note(faults, error)
        return []


def _note(faults: list[str] | None, error: Exception) -> None:
    if faults is not None:
        faults.append(one_reason(error))


def to_image(frame: Any, *, upright: bool) -> Image:
    """A decoded frame as uint8 RGB (H, W, 3), turned as its display matrix says where `upright`."""
    image = np.asarray(frame.to_ndarray(format="rgb24"))
    return turn(image, display_turn(frame)) if upright else image


def display_turn(frame: Any) -> int:
    """The display matrix of a decoded frame as the code of an EXIF orientation; angles count to the next quarter."""
    matrix = _display_matrix(frame)
    if matrix is None:
        return (1, 8, 3, 6)[round(getattr(frame, "rotation", 0) / 90) % 4]  # degrees counter-clockwise
    a, b, c, d = matrix  # a pixel (x, y) is shown at (a x + c y, b x + d y)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return {(False, False): 1, (True, False): 2, (True, True): 3, (False, True): 4}[a < 0, d < 0]
    return {(False, False): 5, (False, True): 6, (True, True): 7, (True, False): 8}[b < 0, c < 0]


def _display_matrix(frame: Any) -> tuple[int, int, int, int] | None:
    for item in getattr(frame, "side_data", None) or ():
        if getattr(item.type, "name", "") == "DISPLAYMATRIX":
            numbers = np.frombuffer(bytes(item), dtype=np.int32)
            return int(numbers[0]), int(numbers[1]), int(numbers[3]), int(numbers[4])
    return None


def checksum(frame: Any) -> int:
    """CRC-32 of a decoded frame's pixels."""
    if frame.format.name not in _PLANAR:
        return zlib.crc32(np.ascontiguousarray(frame.to_ndarray(format="rgb24")).data)
    total = 0
    for plane in frame.planes:
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        total = zlib.crc32(np.ascontiguousarray(rows).data, total)
    return total


def check_size(where: str | os.PathLike[str], index: int, image: Image, size: Size) -> None:
    """DataError where frame `index` is not of the first one's (height, width)."""
    if image.shape[:2] != tuple(size):
        height, width = image.shape[:2]
        raise DataError(where, f"expected {size[0]}x{size[1]} (height x width) on frame {index}, got {height}x{width}")


def one_reason(error: Exception) -> str:
    """What a library says is wrong, short and in one line."""
    said = getattr(error, "strerror", None) or str(error)
    return " ".join(str(said).split())[:80] or type(error).__name__


def _open_container(path: TreePath) -> Any:
    import av

    source: str | io.BytesIO | BinaryIO
    if isinstance(path, Path):
        try:
            str(path).encode("utf-8")
            # FFmpeg would take what is before a colon (`12:30.mp4`) for the name of a protocol.
            source = f"file:{path}"
            if not path.is_file():
                raise FileNotFoundError(2, "no file", str(path))
        except UnicodeEncodeError:  # a name of other bytes, which PyAV does not pass on
            source = _Named(path)
    else:
        source = io.BytesIO(path.read_bytes())
    # What the file says must not lead to a network or to another kind of place.
    # (As an option of streams too, PyAV before 18 crashes.)
    return av.open(source, metadata_errors="replace", container_options={"protocol_whitelist": "file"})


class _Named(io.FileIO):
    """An open file whose name PyAV can print."""

    name = "video"  # type: ignore[assignment]
