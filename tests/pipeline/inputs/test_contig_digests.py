"""Digests kept of a file: given back while the file is the same, and never for another one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.mutations import INPUTS, mutated

from pipeline.inputs.contig_digests import ENDING, SETTLED_SECONDS, identity_of, keep_digests, read_digests

DIGESTS = {"chr1": "0" * 64, "chr2": "f" * 64}
OLD = ("/data/genome.fa.gz", 12, 1_000, 1_600_000_000 * 10**9, 1_600_000_001 * 10**9)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    keep_digests([tmp_path / "g.fa.gz"], OLD, DIGESTS)
    return tmp_path / "g.fa.gz"


def test_what_was_kept_is_read(place: Path) -> None:
    assert [path.name for path in place.parent.iterdir()] == ["g.fa.gz.digests.json"]
    assert read_digests([place], OLD) == DIGESTS


@pytest.mark.parametrize("changed", range(len(OLD)))
def test_a_file_of_another_path_size_or_time_has_none(place: Path, changed: int) -> None:
    other = ("/data/other.fa.gz", *(number + 1 for number in OLD[1:]))
    assert read_digests([place], (*OLD[:changed], other[changed], *OLD[changed + 1 :])) == {}


def test_the_identity_is_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "g.fa"
    path.write_bytes(b">a\nACGT\n")
    found = path.stat()
    assert identity_of(path) == (str(path), found.st_ino, 8, found.st_mtime_ns, found.st_ctime_ns)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"7", b"null", b'{"sha256": ""}', b"[" * 100_000, b'{"digests": null, "sha256": 1}'],
)
def test_garbage_counts_as_none_and_is_replaced(place: Path, content: bytes) -> None:
    Path(f"{place}{ENDING}").write_bytes(content)
    assert read_digests([place], OLD) == {}
    keep_digests([place], OLD, DIGESTS)
    assert read_digests([place], OLD) == DIGESTS


def test_a_version_that_this_program_does_not_know_counts_as_none(place: Path) -> None:
    path = Path(f"{place}{ENDING}")
    path.write_text(path.read_text().replace('"version": 2', '"version": 3'))
    assert read_digests([place], OLD) == {}


@settings(max_examples=INPUTS)
@given(data=st.data())
def test_no_damage_gives_another_digest(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    place = tmp_path_factory.mktemp("fuzz") / "g.fa"
    keep_digests([place], OLD, DIGESTS)
    path = Path(f"{place}{ENDING}")
    path.write_bytes(data.draw(mutated([path.read_bytes()], b'{}[]",: 0123456789abcdef\x00\xff')))
    assert read_digests([place], OLD) in ({}, DIGESTS)


def test_an_edited_digest_counts_as_none(place: Path) -> None:
    path = Path(f"{place}{ENDING}")
    body = json.loads(path.read_text())
    body["digests"]["chr1"] = "1" * 64
    path.write_text(json.dumps(body))
    assert read_digests([place], OLD) == {}


def test_the_next_place_is_taken_where_the_first_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    places = [tmp_path / "file" / "g.fa", tmp_path / "new" / "g.fa"]
    keep_digests(places, OLD, DIGESTS)
    assert (tmp_path / "new" / f"g.fa{ENDING}").exists()
    assert read_digests(places, OLD) == DIGESTS


def test_digests_that_can_be_kept_nowhere_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    places = [tmp_path / "file" / "g.fa"]
    keep_digests(places, OLD, DIGESTS)
    assert read_digests(places, OLD) == {}


@pytest.mark.parametrize("which", [3, 4])
def test_a_file_that_has_just_changed_may_change_again_within_its_time(tmp_path: Path, which: int) -> None:
    now = time.time_ns()
    for age, kept in ((SETTLED_SECONDS / 2, {}), (SETTLED_SECONDS + 1, DIGESTS)):
        identity = [*OLD]
        identity[which] = now - int(age * 1e9)
        keep_digests([tmp_path / "g.fa"], tuple(identity), DIGESTS)
        assert read_digests([tmp_path / "g.fa"], tuple(identity)) == kept
