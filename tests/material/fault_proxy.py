"""An object store at its worst: a proxy before the S3 server that refuses, fails, cuts, delays and hides at will.

`faulty_bucket` starts server and proxy and leads this process to them. A test sets `proxy.fault`: it is asked for each
request, and its answer is what goes wrong (None: nothing). `proxy.requests` are all requests in their order.
"""

from __future__ import annotations

import http.client
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import fsspec
import pytest
from material.servers import s3_server
from s3fs import S3FileSystem

READ_TIMEOUT = 3.0  # seconds that the client waits for an answer; a busy machine needs one
_HOP = frozenset({"connection", "content-length", "date", "server", "transfer-encoding"})  # headers of one connection


class Asked(NamedTuple):
    """A request: its method, the path with bucket and key, and the query."""

    method: str
    path: str
    query: str


class Fault(NamedTuple):
    """What goes wrong with a request."""

    status: int = 0
    """The answer, in place of the server's, with the S3 error `code`."""
    code: str = ""
    lost: str = ""
    """The connection breaks: "request" before the server has heard of it, "answer" after it has done it."""
    cut: bool = False
    """The answer's body breaks off in the middle."""
    delay: float = 0.0
    """Seconds before the request goes on."""
    hidden: str = ""
    """A regular expression of keys that a listing does not show."""


REFUSED = Fault(403, "AccessDenied")
EXPIRED = Fault(403, "ExpiredToken")
OVERLOADED = Fault(503, "SlowDown")
BROKEN = Fault(500, "InternalError")
NO_BUCKET = Fault(404, "NoSuchBucket")
REQUEST_LOST, ANSWER_LOST = Fault(lost="request"), Fault(lost="answer")
CUT = Fault(cut=True)
STALLED = Fault(delay=2 * READ_TIMEOUT)


class FaultProxy:
    """The proxy, on a port of its own of the loopback interface."""

    def __init__(self, upstream: str) -> None:
        self.fault: Callable[[Asked], Fault | None] = lambda _: None
        self.requests: list[Asked] = []
        self.ended = threading.Event()
        host = urlsplit(upstream).netloc
        proxy = self

        class Handler(_Handler):
            def one(self) -> None:
                self.pass_on(proxy, host)

        self._server = _Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def end(self) -> None:
        """Stop to listen, if it does; requests that are delayed go on at once."""
        if not self.ended.is_set():
            self.ended.set()
            self._server.shutdown()
            self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: Any) -> None:
        """Say nothing of clients that wait no more."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*arguments)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def one(self) -> None:
        raise NotImplementedError

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = lambda self: self.one()  # noqa: N815  # names of http.server

    def pass_on(self, proxy: FaultProxy, host: str) -> None:
        url = urlsplit(self.path)
        asked = Asked(self.command, unquote(url.path), url.query)
        proxy.requests.append(asked)
        fault = proxy.fault(asked) or Fault()
        body = self._body()
        if fault.delay:
            proxy.ended.wait(fault.delay)
        if fault.status:
            return self._answer(fault.status, [("Content-Type", "application/xml")], _error(fault.code))
        if fault.lost == "request":
            return self._break()
        headers = {name: value for name, value in self.headers.items() if name.lower() not in {*_HOP, "expect"}}
        with closing(http.client.HTTPConnection(host)) as upstream:  # the server may have gone meanwhile
            upstream.request(self.command, self.path, body, headers)
            answer = upstream.getresponse()
            content = answer.read()
        if fault.lost == "answer":
            return self._break()
        if fault.hidden and self.command == "GET" and "list-type" in url.query:
            content = _without(content, fault.hidden)
        told = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        size = int(answer.getheader("content-length") or 0) if self.command == "HEAD" else len(content)
        return self._answer(answer.status, told, content, size, cut=fault.cut)

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("transfer-encoding", ""):
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return b"".join(pieces)

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, size: int | None = None, *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        if cut:
            self._break()

    def _break(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


def _error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code} by the proxy</Message></Error>".encode()


def _without(listing: bytes, hidden: str) -> bytes:
    """A listing of S3 less the keys that match."""

    def kept(entry: re.Match[bytes]) -> bytes:
        key = re.search(rb"<Key>(.*?)</Key>", entry[0], re.DOTALL)
        return b"" if key and re.search(hidden, unquote(key[1].decode())) else entry[0]

    return re.sub(rb"<Contents>.*?</Contents>", kept, listing, flags=re.DOTALL)


@contextmanager
def faulty_bucket(bucket: str) -> Iterator[tuple[str, FaultProxy]]:
    """URI of an empty bucket, and the proxy through which this process reaches it.

    The client itself tries again less often than by default and waits `READ_TIMEOUT` for an answer: tests are quicker.
    """
    with s3_server() as env, pytest.MonkeyPatch.context() as patch:
        proxy = FaultProxy(env["AWS_ENDPOINT_URL"])
        for name, value in {**env, "AWS_ENDPOINT_URL": proxy.url, "AWS_MAX_ATTEMPTS": "1"}.items():
            patch.setenv(name, value)
        timeouts = {"read_timeout": READ_TIMEOUT, "connect_timeout": READ_TIMEOUT}
        patch.setitem(fsspec.config.conf, "s3", {"config_kwargs": timeouts})
        patch.setattr(S3FileSystem, "retries", 3)
        S3FileSystem.clear_instance_cache()  # an instance keeps the endpoint that it was made with
        S3FileSystem().mkdir(bucket)
        proxy.requests.clear()
        try:
            yield f"s3://{bucket}", proxy
        finally:
            S3FileSystem.clear_instance_cache()
            proxy.end()
