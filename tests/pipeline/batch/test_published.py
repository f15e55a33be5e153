"""Where storage gives no listing the manifest is the list of the parts, and elsewhere it is not."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from material import tables
from material.fault_proxy import REFUSED, faulty_bucket
from material.hub_server import DOWN, GATED, NO_LOGIN
from material.web_server import web_server
from s3fs import S3FileSystem

from pipeline.batch.layout import MANIFEST
from pipeline.batch.published import PublishedStore, is_listed
from pipeline.batch.storage import StorageError, Store
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return tables.write_example(tmp_path_factory.mktemp("published") / "table")


def copy(table: Store, root: str) -> Store:
    store = Store(root)
    for name in table.list():
        store.write_atomic(name, table.read_bytes(name))
    return store


@pytest.fixture
def url(table: Store) -> Iterator[str]:
    with web_server(Path(table.path())) as server:
        yield server.url


def test_a_web_server_holds_the_parts_of_the_manifest(table: Store, url: str) -> None:
    store = PublishedStore(url)
    assert store.list("tracks/") == table.list("tracks/")
    assert store.list() == {**table.list("sites/"), **table.list("tracks/")}
    assert store.list("failures/") == {}
    assert store.exists("run.json")
    assert store.read_bytes("run.json") == table.read_bytes("run.json")
    assert not store.exists("none")
    assert not is_listed(store)
    assert pickle.loads(pickle.dumps(store)).list("tracks/") == table.list("tracks/")


def test_a_disk_is_asked_itself(table: Store, tmp_path: Path) -> None:
    store = PublishedStore(copy(table, str(tmp_path)).root)
    first = next(iter(store.list("tracks/")))
    (tmp_path / first).unlink()
    assert first not in store.list("tracks/")
    assert is_listed(store)


def test_what_cannot_be_listed_and_has_no_manifest_is_unfinished(tmp_path: Path) -> None:
    tables.write_example(tmp_path, manifest=False)
    with web_server(tmp_path) as server, pytest.raises(InputError, match=f"is unfinished.*there is no {MANIFEST}"):
        PublishedStore(server.url).list("tracks/")


@pytest.mark.slow
def test_a_bucket_that_may_be_read_but_not_listed(table: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_bucket("open") as (bucket, proxy):
        copy(table, f"{bucket}/table")
        S3FileSystem().chmod("open", acl="public-read", recursive=True)
        (store := Store(f"{bucket}/unfinished")).write_atomic("run.json", table.read_bytes("run.json"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        proxy.fault = lambda asked: REFUSED if "list-type" in asked.query else None
        monkeypatch.setitem(fsspec.config.conf, "s3", {**fsspec.config.conf["s3"], "anon": True})
        published = PublishedStore(f"{bucket}/table")
        assert published.exists("run.json")
        assert published.list("tracks/") == table.list("tracks/")
        with pytest.raises(StorageError, match="cannot be listed: AccessDenied"):
            PublishedStore(store.root).list("tracks/")
        with pytest.raises(StorageError, match="cannot be listed"):  # whoever computes asks storage alone
            Store(f"{bucket}/table").list("tracks/")


def test_the_hub_holds_the_parts_of_the_manifest(table: Store, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = hub.put("me/splicing", {f"tracks/{name}": table.read_bytes(name) for name in table.list()})
    for place in ("me/splicing", "me/splicing@main", f"me/splicing@{commit}"):
        store = PublishedStore(f"hf://datasets/{place}/tracks")
        assert store.exists("run.json")
        assert store.list("tracks/") == table.list("tracks/")
        assert not store.exists("none")
        with pytest.raises(FileNotFoundError):
            store.read_bytes("none")
    with pytest.raises(StorageError, match=r"hub answers 404 Not Found .Repository not found.: check the name"):
        PublishedStore("hf://datasets/me/other").exists("run.json")
    monkeypatch.setattr("time.sleep", lambda _: None)  # huggingface_hub's own pauses
    for refusal, told in ((NO_LOGIN, "401"), (GATED, "403 Forbidden .Access to model is"), (DOWN, "503")):
        hub.refuse("me/splicing", refusal)
        with pytest.raises(StorageError, match=f"cannot be read: the Hugging Face hub answers {told}"):
            PublishedStore("hf://datasets/me/splicing/tracks").exists("run.json")
