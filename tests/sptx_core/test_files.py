"""Faults of files become one sentence, bugs stay bugs; a file appears whole or not at all, with nothing left behind."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import uuid
import zlib
from collections.abc import Callable
from pathlib import Path

import botocore.exceptions
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import yaml
from fsspec.exceptions import FSTimeoutError

from sptx_core.errors import InputError
from sptx_core.files import (
    is_abandoned,
    reading,
    reason,
    replacing,
    require_writable,
    tells_of_a_file,
    write_atomic,
    writing,
)


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    for content in (b"one", b""):
        write_atomic(tmp_path / "x", content)
        assert (tmp_path / "x").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_an_interrupted_write_keeps_the_old_file_alone(
    fails: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomic(tmp_path / "x", b"old")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[fails], interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "x", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, Path.replace
    kind = {True: "flush folder", False: "flush file"}
    monkeypatch.setattr(
        os, "fsync", lambda file: (calls.append(kind[Path(f"/proc/self/fd/{file}").is_dir()]), fsync(file))[1]
    )
    monkeypatch.setattr(Path, "replace", lambda self, target: (calls.append("rename"), replace(self, target))[1])
    write_atomic(tmp_path / "x", b"content")
    assert calls == ["flush file", "rename", "flush folder"]


def test_a_folder_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "missing" / "x", b"content")


# Reading and writing what users name


def failure(act: Callable[[], object]) -> Exception:
    """What a call raises."""
    with pytest.raises(Exception) as raised:  # noqa: PT011  # each kind is told apart below
        act()
    assert isinstance(raised.value, Exception)
    return raised.value


FAULTS: dict[str, Callable[[], object]] = {
    "no permission": lambda: (_ for _ in ()).throw(PermissionError(13, "Permission denied")),
    "a cut gzip": lambda: gzip.decompress(gzip.compress(b"text")[:-9]),
    "no gzip": lambda: gzip.decompress(b"text"),
    "damaged data": lambda: zlib.decompress(b"text"),
    "too few bytes": lambda: struct.unpack("<Q", b"123"),
    "no UTF-8": lambda: b"\xff".decode(),
    "no JSON": lambda: json.loads("{"),
    "no YAML": lambda: yaml.safe_load("["),
    "no Parquet, by Polars": lambda: pl.read_parquet(io.BytesIO(b"PAR1 text PAR1")),
    "no Parquet, by pyarrow": lambda: pq.read_table(pa.BufferReader(b"PAR1 text PAR1")),
    "no CSV": lambda: pl.read_csv(io.BytesIO(b"")),
    "no safetensors": lambda: safetensors.torch.load(b"text of a file"),
    "a store that refuses": lambda: (_ for _ in ()).throw(
        botocore.exceptions.ClientError({"Error": {"Code": "403", "Message": "Forbidden"}}, "GetObject")
    ),
    "a server that is silent": lambda: (_ for _ in ()).throw(FSTimeoutError()),
}
BUGS: dict[str, Callable[[], object]] = {
    "a key": lambda: {}["key"],
    "an index": lambda: [][0],
    "a value": lambda: int("x"),
    "a type": lambda: len(3),  # type: ignore[arg-type]
    "an assertion": lambda: (_ for _ in ()).throw(AssertionError("x")),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_a_file_is_one_sentence_with_its_name(kind: str) -> None:
    raised = failure(FAULTS[kind])
    assert tells_of_a_file(raised)
    for around, told in ((reading, "cannot be read: "), (writing, "cannot be written: ")):
        with pytest.raises(InputError, match=rf"^s3://bucket/x {told}\S") as refused, around("s3://bucket/x"):
            FAULTS[kind]()
        assert "\n" not in str(refused.value)
        assert type(refused.value.__cause__) is type(raised)


@pytest.mark.parametrize("kind", BUGS)
def test_a_bug_stays_what_it_is(kind: str) -> None:
    raised = failure(BUGS[kind])
    assert not tells_of_a_file(raised)
    for around in (reading, writing):
        with pytest.raises(type(raised)) as again, around("x"):
            BUGS[kind]()
        assert not isinstance(again.value, InputError)


def test_where_more_is_done_than_parsing_an_error_of_polars_is_a_bug() -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError), reading("x", parsed=False):
        pl.DataFrame({"a": [1]})["b"]
    for kind in ("a cut gzip", "no UTF-8", "a store that refuses"):
        with pytest.raises(InputError, match=r"^x cannot be read: "), reading("x", parsed=False):
            FAULTS[kind]()


def test_missing_files_and_folders_are_told(tmp_path: Path) -> None:
    for name, message in (("absent", "does not exist"), ("", "is a folder, not a file")):
        path = tmp_path / name
        with pytest.raises(InputError, match=f"^{path} {message}$"), reading(path):
            path.read_bytes()


def test_a_sentence_that_was_already_found_stays() -> None:
    for around in (reading, writing):
        with pytest.raises(InputError, match=r"^x line 3: no number$"), around("x"):
            raise InputError("x line 3: no number")


def test_of_all_that_a_tree_could_not_copy_the_first_cause_is_told() -> None:
    causes = [("a", "b", "[Errno 28] No space left on device: 'b'"), ("c", "d", "another")]
    assert reason(shutil.Error(causes)) == "[Errno 28] No space left on device: 'b'"
    assert reason(shutil.SameFileError("'a' and 'a' are the same file")) == "'a' and 'a' are the same file"


def test_a_long_message_of_a_library_is_cut_and_put_on_one_line() -> None:
    with pytest.raises(InputError) as refused, reading("x"):
        raise OSError("a line\n" * 100)
    assert len(str(refused.value)) < 350
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", "it is a folder; give the name of a file"),
        ("no/x.csv", "there is no folder .*/no; make it first"),
        ("file/x.csv", "there is no folder .*/file; make it first"),
    ],
)
def test_places_where_no_file_can_be_written_are_told_before_the_work(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=rf"{name} cannot be written: {message}"):
        require_writable(tmp_path / name)
    require_writable(tmp_path / "file")
    require_writable(tmp_path / "fresh")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_takes_no_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"/proc/x cannot be written: No such file or directory"):
        require_writable(Path("/proc/x"))  # also to root, who may run this
    require_writable(Path("/dev/null"))
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(InputError, match="/dev/null cannot be written: permission denied"):
        require_writable(Path("/dev/null"))


def test_what_a_library_writes_replaces_a_file_whole(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")
    (tmp_path / "link").symlink_to("x")
    with replacing(tmp_path / "link") as target:
        target.write_text("new")
        assert (tmp_path / "x").read_text() == "old"
    assert (tmp_path / "x").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_what_a_library_leaves_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("old")

    def write() -> None:
        with replacing(tmp_path / "x") as target:
            target.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_what_is_no_file_is_written_in_place() -> None:
    with replacing(Path("/dev/null")) as target:
        assert target == Path("/dev/null")
        target.write_text("nothing")
    assert Path("/dev/null").is_char_device()


# Hidden names tell who writes


def hidden_name_of(path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name under which `path` is written."""
    names: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda self, _: names.append(self.name))
        write_atomic(path, b"")
    return names[0]


