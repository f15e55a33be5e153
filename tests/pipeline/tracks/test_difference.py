"""Differences of two tables equal joins by Polars; tables of two genomes and of two kinds are refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material import reported, tables, two_tables
from material.tables import Part
from material.two_tables import FIRST, SECOND

from pipeline.tracks.comparison import STEPS
from pipeline.tracks.difference import Difference, compare
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.channels import CHANNELS, SPLICE, TISSUES
from sptx_core.errors import InputError

KINDS = ["acceptor", "donor"]
GROUPS = {"splice": SPLICE, "usage": TISSUES}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows that end within parts, and at their ends."""
    monkeypatch.setattr("pipeline.tracks.comparison.WINDOW", 90)
    monkeypatch.setattr("pipeline.tracks.comparison.WINDOW_BY_TRANSCRIPT", 90)


def rows_of(tracks: Tracks) -> pl.DataFrame:
    return tracks.scan().collect()


def check(found: Difference, first: Tracks, second: Tracks, key: list[str], within: pl.Expr | None = None) -> None:
    """Hold a comparison against joins of all rows."""
    inside = pl.lit(value=True) if within is None else within
    one, other = (rows_of(tracks).filter(inside) for tracks in (first, second))
    both = one.join(other, on=key, suffix="_other", maintain_order="left")
    assert (found.shared, found.rows_first, found.rows_second) == (both.height, one.height, other.height)
    assert found.other_bases == both.filter(pl.col("ref") != pl.col("ref_other")).height
    apart = both.select(*key, *((pl.col(name) - pl.col(f"{name}_other")).abs().alias(name) for name in CHANNELS))
    for channel in found.channels:
        assert channel.greatest == apart[channel.name].max()
        assert channel.mean == pytest.approx(apart[channel.name].cast(pl.Float64).mean(), rel=1e-6)
    assert [channel.name for channel in found.channels] == list(first.channels)
    for group, names in GROUPS.items():
        size = apart.select(pl.max_horizontal(names).cast(pl.Float64).round(6))[:, 0]
        counts = [((size > low) & (size <= high)).sum() for low, high in zip((-1, *STEPS), STEPS, strict=False)]
        assert found.steps[group].to_list() == counts
        listed = found.largest.filter(pl.col("channel").is_in(list(names)))
        most = size.filter(size >= 0.01).sort(descending=True).head(10)
        assert listed["difference"].cast(pl.Float64).round(6).to_list() == most.to_list()
    check_sites(found, first, second, key, inside, both)


def check_sites(
    found: Difference, first: Tracks, second: Tracks, key: list[str], inside: pl.Expr, both: pl.DataFrame
) -> None:
    called = []
    for tracks in (first, second):
        sites = tracks.sites().collect().filter(inside).join(both, on=key, how="semi")
        called.append({kind: {*sites.filter(pl.col(kind) >= 0.1).select(key).rows()} for kind in KINDS})
    expected = {
        kind: (len(a), len(b), len(a & b), len(b - a), len(a - b))
        for kind, a, b in ((kind, called[0][kind], called[1][kind]) for kind in KINDS)
    }
    assert {kind: tuple(counts) for kind, *counts in found.sites.rows()} == expected
    changed = {
        (*place, kind, change)
        for kind in KINDS
        for change, places in (
            ("gained", called[1][kind] - called[0][kind]),
            ("lost", called[0][kind] - called[1][kind]),
        )
        for place in places
    }
    shown = [*found.changed.select(*key, "kind", "change").rows()]
    assert {*shown} <= changed
    assert len(shown) == min(10, len(changed))
    for row in found.changed.iter_rows(named=True):
        assert (row["first"] >= np.float32(0.1)) == (row["change"] == "lost")
        assert row["second" if row["change"] == "lost" else "first"] <= 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "changed"), [(0, 0.05), (1, 0.8)])
def test_rows_that_both_hold_are_compared(seed: int, changed: float, tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path, seed, changed=changed)
    found = compare(first, second)
    check(found, first, second, ["chrom", "strand", "pos"])
    assert found.only_first == ("contig chr2",)
    assert found.only_second == ("contig chr3",)
    assert not found.is_none
    back = compare(second, first)
    assert (back.shared, back.steps.rows()) == (found.shared, found.steps.rows())
    assert back.sites["gained"].to_list() == found.sites["lost"].to_list()


