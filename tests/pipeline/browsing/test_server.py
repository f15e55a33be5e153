"""The server against real clients: answers, errors without a traceback, and what keeps others out."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from material import browsed

from pipeline.browsing.assets import read_assets
from pipeline.browsing.server import PageServer, serve
from pipeline.browsing.session import Session
from pipeline.tracks.reader import open_tracks
from sptx_core.errors import InputError

VIEW = "table=0&chrom=chr1&strand=%2B&start=1000&end=4500&bins=1000"


class Reply(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, unzipped."""
        zipped = self.headers.get("Content-Encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if zipped else self.body)


@pytest.fixture(scope="module")
def server(session: Session) -> Iterator[PageServer]:
    made = serve(session)
    made.start()
    yield made
    made.stop()


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> Reply:
    """One request by a client of the standard library, which writes the path as it is."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return Reply(response.status, dict(response.getheaders()), body)


def raw(server: PageServer, request: bytes) -> bytes:
    """Bytes to the server, and all that it sends until it closes or says nothing for a second."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while some := connection.recv(65536):
            received += some
    return received


def with_host(server: PageServer, line: str, *more: str) -> bytes:
    return "\r\n".join([line, f"Host: 127.0.0.1:{server.server_port}", *more, "", ""]).encode()


def test_an_answer_is_that_of_the_session_zipped_where_it_may(server: PageServer, session: Session) -> None:
    expected = session.scores(0, "chr1", "+", 1_000, 4_500, 1_000)
    plain = ask(server, f"/api/scores?{VIEW}")
    zipped = ask(server, f"/api/scores?{VIEW}", **{"Accept-Encoding": "gzip, br"})
    assert (plain.status, plain.json, zipped.json) == (200, expected, expected)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert len(zipped.body) < len(plain.body)
    assert plain.headers["Content-Type"] == "application/json"
    assert plain.headers["Cache-Control"] == "no-store"


def test_the_page_and_its_files_are_there(server: PageServer) -> None:
    assets = read_assets()
    for path in ("/", "/index.html", "/?from=elsewhere"):
        page = ask(server, path)
        assert (page.status, page.body) == (200, assets["index.html"].content)
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for name, asset in assets.items():
        found = ask(server, f"/static/{name}")
        assert (found.status, found.body) == (200, asset.content)
        again = ask(server, f"/static/{name}", **{"If-None-Match": found.headers["ETag"]})
        assert (again.status, again.body) == (304, b"")
        zipped = ask(server, f"/static/{name}", **{"Accept-Encoding": "gzip"})
        assert (gzip.decompress(zipped.body) if "Content-Encoding" in zipped.headers else zipped.body) == asset.content


def test_every_reply_has_the_policy(server: PageServer) -> None:
    for path in ("/", "/static/index.html", "/api/config", "/api/nothing", "/nothing"):
        headers = ask(server, path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "connect-src 'self'" in policy
        assert policy.endswith("frame-ancestors 'self'")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_head_is_get_without_a_body(server: PageServer) -> None:
    for path in ("/", f"/api/scores?{VIEW}", "/nothing"):
        get, head = ask(server, path), ask(server, path, "HEAD")
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["Content-Length"] == str(len(get.body))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE", "BREW"])
def test_other_methods_are_not_allowed(server: PageServer, method: str) -> None:
    reply = ask(server, "/api/config", method)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    assert reply.json == {"error": "a page is read by GET or HEAD"}


@pytest.mark.parametrize(
    ("path", "status", "told"),
    [
        ("/api/scores", 400, "api/scores needs the parameter table"),
        (f"/api/scores?{VIEW}&bins=5", 400, "more than once"),
        ("/api/scores?" + VIEW.replace("1000", "x"), 400, "whole number"),
        ("/api/scores?" + VIEW.replace("chr1", "chr2"), 404, "there is no contig chr2"),
        ("/api/scores/", 404, "there is no question"),
        ("/api/", 404, "there is no question"),
        ("/nothing", 404, "there is no such address"),
        ("//evil.example/", 404, "there is no such address"),
        ("/static/", 404, "there is no such file"),
        ("/static/nothing.js", 404, "there is no such file"),
    ],
)
def test_errors_are_one_sentence(server: PageServer, path: str, status: int, told: str) -> None:
    reply = ask(server, path)
    assert reply.status == status
    assert told in reply.json["error"]
    assert list(reply.json) == ["error"]


@pytest.mark.parametrize(
    "path",
    [
        *("/static/../server.py", "/static/../../../../etc/passwd", "/static//etc/passwd", "/static/%2e%2e/server.py"),
        *("/static/..%2fserver.py", "/../etc/passwd", "/static/./index.html", "/static/\\..\\server.py"),
        *("/static/index.html%00.js", "/static/index.html/..", "http://127.0.0.1/static/../server.py", "*"),
    ],
)
def test_no_path_leads_out_of_the_files_of_the_page(server: PageServer, path: str) -> None:
    received = raw(server, with_host(server, f"GET {path} HTTP/1.1", "Connection: close"))
    assert received.split(b" ")[1][:1] == b"4"
    assert b"root:" not in received
    assert b"import" not in received


@pytest.mark.parametrize("host", ["localhost:{}", "127.0.0.1:{}", "[::1]:{}", "LocalHost:{}"])
def test_its_own_names_are_answered(server: PageServer, host: str) -> None:
    assert ask(server, "/api/config", Host=host.format(server.server_port)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:{}", "localhost", "127.0.0.1", "localhost:1", "localhost.evil.example:{}"),
        *("127.0.0.1.nip.io:{}", "0.0.0.0:{}", "[::2]:{}", "", ":", "localhost:{}:80", "localhost:+{}", "127.0.0.2:{}"),
    ],
)
def test_other_hosts_are_refused(server: PageServer, host: str) -> None:
    for path in ("/", "/api/config", "/static/index.html"):
        reply = ask(server, path, Host=host.format(server.server_port))
        assert reply.status == 403
        assert "chr1" not in reply.body.decode()


def test_a_request_has_one_host(server: PageServer) -> None:
    port = server.server_port
    for lines in ("", f"Host: localhost:{port}\r\nHost: evil.example\r\n"):
        received = raw(server, f"GET / HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode())
        assert received.startswith(b"HTTP/1.1 403 ")
    assert raw(server, b"GET /api/config HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "request_line",
    [
        *(b"", b"\r\n\r\n", b"nonsense\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/x\r\n\r\n"),
        *(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1"),
        b"GET / HTTP/1.1\r\n" + b"".join(b"A%d: 1\r\n" % at for at in range(200)) + b"\r\n",
    ],
)
def test_broken_requests_end_without_a_traceback(
    server: PageServer, capsys: pytest.CaptureFixture[str], request_line: bytes
) -> None:
    received = raw(server, request_line)
    assert not received or b'{"error":' in received
    assert ask(server, "/api/config").status == 200
    assert capsys.readouterr().err == ""


def test_a_body_is_not_taken_for_the_next_request(server: PageServer) -> None:
    inner = with_host(server, "GET /api/config HTTP/1.1")
    received = raw(server, with_host(server, "GET / HTTP/1.1", f"Content-Length: {len(inner)}") + inner)
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"Connection: close" in received


def test_one_connection_asks_many_times(server: PageServer) -> None:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for path, status in (("/api/config", 200), ("/nothing", 404), ("/api/find?q=DOCK8", 200)):
        connection.request("GET", path)
        before = connection.sock
        response = connection.getresponse()
        response.read()
        assert response.status == status
        assert connection.sock is before
    connection.close()


def test_a_client_that_goes_away_is_no_error(server: PageServer, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
            connection.sendall(with_host(server, f"GET /api/scores?{VIEW} HTTP/1.1") * 20)
    time.sleep(0.1)
    assert ask(server, "/api/config").status == 200
    assert capsys.readouterr().err == ""


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    tracks = browsed.write(tmp_path / "t")
    for part in tracks.parts:
        Path(tracks.store.path(part.name)).write_bytes(b"PAR1 nothing")
    made = serve(Session([open_tracks(tmp_path / "t")]))
    made.start()
    reply = ask(made, f"/api/scores?{VIEW}")
    made.stop()
    assert reply.status == 503
    assert "cannot be read" in reply.json["error"]


def test_a_fault_of_the_program_shows_its_traceback_and_500(
    session: Session, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: Session, q: str) -> float:
        return 1 / 0

    made = serve(session)
    made.start()
    monkeypatch.setattr(Session, "find", broken)
    reply = ask(made, "/api/find?q=x")
    assert (reply.status, list(reply.json)) == (500, ["error"])
    told, deadline = "", time.monotonic() + 60
    while "ZeroDivisionError" not in told and time.monotonic() < deadline:  # the answer comes first
        time.sleep(0.01)
        told += capsys.readouterr().err
    made.stop()
    assert "ZeroDivisionError" in told


def test_a_taken_port_and_a_foreign_host_are_one_sentence(server: PageServer, session: Session) -> None:
    with pytest.raises(InputError, match=rf"127.0.0.1:{server.server_port} cannot be listened on: .*another --port"):
        serve(session, port=server.server_port)
    with pytest.raises(InputError, match=r"192\.0\.2\.1:0 cannot be listened on"):
        serve(session, host="192.0.2.1")
    with pytest.raises(InputError, match="cannot be listened on"):
        serve(session, host="no such host")


def test_listening_everywhere_takes_addresses_and_its_own_name(session: Session) -> None:
    made = serve(session, host="0.0.0.0", frames=["http://localhost:*"])
    port = made.server_port
    assert made.url == f"http://localhost:{port}/"
    hosts = ("localhost", "192.0.2.7", "[2001:db8::1]", socket.gethostname(), "evil.example")
    assert [made.is_mine(f"{host}:{port}") for host in hosts] == [True, True, True, True, False]
    assert made.policy.endswith("frame-ancestors 'self' http://localhost:*")
    made.server_close()
