"""Columns of the tables of variants, and their bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.variants.schema import VariantSchema, to_parquet, to_table
from sptx_core.channels import TISSUES

OWN, OTHER = VariantSchema(TISSUES), VariantSchema(("liver",))


def test_tissues_have_their_columns_and_calls_where_the_constants_are_of_them() -> None:
    names = OWN.variants().names
    assert [name for name in names if name.endswith("_brain")] == ["d_brain", "signed_brain", "z_brain"]
    assert {"tissues", "calibrated", "tie", "joint", "ins_offset_dl_masked"} <= set(names)
    assert not {"z_liver", "tissues", "calibrated"} & set(OTHER.variants().names)
    assert len(set(names)) == len(names)


def test_the_digest_is_of_the_columns() -> None:
    assert OWN.digest == VariantSchema(TISSUES).digest
    assert len({OWN.digest, OTHER.digest, VariantSchema(("lung",)).digest}) == 3


def test_equal_rows_give_equal_bytes_and_a_lacking_column_is_null() -> None:
    rows = [{"record": 3, "alt_index": 1, "pos": 7, "transcripts": ["T"]}, {"record": 4, "d_splice": 0.5}]
    parts = [to_parquet(to_table(rows, OWN.variants()), {"sptx.shard": "0"}) for _ in range(2)]
    assert parts[0] == parts[1]
    file = pq.ParquetFile(pa.BufferReader(parts[0]), page_checksum_verification=True)
    assert file.metadata.metadata[b"sptx.shard"] == b"0"
    found = file.read().to_pylist()
    assert (found[0]["transcripts"], found[0]["d_splice"], found[1]["d_splice"]) == (["T"], None, 0.5)
    assert file.schema_arrow.equals(OWN.variants())


def test_no_rows_are_a_table() -> None:
    assert to_table([], OWN.sites()).schema.equals(OWN.sites())
