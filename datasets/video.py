"""Frames of a video file: those that decode, in the order in which they decode, whoever reads them and in any order.

`decode` is the one way from a file to frames; `VideoFrames` and the demo both use it. What a header says of length and
rate is not believed, and neither is a seek.
"""

from __future__ import annotations

import io
import os
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mosam.datasets.archives import TreePath, as_path
from mosam.datasets.decoders import turn, video_decoder
from mosam.errors import DataError
from mosam.system.arguments import index_of
from mosam.types import Image, Size

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts")
NO_TIME = np.iinfo(np.int64).min  # of a frame without a presentation time
LISTS = ("concat", "hls", "dash", "imf", "sdp", "rtsp", "image2")  # FFmpeg's names of what points to other files
MOST_INDEXES = 64  # of files whose frames are remembered by this process
MOST_FAILED_SEEKS = 3  # of one file, after which it is read from its start
SEEK_SLACK = 300  # frames that may come between where a seek lands and the key frame it was meant for
EARLIER = (0, 1, 3)  # key frames before that one to seek to: program streams lead to some time after the one asked for
_PLANAR = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray")  # 8 bits: a byte a sample


@dataclass(frozen=True, slots=True, eq=False)
class VideoIndex:
    """The frames of a file, in the order in which they decode.

    Attributes:
        times: (T,) int64 presentation times in the stream's unit, `NO_TIME` where a frame has none.
        sums: (T,) uint32 checksums of the decoded pixels, by which a frame is known again after a seek.
        keys: (T,) bool, frames at which decoding can begin.
        turned: (T,) bool, frames that the file says are to be turned or mirrored to be upright.
        size: (height, width) of the first frame as stored.
        first_turned: whether turning the first frame exchanges its height and width.
        faults: packets that do not decode.
    """

    times: NDArray[np.int64]
    sums: NDArray[np.uint32]
    keys: NDArray[np.bool_]
    turned: NDArray[np.bool_]
    size: Size
    first_turned: bool
    faults: int

    def __len__(self) -> int:
        return len(self.times)


