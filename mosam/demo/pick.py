"""A page on this machine alone: draw what to track on the first frame, then watch it being tracked.

The server listens on the loopback only, answers only requests that name it and carry the key of its address, and sends
nothing anywhere; the page loads nothing from elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mosam.demo.prompts import Point, assemble, check_box
from mosam.errors import MosamError
from mosam.types import Image, Prompt

HOST = "127.0.0.1"
PAGE = Path(__file__).parent / "pick.html"
PATIENCE = 20.0  # seconds a request waits for a new frame
GOODBYE = 5.0  # seconds the page has to fetch the end
QUALITY = 85  # of frames shown on the page
# What the page may do: show pictures of this server and talk to it; its script and style are part of it.
POLICY = "default-src 'none'; img-src 'self' blob:; connect-src 'self'; "
POLICY += "script-src 'unsafe-inline'; style-src 'unsafe-inline'"


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

    def __enter__(self) -> PickPage:
        self._thread.start()
        if self._browser:
            import webbrowser

            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(self.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.finish(str(error) if isinstance(error, MosamError) else "stopped")
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()

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

    def _start(self, body: Any) -> None:
        """What the page sends: a list of objects, each with a box, points `[x, y, label]`, or both."""
        size = (self._first.shape[0], self._first.shape[1])
        boxes: list[np.ndarray | None] = []
        points: list[Point] = []
        if not isinstance(body, list) or not body:
            raise MosamError("expected at least one object; draw a box or click on it")
        for number, item in enumerate(body, start=1):
            box = item.get("box")
            if box is not None:
                box = np.array(box, dtype=np.float64)
                if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] <= 0).any():
                    raise MosamError(f"object {number}: expected a box with w > 0 and h > 0")
                check_box(box, size, f"object {number}")
            boxes.append(box)
            points += [(number, float(x), float(y), int(label)) for x, y, label in item.get("points", [])]
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
            from starlette.concurrency import run_in_threadpool
            from starlette.middleware import Middleware
            from starlette.middleware.trustedhost import TrustedHostMiddleware
            from starlette.requests import Request
            from starlette.responses import HTMLResponse, JSONResponse, Response
            from starlette.routing import Route
        except ImportError as error:
            self._socket.close()
            raise MosamError(
                f"--pick: expected starlette and uvicorn, got {error}; install them with pip install 'mosam[video]'"
            ) from None

        def guarded(handler: Any) -> Any:
            async def answer(request: Request) -> Response:
                if not secrets.compare_digest(request.query_params.get("key", ""), self._key):
                    return Response("open the address that mosam printed\n", status_code=403)
                response: Response = await handler(request)
                response.headers["Cache-Control"] = "no-store"
                return response

            return answer

        async def page(request: Request) -> Response:
            return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": POLICY})

        async def first(request: Request) -> Response:
            return Response(_jpeg(self._first, 95), media_type="image/jpeg")

        async def start(request: Request) -> Response:
            try:
                self._start(json.loads(await request.body()))
            except (MosamError, ValueError, TypeError, AttributeError) as error:
                return JSONResponse({"error": str(error)})
            return JSONResponse({})

        async def following(request: Request) -> Response:
            after = int(request.query_params.get("after", "-1"))
            index, data, done = await run_in_threadpool(self._next, after)
            if not data:
                return JSONResponse({"done": done})
            return Response(data, media_type="image/jpeg", headers={"X-Frame": str(index)})

        async def icon(request: Request) -> Response:
            return Response(status_code=204)

        routes = [
            Route("/", guarded(page)),
            Route("/first.jpg", guarded(first)),
            Route("/start", guarded(start), methods=["POST"]),
            Route("/next", guarded(following)),
            Route("/favicon.ico", icon),
        ]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
        config = uvicorn.Config(
            Starlette(routes=routes, middleware=[hosts]), log_level="warning", lifespan="off", access_log=False
        )
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # Ctrl-C belongs to the command
        return server

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


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


def _jpeg(image: Image, quality: int = QUALITY) -> bytes:
    import cv2

    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()
