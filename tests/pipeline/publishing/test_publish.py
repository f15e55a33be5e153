"""A published table is whole or does not look so, whatever happens on the way; and the same bytes each time."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from material import tables
from material.fault_proxy import BROKEN, faulty_bucket
from material.web_server import web_server

from pipeline import open_tracks, open_variants
from pipeline.batch.layout import MANIFEST
from pipeline.batch.published import PublishedStore
from pipeline.batch.storage import StorageError, Store
from pipeline.publishing.publish import CHECKSUMS, Options, Published, publish
from pipeline.tracks.verify import verify
from pipeline.variants.verify import verify as verify_variants
from sptx_core.errors import InputError, UnfinishedError

NEW = {"README.md", "croissant.json", CHECKSUMS}


def published(table: Path | str, to: Path | str, said: list[str] | None = None, **options: str) -> Published:
    say = (said if said is not None else []).append
    return publish(PublishedStore(table), str(to), Options(**options), say, progress=False)


def files(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_a_published_table_is_sound_and_has_the_same_rows(table: Path, tmp_path: Path) -> None:
    said: list[str] = []
    done = published(table, tmp_path / "out", said)
    assert set(done.written) == set(files(table)) | NEW
    assert done.kept == ()
    assert "the card has no licence yet" in said[0]
    assert verify(Store(tmp_path / "out")).problems == ()
    assert open_tracks(tmp_path / "out").scan().collect().equals(open_tracks(table).scan().collect())
    there, here = files(tmp_path / "out"), files(table)
    assert {name for name in here if there[name] != here[name]} == {"settings.yaml"}


def test_variants_too(scores: Path, tmp_path: Path) -> None:
    published(scores, tmp_path)
    assert verify_variants(Store(tmp_path)).problems == ()
    here = open_variants(scores).scan().collect()
    assert open_variants(tmp_path).scan().collect().equals(here)
    with web_server(tmp_path) as server:
        assert open_variants(server.url).scan().collect().equals(here)
        assert open_variants(server.url).variant("chr9-214901-G-A", sites=True).height == 201
        assert open_variants(server.url).status().missing == ()
        assert verify_variants(PublishedStore(server.url)).problems == ()


def test_sha256sum_checks_every_file_but_the_card(either: PublishedStore, tmp_path: Path) -> None:
    published(either.root, tmp_path)
    check = ["sha256sum", "--check", "--strict", CHECKSUMS]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True)
    checked = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    assert checked == set(files(tmp_path)) - {CHECKSUMS, "README.md"}
    part = next(tmp_path.rglob("*/*.parquet"))
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True, check=False).returncode == 1


def test_the_same_bytes_twice_and_elsewhere_without_a_trace_of_the_machine(
    either: PublishedStore, tmp_path: Path
) -> None:
    for place in ("one", "another/place"):
        published(either.root, tmp_path / place, licence="CC0-1.0")
    moved = shutil.copytree(either.path(), tmp_path / "moved")
    published(moved, tmp_path / "third", licence="CC0-1.0")
    one = files(tmp_path / "one")
    assert one == files(tmp_path / "another" / "place") == files(tmp_path / "third")
    for name in one:
        if not name.endswith(".parquet"):
            text = (tmp_path / "one" / name).read_text()
            assert not re.search(rf"somebody|{tmp_path.name}|publishing\d|20\d\d-\d\d-\d\d", text), name


def test_what_is_there_stays_and_what_is_damaged_or_lacks_is_written(table: Path, tmp_path: Path) -> None:
    published(table, tmp_path)
    whole = files(tmp_path)
    assert published(table, tmp_path).written == ()
    tracks, sites = (sorted((tmp_path / name).rglob("*.parquet")) for name in ("tracks", "sites"))
    times = [path.stat().st_mtime_ns for path in tracks]
    tracks[1].write_bytes(bytes(tracks[1].stat().st_size))
    sites[0].unlink()
    (tmp_path / "croissant.json").write_bytes(b"{}")
    done = published(table, tmp_path)
    assert set(done.written) == {
        "croissant.json",
        *(path.relative_to(tmp_path).as_posix() for path in (tracks[1], sites[0])),
    }
    assert files(tmp_path) == whole
    assert [path.stat().st_mtime_ns for path in tracks if path != tracks[1]] == [times[0], *times[2:]]


class Dying(Store):
    """A folder on which a write after so many fails."""

    left = 0

    def write_atomic(self, name: str, content: bytes) -> None:
        if Dying.left == 0:
            raise StorageError(f"{name} cannot be written: there is no room", total=True)
        Dying.left -= 1
        super().write_atomic(name, content)


@pytest.mark.slow
def test_interrupted_anywhere_it_does_not_look_whole_and_goes_on(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(table, tmp_path / "whole")
    whole = files(tmp_path / "whole")
    place = tmp_path / "out"
    monkeypatch.setattr("pipeline.publishing.publish.Store", Dying)
    for written in (0, 3, 8, 12, len(whole) - 2, len(whole) - 1):
        shutil.rmtree(place, ignore_errors=True)
        Dying.left = written
        with pytest.raises(UnfinishedError, match=r"there is no room; the same command goes on"):
            published(table, place)
        assert not (place / MANIFEST).exists()
        with web_server(place) as server, pytest.raises(InputError):
            open_tracks(server.url)
    Dying.left = 10**6
    assert len(published(table, place).kept) == len(whole) - 1
    assert files(place) == whole


def test_a_card_that_was_edited_is_kept(table: Path, tmp_path: Path) -> None:
    published(table, tmp_path)
    card = tmp_path / "README.md"
    card.write_text(card.read_text().replace("**to be filled in** by", "CC0-1.0, by"))
    edited, said = card.read_bytes(), []  # type: tuple[bytes, list[str]]
    done = published(table, tmp_path, said, licence="MIT")
    assert card.read_bytes() == edited
    assert any("README.md is there and says something else: it is kept" in sentence for sentence in said)
    assert set(done.written) == {"croissant.json", CHECKSUMS}


def test_onto_itself_a_table_gets_the_card_alone(table: Path, tmp_path: Path) -> None:
    root = shutil.copytree(table, tmp_path / "table")
    before, said = files(root), []  # type: tuple[dict[str, str], list[str]]
    done = published(root, root, said)
    assert set(done.written) == NEW
    assert {name: digest for name, digest in files(root).items() if name not in NEW} == before
    assert "settings.yaml stays as it is" in said[0]
    (root / "settings.yaml").write_text(f"{(root / 'settings.yaml').read_text()}workers: 2\n")  # as a run restores it
    subprocess.run(["sha256sum", "--check", "--quiet", CHECKSUMS], cwd=root, check=True)
    assert verify(Store(root)).problems == ()
    (link := tmp_path / "link").symlink_to(root)
    assert published(link, root).written == ()


def test_a_damaged_part_is_told_and_the_place_does_not_look_whole(table: Path, tmp_path: Path) -> None:
    root = shutil.copytree(table, tmp_path / "table")
    part = next((root / "tracks").rglob("*.parquet"))
    content = bytearray(part.read_bytes())
    content[100] ^= 1
    part.write_bytes(content)
    for place in (tmp_path / "out", root):
        with pytest.raises(InputError, match=rf"{re.escape(part.name)} is damaged: its bytes are not those"):
            published(root, place)
        assert not (place / CHECKSUMS).exists()
    assert not (tmp_path / "out" / MANIFEST).exists()


def test_an_unfinished_table_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    tables.write(tmp_path / "table", [tables.Part("chr1", "+", range(1, 101))], shards=2)
    with pytest.raises(UnfinishedError, match="is unfinished: 1 of 2 shards"):
        published(tmp_path / "table", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_place_that_holds_something_else_is_refused(table: Path, tmp_path: Path) -> None:
    tables.write_example(tmp_path / "other", exact=True)
    before = files(tmp_path / "other")
    with pytest.raises(InputError, match=r"holds another table .fingerprint d9f7ff2dc6e0, this one has a72ac0c53de2"):
        published(table, tmp_path / "other")
    assert files(tmp_path / "other") == before
    (tmp_path / "mixed" / "tracks").mkdir(parents=True)
    (tmp_path / "mixed" / "tracks" / "x.parquet").touch()
    with pytest.raises(InputError, match=r"holds tracks/x.parquet, which is no part of this table"):
        published(table, tmp_path / "mixed")
    with pytest.raises(InputError, match="lies within the table"):
        published(table, table / "tracks" / "out")
    with pytest.raises(InputError, match="cannot stand in code"):
        published(table, tmp_path / "x", at='https://host/"; rm')
    for address in ("https://host/table?sig=abc", "https://me:abc@host/table"):
        with pytest.raises(InputError, match=r"holds a secret, .* without it with --at") as refused:
            published(table, tmp_path / "x", at=address)
        assert "abc" not in str(refused.value)


@pytest.mark.slow
def test_to_a_bucket_and_from_it(table: Path, tmp_path: Path) -> None:
    with faulty_bucket("publish") as (bucket, proxy):
        proxy.fault = lambda asked: BROKEN if asked.method == "PUT" and asked.path.endswith(MANIFEST) else None
        with pytest.raises(UnfinishedError, match=r"manifest.parquet cannot be written: .*the same command goes on"):
            published(table, f"{bucket}/x=1/a+b")
        assert not Store(f"{bucket}/x=1/a+b").exists(MANIFEST)
        proxy.fault = lambda _: None
        assert published(table, f"{bucket}/x=1/a+b").written == (MANIFEST,)
        assert f'open_tracks("{bucket}/x=1/a+b")' in Store(f"{bucket}/x=1/a+b").read_bytes("README.md").decode()
        assert verify(Store(f"{bucket}/x=1/a+b")).problems == ()
        assert published(f"{bucket}/x=1/a+b", f"{bucket}/x=1/a+b").written == ()
        published(f"{bucket}/x=1/a+b", tmp_path / "back")
        published(table, tmp_path / "straight")
        assert files(tmp_path / "back") == files(tmp_path / "straight")


@pytest.mark.slow
def test_to_the_hub_and_from_there(table: Path, hub: Any, tmp_path: Path) -> None:
    said: list[str] = []
    done = published(table, "hf://datasets/me/splicing", said, licence="cc-by-4.0")
    assert set(done.written) == set(files(table)) | NEW
    assert said == ["me/splicing was made for you alone; its settings on the hub open it to others"]
    far = open_tracks("hf://datasets/me/splicing")
    assert far.scan().collect().equals(open_tracks(table).scan().collect())
    card = hub.repositories["me/splicing"].commits[hub.repositories["me/splicing"].branches["main"]]["README.md"]
    assert b'open_tracks("hf://datasets/me/splicing")' in card
    assert published(table, "hf://datasets/me/splicing", licence="cc-by-4.0").written == ()
    published("hf://datasets/me/splicing", tmp_path / "back")
    assert verify(Store(tmp_path / "back")).problems == ()


@pytest.fixture
def web(table: Path) -> Iterator[str]:
    with web_server(table) as server:
        yield server.url


@pytest.mark.slow
def test_a_table_on_a_web_server_goes_elsewhere_but_not_there(web: str, table: Path, tmp_path: Path) -> None:
    published(web, tmp_path / "from web", at="https://host/t")
    published(table, tmp_path / "straight", at="https://host/t")
    assert files(tmp_path / "from web") == files(tmp_path / "straight")
    with pytest.raises(InputError, match="cannot be committed atomically over http://"):
        published(web, web)
