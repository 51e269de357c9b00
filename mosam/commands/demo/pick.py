"""A page on this machine alone: draw what to track on the first frame, then watch it being tracked.

The server listens on the loopback only, answers only requests that name it and carry the key of its address, and sends
nothing anywhere; the page loads nothing from elsewhere. Requests that are no such request are answered with 400, long
ones with 413, and whoever does not finish one in time is cut off.
"""

from __future__ import annotations

import contextlib
import html
import re
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mosam.commands.demo.prompts import Point, assemble, check_box
from mosam.errors import MosamError
from mosam.system.typed import from_data, parse_json
from mosam.types import Image, Prompt

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "pick.html"
PATIENCE = 20.0  # seconds a request waits for a new frame
GOODBYE = 5.0  # seconds the page has to fetch the end
QUALITY = 85  # of frames shown on the page
ASKING = 10.0  # seconds a browser has to send a request whole
MOST_BYTES = 1 << 20  # of a drawing: thousands of points
# What the page may do: show pictures of this server and talk to it; its script and style are part of it.
POLICY = "default-src 'none'; img-src 'self' blob:; connect-src 'self'; "
POLICY += "script-src 'unsafe-inline'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the page sends of one object: a box `x, y, w, h`, points `x, y, label` with label 1 = on it, or both."""

    box: tuple[float, float, float, float] | None = None
    points: tuple[tuple[float, float, Literal[0, 1]], ...] = ()


