"""Files over HTTP on the loopback, by a server that can be made to behave badly."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Served:
    """What a server has, and how it behaves.

    Attributes:
        files: content by path (`/a/b.zip`).
        requests: what it was asked for: method, path, range.
        ranges: whether it knows ranges.
        breaks: after so many bytes of an answer the line is cut, the first times.
        times: how often it still does.
        status: what it answers by path, in place of the file.
        moved: where it sends those who ask for a path.
        says: lengths it claims by path, in place of the true ones.
    """

    files: dict[str, bytes]
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    ranges: bool = True
    breaks: int | None = None
    times: int = 0
    status: dict[str, int] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    says: dict[str, int] = field(default_factory=dict)
    url: str = ""

    def gets(self, path: str) -> list[str | None]:
        """Ranges of the requests for a path."""
        return [asked for method, where, asked in self.requests if (method, where) == ("GET", path)]


@contextlib.contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Served]:
    """A server, until the block ends."""
    served = Served(files)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, wanted = self.path, self.headers.get("Range")
            served.requests.append((self.command, path, wanted))
            if path in served.moved:
                self._answer(302, b"", Location=served.moved[path])
            elif path in served.status or path not in served.files:
                self._answer(served.status.get(path, 404), b"no")
            else:
                self._send(path, wanted if served.ranges else None)

        do_HEAD = do_GET

        def _send(self, path: str, wanted: str | None) -> None:
            data, status, more = served.files[path], 200, {}
            if wanted is not None:
                start = int(wanted.removeprefix("bytes=").partition("-")[0])
                if start >= len(data):
                    self._answer(416, b"")
                    return
                status, more = 206, {"Content_Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
                data = data[start:]
            cut = None
            if served.breaks is not None and served.times > 0 and self.command == "GET":
                served.times -= 1
                cut = served.breaks
            self._answer(status, data, cut=cut, length=served.says.get(path), **more)

        def _answer(
            self, status: int, data: bytes, *, cut: int | None = None, length: int | None = None, **headers: str
        ) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(data) if length is None else length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data if cut is None else data[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    served.url = f"http://127.0.0.1:{listening.server_port}"
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield served
    finally:
        listening.shutdown()
        listening.server_close()
