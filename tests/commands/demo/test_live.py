"""Cameras and streams: the newest frame, what is dropped, ends, and addresses that give nothing."""

import http.server
import threading
from itertools import pairwise

import numpy as np
import pytest
from fake_model import FakeBackbone
from trees import write_video

from mosam.commands.demo.live import LiveSource, open_camera
from mosam.commands.demo.source import open_source
from mosam.commands.demo.track import track_source
from mosam.errors import DataError, MissingDataError
from mosam.policies.base import load_policy
from mosam.types import Prompt


def picture(n, size=(20, 30)):
    return np.full((*size, 3), n, dtype=np.uint8)


class Camera:
    """Pictures that come when they are let out; the test waits until the source has each."""

    def __init__(self, end=None, make=picture):
        self._go, self._end, self._make = threading.Semaphore(1), end, make
        self._stopping = False

    def __iter__(self):
        n = 0
        while True:
            self._go.acquire()
            if self._stopping:
                break
            n += 1
            yield self._make(n)
        if self._end is not None:
            raise self._end

    def give(self, source, count):
        for _ in range(count):
            before = source._arrived
            self._go.release()
            with source._changed:
                assert source._changed.wait_for(lambda: source._arrived > before, 5)  # noqa: B023

    def stop(self):
        self._stopping = True
        self._go.release()


def live(camera):
    return LiveSource("cam", iter(camera), 30, "camera 0")


def test_the_newest_frame_is_taken_and_the_others_are_counted():
    camera = Camera()
    source = live(camera)
    assert (source.live, source.length, source.expected, source.size) == (True, None, None, (20, 30))
    frames = iter(source)
    taken = [next(frames)]
    for count in (1, 3, 5):
        camera.give(source, count)
        taken.append(next(frames))
    assert [int(frame.image[0, 0, 0]) for frame in taken] == [1, 2, 5, 10]
    assert source.dropped == 2 + 4
    assert all(a.time <= b.time for a, b in pairwise(taken))
    camera.stop()
    assert list(frames) == []
    source.close()


def test_what_passes_while_objects_are_marked_is_not_dropped():
    camera = Camera()
    source = live(camera)
    camera.give(source, 9)
    assert source.first()[0, 0, 0] == 1  # the picture that is marked stays
    frames = iter(source)
    assert [next(frames).image[0, 0, 0], next(frames).image[0, 0, 0], source.dropped] == [1, 10, 0]
    assert source.refresh()[0, 0, 0] == source.first()[0, 0, 0] == 10
    camera.stop()
    source.close()


def test_a_stream_that_breaks_is_told_after_its_frames():
    camera = Camera(end=DataError("camera 0", "it gives none any more"))
    source = live(camera)
    frames = iter(source)
    next(frames)
    camera.give(source, 1)
    camera.stop()
    assert next(frames).image[0, 0, 0] == 2
    with pytest.raises(DataError, match="camera 0: it gives none any more"):
        next(frames)


def test_a_silent_stream(monkeypatch):
    monkeypatch.setattr("mosam.commands.demo.live.READING", 0.05)
    camera = Camera()
    source = live(camera)
    frames = iter(source)
    next(frames)
    with pytest.raises(DataError, match=r"expected another picture within 0.05 seconds"):
        next(frames)
    camera.stop()


def test_frames_of_another_size():
    camera = Camera(make=lambda n: picture(n, (30 - 10 * n, 30)))
    source = live(camera)
    camera.give(source, 1)
    with pytest.raises(DataError, match=r"expected frames of \(20, 30\), got one of \(10, 30\)"):
        list(source)
    camera.stop()


def test_no_frames():
    with pytest.raises(MissingDataError, match="camera 0: expected pictures, got none"):
        LiveSource("cam", iter(()), 30, "camera 0")


class FakeCapture:
    """What OpenCV calls a camera: BGR."""

    count, released = 0, 0

    def __init__(self, index):
        self.index = index

    def isOpened(self):
        return self.index == 0

    def get(self, key):
        return 15.0

    def read(self):
        self.count += 1
        return self.count <= 3, np.full((20, 30, 3), (40, 0, 0), dtype=np.uint8)

    def release(self):
        FakeCapture.released += 1


def test_a_camera_gives_rgb(monkeypatch):
    monkeypatch.setattr("cv2.VideoCapture", FakeCapture)
    source = open_source("0")
    assert (source.name, source.rate, source.size) == ("camera-0", 15, (20, 30))
    assert source.first()[0, 0].tolist() == [0, 0, 40]
    with pytest.raises(DataError, match="camera 0: expected another picture, it gives none any more"):
        list(source)
    source.close()
    assert FakeCapture.released == 1
    with pytest.raises(MissingDataError, match="camera 7: expected a camera that gives pictures"):
        open_camera(7)


@pytest.fixture
def address(tmp_path):
    """A video on a web server of this machine."""
    write_video(tmp_path / "clip.ts", count=40)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *words):
            super().__init__(*words, directory=tmp_path)

        def log_message(self, *words):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://me:secret@127.0.0.1:{server.server_port}/clip.ts"
        server.shutdown()


def test_a_stream_from_the_network(address, tmp_path):
    source = open_source(address)
    assert source.name.startswith("127.0.0.1-")
    assert "secret" not in source.name
    (tmp_path / "o").mkdir()
    prompts = [Prompt(1, box=np.array([5.0, 5, 20, 20]))]
    result = track_source(source, prompts, FakeBackbone(), [load_policy("mosam")], out=tmp_path / "o", masks=False)
    source.close()
    assert (result.problem, result.interrupted) == (None, False)  # a stream may end
    assert 1 <= result.frames <= 40
    assert result.frames + result.dropped <= 40
    assert not result.dropped or f"{result.dropped} frames came" in result.lines()[-1]


def test_an_address_that_gives_nothing(address, tmp_path):
    (tmp_path / "text.ts").write_text("no video")
    for name in ("nothing.ts", "text.ts"):
        with pytest.raises(MissingDataError, match=rf"^http://127.0.0.1:\d+/{name}: expected a video stream, got "):
            open_source(address.replace("clip.ts", name))


def test_a_stream_begins_with_the_next_picture():
    with pytest.raises(DataError, match="--start is for files"):
        open_source("rtsp://nowhere/stream", start=3)
