"""Files by path and URI, and copies of remote ones: made once, whole, and again when the original changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from material.servers import object_store
from s3fs import S3FileSystem

from pipeline.inputs.uris import cache_place, local_checkpoint, local_copy, local_path, open_input
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """An empty bucket on a real S3 server."""
    with object_store("inputs") as uri:
        yield uri


def upload(uri: str, content: bytes = b"content") -> str:
    S3FileSystem().pipe_file(uri, content)
    return uri


def copies(cache: Path) -> dict[str, int]:
    """Files in the cache, with their inodes."""
    return {str(path): path.stat().st_ino for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/x.gtf", Path("/x.gtf")),
        ("x.gtf", Path.cwd() / "x.gtf"),
        ("~/x.gtf", Path.home() / "x.gtf"),
        ("file:///x.gtf", Path("/x.gtf")),
        ("s3://bucket/x.gtf", None),
        ("https://example.org/x.gtf", None),
    ],
)
def test_local_paths_are_absolute(uri: str, path: Path | None) -> None:
    assert local_path(uri) == path


def test_streams_of_paths_and_uris(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "x.txt").write_bytes(b"content")
    for uri in (str(tmp_path / "x.txt"), (tmp_path / "x.txt").as_uri(), upload(f"{bucket}/x.txt")):
        with open_input(uri) as stream:
            assert (stream.peek(1)[:1], stream.read()) == (b"c", b"content")


def test_what_is_not_there_is_named(tmp_path: Path, bucket: str, cache: Path) -> None:
    for uri, message in (
        (str(tmp_path / "absent.gtf"), "does not exist"),
        (str(tmp_path), "is a folder, not a file"),
        (f"{bucket}/absent.gtf", "does not exist"),
        ("nowhere://x", "cannot be read"),
    ):
        with pytest.raises(InputError, match=message) as opening, open_input(uri) as stream:
            stream.read()
        with pytest.raises(InputError, match=message) as copying:
            local_copy(uri)
        assert str(opening.value).startswith(uri)
        assert str(copying.value).startswith(uri)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    for name in ("a::b.gtf", "file::c.gtf", "a*[1].gtf", "%20 .gtf"):
        (tmp_path / name).write_text(name)
        for uri in (str(tmp_path / name), f"file://{tmp_path / name}"):
            assert local_copy(uri) == tmp_path / name
            with open_input(uri) as stream:
                assert stream.read().decode() == name


def test_a_fault_in_the_middle_of_a_file_is_named_and_a_bug_is_not(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xff")
    for uri in (str(tmp_path / "x.txt"), upload(f"{bucket}/x.txt", b"\xff")):
        with pytest.raises(InputError, match=r"x\.txt cannot be read: 'utf-8' codec"), open_input(uri) as stream:
            stream.read().decode()
        with pytest.raises(KeyError), open_input(uri) as stream:
            {}[stream.read()]
        with pytest.raises(pl.exceptions.ColumnNotFoundError), open_input(uri) as stream:
            pl.DataFrame({"text": [stream.read()]})["line"]


def test_places_in_the_cache_differ_by_what_they_are_for(cache: Path) -> None:
    first, second = cache_place("a file of yesterday", "x.fai"), cache_place("a file of today", "x.fai")
    assert first.name == second.name == "x.fai"
    assert first.parent != second.parent
    assert first.is_relative_to(cache)
    assert not cache.exists()


def test_a_local_file_is_not_copied(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x.fa").write_bytes(b"")
    assert local_copy(str(tmp_path / "x.fa")) == tmp_path / "x.fa"
    assert not cache.exists()


def test_an_object_is_copied_once_with_its_siblings(bucket: str, cache: Path) -> None:
    uri = upload(f"{bucket}/once/x.fa")
    upload(f"{bucket}/once/x.fa.fai", b"index")
    copy = local_copy(uri, siblings=("x.fa.fai", "x.fa.gzi"))
    assert {path.name: path.read_bytes() for path in copy.parent.iterdir()} == {
        "x.fa": b"content",
        "x.fa.fai": b"index",
    }
    before = copies(cache)
    assert local_copy(uri) == copy
    assert copies(cache) == before
    assert not [path for path in cache.iterdir() if path.name.startswith(".")]


def test_a_changed_object_is_copied_again(bucket: str, cache: Path) -> None:
    for content in (b"ACGT", b"TTTT", b"TT"):
        assert local_copy(upload(f"{bucket}/changing.fa", content)).read_bytes() == content
    assert len(copies(cache)) == 3


def test_readers_that_come_at_once_get_one_copy(bucket: str, cache: Path) -> None:
    uri = upload(f"{bucket}/shared.fa")
    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(local_copy, [uri] * 6))) == 1
    assert len(copies(cache)) == 1


@pytest.mark.slow
def test_a_copy_that_is_cut_short_leaves_nothing_behind(
    bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = upload(f"{bucket}/cut.fa")

    async def cut(_: object, __: str, target: str, **___: object) -> None:
        Path(target).write_bytes(b"con")
        raise ConnectionError("the line went dead")

    with monkeypatch.context() as patch:
        patch.setattr(S3FileSystem, "_get_file", cut)
        S3FileSystem.clear_instance_cache()  # an instance keeps the methods it was made with
        with pytest.raises(InputError, match=r"cut\.fa cannot be read: the line went dead"):
            local_copy(uri)
    S3FileSystem.clear_instance_cache()
    assert [path.suffix for path in cache.iterdir()] == [".lock"]
    assert local_copy(uri).read_bytes() == b"content"


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SPTX_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(InputError, match="set SPTX_CACHE"):
        local_copy(upload(f"{bucket}/x.fa"))


def test_the_cache_is_the_users(tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPTX_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert local_copy(upload(f"{bucket}/x.fa")).is_relative_to(tmp_path / "xdg" / "sptx")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert local_copy(f"{bucket}/x.fa").is_relative_to(tmp_path / "home" / ".cache" / "sptx")


@pytest.mark.parametrize("location", ["model.ckpt", "/folder", "owner/name", "file:///folder"])
def test_checkpoints_on_this_machine_and_of_the_hub_stay_as_they_are(location: str) -> None:
    assert local_checkpoint(location) == location


def test_checkpoints_of_a_server_are_copied_with_their_configuration(bucket: str, cache: Path) -> None:
    for name in ("model.safetensors", "config.json"):
        upload(f"{bucket}/network/{name}", name.encode())
    folder = Path(local_checkpoint(f"{bucket}/network/"))
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "model.safetensors": "model.safetensors",
        "config.json": "config.json",
    }
    file = Path(local_checkpoint(f"{bucket}/network/model.safetensors"))
    assert (file.name, file.parent) == ("model.safetensors", folder)


@pytest.mark.parametrize("read", [local_copy, lambda uri: open_input(uri).__enter__()])
def test_a_server_that_cannot_be_reached_is_not_a_missing_file(read: Callable[[str], object], cache: Path) -> None:
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:1/a\.fa cannot be read: .*[Cc]onnect"):
        read("http://127.0.0.1:1/a.fa")
