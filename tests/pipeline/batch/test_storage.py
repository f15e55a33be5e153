"""Atomic writes, listings, refusals and faults of a `Store`, on a disk, in memory and behind the S3 protocol."""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec import AbstractFileSystem
from fsspec.registry import _registry
from material.servers import object_store
from s3fs import S3FileSystem

from pipeline.batch.storage import StorageError, Store
from sptx_core.errors import InputError

KINDS = ("disk", "memory", "s3")
# For each line a writer, which writes parts without end, each 8 MB that begin with the digest of the rest. Writers are
# forks, because a new process would spend its time on importing.
WRITERS = """
import hashlib, os, sys
import s3fs
from pipeline.batch.storage import Store

for _ in sys.stdin:
    writer = os.fork()
    if writer:
        os.waitpid(writer, 0)
        print("ended", flush=True)
        continue
    store = Store(sys.argv[1])
    print(os.getpid(), flush=True)
    for number in range(10**6):
        body = os.urandom(1 << 20) * 8
        store.write_atomic(f"tracks/{number % 4}.parquet", hashlib.sha256(body).digest() + body)
"""
MAX_KILLS = 25


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_store("storage") as uri:
        yield uri


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "disk":
        return Store(tmp_path / "out")
    if request.param == "memory":
        return Store(f"memory://{tmp_path.name}")
    return Store(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


@contextmanager
def writers_killed(root: str) -> Iterator[Callable[[float], None]]:
    """A function that has a writer write for so many seconds and kills it."""
    command = [sys.executable, "-c", WRITERS, root]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        orders, told = process.stdin, process.stdout

        def kill_a_writer(seconds: float) -> None:
            orders.write(b"\n")
            writer = int(told.readline())
            time.sleep(seconds)
            os.kill(writer, signal.SIGKILL)
            assert told.readline() == b"ended\n"

        yield kill_a_writer


def is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[32:]).digest() == content[:32] and len(content) == 32 + (8 << 20)


def test_bytes_come_back_and_replace_what_was_there(store: Store) -> None:
    store.write_atomic("tracks/chrom=1/a.parquet", b"first")
    store.write_atomic("tracks/chrom=1/a.parquet", b"second")
    assert store.read_bytes("tracks/chrom=1/a.parquet") == b"second"
    assert store.exists("tracks/chrom=1/a.parquet")
    assert not store.exists("tracks/chrom=1/b.parquet")
    assert not store.exists("tracks/chrom=1")


def test_a_file_is_uploaded_and_replaces_what_was_there(store: Store, tmp_path: Path) -> None:
    for content in (b"first", os.urandom(1 << 20)):
        (tmp_path / "made").write_bytes(content)
        store.upload("deep/a.vcf.gz", tmp_path / "made")
        assert store.read_bytes("deep/a.vcf.gz") == content
        assert store.list() == {"deep/a.vcf.gz": len(content)}
    assert (tmp_path / "made").exists()


def test_an_upload_that_fails_is_told(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "made").write_bytes(b"content")
    (tmp_path / "out").mkdir()
    for root, message in ((str(tmp_path), "Is a directory"), ("s3://no-such-bucket", "bucket")):
        with pytest.raises(StorageError, match=rf"{root}/out cannot be written: .*{message}"):
            Store(root).upload("out", tmp_path / "made")
    with pytest.raises(InputError, match="cannot be committed atomically over http://"):
        Store("http://127.0.0.1").upload("out", tmp_path / "made")


def test_browsers_are_told_what_a_page_is(bucket: str) -> None:
    store = Store(f"{bucket}/typed")
    for name in ("hub.html", "hub.txt", "igv-session.xml", "export.json", "a.parquet"):
        store.write_atomic(name, b"content")
        assert store.read_bytes(name) == b"content"
    files = S3FileSystem()
    told = {name: files.info(store.path(name))["ContentType"] for name in store.list()}
    assert told == {
        "a.parquet": "binary/octet-stream",  # of S3 itself
        "export.json": "application/json; charset=utf-8",
        "hub.html": "text/html; charset=utf-8",
        "hub.txt": "text/plain; charset=utf-8",
        "igv-session.xml": "text/xml; charset=utf-8",
    }


class GoogleStore(AbstractFileSystem):
    """Is written with the signature of gcsfs."""

    protocol = "gs"
    told: ClassVar[dict[str, str]] = {}

    def pipe_file(self, path: str, data: bytes, *, content_type: str = "application/octet-stream") -> None:
        self.told[path] = content_type


def test_googles_store_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_registry, "gs", GoogleStore)
    for name in ("hub.html", "a.parquet"):
        Store("gs://bucket/hub").write_atomic(name, b"content")
    assert GoogleStore.told == {
        "bucket/hub/hub.html": "text/html; charset=utf-8",
        "bucket/hub/a.parquet": "application/octet-stream",
    }


