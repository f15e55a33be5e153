"""What run.json says of a table of variants, and what is said of other places."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from material.tables import write_example as write_tracks
from material.variant_runs import Line, Place

from pipeline.batch.record import read_record
from pipeline.batch.storage import Store
from pipeline.tracks.reader import open_tracks
from pipeline.variants.header import holds_variants, is_variants, read_header
from pipeline.variants.reader import Variants, open_variants
from pipeline.variants.schema import FORMAT_VERSION
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError


@pytest.fixture(scope="module")
def table(place: Place) -> Variants:
    return place.score([Line("chr1", 501, "G", "C,*")])


def test_a_table_says_what_it_holds(table: Variants) -> None:
    header = read_header(table.store)
    assert (header.shards, header.alleles, header.tables) == (1, 2, ("variants",))
    assert header.statuses == {"scored": 1, "spanning_deletion": 1}
    assert header.schema.tissues == TISSUES
    assert header.fields["distance"] == 100
    assert is_variants(read_record(table.store, FORMAT_VERSION))
    assert not is_variants(None)
    assert holds_variants(table.store)


def test_what_is_no_table_of_variants_holds_none(tmp_path: Path) -> None:
    assert not holds_variants(Store(tmp_path / "nothing"))
    assert not holds_variants(write_tracks(tmp_path / "tracks"))
    (tmp_path / "run.json").write_text("{")
    assert not holds_variants(Store(tmp_path))


def test_a_place_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no variants: there is no run\.json"):
        open_variants(tmp_path)


def test_either_reader_refuses_the_table_of_the_other_in_a_sentence(table: Variants, tmp_path: Path) -> None:
    write_tracks(tmp_path / "tracks")
    with pytest.raises(InputError, match="holds no variants, but the results of another command"):
        open_variants(tmp_path / "tracks")
    with pytest.raises(InputError, match="is of `sptx variants`, so there are no tracks"):
        open_tracks(table.store.root)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"tissues": 5}, "is not the record of a table of variants"),
        ({"statuses": None}, "is not the record of a table of variants"),
        ({"statuses": {"scored": "many"}}, "is not the record of a table of variants"),
        ({"format_version": 99}, "has format version 99; this program reads 1"),
        ({"fingerprint": "0" * 64}, "was edited"),
    ],
)
def test_a_record_that_cannot_be_understood_is_refused(
    table: Variants, tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    record = json.loads(table.store.read_bytes("run.json"))
    (tmp_path / "run.json").write_text(json.dumps(record | changed))
    with pytest.raises(InputError, match=told):
        read_header(Store(tmp_path))