@pytest.mark.slow
def test_rows_of_transcripts(tmp_path: Path) -> None:
    tracks = [reported.write_by_transcript(tmp_path / str(at), at) for at in range(2)]
    found = compare(*tracks)
    check(found, *tracks, ["chrom", "strand", "transcript_id", "pos"])
    assert found.shared == 1_700


@pytest.mark.slow
def test_all_rows_that_differ_enough_are_given(tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path)
    taken: list[pl.DataFrame] = []
    found = compare(first, second, least=0.05, take=taken.append)
    rows = pl.concat(taken)
    key = ["chrom", "strand", "pos"]
    both = rows_of(first).join(rows_of(second), on=key, suffix="_other", maintain_order="left")
    apart = (
        pl.max_horizontal((pl.col(name) - pl.col(f"{name}_other")).abs() for name in CHANNELS).cast(pl.Float64).round(6)
    )
    expected = both.with_columns(apart.alias("difference")).filter(pl.col("difference") >= 0.05)
    assert rows.select(key).equals(expected.select(key))
    assert rows["difference"].equals(expected["difference"].cast(pl.Float32))
    for row in rows.iter_rows(named=True):
        (pair,) = (
            both.filter(**{name: row[name] for name in key}).select(row["channel"], f"{row['channel']}_other").rows()
        )
        assert (row["first"], row["second"]) == pair
        assert row["channel"] != "no_splice" or row["difference"] > 0
    assert rows.columns == found.largest.columns
    assert found.largest["difference"].min() >= 0.05


