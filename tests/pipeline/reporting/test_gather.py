"""The figures of a report equal queries to the table, in both kinds of tables."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from material import reported, tables
from material.genomes import Transcript, write_gtf
from material.tables import Part

from pipeline.inputs.annotation import read_annotation
from pipeline.reporting.findings import QUANTILES, Findings, Usage
from pipeline.reporting.gather import MAX_ROWS, gather
from pipeline.tracks.reader import Tracks
from pipeline.tracks.schema import TrackSchema
from pipeline.tracks.specificity import tau
from sptx_core.channels import CHANNELS, TISSUES
from sptx_core.errors import InputError, UnfinishedError

KINDS = ("acceptor", "donor")
SEEDS = range(2)


def named_of(tracks: Tracks) -> pl.DataFrame:
    return tracks.sites(named=True).collect()


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_sites_are_those_with_names(seed: int, tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table", seed)
    found = gather(tracks)
    columns = ["kind", "motif", "called", "annotated"]
    named = (
        named_of(tracks).group_by(columns).agg(pl.len().cast(pl.Int64).alias("sites")).sort(columns, nulls_last=True)
    )
    assert found.sites.equals(named)
    assert {None, "GT-AG", "GC-AG", "other"} & {*named["motif"]} >= {"GT-AG", "other"}
    ends = {
        (one.contig, one.strand, at, kind)
        for one in reported.transcripts(after_parts(seed))
        for (_, left), (right, _) in zip(one.exons, one.exons[1:], strict=False)
        if right > left + 1
        for at, kind in zip((left, right), KINDS[::-1] if one.strand == "+" else KINDS, strict=True)
    }
    held = {(chrom, strand, at) for chrom, strand, first, last in reported.SPANS for at in range(first, last + 1)}
    assert found.without_row == sum(end[:3] not in held for end in ends) > 0
    assert found.count(annotated=True) == len(ends) - found.without_row


def after_parts(seed: int) -> np.random.Generator:
    """The generator as it is when the parts of a table are made."""
    random = np.random.default_rng(seed)
    for chrom, strand, first, last in reported.SPANS:
        reported.part(random, chrom, strand, range(first, last + 1))
    return random


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_counted_of_all_rows(seed: int, tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table", seed)
    scores = gather(tracks).scores
    rows, sites = tracks.scan().select(pl.len()).collect().item(), tracks.sites().collect()
    for kind in KINDS:
        of_kind = scores.filter(kind=kind)
        assert of_kind["rows"].sum() == rows
        assert of_kind["low"].to_list()[:3] == [0, 0.01, 0.05]
        for low, high, count in of_kind.select("low", "high", "rows").rows()[1:]:
            inside = pl.col(kind).is_between(np.float32(low), np.float32(high), closed="both" if high == 1 else "left")
            assert count == sites.filter(inside).height


def test_coverage_is_that_of_the_rows(tracks: Tracks, found: Findings) -> None:
    counted = tracks.scan([]).group_by("chrom", "strand").len().collect()
    assert {row[:2]: row[2] for row in counted.rows()} == {
        (chrom, strand): computed for chrom, _, strand, _, computed in found.coverage.rows()
    }
    assert found.coverage.columns == ["chrom", "length", "strand", "planned", "computed"]
    assert found.coverage.select("chrom", "strand").rows() == [("chr1", "+"), ("chr1", "-"), ("chr2", "+")]
    assert (found.rows, found.parts) == (2_400 + 1_100 + 590, 4)
    assert found.tracks_bytes == sum(
        path.stat().st_size for path in Path(tracks.store.path("tracks")).rglob("*.parquet")
    )


@pytest.mark.slow
def test_biotypes_count_a_site_for_each_of_its_own(tracks: Tracks, found: Findings) -> None:
    biotype = dict(tracks.transcripts.select("transcript_id", "transcript_type").rows())
    expected: dict[str, list[int]] = {}
    for row in named_of(tracks).iter_rows(named=True):
        for name in {biotype[transcript] for transcript in row["transcripts"]} if row["annotated"] else ():
            counts = expected.setdefault(name, [0, 0, 0])
            counts[0] += 1
            counts[1] += row["called"]
        if not row["annotated"]:
            spans = tracks.transcripts.filter(chrom=row["chrom"], strand=row["strand"])
            around = spans.filter(pl.col("start") <= row["pos"], pl.col("end") >= row["pos"])
            for name in {*around["transcript_type"]}:
                expected.setdefault(name, [0, 0, 0])[2] += 1
    assert {name: counts for name, *counts in found.biotypes.rows()} == expected
    assert len(expected) == 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_usage_is_that_of_the_called_sites(seed: int, tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table", seed)
    usage = gather(tracks).usage
    assert usage is not None
    check_usage(usage, named_of(tracks).filter("called"))


def check_usage(usage: Usage, called: pl.DataFrame) -> None:
    values = called.select(TISSUES).to_numpy()
    steps = pl.DataFrame(np.rint(values.astype(np.float64) * 1000), [*TISSUES])
    assert usage.sites == called.height
    expected = [[steps[name].quantile(share, "lower") for share in QUANTILES] for name in TISSUES]
    np.testing.assert_array_equal(usage.quantiles, np.array(expected) / 1000)
    np.testing.assert_allclose(usage.correlation, np.corrcoef(steps.to_numpy().T), atol=1e-12)
    used = called.filter(pl.max_horizontal(TISSUES) >= 0.1)
    assert usage.used == used.height
    index = tau(used.select(TISSUES).to_numpy())
    np.testing.assert_array_equal(usage.tau, np.histogram(index, np.arange(21, dtype=np.float32) / np.float32(20))[0])
    specific = used.filter(pl.Series(index) >= 0.8)
    counted = dict(specific.group_by("top_tissue").len().iter_rows()) if "top_tissue" in used.columns else None
    assert sum(usage.specific.values()) == specific.height > 0
    assert counted is None or usage.specific == {name: counted.get(name, 0) for name in TISSUES}


def test_the_most_specific_sites_have_their_names(tracks: Tracks, found: Findings) -> None:
    used = named_of(tracks).filter("called").filter(pl.max_horizontal(TISSUES) >= 0.1)
    assert found.usage is not None
    most = found.usage.most_specific
    best = used.sort("tau", "score", descending=True, maintain_order=True).head(most.height)
    same = ["chrom", "strand", "pos", "kind", "score", "annotated", "tau"]
    assert most.height == 15
    assert most.select(same).equals(best.select(same))
    assert most["tissue"].to_list() == best["top_tissue"].to_list()
    assert [{*text.split(", ")} - {""} for text in most["genes"]] == [{*names} for names in best["gene_names"]]
    for row, values in zip(most.iter_rows(named=True), best.select(TISSUES).rows(), strict=True):
        others = [value for name, value in zip(TISSUES, values, strict=True) if name != row["tissue"]]
        assert (row["usage"], row["others"]) == pytest.approx((max(values), np.mean(others)), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_of_transcripts_a_site_counts_once_with_its_greatest_score(seed: int, tmp_path: Path) -> None:
    tracks = reported.write_by_transcript(tmp_path / "table", seed)
    found = gather(tracks)
    rows = tracks.sites().collect()
    called = []
    for kind in KINDS:
        best = rows.sort(kind, "transcript_id", descending=[True, False]).unique(["strand", "pos"], keep="first")
        called.append(best.filter(pl.col(kind) >= 0.1).with_columns(pl.lit(kind).alias("kind")))
    both = pl.concat(called)
    assert rows.height > rows["pos"].n_unique()
    for kind in KINDS:
        assert found.count(kind=kind, called=True) == both.filter(kind=kind).height
        assert found.scores.filter(kind=kind)["rows"].sum() == 600 + 700 + 400
    assert found.rows == 1_700
    assert found.by_transcript
    assert found.usage is not None
    check_usage(found.usage, both)


def test_sites_at_the_ends_of_the_rows_have_rows(tmp_path: Path) -> None:
    exons = [(50, 100), (150, 200), (211, 220)]
    tracks = tables.write(
        tmp_path / "table", [Part("chr1", "+", range(100, 201))], [Transcript("T", "chr1", "+", exons)]
    )
    found = gather(tracks)
    assert (found.count(annotated=True), found.without_row) == (3, 1)
    assert found.count(annotated=True) == named_of(tracks).height


@pytest.mark.slow
@pytest.mark.parametrize("tissues", [0, 1])
def test_a_network_without_tissues_or_with_one(tissues: int) -> None:
    tracks = reported.write(f"memory://tissues{tissues}")
    whole = gather(tracks)
    spec = dataclasses.replace(tracks.header.spec, channels=CHANNELS[: 3 + tissues])
    tracks.header = tracks.header._replace(schema=TrackSchema(spec))
    found = gather(tracks)
    assert found.sites.equals(whole.sites)
    if not tissues:
        assert found.usage is None
        return
    assert found.usage is not None
    assert (found.usage.sites, found.usage.tau.sum(), sum(found.usage.specific.values())) == (
        found.count(called=True),
        0,
        0,
    )
    assert found.usage.most_specific.is_empty()


def test_an_annotation_decides_what_is_annotated(tracks: Tracks, tmp_path: Path) -> None:
    path = tmp_path / "genes.gtf.gz"
    write_gtf(path, [Transcript("X", "1", "+", [(1_010, 1_100), (1_200, 1_300)], "novel_type")])
    annotation = read_annotation(str(path))
    found = gather(tracks, annotation)
    named = tracks.sites(named=True, annotation=annotation).collect()
    assert found.count(annotated=True) == named.filter("annotated").height == 2
    assert found.count() == named.height
    assert found.named_by == "1 transcript of an annotation"
    assert found.biotypes.filter(biotype="novel_type")["annotated"].item() == 2


def test_sites_are_read_a_stretch_at_a_time(tracks: Tracks, found: Findings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found.rows < MAX_ROWS
    monkeypatch.setattr("pipeline.reporting.gather.MAX_ROWS", 1_000)
    again = gather(tracks)
    assert again.sites.equals(found.sites)
    assert again.scores.equals(found.scores)


@pytest.mark.slow
def test_what_is_committed_counts_alone(tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table", shards=9)
    found = gather(tracks)
    assert found.unfinished == "unfinished: 4 of 9 shards"
    lost = tracks.parts[-1]
    Path(tracks.store.path(lost.name)).unlink()
    fewer = gather(Tracks(tracks.store))
    assert fewer.unfinished == "unfinished: 3 of 9 shards"
    assert fewer.rows == found.rows - 590
    assert fewer.coverage.filter(chrom="chr2").select("planned", "computed").rows() == [(590, 0)]
    assert fewer.scores.filter(kind="donor")["rows"].sum() == fewer.rows
    assert fewer.sites["sites"].sum() == named_of(Tracks(tracks.store)).height


def test_a_table_without_rows_is_unfinished(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path / "table", [Part("chr1", "+", range(1, 101))])
    Path(tracks.store.path(tracks.parts[0].name)).unlink()
    with pytest.raises(UnfinishedError, match=r"no rows yet \(unfinished: 0 of 1 shard\)"):
        gather(Tracks(tracks.store))


@pytest.mark.parametrize("threshold", [0.005, 1.5])
def test_a_threshold_that_the_sites_do_not_hold_is_refused(threshold: float, tracks: Tracks) -> None:
    with pytest.raises(InputError, match="give a score from"):
        gather(tracks, threshold=threshold)


@pytest.mark.slow
def test_the_threshold_decides_what_is_called(tracks: Tracks) -> None:
    named = tracks.sites(named=True, threshold=0.5).collect()
    assert gather(tracks, threshold=0.5).count(called=True) == named.filter("called").height


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table")
    Path(tracks.store.path(tracks.parts[0].name)).write_bytes(b"no Parquet")
    with pytest.raises(InputError, match="cannot be read"):
        gather(Tracks(tracks.store))