def test_listing_is_sorted_has_sizes_and_takes_any_prefix(store: Store) -> None:
    for name, size in (("strikes/000002-1", 0), ("tracks/x/b.parquet", 2), ("tracks/a.parquet", 1), ("run.json", 3)):
        store.write_atomic(name, b"x" * size)
    assert list(store.list().items()) == [
        ("run.json", 3),
        ("strikes/000002-1", 0),
        ("tracks/a.parquet", 1),
        ("tracks/x/b.parquet", 2),
    ]
    assert store.list("tracks/") == {"tracks/a.parquet": 1, "tracks/x/b.parquet": 2}
    assert store.list("strikes/000002-") == {"strikes/000002-1": 0}
    assert store.list("strikes/00002") == {}
    assert store.list("nothing/") == {}


def test_listing_shows_what_another_process_wrote_since(store: Store) -> None:
    store.write_atomic("tracks/a.parquet", b"a")
    assert len(store.list("tracks/")) == 1
    pickle.loads(pickle.dumps(store)).write_atomic("tracks/b.parquet", b"b")
    assert list(store.list("tracks/")) == ["tracks/a.parquet", "tracks/b.parquet"]


def test_delete_forgives_what_is_not_there(store: Store) -> None:
    store.write_atomic("failures/1.json", b"{}")
    store.delete("failures/1.json")
    store.delete("failures/1.json")
    assert store.list() == {}


def test_a_folder_goes_with_all_below_it_and_nothing_else(store: Store) -> None:
    for name in ("work/a", "work/deep/.hidden.tmp", "work/deep/b", "work2/c", "d"):
        store.write_atomic(name, b"")
    for _ in range(2):  # and forgives what is not there
        store.delete_folder("work")
        assert list(store.list()) == ["d", "work2/c"]
    assert not store.is_local or not Path(store.path("work")).exists()


def test_absent_name_is_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_bytes("run.json")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").mkdir()
    with pytest.raises(IsADirectoryError):
        Store(tmp_path).read_bytes("run.json")
    assert not Store(tmp_path).exists("run.json")


def test_writable_place_is_left_as_it_was(store: Store) -> None:
    store.ensure_writable()
    assert store.list() == {}
    if store.is_local:
        assert list(Path(store.root).iterdir()) == []


def test_names_and_addresses(tmp_path: Path) -> None:
    store = Store(tmp_path / "a b")
    assert store.uri("run.json") == store.path("run.json") == f"{tmp_path}/a b/run.json"
    assert Store(f"file://{tmp_path}/").path("x") == f"{tmp_path}/x"
    remote = Store("memory://bucket/run/")
    assert remote.uri("run.json") == "memory://bucket/run/run.json"
    assert not remote.is_local


def test_relative_root_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("out")
    monkeypatch.chdir("/")
    store.write_atomic("run.json", b"{}")
    assert (tmp_path / "out" / "run.json").exists()


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "run.json").mkdir()
    with pytest.raises(StorageError, match=r"run\.json cannot be written: Is a directory") as raised:
        store.write_atomic("run.json", b"{}")
    assert (raised.value.transient, raised.value.total) == (False, False)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.slow
def test_sweep_removes_at_once_what_writers_left_that_have_ended(tmp_path: Path) -> None:
    store = Store(tmp_path)
    program = "import os, sys; os.fsync = lambda _: os._exit(1); from pipeline.batch.storage import Store\n"
    program += "Store(sys.argv[1]).write_atomic('tracks/a.parquet', b'half a p')"
    assert subprocess.run([sys.executable, "-c", program, store.root], check=False).returncode == 1
    (leftover,) = (tmp_path / "tracks").iterdir()
    (tmp_path / "tracks" / ".b.parquet.0123.tmp").write_bytes(b"of a writer that is not known")
    assert store.sweep() == (f"tracks/{leftover.name}",)
    assert [path.name for path in (tmp_path / "tracks").iterdir()] == [".b.parquet.0123.tmp"]


def test_sweep_removes_old_leftovers_only(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.write_atomic("tracks/chrom=1/a.parquet", b"a")
    leftover = tmp_path / "tracks" / "chrom=1" / ".b.parquet.0123.tmp"
    leftover.write_bytes(b"half a p")
    assert list(store.list()) == ["tracks/chrom=1/a.parquet"]
    assert store.sweep() == ()
    assert store.sweep("tracks/", older_than=0) == ("tracks/chrom=1/.b.parquet.0123.tmp",)
    assert not leftover.exists()
    assert store.exists("tracks/chrom=1/a.parquet")


@pytest.mark.slow
def test_no_partial_file_is_ever_visible_on_a_disk(tmp_path: Path) -> None:
    store, dice, leftovers = Store(tmp_path), random.Random(0), 0
    with writers_killed(store.root) as kill_a_writer:
        for attempt in range(MAX_KILLS):
            kill_a_writer(dice.uniform(0.005, 0.1) * (1 + attempt / 4))  # a busy machine needs longer
            visible = [path for path in tmp_path.rglob("*.parquet") if not path.name.startswith(".")]
            assert {str(path.relative_to(tmp_path)) for path in visible} == set(store.list())
            assert all(is_whole(path.read_bytes()) for path in visible)
            leftovers += len(store.sweep(older_than=0))
            if leftovers >= 3:
                break
    assert leftovers, "no writer was killed in the middle of a part"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".parquet"]