class PickPage:
    """The page and its server; a context manager.

    Args:
        first: the first frame, uint8 RGB (H, W, 3).
        port: of the server; 0 = any free one.
        browser: open the page in the user's browser.
    Raises:
        MosamError: the port is in use, or the libraries are not installed.

    Attributes:
        url: of the page, with its key.
    """

    def __init__(self, first: Image, *, port: int = 0, browser: bool = True):
        self._first, self._browser = first, browser
        self._key = secrets.token_urlsafe(12)
        self._changed = threading.Condition()
        self._prompts: list[Prompt] | None = None
        self._index, self._jpeg, self._done, self._told = -1, b"", "", False
        self._socket = _bind(port)
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}/?key={self._key}"
        self._server = self._make_server()
        self._thread = threading.Thread(target=self._serve, name="mosam-pick", daemon=True)
        self._way: Path | None = None

    def __enter__(self) -> PickPage:
        self._thread.start()
        if self._browser:
            import webbrowser

            self._way = _write_way(self.url)
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(self._way.as_uri())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.finish(str(error) if isinstance(error, MosamError) else "stopped")
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()
        if self._way is not None:
            shutil.rmtree(self._way.parent, ignore_errors=True)

    def prompts(self) -> list[Prompt]:
        """Waits until the user starts; what was drawn, as prompts of the first frame."""
        with self._changed:
            while self._prompts is None:
                self._changed.wait(0.2)  # so that Ctrl-C is seen
                if not self._thread.is_alive():
                    raise MosamError("--pick: expected a page that is served, its server has ended")
            return self._prompts

    def show(self, index: int, image: Image) -> None:
        """A tracked frame; what the page has not fetched when the next comes is skipped."""
        data = _jpeg(image)
        with self._changed:
            self._index, self._jpeg = index, data
            self._changed.notify_all()

    def finish(self, text: str) -> None:
        """Tells the page that nothing more comes, and waits a little until it knows."""
        with self._changed:
            self._done = text or "done"
            self._changed.notify_all()
            if self._prompts is not None:
                self._changed.wait_for(lambda: self._told, GOODBYE)

    # the server's side

    def _start(self, body: bytes) -> None:
        """What the page sends: a list of `Drawn`."""
        size = (self._first.shape[0], self._first.shape[1])
        drawn = from_data(tuple[Drawn, ...], parse_json(body, "page"), "page")
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
        prompts = assemble(boxes, points)
        with self._changed:
            if self._prompts is not None:
                raise MosamError("tracking has begun already")
            self._prompts = prompts
            self._changed.notify_all()

    def _next(self, after: int) -> tuple[int, bytes, str]:
        """The newest frame that is later than `after`, or the end; waits for one of them."""
        until = time.monotonic() + PATIENCE
        with self._changed:
            while self._index <= after and not self._done and time.monotonic() < until:
                self._changed.wait(0.5)
            fresh = self._index > after
            if self._done and not fresh:
                self._told = True
                self._changed.notify_all()
            return self._index, self._jpeg if fresh else b"", "" if fresh else self._done

    def _make_server(self) -> Any:
        try:
            import uvicorn
            from starlette.applications import Starlette
            from starlette.middleware import Middleware
            from starlette.middleware.trustedhost import TrustedHostMiddleware
            from starlette.routing import Route
        except ImportError as error:
            self._socket.close()
            raise MosamError(
                f"--pick: expected starlette and uvicorn, got {error}; install them with pip install 'mosam[video]'"
            ) from None
        routes = [
            Route("/", self._guarded(_answer_page)),
            Route("/first.jpg", self._guarded(self._answer_first)),
            Route("/start", self._guarded(self._answer_start), methods=["POST"]),
            Route("/next", self._guarded(self._answer_next)),
            Route("/favicon.ico", _answer_icon),
        ]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
        config = uvicorn.Config(
            Starlette(routes=routes, middleware=[hosts]), log_level="warning", lifespan="off", access_log=False,
            http=_impatient(), ws="none", loop="asyncio",
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # Ctrl-C belongs to the command
        return server

    def _guarded(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """A handler that answers only who has the key."""
        from starlette.responses import Response

        async def answer(request: Request) -> Response:
            key = request.query_params.get("key", "")
            if not key.isascii():
                return _refusal("expected a key of plain letters")
            if not secrets.compare_digest(key, self._key):
                return Response("open the address that mosam printed\n", status_code=403)
            response = await handler(request)
            response.headers["Cache-Control"] = "no-store"
            return response

        return answer

    async def _answer_first(self, request: Request) -> Response:
        from starlette.responses import Response

        return Response(_jpeg(self._first, 95), media_type="image/jpeg")

    async def _answer_start(self, request: Request) -> Response:
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse, Response

        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > MOST_BYTES:
                    return _refusal(f"expected at most {MOST_BYTES} bytes", 413)
            self._start(body)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except MosamError as error:
            return _refusal(str(error))
        return JSONResponse({})

    async def _answer_next(self, request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse, Response

        after = _frame_number(request.query_params)
        if after is None:
            return _refusal("expected the number of a frame after after=")
        index, data, done = await run_in_threadpool(self._next, after)
        if not data:
            return JSONResponse({"done": done})
        return Response(data, media_type="image/jpeg", headers={"X-Frame": str(index)})

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _refusal(why: str, status: int = 400) -> Response:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": why}, status_code=status)


async def _answer_page(request: Request) -> Response:
    from starlette.responses import HTMLResponse

    return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": POLICY})


async def _answer_icon(request: Request) -> Response:
    from starlette.responses import Response

    return Response(status_code=204)


def _bind(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
        bound.listen(16)  # or two servers could share a port that was reused
    except OSError as error:
        bound.close()
        reason = "one that is in use" if error.errno in (98, 48) else error.strerror or str(error)
        raise MosamError(f"--port {port}: expected a free port, got {reason}; choose another, or 0 for any") from None
    return bound


def _impatient() -> Any:
    """Uvicorn's protocol, which by itself waits for ever for the rest of a request."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Impatient(H11Protocol):  # type: ignore[misc]
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._since = time.monotonic()
            self._watch()

        def _watch(self) -> None:
            if self.transport.is_closing():
                return
            now = time.monotonic()
            if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):  # a request is here whole
                self._since = now
            if now - self._since > ASKING:
                self.transport.abort()
            else:
                self.loop.call_later(min(1.0, ASKING / 4), self._watch)

    return Impatient


def _frame_number(query: Mapping[str, str]) -> int | None:
    """The number after `after=`, -1 where it is left out; None where there is no number."""
    text = query.get("after", "-1")
    return int(text) if re.fullmatch(r"-1|[0-9]{1,9}", text) else None


def _write_way(url: str) -> Path:
    """A page of this user's alone that leads to another: what a browser is started with, everybody can read."""
    path = Path(tempfile.mkdtemp(prefix="mosam-pick-")) / "open.html"
    path.touch(mode=0o600)
    there = html.escape(url)
    text = f'<!doctype html><meta http-equiv="refresh" content="0;url={there}"><a href="{there}">to the first frame</a>'
    path.write_text(text, encoding="utf-8")
    return path


def _jpeg(image: Image, quality: int = QUALITY) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
