"""Rows of one part: columns, order, and the rows that are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from material import tables

from pipeline.evaluation.part_rows import read_part
from sptx_core.errors import InputError

PLUS = tables.Part("chr1", "+", range(11, 21), donor={15: 0.5})
BY_TRANSCRIPT = tables.Part("chr1", "-", [11, 12, 13, 11, 12], donor={12: 0.5}, transcripts=["A", "A", "A", "B", "B"])


def test_rows_have_their_key_and_the_columns_asked_for(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path, [PLUS, PLUS._replace(chrom="chr2")])
    rows = read_part(tracks, tracks.parts[1], ["donor", "ref"])
    assert rows.columns == ["chrom", "strand", "pos", "donor", "ref"]
    assert rows.select("chrom", "strand").unique().rows() == [("chr2", "+")]
    assert rows["pos"].to_list() == list(range(11, 21))
    assert rows["donor"].to_list() == [0.5 if pos == 15 else 0 for pos in range(11, 21)]


def test_rows_by_transcript_have_its_name_and_come_in_stored_order(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path, [BY_TRANSCRIPT])
    rows = read_part(tracks, tracks.parts[0], [])
    assert rows.rows() == [("chr1", "-", *row) for row in (("A", 11), ("A", 12), ("A", 13), ("B", 11), ("B", 12))]


def test_only_rows_that_match_are_read(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path, [BY_TRANSCRIPT])
    by_pos = pl.DataFrame({"pos": np.array([12, 99], np.int32)})
    assert read_part(tracks, tracks.parts[0], [], at=by_pos)["transcript_id"].to_list() == ["A", "B"]
    by_both = by_pos.with_columns(transcript_id=pl.lit("B"), chrom=pl.lit("chr1"))
    assert read_part(tracks, tracks.parts[0], ["donor"], at=by_both).rows() == [("chr1", "-", "B", 12, 0.5)]


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path, [PLUS])
    (tmp_path / tracks.parts[0].name).write_bytes(b"not Parquet")
    with pytest.raises(InputError, match=r"chrom=chr1.* cannot be read .* see `sptx verify`"):
        read_part(tracks, tracks.parts[0], ["donor"])