@pytest.mark.slow
def test_no_partial_object_is_ever_visible_behind_s3(bucket: str) -> None:
    store, dice = Store(f"{bucket}/killed"), random.Random(0)
    seen = 0
    with writers_killed(store.root) as kill_a_writer:
        for attempt in range(MAX_KILLS):
            kill_a_writer(dice.uniform(0.05, 0.4) * (1 + attempt / 4))  # a busy machine needs longer
            for name in store.list():
                assert is_whole(store.read_bytes(name)), name
                seen += 1
            if attempt >= 5 and seen:
                break
    assert seen


def test_a_folder_filled_while_it_is_listed_is_no_file(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, listed = Store(f"{bucket}/raced"), S3FileSystem._lsdir

    async def late(self: S3FileSystem, path: str, *arguments: Any, **options: Any) -> Any:
        found = await listed(self, path, *arguments, **options)
        await self._pipe_file(f"{path}/tracks/a.parquet", b"a")
        return found

    monkeypatch.setattr(S3FileSystem, "_lsdir", late)
    assert store.list() == {}
    monkeypatch.undo()
    assert store.list() == {"tracks/a.parquet": 1}


def test_unwritable_places_are_refused_with_the_reason(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/out cannot be written: .*Not a directory"):
        Store(tmp_path / "file" / "out").ensure_writable()
    with pytest.raises(InputError, match=r"s3://no-such-bucket/out cannot be written: .*bucket"):
        Store("s3://no-such-bucket/out").ensure_writable()


def test_protocols_without_atomic_writes_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be committed atomically over http://"):
        Store("http://127.0.0.1/out").ensure_writable()


def test_unknown_protocol_and_missing_client_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="nowhere://out: Protocol not known"):
        Store("nowhere://out")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"install sptx\[gcs\]"):
        Store("gs://bucket/out")


def failure(store: Store, act: Callable[[Store], object]) -> StorageError:
    with pytest.raises(StorageError) as raised:
        act(store)
    assert len(str(raised.value).splitlines()) == 1
    return raised.value


@pytest.mark.parametrize(
    ("code", "transient", "total"),
    [
        (errno.ENOSPC, False, True),
        (errno.EDQUOT, False, True),
        (errno.EROFS, False, True),
        (errno.EACCES, False, True),
        (errno.ESTALE, True, False),
        (errno.EIO, True, False),
        (errno.ENAMETOOLONG, False, False),
    ],
    ids=errno.errorcode.get,
)
def test_faults_of_a_disk_are_told_with_what_may_pass_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, transient: bool, total: bool
) -> None:
    store = Store(tmp_path)

    def fails(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fails)
        error = failure(store, lambda store: store.write_atomic("x", b""))
    assert str(error).startswith(f"{tmp_path}/x cannot be written: {os.strerror(code)}")
    assert (error.transient, error.total) == (transient, total)


def test_a_disk_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.write_atomic("tracks/a.parquet", b"x")

    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuses)
        assert str(failure(store, Store.list)).startswith(f"{tmp_path} cannot be listed: Permission denied")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", refuses)
        assert "run.json cannot be read: Permission denied" in str(failure(store, lambda s: s.exists("run.json")))
    assert not store.exists("tracks/a.parquet/below")
    assert store.list("nothing/") == {}


def test_no_error_and_no_address_shows_a_secret() -> None:
    store = Store("http://me:pass@127.0.0.1:9/out?X-Amz-Signature=0a1b")
    assert store.uri() == "http://***@127.0.0.1:9/out?***"
    assert store.uri("x") == "http://***@127.0.0.1:9/out/x?***"
    with pytest.raises(InputError) as raised:
        store.read_bytes("x")
    assert "pass" not in str(raised.value)
    assert "0a1b" not in str(raised.value)


def test_a_large_file_appears_when_it_is_whole(store: Store) -> None:
    with store.replacing("usage/brain.bw") as path:
        path.write_bytes(b"content")
        assert store.list() == {}
    assert store.read_bytes("usage/brain.bw") == b"content"
    with store.replacing("usage/brain.bw") as path:
        path.write_bytes(b"another")
        assert store.read_bytes("usage/brain.bw") == b"content"
    assert store.read_bytes("usage/brain.bw") == b"another"


def test_a_large_file_that_cannot_be_finished_leaves_nothing(store: Store) -> None:
    with pytest.raises(StorageError, match=r"brain\.bw cannot be written: No space left.*make room there") as told:
        write_half(store, OSError(errno.ENOSPC, "No space left on device"))
    assert told.value.total
    with pytest.raises(ZeroDivisionError):  # a bug stays what it is
        write_half(store, ZeroDivisionError())
    assert store.list() == {}
    assert not store.is_local or [path for path in Path(store.root).rglob("*") if path.is_file()] == []


def write_half(store: Store, error: Exception) -> None:
    with store.replacing("usage/brain.bw") as path:
        path.write_bytes(b"half")
        raise error
