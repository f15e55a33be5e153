"""Every column has a unit and a meaning, and the type that its files have."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from material import tables

from pipeline.publishing.columns import columns_of_tracks, columns_of_variants
from pipeline.variants.schema import VariantSchema
from sptx_core.channels import TISSUES


@pytest.mark.parametrize(("exact", "steps"), [(False, " in steps of 0.0001"), (True, "")])
def test_tracks_say_in_which_steps_they_are(exact: bool, steps: str) -> None:
    columns = columns_of_tracks(tables.schema(exact=exact))
    by_name = {column.name: column for column in columns["tracks"]}
    assert by_name["acceptor"].unit == f"probability, 0 to 1{steps}"
    assert by_name["brain"].unit == ("usage, 0 to 1" if exact else "usage, 0 to 1 in steps of 0.001")
    assert {column.unit for column in columns["sites"] if column.name == "donor"} == {"probability, 0 to 1"}
    assert [column.name for column in columns["tracks"] if column.folder] == ["chrom", "strand"]


def test_types_are_those_of_the_files(table: Path) -> None:
    part = next((table / "tracks").rglob("*.parquet"))
    held = pq.ParquetFile(part).schema_arrow
    columns = [column for column in columns_of_tracks(tables.schema())["tracks"] if not column.folder]
    assert [column.name for column in columns] == held.names
    assert {column.type for column in columns} == {"int32", "string", "float32"}


def test_every_column_of_variants_is_explained() -> None:
    for tissues in (TISSUES, ("brain", "retina")):
        schema = VariantSchema(tissues)
        for name, fields in (("variants", schema.variants()), ("sites", schema.sites())):
            columns = columns_of_variants(schema)[name]
            assert [column.name for column in columns] == ["chrom", *fields.names]
            assert all(column.meaning and column.unit for column in columns)
    by_name = {column.name: column for column in columns_of_variants(VariantSchema(TISSUES))["variants"]}
    assert by_name["tissues"].type == "list of string"
    assert by_name["ds_ag"].meaning == "the largest gain of an acceptor"
    assert by_name["ds_dl_masked"].meaning == (
        "the largest loss of a donor, without gains at annotated sites and losses elsewhere"
    )
    assert by_name["d_brain"].meaning == "the largest change of usage in brain"
    assert by_name["dl_alt"].meaning == "score of the alternative at the site of that loss of a donor"
    assert by_name["pos"].meaning == "as the file of the variants has it"
    assert (by_name["joint"].unit, by_name["haplotype"].unit) == ("true or false", "number from 1, 0 for both")
    sites = {column.name: column for column in columns_of_variants(VariantSchema(TISSUES))["sites"]}
    assert sites["pos"].meaning.startswith("the base;")
    assert sites["alt_brain"][2:4] == (
        "usage, 0 to 1",
        "usage in brain of the alternative at the base; null at a deleted one",
    )
    assert sites["ref_donor"][2:4] == (
        "probability, 0 to 1",
        "donor of the reference at the base; null at an inserted one",
    )
    assert sites["alt_index"] == by_name["alt_index"]


def test_no_two_columns_of_variants_are_explained_alike_but_parts_of_one_thing() -> None:
    columns = columns_of_variants(VariantSchema(TISSUES))["variants"]
    alike = Counter((column.type, column.meaning) for column in columns if not column.name.startswith("ins_offset"))
    shared = {meaning for (_, meaning), count in alike.items() if count > 1}
    assert not {meaning for meaning in shared if "that" not in meaning} - {
        "as the file of the variants has it",
        "the normal form of the change",
        "the gene; null without one",
    }
