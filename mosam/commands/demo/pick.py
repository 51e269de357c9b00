"""The page of `mosam demo --pick`: mark objects on the first frame, see their masks, watch them tracked, look again.

The page has three states: `marking`, `tracking` and `done`; "Mark again" leads from the last to the first.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from mosam.commands.demo.prompts import Point, assemble, check_box
from mosam.commands.demo.server import POLICY, Handler, LocalServer, Reply
from mosam.errors import MosamError
from mosam.system.typed import from_data, parse_json
from mosam.types import Image, Prompt, Size

PAGE = Path(__file__).parent / "pick.html"
PATIENCE = 20.0  # seconds a request waits for news
AWAY = 30.0  # seconds without a request after which the page is taken to be closed
GOODBYE = 2.0  # seconds, where it said so itself; a page that is loaded anew comes back sooner
QUALITY = 85  # of frames shown on the page


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the page sends of one object: a box `x, y, w, h`, points `x, y, label` with label 1 = on it, or both."""

    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float, Literal[0, 1]], ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """What the page shows, and what it may ask for.

    Attributes:
        name: of the video.
        first: the frame to mark objects on, uint8 RGB (H, W, 3).
        preview: that frame with the masks that tracking would begin with.
        frames: how many there are, or about; None = not known.
        refresh: of a live source, makes the newest frame the first one; None = the first frame stays.
        addable: whether objects may be added while tracking; not where trackers stand side by side.
    """

    name: str
    first: Callable[[], Image]
    preview: Callable[[Sequence[Prompt]], Image]
    frames: int | None = None
    refresh: Callable[[], Image] | None = None
    addable: bool = True


