"""Every change of a stretch: which ones, how many, and what regions and genes may be asked for."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from material.variant_runs import Line, Place

from pipeline.coordinates import Interval
from pipeline.inputs.genome import Genome
from pipeline.variants.saturation import every_change
from sptx_core.errors import InputError


def changes(place: Place, contig: str, first: int, last: int, **others: Any) -> list[tuple[int, str, str]]:
    genome = Genome(place.inputs["fasta"])
    deletions, insertions = others.get("deletions", ()), others.get("insertions", 0)
    found = every_change([Interval(contig, first - 1, last)], genome, deletions, insertions)
    return [(one.pos, one.ref, one.alt) for one in found]


def test_each_base_is_replaced_by_each_other_one(place: Place) -> None:
    found = changes(place, "chr1", 500, 503)
    assert [(pos, ref) for pos, ref, _ in found] == [(pos, base) for pos, base in enumerate("TGTA", 500) for _ in "123"]
    assert {(ref, alt) for _, ref, alt in found} == {(ref, alt) for ref in "ATG" for alt in "ACGT" if alt != ref}


def test_n_is_left_as_it_is(place: Place) -> None:
    assert {pos for pos, _, _ in changes(place, "chr1", 1398, 1404)} == {1398, 1399, 1403, 1404}  # NNR between
    assert all("N" not in ref for _, ref, _ in changes(place, "chr1", 1395, 1404, deletions=range(1, 5)))


def test_deletions_begin_at_each_base_and_end_within_the_stretch(place: Place) -> None:
    text = place.sequences["chr2"]
    found = [one for one in changes(place, "chr2", 1, 6, deletions=range(1, 5)) if len(one[1]) > 1]
    wanted = [
        (first - 1, text[first - 2 : first - 1 + width], text[first - 2])
        for first in range(2, 7)
        for width in range(1, 5)
        if first + width <= 7
    ]
    assert found == wanted  # none of the contig's first base, before which nothing stands


def test_insertions_are_of_every_sequence(place: Place) -> None:
    found = [one for one in changes(place, "chr2", 299, 300, insertions=2) if len(one[2]) > 1]
    assert len(found) == 2 * (4 + 16)
    assert len(set(found)) == len(found)
    assert {pos for pos, _, _ in found} == {299, 300}


@pytest.mark.slow
def test_a_saturation_gives_the_rows_of_a_vcf_with_these_lines(place: Place) -> None:
    table = place.saturate(regions="chr1:495-505", deletions="1-2", insertions=1, alleles_per_shard=20)
    written = changes(place, "chr1", 495, 505, deletions=range(1, 3), insertions=1)
    same = place.score([Line("chr1", *one) for one in written])
    shared = [name for name in table.scan().collect_schema().names() if name not in ("record", "alt_index")]
    key = ["pos", "ref", "alt"]
    ours, theirs = (one.scan().select(shared).collect().sort(key) for one in (table, same))
    assert len(ours) == len(written) == 11 * 3 + 11 + 10 + 44  # two bases cannot be deleted at the last one
    assert ours.equals(theirs)
    worst = ours.filter(pl.col("ds_dl") > 0.7, pl.col("ref").str.len_chars() == 1, pl.col("alt").str.len_chars() == 1)
    assert set(worst["pos"]) == {501, 502}


def test_records_count_positions_and_alts_their_changes(place: Place) -> None:
    rows = place.saturate(regions="chr1:500-502").scan().select("record", "alt_index", "pos").collect()
    assert rows.rows() == [(n, alt, 500 + n) for n in range(3) for alt in (1, 2, 3)]


@pytest.mark.slow
def test_genes_are_changed_over_their_span_and_regions_within_them(place: Place) -> None:
    whole = place.saturate(genes="TWIN").scan().collect()
    assert set(whole["pos"]) == set(range(2001, 2601))  # two genes of the name, each base once
    assert len(whole.select("pos", "alt").unique()) == 600 * 3
    assert whole.filter(pl.col("pos").is_between(2201, 2400))["gene_id"].n_unique() == 2
    some = place.saturate(genes="G_TWO", regions="1:2,390-2,395,chr1:2393-2402").scan().collect()
    assert set(some["pos"]) == set(range(2390, 2403))
    assert set(some["gene_id"]) == {"G_TWO"}


@pytest.mark.parametrize(
    ("regions", "told"),
    [
        ("chr9:1-5", "the FASTA has no contig chr9"),
        ("chr2:301-400", "lies beyond chr2, which has 300 bases"),
        ("chr2:", "cannot be read"),
        ("chr1:1400-1402", "every base of chr1:1400-1402 is N"),
    ],
)
def test_a_region_without_anything_to_change_is_refused(place: Place, regions: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        place.saturate(regions=regions)


def test_a_region_is_cut_at_the_contigs_end(place: Place) -> None:
    assert set(place.saturate(regions="chr2:299-1000").scan().collect()["pos"]) == {299, 300}
