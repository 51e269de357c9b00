"""Streams of frames: what they hold, what they leave out, and what they say of damaged ones."""

import threading
import time
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from clips import VIDEOS, make_video
from trees import stems, write_frames, write_text, write_video

from mosam.commands.demo import source as module
from mosam.commands.demo.source import FileSource, FolderSource, Picture, open_source, read_ahead
from mosam.datasets.frames import open_frames
from mosam.datasets.video import VideoFrames
from mosam.errors import DataError, MissingDataError


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "clip.mp4", count=90)


def test_a_file_is_streamed_in_order_with_its_times(clip):
    source = open_source(str(clip))
    assert isinstance(source, FileSource)
    assert (source.name, source.size, source.live) == ("clip", (32, 48), False)
    assert source.length is None  # known only by reading it
    assert source.expected == 90  # what its header says
    pictures = list(source)
    assert len(pictures) == 90
    np.testing.assert_array_equal(pictures[0].image, source.first())
    assert pictures[0].time == 0
    assert {b.time - a.time for a, b in pairwise(pictures)} == {1 / source.rate}
    np.testing.assert_array_equal(next(iter(source)).image, source.first())  # again from the start


def test_a_short_file_knows_its_length(tmp_path):
    assert open_source(str(write_video(tmp_path / "a.mp4", count=9))).length == 9


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
def test_containers(tmp_path, suffix):
    import av

    path = tmp_path / f"clip{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx-vp9" if suffix == ".webm" else "mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 10 * n, dtype=np.uint8), format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    source = open_source(str(path))
    brightness = [float(picture.image.mean()) for picture in source]
    assert len(brightness) == 20
    assert source.rate == 25
    assert np.allclose(brightness, 10 * np.arange(20), atol=12)


@pytest.mark.parametrize("name", list(VIDEOS))
def test_the_demo_and_a_dataset_read_the_same_frames(tmp_path, name):
    path = make_video(tmp_path, name)
    stored = VideoFrames(path)
    source = open_source(str(path))
    pictures = list(source)
    assert (len(pictures), source.size) == (len(stored), stored.size())
    assert source.length == (len(stored) if len(stored) < module.SHORT else None)
    for index, picture in enumerate(pictures):
        np.testing.assert_array_equal(picture.image, stored.read(index))
    times = [picture.time for picture in pictures]
    assert times == [None] * len(times) or (times[0] == 0 and all(a < b for a, b in pairwise(times)))


def test_a_phones_video_is_upright(tmp_path):
    path = make_video(tmp_path, "phone.mp4")
    source = open_source(str(path))
    assert source.size == (96, 64)
    np.testing.assert_array_equal(source.first(), np.rot90(VideoFrames(path, upright=False).read(0), -1))


def test_a_folder_has_the_rate_it_is_given(tmp_path):
    write_frames(tmp_path / "pics", stems(3))
    source = open_source(str(tmp_path / "pics"), rate=12.5)
    assert isinstance(source, FolderSource)
    assert (source.name, source.length, source.rate) == ("pics", 3, Fraction(25, 2))
    assert [picture.time for picture in source] == [None] * 3


def test_what_is_not_a_video_is_told(tmp_path, clip):
    (tmp_path / "empty").mkdir()
    cases = {
        str(tmp_path / "no.mp4"): (MissingDataError, r"no\.mp4: expected a video \(\.mp4, .*found nothing there"),
        str(tmp_path / "empty"): (DataError, r"expected frames \(\.jpg, \.jpeg, \.png\), got an empty folder"),
        str(write_text(tmp_path / "text.mp4", "no video\n" * 50)): (DataError, "expected a video file, got Inv"),
        "77": (MissingDataError, "camera 77: expected a camera that gives pictures, found none"),
    }
    write_frames(tmp_path, ["one"])
    cases[str(tmp_path / "one.jpg")] = (DataError, "expected a video or a folder of pictures, got one picture")
    for text, (kind, message) in cases.items():
        with pytest.raises(kind, match=message):
            open_source(text)


def test_a_file_without_pictures(tmp_path):
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), dtype=np.int16), format="s16", layout="mono")
        frame.rate = 8000
        for packet in [*stream.encode(frame), *stream.encode()]:
            container.mux(packet)
    with pytest.raises(DataError, match="got a file without pictures"):
        open_source(str(path))


def test_a_video_that_ends_early_is_told_after_its_frames(tmp_path):
    path = write_video(tmp_path / "clip.mkv", count=120)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 5])
    seen = []
    with pytest.raises(DataError, match=r"clip\.mkv: expected .* it is cut off and ends after"):
        seen.extend(_numbered(open_source(str(path)), seen))
    assert 20 < len(seen) < 100


def _numbered(source, seen):
    """Notes each picture before the next is asked for, so that they are there when an error comes."""
    for picture in source:
        seen.append(picture)
    return ()


def test_reading_ahead_is_bounded_and_keeps_order():
    made = []

    def items():
        for n in range(50):
            made.append(n)
            yield n

    stream = read_ahead(items(), 3)
    assert next(stream) == 0
    time.sleep(0.05)
    assert len(made) <= 5
    assert list(stream) == list(range(1, 50))


def test_reading_ahead_raises_in_its_turn_and_ends_its_thread():
    def items():
        yield 1
        raise DataError("x", "broken")

    stream = read_ahead(items())
    assert next(stream) == 1
    with pytest.raises(DataError, match="broken"):
        next(stream)
    before = threading.active_count()
    endless = read_ahead(iter(int, 1))
    next(endless)
    endless.close()
    assert threading.active_count() == before


def test_pictures_are_values():
    assert Picture(np.zeros((1, 1, 3), np.uint8)).time is None


@pytest.mark.parametrize("kind", ["video", "folder"])
def test_a_later_frame_to_begin_with(tmp_path, kind):
    if kind == "video":
        path = make_video(tmp_path, "m2.mpg")
        frames = VideoFrames(path)
    else:
        path = tmp_path / "pics"
        write_frames(path, stems(25))
        frames = open_frames(path)
    source = open_source(str(path), start=20)
    pictures = list(source)
    assert (len(pictures), source.start) == (len(frames) - 20, 20)
    assert source.length == (None if kind == "video" else 5)
    np.testing.assert_array_equal(source.first(), frames.read(20))
    for index, picture in enumerate(pictures, start=20):
        np.testing.assert_array_equal(picture.image, frames.read(index))
    assert pictures[0].time == (0 if kind == "video" else None)
    count = len(frames)
    assert open_source(str(path), start=count - 3).length == 3
    with pytest.raises(DataError, match=rf"expected a frame {count} to begin with .*got {count} frames"):
        open_source(str(path), start=count)


def test_a_camera_has_no_frame_to_begin_with():
    with pytest.raises(DataError, match="camera 77: expected to begin with the next picture"):
        open_source("77", start=3)
