"""The server of the page: `Session` by HTTP/1.1, on loopback unless told otherwise, and the files of `static/`.

`serve(session)` gives a `PageServer` that is bound; it answers while `serve_forever` runs, in this thread or another.

    GET or HEAD  ``, `index.html`      the page
                 `static/NAME`         a file of the page, with an ETag
                 `api/QUESTION?...`    JSON, a method of `Session`

Errors have a body `{"error": sentence}`: 400 a request or parameter that cannot be meant, 403 another Host than this
server's, 404 an unknown address or contig, 405 other methods, 503 a table that cannot be read.

What keeps others out: it listens on loopback; a request whose Host is not this server's is refused, so no site can lead
its own name here (DNS rebinding); files come from a list and not from a path; the policy of the page allows no request
beyond this server, no script within it and no other site around it.
"""

from __future__ import annotations

import gzip
import ipaddress
import json
import socket
import socketserver
import sys
import threading
from collections.abc import Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline.browsing.assets import Asset, read_assets
from pipeline.browsing.bundle import INDEX
from pipeline.browsing.questions import answer
from pipeline.browsing.session import BadQuestionError, Session, UnknownPlaceError
from sptx_core.errors import InputError
from sptx_core.files import reason
from sptx_core.redaction import without_secrets

LOOPBACK = "127.0.0.1"
MIN_ZIPPED = 1_000  # bytes of an answer from which it is worth it
HTTP_PORT = 80  # which a Host does not name
IDLE_SECONDS = 60.0  # after which a connection that asks nothing is closed
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
_SELF = "'self'"


