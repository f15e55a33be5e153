"""Bases at positions, held against all rows of the table; what is read for them; damage."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from material import reported, tables

from pipeline.tracks import ref_bases
from pipeline.tracks.reader import Tracks, open_tracks
from pipeline.tracks.ref_bases import RefBases
from sptx_core.errors import InputError


@pytest.fixture(scope="module", params=["genomic", "transcript"])
def tracks(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    """The example, in whose shards loci lie apart, and whose transcripts may overlap."""
    root = tmp_path_factory.mktemp(request.param) / "table"
    if request.param == "transcript":
        return reported.write_by_transcript(root)
    tables.write_example(root)
    return open_tracks(root)


def strand_of(tracks: Tracks) -> list[tables.ShardKey]:
    place = tracks.parts[0].key
    return [part.key for part in tracks.parts if (part.key.chrom, part.key.strand) == (place.chrom, place.strand)]


def test_bases_are_those_of_the_rows(tracks: Tracks) -> None:
    keys = strand_of(tracks)
    rows = tracks.scan([], chrom=keys[0].chrom, strand=keys[0].strand).select("pos", "ref").collect().unique("pos")
    wanted = np.random.default_rng(0).integers(1, 3_000, 500)
    found = RefBases(tracks, keys)(pl.Series([*wanted, None], dtype=pl.Int32))
    assert found.schema == {"pos": pl.Int32, "ref": pl.String}
    assert found.sort("pos").equals(rows.filter(pl.col("pos").is_in(wanted.tolist())).sort("pos"))
    assert found.height > 50


def test_parts_and_row_groups_without_a_position_are_not_read(tracks: Tracks, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    wrapped = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda *a, **k: read.append(a[1]) or wrapped(*a, **k))
    bases = RefBases(tracks, strand_of(tracks))
    assert bases(pl.Series([5_000], dtype=pl.Int32)).is_empty()
    assert (read, bases.executions.total()) == ([], 0)
    first = strand_of(tracks)[0].first
    assert bases(pl.Series([first], dtype=pl.Int32)).height == 1
    assert bases(pl.Series([first], dtype=pl.Int32)).height == 1
    assert read == [0, 0]
    ((execution, parts),) = bases.executions.items()
    assert (json.loads(execution), parts) == (tables.EXECUTION, 1)


def test_several_row_groups(tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table")
    path = Path(tracks.store.path(tracks.parts[0].name))
    pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=250)
    keys = strand_of(tracks)
    positions = pl.Series([1_001, 1_250, 1_251, 1_999, 2_200, 2_201], dtype=pl.Int32)
    found = RefBases(tracks, keys)(positions)
    rows = tracks.region("chr1", strand="+", columns=[]).filter(pl.col("pos").is_in(positions.implode()))
    assert found.sort("pos").equals(rows.select("pos", "ref"))


def test_a_part_with_other_rows_than_planned_is_refused(tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table")
    first, second = (Path(tracks.store.path(part.name)) for part in tracks.parts[:2])
    pq.write_table(pq.read_table(second, partitioning=None).slice(1), second)
    with pytest.raises(InputError, match=r"has 1,199 rows where the plan has 1,200; `sptx verify "):
        RefBases(tracks, strand_of(tracks))(pl.Series([2_500], dtype=pl.Int32))
    first.write_bytes(first.read_bytes()[:1_000])
    with pytest.raises(InputError, match=r"000000-1001-2200-\w+\.parquet cannot be read"):
        RefBases(tracks, strand_of(tracks))(pl.Series([1_500], dtype=pl.Int32))


def test_a_fault_of_the_program_is_none_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracks = reported.write(tmp_path / "table")
    monkeypatch.setattr(ref_bases.pq, "ParquetFile", None)
    with pytest.raises(TypeError):
        RefBases(tracks, strand_of(tracks))(pl.Series([1_500], dtype=pl.Int32))