class VideoFrames:
    """Frames of a video file, those that decode in the order in which they do; reading forward decodes each once.

    The file is decoded once to know its frames, which this process remembers. A jump goes to a key frame before, and
    what comes is compared with what came in order; where it differs, the file is decoded from its start. PyAV decodes;
    torchcodec does where it was chosen (`use_decoder`), if it gives the same frames.

    Args:
        path: the file; inside an archive it is read into memory whole.
        count: use only the first so many frames; None = all.
        upright: turn frames as the file's display matrix says (phones film on their side); benchmarks are read as
            stored.
    Raises:
        DataError: not there, or holds no video.

    Attributes:
        stems: `00000`, `00001` ... as result files name the frames.
        turned: 0-based frames that the file says are to be turned.
        faults: packets of the file that do not decode.
    """

    def __init__(self, path: str | os.PathLike[str], *, count: int | None = None, upright: bool = True):
        self.folder = as_path(path)
        self.upright = upright
        self._index = index_video(self.folder, count)
        self._partial = count is not None
        self._anchors = np.flatnonzero(self._index.keys & (self._index.times != NO_TIME))
        self.stems = tuple(f"{index:05d}" for index in range(len(self._index)))
        height, width = self._index.size
        self._size: Size = (width, height) if upright and self._index.first_turned else (height, width)
        self._lock = threading.Lock()
        self._opened: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = 0
        self._sure = True  # the frames come from a decoder that began at the start
        self._failed_seeks = 0
        self._other: Any = None  # torchcodec's decoder of this file; False where it does not agree

    def __len__(self) -> int:
        return len(self._index)

    @property
    def turned(self) -> set[int]:
        """See the class."""
        return set(np.flatnonzero(self._index.turned).tolist())

    @property
    def faults(self) -> int:
        """See the class."""
        return self._index.faults

    def __getstate__(self) -> dict[str, Any]:
        state = {**self.__dict__, "_opened": None, "_frames": iter(()), "_next": 0, "_sure": True, "_other": None}
        del state["_lock"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def size(self) -> Size:
        """(height, width) of the first frame."""
        return self._size

    def read(self, index: int) -> Image:
        """Frame `index` as uint8 RGB (H, W, 3).

        Raises:
            DataError: it cannot be decoded, or is of another size than the first.
        """
        index = index_of(index, len(self), str(self.folder))
        decoder = video_decoder()
        image = self._read_pyav(index) if decoder is None else self._read_torchcodec(index, decoder)
        check_size(self.folder, index, image, self.size())
        return image

    def files(self) -> Iterator[tuple[TreePath, TreePath]]:
        """The file, as `FrameFolder.files` gives them."""
        yield self.folder, self.folder

    def _read_torchcodec(self, index: int, decoder: Any) -> Image:
        if self._other is None and (self.faults or self._index.turned.any()):
            self._other = False  # what it makes of such a file is its own affair
        probes = sorted({0, len(self) // 3, len(self) - 1})
        first = [self._read_pyav(probe) for probe in probes] if self._other is None else []
        with self._lock:
            try:
                if self._other is None:
                    source = str(self.folder) if isinstance(self.folder, Path) else self.folder.read_bytes()
                    other = decoder(source, dimension_order="NHWC", seek_mode="exact")
                    as_many = len(other) >= len(self) if self._partial else len(other) == len(self)
                    same = as_many and all(
                        np.array_equal(other[probe].numpy(), image) for probe, image in zip(probes, first, strict=True)
                    )
                    self._other = other if same else False
                if self._other is not False:
                    return np.asarray(self._other[index].numpy())
            except (OSError, ValueError, RuntimeError, IndexError):
                self._other = False  # PyAV says whether the file or torchcodec is to blame
        return self._read_pyav(index)

    def _read_pyav(self, index: int) -> Image:
        with self._lock:
            try:
                return to_image(self._find(index), upright=self.upright)
            except DataError:
                self._close()
                raise
            except Exception as error:  # whatever broken bytes make the libraries raise
                self._close()
                reason = one_reason(error)
                raise DataError(self.folder, f"expected frame {index}, it cannot be decoded: {reason}") from None

    def _find(self, index: int) -> Any:
        """The decoded frame: on from the last one, from a key frame before it, or from the start."""
        back = self._opened is None or index < self._next
        place = self._anchor(index)
        start = 0 if back else self._next
        if place >= 0 and self._anchors[place] > start:
            frame = self._forward(index) if self._seek(place) else None
        else:
            if back:
                self._restart()
            frame = self._forward(index)
        if frame is None and not self._sure:
            self._restart()
            frame = self._forward(index)
        if frame is None:
            raise DataError(
                self.folder, f"expected {len(self)} frames, decoding ended before frame {index}; the file has changed"
            )
        return frame

    def _anchor(self, index: int) -> int:
        """Place in `_anchors` of the last frame up to `index` that a seek can be meant for; below 0 = none."""
        if self._failed_seeks >= MOST_FAILED_SEEKS:
            return -1
        return int(np.searchsorted(self._anchors, index, side="right")) - 1

    def _forward(self, index: int) -> Any:
        """Frame `index` from the open decoder; None where it ends or, after a seek, gives another picture."""
        frame = None
        while self._next <= index:
            frame = next(self._frames, None)
            if frame is None:
                return None
            self._next += 1
        return frame if self._sure or checksum(frame) == self._index.sums[index] else None

    def _seek(self, place: int) -> bool:
        """Goes to a key frame; False where the file does not lead there."""
        for back in EARLIER:
            if back <= place and self._seek_to(self._anchors[place], self._anchors[place - back]):
                return True
        self._failed_seeks += 1
        return False

    def _seek_to(self, anchor: int, earlier: int) -> bool:
        """Seeks to `earlier` and decodes on to `anchor`, which is known by its time and pixels."""
        if self._opened is None:
            self._restart()
        container, stream = self._opened
        time, self._sure = self._index.times[anchor], False
        try:
            container.seek(int(self._index.times[earlier]), stream=stream, backward=True, any_frame=False)
            self._frames = decode(container, stream)
            for frame in islice(self._frames, SEEK_SLACK):
                if frame.pts == time and checksum(frame) == self._index.sums[anchor]:
                    self._frames = chain([frame], self._frames)
                    self._next = anchor
                    return True
                if frame.pts is not None and frame.pts > time:
                    break
        except Exception:  # some files cannot be searched ("Operation not permitted"); from the start all can be read
            self._close()
        return False

    def _restart(self) -> None:
        self._close()
        self._opened = open_video(self.folder)
        self._frames = decode(*self._opened)

    def _close(self) -> None:
        if self._opened is not None:
            self._opened[0].close()
        self._opened, self._frames, self._next, self._sure = None, iter(()), 0, True


# ---------------------------------------------------------------------------------------------- from file to frames


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


# ---------------------------------------------------------------------------------------------- what a file holds

_indexes: OrderedDict[tuple[str, int, int, int], VideoIndex] = OrderedDict()
_indexing = threading.Lock()


def index_video(path: TreePath, count: int | None = None) -> VideoIndex:
    """The frames of a file, by decoding it once; remembered while the file is the same.

    Args:
        path: the file.
        count: look at the first so many only; None = all.
    Raises:
        DataError: not there, no video, or no frame decodes.
    """
    key = None
    if isinstance(path, Path) and count is None:
        try:
            state = path.stat()
            key = (str(path.resolve()), state.st_size, state.st_mtime_ns, state.st_ino)
        except OSError:
            pass  # opening it says what is wrong
    with _indexing:
        found = _indexes.get(key) if key is not None else None
    if found is None:
        found = _make_index(path, count)
    if key is not None:
        with _indexing:
            _indexes[key] = found
            _indexes.move_to_end(key)
            while len(_indexes) > MOST_INDEXES:
                _indexes.popitem(last=False)
    return found


def _make_index(path: TreePath, count: int | None) -> VideoIndex:
    times: list[int] = []
    sums: list[int] = []
    keys: list[bool] = []
    turns: list[int] = []
    size: Size | None = None
    faults: list[str] = []
    container, stream = open_video(path)
    with closing(container):
        try:
            for frame in islice(decode(container, stream, faults), count):
                size = size or (frame.height, frame.width)
                times.append(NO_TIME if frame.pts is None else frame.pts)
                sums.append(checksum(frame))
                keys.append(bool(frame.key_frame))
                turns.append(display_turn(frame))
        except LookupError:
            raise unknown_codec(path) from None
        except Exception as error:  # of a pixel format that FFmpeg cannot convert
            raise DataError(path, f"expected frame {len(sums)}, it cannot be converted: {one_reason(error)}") from None
    if size is None:
        detail = f": {faults[0]}" if faults else ""
        raise DataError(path, f"expected a video, got a file without frames that decode{detail}")
    return VideoIndex(
        np.array(times, dtype=np.int64),
        np.array(sums, dtype=np.uint32),
        np.array(keys, dtype=np.bool_),
        np.array(turns) > 1,
        size,
        turns[0] > 4,
        len(faults),
    )


# ---------------------------------------------------------------------------------------------- files that are cut off


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
