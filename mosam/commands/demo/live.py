"""Cameras and network streams: always the newest frame. What comes while a frame is tracked is dropped and counted."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

import numpy as np

from mosam.commands.demo.source import Picture
from mosam.datasets.video_stream import one_reason, to_image
from mosam.errors import DataError, MissingDataError
from mosam.types import Image, Size

CAMERA_RATE = Fraction(30)  # where a camera does not say
URL = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt|rtp)://", re.IGNORECASE)
PROTOCOLS = "rtsp,rtsps,rtp,rtmp,rtmps,udp,tcp,tls,http,https,httpproxy,crypto,srt"  # a playlist may name no file
OPENING, READING = 15.0, 15.0  # seconds a stream has to answer, and to send its next frame


class LiveSource:
    """Frames that come whether or not they are taken; see `Source`.

    A thread takes every frame and keeps the newest, so that tracking never falls behind what the camera sees.

    Args:
        name: see `Source`.
        images: uint8 RGB (H, W, 3), in a thread alone; it ends or raises DataError where the stream does.
        rate: frames a second that the stream announces.
        where: the stream, for errors.
    Raises:
        MissingDataError: no first frame.

    Attributes:
        dropped: frames that came and were not taken, since the last iteration began.
    """

    live = True
    length: int | None = None
    expected: int | None = None
    start = 0

    def __init__(self, name: str, images: Iterator[Image], rate: Fraction, where: str):
        self.name, self.rate, self.dropped = name, rate, 0
        self._where = where
        self._changed = threading.Condition()
        self._newest: Image | None = None
        self._arrived = 0
        self._error: BaseException | None = None
        self._ended = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._grab, args=(images,), name="mosam-demo-live", daemon=True)
        self._thread.start()
        found = self._wait(0, OPENING)
        if found is None:
            raise MissingDataError(f"{where}: expected pictures, got none")
        self._first, self._first_number = found
        height, width = self._first.shape[:2]
        self.size: Size = (height, width)

    def first(self) -> Image:
        """The frame that prompts are on."""
        return self._first

    def refresh(self) -> Image:
        """Makes the newest frame the first one."""
        with self._changed:
            if self._newest is not None:
                self._first, self._first_number = self._newest, self._arrived
        return self._first

    def __iter__(self) -> Iterator[Picture]:
        begun, number, self.dropped = time.monotonic(), self._first_number, 0
        yield Picture(self._first, Fraction(0))
        with self._changed:
            number = max(number, self._arrived - 1)  # what passed while objects were marked is not dropped, but past
        while (found := self._wait(number, READING)) is not None:
            image, newest = found
            if image.shape != self._first.shape:
                raise DataError(self._where, f"expected frames of {self.size}, got one of {image.shape[:2]}")
            self.dropped += newest - number - 1
            number = newest
            yield Picture(image, Fraction(time.monotonic() - begun).limit_denominator(1000))

    def close(self) -> None:
        """Ends the thread and the stream."""
        self._closed.set()
        self._thread.join(5)

    def _grab(self, images: Iterator[Image]) -> None:
        try:
            for image in images:
                with self._changed:
                    self._newest = image
                    self._arrived += 1
                    self._changed.notify_all()
                if self._closed.is_set():
                    break
        except BaseException as error:  # raised where frames are taken
            self._error = error
        finally:
            close: Callable[[], None] = getattr(images, "close", lambda: None)
            close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _wait(self, after: int, seconds: float) -> tuple[Image, int] | None:
        """The newest frame and its number, once there is one later than `after`; None where the stream has ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._arrived > after or self._ended, seconds):
                raise DataError(self._where, f"expected another picture within {seconds:g} seconds, got none")
            if self._arrived > after and self._newest is not None:
                return self._newest, self._arrived
            if self._error is not None:
                raise self._error
            return None


def open_camera(index: int) -> LiveSource:
    """A camera of this machine.

    Raises:
        MissingDataError: no such camera, or it gives no pictures.
    """
    import cv2

    # it would print a line of its own where there is no camera; OpenCV 4 and 5 have this in different places
    (getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)(0)
    capture = cv2.VideoCapture(index)
    found, first = capture.read() if capture.isOpened() else (False, None)
    if not found or first is None:
        capture.release()
        raise MissingDataError(f"camera {index}: expected a camera that gives pictures, found none; try another number")
    rate = float(capture.get(cv2.CAP_PROP_FPS) or 0)

    def images() -> Iterator[Image]:
        found, image = True, first
        try:
            while found and image is not None:
                yield np.ascontiguousarray(image[..., ::-1])
                found, image = capture.read()
        finally:
            capture.release()
        raise DataError(f"camera {index}", "expected another picture, it gives none any more")

    announced = Fraction(rate).limit_denominator(1001) if 1 <= rate <= 1000 else CAMERA_RATE
    return LiveSource(f"camera-{index}", images(), announced, f"camera {index}")


def open_stream(url: str) -> LiveSource:
    """A network stream: `rtsp://`, `http://` and the like.

    Raises:
        MissingDataError: nothing answers there, or not with a video.
    """
    import av

    options = {"protocol_whitelist": PROTOCOLS, "fflags": "nobuffer"}
    if url.lower().startswith("rtsp"):
        options["rtsp_transport"] = "tcp"  # over UDP, lost packets make torn frames
    shown = re.sub(r"//[^/@]*@", "//", url)  # no password in messages and folders
    try:
        container: Any = av.open(url, timeout=(OPENING, READING), options=options)
        stream: Any = container.streams.best("video")
        if stream is None:
            container.close()
            raise ValueError("no pictures in it")
    except Exception as error:  # av has some forty classes of errors of its own, and raises others too
        raise MissingDataError(f"{shown}: expected a video stream, got {one_reason(error)}") from None

    def images() -> Iterator[Image]:
        with closing(container):
            try:
                for frame in container.decode(stream):
                    yield to_image(frame, upright=True)
            except Exception as error:
                raise DataError(shown, f"expected another picture, got {one_reason(error)}") from None

    rate = stream.average_rate or stream.guessed_rate or CAMERA_RATE
    name = re.sub(r"[^\w.-]+", "-", shown.partition("://")[2]).strip("-.") or "stream"
    return LiveSource(name[:60], images(), Fraction(rate.numerator, rate.denominator), shown)