class PickPage:
    """The page and its server; a context manager, and the `Watcher` of a demo.

    Args:
        scene: see there.
        port, browser: see `LocalServer`.

    Attributes:
        url: of the page, with its key.
        stopped: the user wants tracking to end now.
    """

    def __init__(self, scene: Scene, *, port: int = 0, browser: bool = True):
        self._scene = scene
        self._changed = threading.Condition()
        self._state: Literal["marking", "tracking", "done"] = "marking"
        self._prompts: list[Prompt] = []
        self._new: list[Prompt] = []
        self._index, self._jpeg = -1, b""
        self._summary, self._film = "", None  # type: str, Path | None
        self._seen, self._pending, self._left = time.monotonic(), 0, False
        self.stopped = False
        self._server = LocalServer(self._handlers(), port=port, browser=browser)
        self.url = self._server.url

    def __enter__(self) -> PickPage:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.finish(str(error) if isinstance(error, MosamError) else "stopped")
            with self._changed:  # a page that asks hears why
                self._changed.wait_for(lambda: self._pending == 0, GOODBYE)
        self._server.__exit__(kind, error, trace)

    # the command's side

    def prompts(self, check: Callable[[], None] = lambda: None) -> list[Prompt]:
        """Waits until the user starts; what was marked, as prompts of the first frame.

        Args:
            check: called while waiting; what it raises ends that.
        """
        with self._changed:
            while self._state == "marking":
                self._changed.wait(0.2)  # so that Ctrl-C is seen
                check()
                if not self._server.alive:
                    raise MosamError("--pick: expected a page that is served, its server has ended")
            return list(self._prompts)

    def show(self, index: int, image: Image) -> None:
        """A tracked frame; what the page has not fetched when the next comes is skipped."""
        data = _jpeg(image)
        with self._changed:
            self._index, self._jpeg = index, data
            self._changed.notify_all()

    def added(self, index: int) -> list[Prompt]:
        """See `Watcher.added`."""
        with self._changed:
            new, self._new = self._new, []
        return [replace(prompt, frame_index=index) for prompt in new]

    def finish(self, summary: str, film: Path | None = None) -> None:
        """Nothing more comes: what is to be read, and the video to be shown."""
        with self._changed:
            self._summary, self._film, self._state = summary or "done", film, "done"
            self._changed.notify_all()

    def again(self) -> bool:
        """Waits until the user wants to mark objects anew (True), or has closed the page."""
        with self._changed:
            while self._state == "done":
                if self._closed() or not self._server.alive:
                    return False
                self._changed.wait(0.2)
        return True

    def _closed(self) -> bool:
        quiet = time.monotonic() - self._seen
        return not self._pending and quiet > (GOODBYE if self._left else AWAY)

    # the server's side

    def _handlers(self) -> dict[tuple[str, str], Handler]:
        own = {
            ("GET", "/"): self._page,
            ("GET", "/info"): self._info,
            ("GET", "/first.jpg"): lambda query, body: _picture(self._scene.first(), 95),
            ("GET", "/next"): self._next,
            ("GET", "/wait"): self._wait,
            ("GET", "/film"): self._show_film,
            ("POST", "/preview"): self._preview,
            ("POST", "/refresh"): self._refresh,
            ("POST", "/start"): self._start,
            ("POST", "/add"): self._add,
            ("POST", "/stop"): self._stop,
            ("POST", "/again"): self._restart,
            ("POST", "/leave"): self._leave,
        }
        return {key: self._noticed(handler) for key, handler in own.items()}

    def _noticed(self, handler: Handler) -> Handler:
        """The handler, and that somebody is there."""

        def answer(query: Mapping[str, str], body: bytes) -> Reply:
            with self._changed:
                self._pending += 1
                self._left = False
            try:
                return handler(query, body)
            finally:
                with self._changed:
                    self._pending -= 1
                    self._seen = time.monotonic()
                    self._changed.notify_all()

        return answer

    def _page(self, query: Mapping[str, str], body: bytes) -> Reply:
        return Reply(PAGE.read_bytes(), "text/html; charset=utf-8", {"Content-Security-Policy": POLICY})

    def _info(self, query: Mapping[str, str], body: bytes) -> Reply:
        scene = self._scene
        return Reply(
            {
                "name": scene.name,
                "state": self._state,
                "frames": scene.frames,
                "live": scene.refresh is not None,
                "addable": scene.addable,
            }
        )

    def _preview(self, query: Mapping[str, str], body: bytes) -> Reply:
        self._require("marking")
        return _picture(self._scene.preview(self._read(body)))

    def _refresh(self, query: Mapping[str, str], body: bytes) -> Reply:
        self._require("marking")
        if self._scene.refresh is None:
            raise MosamError("expected a live source, got a video, whose first frame stays")
        self._scene.refresh()
        return Reply()

    def _start(self, query: Mapping[str, str], body: bytes) -> Reply:
        prompts = self._read(body)
        with self._changed:
            self._require("marking")
            self._prompts, self._state, self.stopped = prompts, "tracking", False
            self._index, self._jpeg = -1, b""
            self._changed.notify_all()
        return Reply()

    def _add(self, query: Mapping[str, str], body: bytes) -> Reply:
        """One more object, marked on a frame while tracking goes on."""
        if not self._scene.addable:
            raise MosamError("expected one tracker to add objects to, got several side by side")
        found = self._read(body)
        with self._changed:
            self._require("tracking")
            last = max(prompt.object_id for prompt in self._prompts)
            self._prompts += (new := [replace(one, object_id=last + number) for number, one in enumerate(found, 1)])
            self._new += new
        return Reply({"object": last + len(found)})

    def _stop(self, query: Mapping[str, str], body: bytes) -> Reply:
        self.stopped = True
        return Reply()

    def _restart(self, query: Mapping[str, str], body: bytes) -> Reply:
        with self._changed:
            self._require("done")
            self._state, self._film = "marking", None
            self._changed.notify_all()
        return Reply()

    def _leave(self, query: Mapping[str, str], body: bytes) -> Reply:
        self._left = True
        return Reply()

    def _next(self, query: Mapping[str, str], body: bytes) -> Reply:
        """The newest frame that is later than `after`, or how it ended; waits for one of them."""
        after = _frame_number(query)
        if after is None:
            raise MosamError("expected the number of a frame after after=")
        with self._changed:
            self._changed.wait_for(lambda: self._index > after or self._state == "done", PATIENCE)
            if self._index > after:
                return Reply(self._jpeg, "image/jpeg", {"X-Frame": str(self._index)})
            done = self._state == "done"
            return Reply({"done": self._summary if done else "", "film": done and self._film is not None})

    def _wait(self, query: Mapping[str, str], body: bytes) -> Reply:
        """An answer after a while: as long as it is asked for, the page is open."""
        with self._changed:
            self._changed.wait_for(lambda: self._state != "done" or not self._server.alive, PATIENCE)
        return Reply()

    def _show_film(self, query: Mapping[str, str], body: bytes) -> Reply:
        if self._film is None or not self._film.is_file():
            raise MosamError("expected a finished video, got none yet")
        return Reply(self._film, "video/mp4")

    def _require(self, state: str) -> None:
        if self._state != state:
            known = {"marking": "tracking has begun already", "tracking": "nothing is tracked now", "done": "not done"}
            raise MosamError(known[state])

    def _read(self, body: bytes) -> list[Prompt]:
        """Prompts of what the page sends: a list of `Drawn`."""
        height, width = self._scene.first().shape[:2]
        return _prompts_of(from_data(tuple[Drawn, ...], parse_json(body, "page"), "page"), (height, width))


def _prompts_of(drawn: Sequence[Drawn], size: Size) -> list[Prompt]:
    if not drawn:
        raise MosamError("expected at least one object; draw a box or click on it")
    boxes: list[np.ndarray | None] = []
    points: list[Point] = []
    for number, item in enumerate(drawn, start=1):
        box = None if item.box is None else np.array(item.box, dtype=np.float64)
        if box is not None:
            if (box[2:] <= 0).any():
                raise MosamError(f"object {number}: expected a box with w > 0 and h > 0")
            check_box(box, size, f"object {number}")
        boxes.append(box)
        points += [(number, *point) for point in item.points]
    for number, x, y, _ in points:
        if not (0 <= x < size[1] and 0 <= y < size[0]):
            raise MosamError(f"object {number}: expected points on the picture")
    return assemble(boxes, points)


def _frame_number(query: Mapping[str, str]) -> int | None:
    """The number after `after=`, -1 where it is left out; None where there is no number."""
    text = query.get("after", "-1")
    return int(text) if re.fullmatch(r"-1|[0-9]{1,9}", text) else None


def _picture(image: Image, quality: int = QUALITY) -> Reply:
    return Reply(_jpeg(image, quality), "image/jpeg")


def _jpeg(image: Image, quality: int = QUALITY) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
