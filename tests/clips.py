"""Small videos of the kinds that go wrong, made with PyAV: a red square on gray whose left edge is at 10 + 2t."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

av = pytest.importorskip("av")

HEIGHT, WIDTH, SIDE, TRAVEL = 64, 96, 16, 70
# As many bytes as the identity: a quarter turn clockwise, half a turn, a mirror image, upside down.
MATRICES = {
    "phone.mp4": (0, 1, -1, 0),
    "over.mp4": (-1, 0, 0, -1),
    "mirror.mov": (-1, 0, 0, 1),
    "flip.mp4": (1, 0, 0, -1),
    "selfie.mp4": (0, 1, 1, 0),
}


def left_edge(t: int) -> int:
    """Where the square of frame `t` begins; it turns back at the border."""
    step = (2 * t) % (2 * TRAVEL)
    return 10 + (step if step <= TRAVEL else 2 * TRAVEL - step)


def find_left(image: NDArray[np.uint8]) -> int:
    """Where the square of a decoded picture (H, W, 3) begins."""
    red = image[..., 0].astype(int) - image[..., 1] > 80
    return int(np.flatnonzero(red.sum(axis=0) > SIDE // 2)[0])


def picture(t: int) -> NDArray[np.uint8]:
    """Frame `t` before it is encoded."""
    image = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    image[24 : 24 + SIDE, left_edge(t) : left_edge(t) + SIDE] = (230, 20, 20)
    return image


def encode(
    path: Path,
    codec: str = "libx264",
    *,
    count: int = 40,
    times: Callable[[int], int] | None = None,
    clock: Fraction = Fraction(1, 24),
    format: str | None = None,
    **options: str,
) -> Path:
    """A video of the square.

    Args:
        path: its suffix says which container, unless `format` does.
        codec: name of the encoder.
        count: frames.
        times: of each frame in units of `clock`; None = evenly spaced.
        clock: seconds.
        options: of the encoder.
    """
    with av.open(f"file:{path}", "w", format=format) as container:
        stream = container.add_stream(codec, rate=24, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if times is not None:
            stream.codec_context.time_base = clock
        for t in range(count):
            frame = av.VideoFrame.from_ndarray(picture(t), format="rgb24")
            frame.pts, frame.time_base = (t if times is None else times(t)), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def copy_packets(source: Path, path: Path, *, first: int = 0, shift: int = 0, lose: tuple[int, ...] = ()) -> Path:
    """The packets of a video from number `first` on, as `ffmpeg -c copy` cuts it.

    Args:
        shift: added to all times, in the stream's unit.
        lose: numbers of packets whose bytes are damaged.
    """
    signed = {"avoid_negative_ts": "disabled"} if shift < 0 else {}
    with av.open(f"file:{source}") as old, av.open(f"file:{path}", "w", options=signed) as new:
        stream = old.streams.video[0]
        try:
            target = new.add_stream_from_template(stream, opaque=True)
        except AttributeError:
            pytest.skip("this PyAV copies packets through an encoder of its own")
        for number, packet in enumerate(old.demux(stream)):
            if packet.size == 0 or number < first:
                continue
            if number in lose:
                broken = av.Packet(b"\x00\x00\x00\x02\xff\xff" + bytes(packet)[6:] if packet.size > 6 else b"\xff")
                broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
                packet = broken
            packet.stream = target
            if packet.pts is not None:
                packet.pts += shift
            if packet.dts is not None:
                packet.dts += shift
            new.mux(packet)
    return path


def set_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Writes a display matrix into the track header of an MP4 or QuickTime file."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def _cut(folder: Path, name: str, codec: str, **options: str) -> Path:
    """Cut in the middle of a group, so that what comes first cannot be decoded."""
    whole = encode(folder / f"whole{Path(name).suffix}", codec, g="15", **options)
    return copy_packets(whole, folder / name, first=7)


def _broken(folder: Path, name: str, codec: str, lose: tuple[int, ...]) -> Path:
    whole = encode(folder / f"whole{Path(name).suffix}", codec, g="12", bf="0")
    return copy_packets(whole, folder / name, lose=lose)


_OPEN_GROUPS = {"x264-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:scenecut=0"}
# What is made of each name, and how many frames a plain reader gets at most.
VIDEOS: dict[str, Callable[[Path], Path]] = {
    "m1.mpg": lambda f: encode(f / "m1.mpg", "mpeg1video", bf="2", g="12"),
    "m2.mpg": lambda f: encode(f / "m2.mpg", "mpeg2video", bf="2", g="15", count=90),
    "m2.ts": lambda f: encode(f / "m2.ts", "mpeg2video", bf="2", g="15"),
    "h264.mpg": lambda f: encode(f / "h264.mpg", g="12"),
    "h264.ts": lambda f: encode(f / "h264.ts", g="12", bf="3"),
    "plain.avi": lambda f: encode(f / "plain.avi", "mpeg4", g="12"),
    "b.avi": lambda f: encode(f / "b.avi", "mpeg4", g="12", bf="2"),
    "open.mp4": lambda f: encode(f / "open.mp4", **_OPEN_GROUPS),
    "open.mkv": lambda f: encode(f / "open.mkv", **_OPEN_GROUPS),
    "open.ts": lambda f: encode(f / "open.ts", **_OPEN_GROUPS),
    "refresh.mp4": lambda f: encode(f / "refresh.mp4", **{"x264-params": "intra-refresh=1:keyint=12:bframes=0"}),
    "vfr.mp4": lambda f: encode(f / "vfr.mp4", times=lambda t: 33 * t + 300 * (t > 5), clock=Fraction(1, 1000)),
    "vfr.mkv": lambda f: encode(f / "vfr.mkv", times=lambda t: 33 * t + 2000 * (t > 5), clock=Fraction(1, 1000)),
    "vfr.webm": lambda f: encode(f / "vfr.webm", "libvpx-vp9", times=lambda t: 33 * t * t, clock=Fraction(1, 1000)),
    "cut.mp4": lambda f: _cut(f, "cut.mp4", "libx264", bf="0"),
    "cut.mkv": lambda f: _cut(f, "cut.mkv", "libx264", bf="2"),
    "cut.ts": lambda f: _cut(f, "cut.ts", "libx264", bf="2"),
    "cut.webm": lambda f: _cut(f, "cut.webm", "libvpx-vp9"),
    "cut.avi": lambda f: _cut(f, "cut.avi", "mpeg4"),
    "cut.mpg": lambda f: _cut(f, "cut.mpg", "mpeg2video", bf="2"),
    "broken.mp4": lambda f: _broken(f, "broken.mp4", "libx264", (17,)),
    "broken.avi": lambda f: _broken(f, "broken.avi", "mpeg4", (12, 30)),
    "broken.mkv": lambda f: _broken(f, "broken.mkv", "mpeg4", (0,)),
    "negative.mkv": lambda f: copy_packets(encode(f / "whole.mkv", g="12"), f / "negative.mkv", shift=-900),
    "negative.mp4": lambda f: copy_packets(encode(f / "whole.mp4", g="12"), f / "negative.mp4", shift=-5000),
    "late.mp4": lambda f: copy_packets(encode(f / "whole.mp4", g="12"), f / "late.mp4", shift=50000),
    "hevc.mp4": lambda f: encode(f / "hevc.mp4", "libx265", **{"x265-params": "keyint=12:open-gop=1:log-level=none"}),
    "hevc.ts": lambda f: encode(f / "hevc.ts", "libx265", **{"x265-params": "keyint=12:bframes=3:log-level=none"}),
    "av1.mkv": lambda f: encode(f / "av1.mkv", "libsvtav1", g="12"),
    "vp8.webm": lambda f: encode(f / "vp8.webm", "libvpx", g="12", **{"auto-alt-ref": "1", "lag-in-frames": "8"}),
    "photos.avi": lambda f: encode(f / "photos.avi", "mjpeg", strict="unofficial"),
    "lossless.mkv": lambda f: encode(f / "lossless.mkv", "ffv1"),
    "interlaced.mpg": lambda f: encode(f / "interlaced.mpg", "mpeg2video", bf="2", g="12", flags="+ildct+ilme"),
    "short.mp4": lambda f: encode(f / "short.mp4", count=9),
    "one.mp4": lambda f: encode(f / "one.mp4", count=1),
    "2024-01-01T12:30:15.mp4": lambda f: encode(f / "2024-01-01T12:30:15.mp4"),
    **{name: (lambda f, name=name: set_matrix(encode(f / name), MATRICES[name])) for name in MATRICES},
}


def make_video(folder: Path, name: str) -> Path:
    """One of `VIDEOS`; skipped where this FFmpeg has no encoder for it."""
    try:
        return VIDEOS[name](folder)
    except (av.error.EncoderNotFoundError, av.codec.codec.UnknownCodecError) as error:
        pytest.skip(f"{name}: no encoder here ({error})")