WRITER = """
import sys
from pathlib import Path
from sptx_core.files import replacing
with replacing(Path(sys.argv[1])) as hidden:
    print(hidden.name, flush=True)
    sys.stdin.read()
"""


def test_a_name_is_abandoned_when_its_writer_has_ended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "x")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        name = writer.stdout.readline().strip()
        assert name.startswith(".x.")
        assert not is_abandoned(name)
        writer.send_signal(signal.SIGSTOP)
        assert not is_abandoned(name)
        writer.kill()
    assert is_abandoned(name)


def test_a_number_that_another_process_has_now_is_not_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = hidden_name_of(tmp_path / "x", monkeypatch)
    assert not is_abandoned(name)
    start = name.split("-")[2]
    assert is_abandoned(name.replace(f"-{start}-", f"-{int(start, 16) + 1:x}-"))


def test_what_is_not_known_is_not_abandoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = hidden_name_of(tmp_path / "x", monkeypatch)
    digest, process, start, _ = name.removeprefix(".x.").split("-")
    ended = name.replace(f"-{start}-", f"-{int(start, 16) + 1:x}-")
    assert is_abandoned(ended)
    elsewhere = ended.replace(digest, digest[::-1])
    older = f".x.{uuid.uuid4().hex}.tmp"
    assert not any(map(is_abandoned, (elsewhere, older, "x", ".x.tmp", f".x.{process}-{start}.tmp")))
