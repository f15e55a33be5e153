"""A web server on this machine's loopback interface that serves the files of a folder, ranges of them too, and faults.

`web_server(folder)` starts it; `server.asked` are all requests in their order. A test sets `server.fault`: it is asked
for each request, and its answer is what goes wrong (None: nothing).
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote

Server = TypeVar("Server", bound=ThreadingHTTPServer)


class Asked(NamedTuple):
    """A request: its path (decoded) and query, first and last byte of its range, and the bytes that were sent."""

    path: str
    query: str
    span: tuple[int, int] | None
    sent: int
    headers: dict[str, str]


class Fault(NamedTuple):
    """What goes wrong with a request."""

    status: int = 0
    """The answer instead."""
    location: str = ""
    """Where a redirect leads."""
    ranges: bool = True
    """False: the whole file comes, whatever range was asked for."""
    cut: bool = False
    """The connection is reset in the middle of the body."""
    missing: int = 0
    """So many bytes are left out at the end, and Content-Length says so."""
    flipped: bool = False
    """A bit in the middle of the body is another one."""
    other: int = 0
    """The range that is sent begins so many bytes later."""


class WebServer(ThreadingHTTPServer):
    """The server; see the module."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.folder = folder
        self.asked: list[Asked] = []
        self.fault: Callable[[Asked], Fault | None] = lambda _: None

    @property
    def url(self) -> str:
        """Address of the folder."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *arguments: Any) -> None:
        """Say nothing of clients that have gone."""


def web_server(folder: Path) -> AbstractContextManager[WebServer]:
    """Serve a folder."""
    return in_a_thread(WebServer(folder))


@contextmanager
def in_a_thread(server: Server) -> Iterator[Server]:
    """Let a server answer until the `with` statement ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Call(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        file = self.server.folder / unquote(path).lstrip("/")
        content = file.read_bytes() if file.is_file() else b""
        span = _span(self.headers.get("Range", ""), len(content))
        asked = Asked(unquote(path), query, span, 0, dict(self.headers))
        fault = self.server.fault(asked) or Fault()
        status = fault.status or (200 if file.is_file() else 404)
        headers = {"Location": fault.location} if fault.location else {}
        if status != 200:
            content = b"<html>no</html>"
        elif span and fault.ranges:
            status, size = 206, len(content)
            content = content[span[0] + fault.other : span[1] + 1 + fault.other]
            headers["Content-Range"] = f"bytes {span[0]}-{span[0] + len(content) - 1}/{size}"
        content = content[: len(content) - fault.missing]
        if fault.flipped:
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        self.server.asked.append(asked._replace(sent=0 if fault.cut else len(content)))
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(content))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if fault.cut else content)
        if fault.cut:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True

    do_HEAD = do_GET  # noqa: N815  # a name of http.server

    def log_message(self, *_: Any) -> None:
        """Say nothing: the tests' own output matters."""


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a range (RFC 9110, 14.1.2)."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if match is None or not size:
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size - 1
    return int(match[1]), min(size - 1, int(match[2] or size))