def test_two_runs_of_one_plan_have_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = reported.write(tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    second = open_tracks(tmp_path / "second")
    read = Tracks.rows_where

    def rows_where(self: Tracks, *arguments: Any, sites: bool, **options: Any) -> pl.DataFrame:
        assert sites, "parts that are equal are decoded"
        return read(self, *arguments, sites=sites, **options)

    monkeypatch.setattr(Tracks, "rows_where", rows_where)
    found = compare(first, second)
    assert found.is_none
    assert found.settings == ()
    assert found.shared == found.rows_first == 4_090
    assert found.steps["splice"].to_list() == [4_090, 0, 0, 0, 0, 0, 0]
    called = first.sites().collect()
    for kind, *counts in found.sites.rows():
        assert counts == [called.filter(pl.col(kind) >= 0.1).height] * 3 + [0, 0]
    within = compare(first, second, region="chr1:1,100-1,299")
    assert (within.shared, within.is_none) == (200, True)


def test_of_one_plan_the_parts_that_differ_are_compared(tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path, cuts=(FIRST, FIRST), changed=0.0)
    assert compare(first, second).is_none
    lines = [
        two_tables.cut(reported.part(np.random.default_rng(9), *cut[:2], range(1, 801)), *cut[2:]) for cut in FIRST[1:2]
    ]
    store, key = second.store, second.parts[1].key
    tables.commit_rows(store, key, lines[0].rows())
    again = open_tracks(tmp_path / "second")
    found = compare(first, again)
    check(found, first, again, ["chrom", "strand", "pos"])
    assert not found.is_none


def test_rows_that_only_one_table_has_are_a_difference(tmp_path: Path) -> None:
    parts = [Part("chr1", "+", range(first, first + 100), donor={first + 50: 0.5}) for first in (1, 101)]
    few, all_rows = tables.write(tmp_path / "few", parts[:1]), tables.write(tmp_path / "all", parts)
    for one, other in ((few, all_rows), (all_rows, few)):
        found = compare(one, other)
        assert (found.shared, found.rows_differ, found.is_none) == (100, False, False)


@pytest.mark.slow
def test_a_region_or_a_gene_alone(tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path)
    place = pl.col("chrom") == "chr1"
    region = compare(first, second, region="chr1:281-520")
    check(region, first, second, ["chrom", "strand", "pos"], place & pl.col("pos").is_between(281, 520))
    assert (region.only_first, region.only_second) == ((), ())
    gene = compare(first, second, gene="GENE")
    check(
        gene,
        first,
        second,
        ["chrom", "strand", "pos"],
        place & (pl.col("strand") == "+") & pl.col("pos").is_between(220, 390),
    )


def test_settings_that_differ_are_told(tmp_path: Path) -> None:
    rounded, exact = (
        tables.write(tmp_path / str(exact), [Part("chr1", "+", range(1, 9))], exact=exact) for exact in (False, True)
    )
    assert compare(rounded, exact).settings == (("exact", "False", "True"),)


def test_an_exact_table_differs_from_its_steps_by_half_of_one(tmp_path: Path) -> None:
    part = Part("chr1", "+", range(1, 9), donor={3: 0.12344})
    rounded, exact = (tables.write(tmp_path / str(exact), [part], exact=exact) for exact in (False, True))
    found = compare(rounded, exact, least=0.00001)
    assert found.steps["splice"].to_list()[:2] == [7, 1]
    assert found.largest["difference"].to_list() == pytest.approx([4e-5], rel=1e-2)
    assert not found.is_none


def test_a_site_that_is_gained_below_a_step_is_a_difference(tmp_path: Path) -> None:
    first, second = (
        tables.write(tmp_path / str(score), [Part("chr1", "+", range(1, 9), donor={3: score})])
        for score in (0.09998, 0.10001)
    )
    found = compare(first, second)
    assert (found.steps["splice"][0], found.sites["gained"].to_list()) == (8, [0, 1])
    assert not any(channel.greatest for channel in found.channels)
    assert found.rows_differ
    assert not found.is_none


def test_another_base_is_a_difference(tmp_path: Path) -> None:
    one, other = (
        tables.write(tmp_path / base, [Part("chr1", "+", range(1, 9), bases="A" * 7 + base)]) for base in "AC"
    )
    found = compare(one, other)
    assert found.other_bases == 1
    assert not found.is_none
    assert dataclasses.replace(found, other_bases=0).is_none


def test_unfinished_tables_are_compared_as_far_as_they_go(tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path, cuts=(FIRST, FIRST), changed=0.0)
    Path(second.store.path(second.parts[0].name)).unlink()
    found = compare(first, open_tracks(tmp_path / "second"))
    assert found.unfinished == ("", "unfinished: 3 of 4 shards")
    assert (found.shared, found.rows_first - found.shared) == (560, 200)
    assert not found.is_none


@pytest.mark.slow
def test_tables_in_an_object_store(tmp_path: Path) -> None:
    local = two_tables.write(tmp_path)
    remote = two_tables.write("memory://two-tables")
    assert compare(*remote).largest.equals(compare(*local).largest)
    assert compare(local[1], remote[1]).is_none


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gene": "GENF"}, "has no gene GENF; the nearest is GENE"),
        ({"gene": "GENE", "region": "chr1"}, "exclude each other"),
        ({"region": "GENE"}, "this is a gene or transcript; give --gene"),
        ({"region": "chr1:701-800"}, "neither table has a row of chr1:701-800"),
        ({"region": "chr8"}, "has no contig"),
        ({"threshold": 0.005}, "give a score from 0.01 to 1"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path, cuts=(FIRST, SECOND))
    with pytest.raises(InputError, match=told):
        compare(first, second, **options)


def test_tables_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    first, _ = two_tables.write(tmp_path)
    by_transcript = reported.write_by_transcript(tmp_path / "by_transcript")
    with pytest.raises(InputError, match="rows of one table belong to transcripts"):
        compare(first, by_transcript)
    other = tables.write(tmp_path / "other", [Part("chr9", "+", range(1, 9))])
    with pytest.raises(InputError, match="have no contig in common: chr1, chr2; chr9"):
        compare(first, other)
    longer = pl.DataFrame([("chr1", 10**6 + 1, "chr1")], tables.CONTIG_COLUMNS, orient="row")
    tables.put(other.store, "contigs.parquet", longer)
    with pytest.raises(InputError, match=r"contig chr1 has 1,000,000 bases in .* and 1,000,001 in"):
        compare(first, open_tracks(tmp_path / "other"))


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    first, second = two_tables.write(tmp_path)
    Path(second.store.path(second.parts[0].name)).write_bytes(b"no Parquet")
    with pytest.raises(InputError, match="cannot be read"):
        compare(first, open_tracks(tmp_path / "second"))
