"""A server for one page on this machine alone.

It listens on the loopback only, answers only requests that name it and carry the key of its address, and sends nothing
anywhere. Requests that are no such request are answered with 400, long ones with 413, and whoever does not finish one
in time is cut off.
"""

from __future__ import annotations

import contextlib
import html
import secrets
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosam.errors import MosamError

HOST = "127.0.0.1"
ASKING = 10.0  # seconds a browser has to send a request whole
MOST_BYTES = 1 << 20  # of a request: thousands of points
# What a page may do: show pictures and films of this server and talk to it; its script and style are part of it.
POLICY = "default-src 'none'; img-src 'self' blob:; media-src 'self'; connect-src 'self'; "
POLICY += "script-src 'unsafe-inline'; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: JSON, bytes of some kind, or a file, of which a browser may ask for a part."""

    content: Mapping[str, object] | bytes | Path = field(default_factory=dict)
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Mapping[str, str], bytes], Reply]


class LocalServer:
    """The server, in a thread of its own; a context manager.

    Args:
        handlers: by method and path; called in a thread with the query and the body. A MosamError is answered with 400.
        port: 0 = any free one.
        browser: open the page `/` in the user's browser.
    Raises:
        MosamError: the port is in use, or the libraries are not installed.

    Attributes:
        url: of the page, with its key.
    """

    def __init__(self, handlers: Mapping[tuple[str, str], Handler], *, port: int = 0, browser: bool = True):
        self._handlers, self._browser = handlers, browser
        self._key = secrets.token_urlsafe(12)
        self._socket = _bind(port)
        self.url = f"http://{HOST}:{self._socket.getsockname()[1]}/?key={self._key}"
        try:
            self._server = self._make_server()
        except BaseException:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve, name="mosam-page", daemon=True)
        self._redirect: Path | None = None

    def __enter__(self) -> LocalServer:
        self._thread.start()
        if self._browser:
            import webbrowser

            self._redirect = _write_redirect(self.url)
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(self._redirect.as_uri())
        return self

    def __exit__(self, *error: object) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()
        if self._redirect is not None:
            shutil.rmtree(self._redirect.parent, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether it still serves."""
        return self._thread.is_alive()

    def _make_server(self) -> Any:
        try:
            import uvicorn
            from starlette.applications import Starlette
            from starlette.middleware import Middleware
            from starlette.middleware.trustedhost import TrustedHostMiddleware
            from starlette.requests import Request
            from starlette.responses import Response
            from starlette.routing import Route
        except ImportError as error:
            raise MosamError(
                f"--pick: expected starlette and uvicorn, got {error}; install them with pip install 'mosam[video]'"
            ) from None

        async def icon(request: Request) -> Response:
            return Response(status_code=204)

        def route(method: str, path: str, handler: Handler) -> Route:
            async def answer(request: Request) -> Response:
                return await self._answer(request, handler)

            return Route(path, answer, methods=[method])

        routes = [route(method, path, handler) for (method, path), handler in self._handlers.items()]
        hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
        config = uvicorn.Config(
            Starlette(routes=[*routes, Route("/favicon.ico", icon)], middleware=[hosts]), log_level="warning",
            lifespan="off", access_log=False, http=_impatient(), ws="none", loop="asyncio",
        )  # fmt: skip
        server = uvicorn.Server(config)
        server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]  # Ctrl-C belongs to the command
        return server

    async def _answer(self, request: Any, handler: Handler) -> Any:
        """One request, if it carries the key."""
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        key = request.query_params.get("key", "")
        if not key.isascii():
            return _refuse("expected a key of plain letters")
        if not secrets.compare_digest(key, self._key):
            return Response("open the address that mosam printed\n", status_code=403)
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > MOST_BYTES:
                    return _refuse(f"expected at most {MOST_BYTES} bytes", 413)
            reply = await run_in_threadpool(handler, request.query_params, body)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody
        except MosamError as error:
            return _refuse(str(error))
        return _as_response(reply)

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _refuse(why: str, status: int = 400) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse({"error": why}, status_code=status)


def _as_response(reply: Reply) -> Any:
    from starlette.responses import FileResponse, JSONResponse, Response

    headers = {"Cache-Control": "no-store", **reply.headers}
    if isinstance(reply.content, Path):
        return FileResponse(reply.content, media_type=reply.kind, headers=headers)
    if isinstance(reply.content, bytes):
        return Response(reply.content, media_type=reply.kind, headers=headers)
    return JSONResponse(reply.content, headers=headers)


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


def _write_redirect(url: str) -> Path:
    """A page that only this user can read and that leads to `url`: everyone can read a browser's arguments."""
    path = Path(tempfile.mkdtemp(prefix="mosam-pick-")) / "open.html"
    path.touch(mode=0o600)
    there = html.escape(url)
    text = f'<!doctype html><meta http-equiv="refresh" content="0;url={there}"><a href="{there}">to the first frame</a>'
    path.write_text(text, encoding="utf-8")
    return path