class PageServer(ThreadingHTTPServer):
    """A server of a session, bound; each connection has a thread.

    Parameters
    ----------
    session : Session
        What it answers from.
    host : str
        Address or name to listen on.
    port : int
        0 takes a free one.
    frames : iterable of str
        Sources (of a content security policy) of pages that may show this one in a frame, besides its own.

    Raises
    ------
    OSError
        It cannot be bound.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, session: Session, host: str, port: int, frames: Iterable[str] = ()) -> None:
        self.session, self.host = session, host
        self.assets = read_assets()
        self.policy = POLICY + " ".join([_SELF, *frames])
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        """Address of the page."""
        everywhere = _is_unspecified(self.host)
        name = "localhost" if everywhere else f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{name}:{self.server_port}/"

    def server_bind(self) -> None:
        """Bind without asking a name server for this machine's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def is_mine(self, host: str) -> bool:
        """Whether the Host of a request names this server."""
        name, port = _split_host(host.strip().lower())
        if port != self.server_port:
            return False
        if name in (LOOPBACK, "localhost", "::1", self.host.lower()):
            return True
        # Listening everywhere: an address cannot be led here by another's name server, a name can.
        return _is_unspecified(self.host) and (_is_address(name) or name == socket.gethostname().lower())

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error; anything else is a bug, whose traceback is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def start(self) -> threading.Thread:
        """Answer in a thread of its own, until `stop`."""
        thread = threading.Thread(target=self.serve_forever, args=(0.05,), name="sptx-page", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """Answer no longer and free the port."""
        self.shutdown()
        self.server_close()


def serve(session: Session, *, host: str = LOOPBACK, port: int = 0, frames: Iterable[str] = ()) -> PageServer:
    """Bind a server of a session.

    Parameters
    ----------
    session, host, port, frames
        As for `PageServer`.

    Returns
    -------
    PageServer

    Raises
    ------
    InputError
        The port is taken or may not be used, or the host is none of this machine.
    """
    try:
        return PageServer(session, host, port, frames)
    except OverflowError:
        raise InputError(f"--port {port}: give a number from 0 to 65535") from None
    except OSError as error:
        remedy = "give another --port, or leave it out for a free one" if port else "give another --host"
        raise InputError(f"{host}:{port} cannot be listened on: {reason(error)}; {remedy}") from None


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sptx", ""
    timeout = IDLE_SECONDS
    wbufsize = -1  # head and body of an answer go out together, and
    disable_nagle_algorithm = True  # wait for nothing: else each answer takes 40 ms more
    server: PageServer

    def do_GET(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # a body that nobody reads would be taken for the next request
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or not self.server.is_mine(hosts[0]):
            self._fail(HTTPStatus.FORBIDDEN, f"this server is {self.server.url}, and answers to no other name")
            return
        try:
            self._answer(*self.path.partition("?")[::2])
        except BadQuestionError as error:
            self._fail(HTTPStatus.BAD_REQUEST, str(error))
        except UnknownPlaceError as error:
            self._fail(HTTPStatus.NOT_FOUND, str(error))
        except InputError as error:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except ConnectionError:
            raise
        except Exception:
            self.close_connection = True
            self._fail(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of sptx: its traceback is where it was started")
            raise

    do_HEAD = do_GET  # noqa: N815  # the name that `http.server` calls

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What `http.server` finds wrong with a request, in the form of the other errors."""
        self.close_connection = True
        if code == HTTPStatus.NOT_IMPLEMENTED:
            self._fail(HTTPStatus.METHOD_NOT_ALLOWED, "a page is read by GET or HEAD", {"Allow": "GET, HEAD"})
        else:
            self._fail(HTTPStatus(code), explain or message or HTTPStatus(code).phrase)

    def log_message(self, *_: Any) -> None:
        """Say nothing of each request."""

    def _answer(self, path: str, query: str) -> None:
        if path in ("/", f"/{INDEX}"):
            self._file(INDEX)
        elif path.startswith("/static/"):
            self._file(path.removeprefix("/static/"))
        elif path.startswith("/api/"):
            values = answer(self.server.session, path.removeprefix("/api/"), query)
            self._text(HTTPStatus.OK, values, {"Cache-Control": "no-store"})
        else:
            raise UnknownPlaceError("there is no such address")

    def _file(self, name: str) -> None:
        asset: Asset | None = self.server.assets.get(name)
        if asset is None:
            raise UnknownPlaceError("there is no such file")
        cached = {"ETag": asset.tag, "Cache-Control": "no-cache"}  # kept, and asked for whether it is still so
        if self.headers.get("If-None-Match") == asset.tag:
            self._send(HTTPStatus.NOT_MODIFIED, asset.kind, b"", cached)
            return
        text = asset.kind.startswith(("text/", "application/json", "image/svg"))
        if text and self._takes_gzip:
            self._send(HTTPStatus.OK, asset.kind, asset.zipped, {**cached, "Content-Encoding": "gzip"})
        else:
            self._send(HTTPStatus.OK, asset.kind, asset.content, cached)

    def _fail(self, status: HTTPStatus, sentence: str, headers: dict[str, str] | None = None) -> None:
        self._text(status, {"error": without_secrets(sentence)}, {"Cache-Control": "no-store", **(headers or {})})

    def _text(self, status: HTTPStatus, values: Any, headers: dict[str, str]) -> None:
        body = json.dumps(values, separators=(",", ":"), allow_nan=False).encode()
        if len(body) >= MIN_ZIPPED and self._takes_gzip:
            body, headers = gzip.compress(body, 1, mtime=0), {**headers, "Content-Encoding": "gzip"}
        self._send(status, "application/json", body, headers)

    def _send(self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        fixed = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": self.server.policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        if status == HTTPStatus.NOT_MODIFIED:
            del fixed["Content-Length"], fixed["Content-Type"]
        if self.close_connection:
            headers = {**headers, "Connection": "close"}
        for name, value in {**fixed, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if getattr(self, "command", None) != "HEAD":
            self.wfile.write(body)

    @property
    def _takes_gzip(self) -> bool:
        headers = getattr(self, "headers", None)  # none yet where a request line cannot be read
        return headers is not None and "gzip" in headers.get("Accept-Encoding", "")


def _split_host(host: str) -> tuple[str, int]:
    """Name and port of a Host; the port is -1 where it is none."""
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):
        name, port = host, str(HTTP_PORT)
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name, int(port) if port.isascii() and port.isdigit() and len(port) <= len("65535") else -1


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_unspecified(host: str) -> bool:
    return _is_address(host) and ipaddress.ip_address(host).is_unspecified
