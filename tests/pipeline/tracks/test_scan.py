"""Committed parts as a frame: values of the partitions, places that look like one, and parts on a web server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from material import tables
from material.genomes import Transcript
from material.web_server import Asked, Fault, web_server

from pipeline.batch import web
from pipeline.batch.storage import Store
from pipeline.tracks.reader import open_tracks
from pipeline.tracks.scan import scan_parts
from sptx_core.errors import InputError


def scanned(store: Store) -> pl.DataFrame:
    parts = [(shard.key, shard.key.part_name("tracks", tables.FINGERPRINT)) for shard in tables.SHARDS]
    return scan_parts(store, tables.schema(), parts).collect()


@pytest.mark.parametrize("folder", ["table", "release=1/strand=minus"])
def test_chrom_and_strand_are_those_of_the_part_whatever_the_place(tmp_path: Path, folder: str) -> None:
    frame = scanned(tables.write_example(tmp_path / folder))
    assert frame.columns[:4] == ["chrom", "strand", "pos", "ref"]
    places = frame.group_by("chrom", "strand", maintain_order=True).agg(pl.len())
    assert places.rows() == [("chr9", "+", 700), ("chr9", "-", 250), ("HLA-A*01:01", "+", 50)]


def test_the_same_rows_come_through_fsspec(tmp_path: Path) -> None:
    here = scanned(tables.write_example(tmp_path))
    there = Store("memory://scan")
    for name in Store(tmp_path).list():
        there.write_atomic(name, (tmp_path / name).read_bytes())
    assert scanned(there).equals(here)


def test_no_parts_are_an_empty_frame_with_the_columns(tmp_path: Path) -> None:
    empty = scan_parts(Store(tmp_path), tables.schema(), []).collect()
    assert empty.is_empty()
    assert empty.schema == scanned(tables.write_example(tmp_path)).schema


# Over HTTP

LONG = range(1, 150_001)


@pytest.fixture(scope="module")
def long_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two parts of 150,000 rows, in which four columns look like noise and take 480 kB each."""
    root = tmp_path_factory.mktemp("long")
    values = np.random.default_rng(1).random((len(LONG), 4)) / 2
    parts = [tables.Part("chr1", strand, LONG, usage={1: [0.5] * 15}) for strand in "+-"]
    tables.write(root, parts, [Transcript("T1", "chr1", "+", [(20_001, 30_000)], gene="GENE")], exact=True)
    for key in (part.key for part in open_tracks(root).parts):
        rows = parts[key.index].rows()
        rows.scores[:, 1:5] = values
        (root / key.part_name("tracks", tables.fingerprint(exact=True))).unlink()
        tables.commit_rows(Store(root), key, rows, exact=True)
    tables.write_manifest_of(Store(root), exact=True)
    return root


def test_a_gene_over_http_reads_the_columns_that_it_needs_in_few_requests(long_table: Path) -> None:
    here = open_tracks(long_table)
    part = here.parts[0]
    with web_server(long_table) as server:
        far = open_tracks(server.url)
        assert far.gene("GENE", columns=["acceptor"]).equals(here.gene("GENE", columns=["acceptor"]))
        asked = [Path(one.path).name for one in server.asked]
        ends = Path(part.name).name
        assert asked == ["run.json", "manifest.parquet", "transcripts.parquet", *[ends] * (len(asked) - 3)]
        assert len(asked) <= 6  # the end of the part, then pos, ref and acceptor together
        assert sum(one.sent for one in server.asked if one.path.endswith(ends)) < 0.4 * part.bytes
        server.asked.clear()
        assert far.gene("GENE").height == 10_000
        assert sum(one.sent for one in server.asked) < part.bytes + 200_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [Fault(other=16), Fault(flipped=True), Fault(cut=True), Fault(missing=3), Fault(403), Fault(404)]
)
def test_no_fault_of_a_server_gives_wrong_rows(long_table: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "FIRST_PAUSE", 0.001)
    with web_server(long_table) as server:
        far = open_tracks(f"{server.url}?sig=SECRET")

        def of_rows(asked: Asked) -> Fault | None:
            return fault if asked.span and asked.span[0] < 100_000 else None

        server.fault = of_rows
        with pytest.raises(InputError, match=r"a part of http://.*\?\*\*\* cannot be read") as raised:
            far.region("chr1:1-100,000", strand="+")
        assert "SECRET" not in str(raised.value)
        server.fault = lambda _: Fault(ranges=False)
        assert far.region("chr1:1-100,000", strand="+").height == 100_000
