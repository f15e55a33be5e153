"""Files of a web server and of the hub: the right bytes in few requests, or an error, whatever goes wrong."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from material.web_server import Asked, Fault, WebServer, web_server

from pipeline.batch import web
from pipeline.batch.storage import StorageError, Store
from pipeline.batch.web import TAIL_BYTES, RangeFile, address, file_system

SIZE = 3 * TAIL_BYTES
CONTENT = random.Random(1).randbytes(SIZE)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.001)
    (tmp_path / "file").write_bytes(CONTENT)
    with web_server(tmp_path) as server:
        yield server


def opened(server: WebServer, size: int | None = SIZE) -> RangeFile:
    return RangeFile(file_system(), address(server.url, "file"), size)


def spans(server: WebServer) -> list[tuple[int, int] | None]:
    return [one.span for one in server.asked]


@pytest.mark.parametrize(
    ("root", "name", "url"),
    [
        ("https://host/a", "", "https://host/a"),
        ("https://host/a", "tracks/chrom=chr1/x.parquet", "https://host/a/tracks/chrom=chr1/x.parquet"),
        ("https://host/a/", "chrom=HLA-A%2A01/x", "https://host/a/chrom=HLA-A%252A01/x"),
        ("https://host/a b/ü", "x", "https://host/a%20b/%C3%BC/x"),
        ("https://host/a%20b", "x y", "https://host/a%20b/x%20y"),
        ("https://user:pass@host:81/a?sv=1&sig=%2B", "b/c", "https://user:pass@host:81/a/b/c?sv=1&sig=%2B"),
    ],
)
def test_a_name_below_a_root_has_its_address(root: str, name: str, url: str) -> None:
    assert address(root, name) == url


def test_a_range_is_one_request_and_the_end_of_a_file_is_kept(server: WebServer) -> None:
    file = opened(server)
    assert file.seek(0, io.SEEK_END) == SIZE
    file.seek(-8, io.SEEK_END)
    assert file.read(8) == CONTENT[-8:]
    file.seek(-TAIL_BYTES, io.SEEK_CUR)
    assert file.read(100) == CONTENT[-TAIL_BYTES:][:100]
    assert spans(server) == [(SIZE - TAIL_BYTES, SIZE - 1)]
    file.seek(10)
    assert (file.read(90), file.tell()) == (CONTENT[10:100], 100)
    assert file.read() == CONTENT[100:]
    assert file.read() == b""
    assert spans(server)[1:] == [(10, 99), (100, SIZE - 1)]


def test_a_size_that_is_not_known_is_asked_for(server: WebServer) -> None:
    assert opened(server, None).read() == CONTENT


def once(fault: Fault) -> Any:
    left = [fault]
    return lambda _: left.pop() if left else None


@pytest.mark.parametrize("fault", [Fault(503), Fault(429), Fault(cut=True), Fault(missing=7), Fault(other=7)])
def test_what_passes_is_tried_again(server: WebServer, fault: Fault) -> None:
    file = opened(server)
    server.fault = once(fault)
    assert file.read() == CONTENT
    assert len(server.asked) == 2


def test_a_server_without_ranges_is_understood(server: WebServer) -> None:
    server.fault = lambda _: Fault(ranges=False)
    file = opened(server)
    for start, size in ((5, 9), (SIZE - 9, 9), (0, SIZE)):
        file.seek(start)
        assert file.read(size) == CONTENT[start : start + size]


@pytest.mark.parametrize(
    ("fault", "told", "tries"),
    [
        (Fault(404), "there is no such file", 1),
        (Fault(403), "the server answers 403 Forbidden", 1),
        (Fault(503), "the server answers 503 Service Unavailable", web.TRIES),
        (Fault(missing=7), "the server sent 13 bytes where bytes 0 to 19 of", web.TRIES),
        (Fault(cut=True), "payload", web.TRIES),
    ],
)
def test_what_does_not_pass_is_an_error(server: WebServer, fault: Fault, told: str, tries: int) -> None:
    server.fault = lambda _: fault
    with pytest.raises(Exception, match=told):
        opened(server).read(20)
    assert len(server.asked) == tries


def test_redirects_are_followed(server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "moved").write_bytes(CONTENT)

    def moved(asked: Asked) -> Fault | None:
        return Fault(302, location=f"{server.url}/moved") if asked.path == "/file" else None

    server.fault = moved
    assert opened(server).read(20) == CONTENT[:20]
    assert Store(server.url).read_bytes("file") == CONTENT
    server.fault = lambda _: Fault(302, location=f"{server.url}/file")
    with pytest.raises(StorageError, match=r"cannot be read: the server redirects without end$"):
        Store(server.url).read_bytes("file")


def test_a_store_of_a_web_server_is_read_only_and_gives_no_listing(server: WebServer, tmp_path: Path) -> None:
    store = Store(f"{server.url}/")
    assert store.read_bytes("file") == CONTENT
    assert store.exists("file")
    assert not store.exists("none")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("none")
    with pytest.raises(StorageError, match=r"cannot be listed: web servers give no listing"):
        store.list()
    with pytest.raises(Exception, match="cannot be committed atomically over http://"):
        store.write_atomic("new", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_faults_are_sentences_without_secrets(server: WebServer) -> None:
    store = Store(f"{server.url}/?sig=SECRET")
    assert store.read_bytes("file") == CONTENT
    assert server.asked[-1][:2] == ("/file", "sig=SECRET")
    assert store.uri("file") == f"{server.url}/file?***"
    for fault, told in ((Fault(403), "403 Forbidden; check the address, and"), (Fault(500), "500 Internal Server Err")):
        server.fault = lambda _, fault=fault: fault  # type: ignore[misc]
        for call in (store.read_bytes, store.exists):
            with pytest.raises(StorageError, match=f"cannot be read: the server answers {told}") as raised:
                call("file")
            assert "SECRET" not in str(raised.value)
            assert raised.value.transient == (fault.status == 500)


def test_a_server_that_is_not_there_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "FIRST_PAUSE", 1000)
    with pytest.raises(StorageError, match=r"127.0.0.1:9/x/run.json cannot be read: .*try again when the server"):
        Store("http://127.0.0.1:9/x").read_bytes("run.json")
