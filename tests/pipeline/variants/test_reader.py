"""Reading a table of variants: by region, gene, variant and tissue, on a disk and in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from material.servers import object_store
from material.variant_runs import Line, Place, finished

from pipeline.variants.reader import Variants, open_variants
from sptx_core.errors import InputError

LINES = (
    Line("chr1", 501, "G", "C", "rs1"),
    Line("chr1", 502, "TA", "C,T"),
    Line("1", 903, "A", "G"),
    Line("chr1", 2301, "G", "C"),
    Line("HLA-A*01:01", 102, "C", "G"),
    Line("chrUn-1", 7, "A", "C"),
)


@pytest.fixture(scope="module")
def table(place: Place) -> Variants:
    return place.score(LINES, alleles_per_shard=2, sites=True)


@pytest.fixture(scope="module")
def in_store(place: Place) -> Iterator[Variants]:
    """The same in an object store."""
    with object_store("scores") as bucket:
        yield finished(place.job(LINES, alleles_per_shard=2, sites=True, output=f"{bucket}/t=1/scores"))


def positions(frame: pl.DataFrame) -> list[int]:
    return frame["pos"].unique(maintain_order=True).to_list()


def test_contigs_are_those_of_the_file_whatever_they_are_called(table: Variants) -> None:
    assert table.contigs == ("1", "chr1", "HLA-A*01:01", "chrUn-1")
    assert set(table.scan().collect()["chrom"]) == {"1", "chr1", "HLA-A*01:01", "chrUn-1"}
    assert table.scan().collect_schema().names()[0] == "chrom"


@pytest.mark.slow
def test_an_object_store_gives_the_rows_of_a_disk(table: Variants, in_store: Variants) -> None:
    for sites in (False, True):
        assert in_store.scan(sites=sites).collect().equals(table.scan(sites=sites).collect())
    assert in_store.region("chr1:502").equals(table.region("chr1:502"))
    assert in_store.variant("HLA-A*01:01-102-C-G").equals(table.variant("HLA-A*01:01-102-C-G"))


def test_parts_are_a_hive_partition_that_others_read(table: Variants) -> None:
    root = Path(table.store.root)
    frame = pl.read_parquet(root / "variants", hive_schema={"chrom": pl.String}, missing_columns="insert")
    assert set(frame["chrom"]) == set(table.contigs)
    assert len(frame) == len(table.scan().collect())


def test_a_region_holds_what_is_written_in_it(table: Variants) -> None:
    assert positions(table.region("chr1:501-502")) == [501, 502]
    assert positions(table.region("chr1:502")) == [502, 2301]
    assert positions(table.region("1:903-903")) == [903]
    assert positions(table.region("chr1")) == [501, 502, 2301]
    assert positions(table.region("HLA-A*01:01:100-110")) == [102]
    assert table.region("chr1:1-10").is_empty()
    assert table.region("chr1:1-10").schema == table.region("chr1").schema
    with pytest.raises(InputError, match="has no contig chr5; it has 1, chr1"):
        table.region("chr5:1-10")


def test_a_gene_goes_by_its_name_and_its_id(table: Variants) -> None:
    assert positions(table.gene("PLUS")) == [903, 501, 502]
    assert table.gene("TWIN")["gene_id"].to_list() == ["G_ONE", "G_TWO"]
    assert table.gene("G_TWO")["gene_id"].to_list() == ["G_TWO"]
    with pytest.raises(InputError, match="no variant in a gene PLUSS; the nearest is PLUS"):
        table.gene("PLUSS")


def test_a_variant_goes_by_any_of_its_forms(table: Variants) -> None:
    for form in ("chr1-501-G-C", "chr1-501-g-c"):
        assert table.variant(form)["id"].to_list() == ["rs1"]
    assert table.variant("chr1-502-TA-T")["alt_index"].to_list() == [2]
    normal = table.variant("chr1-502-TA-T").row(0, named=True)
    form = f"chr1-{normal['norm_pos']}-{normal['norm_ref']}-{normal['norm_alt']}"
    assert table.variant(form)["alt"].to_list() == ["T"]
    assert len(table.variant("chrUn-1-7-A-C")) == 1
    for odd in ("chr1-501-G", "501", "chr1-x-G-C"):
        with pytest.raises(InputError, match="is no variant: write chrom-pos-ref-alt"):
            table.variant(odd)
    with pytest.raises(InputError, match="has no variant chr1-501-G-T"):
        table.variant("chr1-501-G-T")


def test_what_a_query_means_is_seen_in_its_form(table: Variants) -> None:
    assert table.query("chr1-501-G-C").equals(table.variant("chr1-501-G-C"))
    assert table.query("chr1:501-502").equals(table.region("chr1:501-502"))
    assert table.query("HLA-A*01:01").equals(table.region("HLA-A*01:01"))
    assert table.query("PLUS").equals(table.gene("PLUS"))
    for elsewhere in ("chr5:1-10", "chr5:1,000", "chr5-7-A-C"):
        with pytest.raises(InputError, match="has no contig chr5; it has 1, chr1"):
            table.query(elsewhere)
    with pytest.raises(InputError, match="has no variant in a gene chr5"):
        table.query("chr5")
    with pytest.raises(InputError, match="nothing is asked for: name a region, a gene or a variant"):
        table.query(" ")


def test_sites_hold_every_base_about_a_change(table: Variants, place: Place) -> None:
    found = table.variant("chr1-501-G-C", sites=True)
    assert found["pos"].to_list() == list(range(401, 602))
    donor = found.filter(pl.col("pos") == 500).row(0, named=True)
    assert (donor["ref_donor"], donor["alt_donor"], donor["ref_brain"]) == (pytest.approx(0.8), 0, 0.5)
    assert len(table.region("chr1:500-500", sites=True)) >= 2
    without = place.score(LINES[:1])
    with pytest.raises(InputError, match="holds no sites: they are stored with --sites"):
        without.scan(sites=True)


def test_tissues_are_asked_for_by_name(table: Variants) -> None:
    called = table.scan().filter(table.called_in("blood")).collect()
    assert 0 < len(called) < len(table.scan().collect())
    with pytest.raises(InputError, match="has no tissue bone; it has"):
        table.called_in("bone")


def test_a_network_without_tissues_is_told(table: Variants, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Variants, "tissues", ())
    with pytest.raises(InputError, match=r"has no tissue brain: its network predicts no usage by tissue$"):
        table.called_in("brain")


def test_only_committed_parts_are_read(place: Place) -> None:
    table = place.score(LINES, alleles_per_shard=2)
    root = Path(table.store.root)
    first = sorted(root.glob("variants/**/*.parquet"))[0]
    first.with_name(".half").write_bytes(b"PAR1")
    first.unlink()
    again = open_variants(root)
    assert len(again.parts) == len(table.parts) - 1
    assert len(again.status().missing) == 1


def test_a_part_that_is_damaged_is_told_in_a_sentence(place: Place) -> None:
    table = place.score(LINES[:1])
    (path,) = Path(table.store.root).glob("variants/**/*.parquet")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"cannot be read .*; `sptx verify"):
        open_variants(table.store.root).region("chr1")
