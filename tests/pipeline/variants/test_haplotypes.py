"""Variants of one haplotype together: what is joined, what it then does, and what cannot be joined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material.genomes import Transcript
from material.variant_runs import Line, Place, finished, write_place

from pipeline.variants.haplotypes import MAX_NAMED
from pipeline.variants.reader import Variants

P = 500  # a donor: T, then GTA


def scored(place: Place, *lines: tuple[Line, str], **settings: Any) -> Variants:
    """The table of lines, each with the genotype of the sample."""
    genotyped = [line._replace(genotypes=[genotype]) for line, genotype in lines]
    return place.score(genotyped, ["S"], sample="S", haplotypes=True, **settings)


def joints(table: Variants) -> list[tuple[Any, ...]]:
    """Id, status, haplotype and phase set of the joint rows."""
    rows = table.scan().filter(pl.col("joint")).select("id", "status", "haplotype", "phase_set").collect()
    return sorted(rows.rows(), key=str)


BREAKS = Line("chr1", P, "TG", "T")
RESTORES = Line("chr1", P + 1, "G", "GG")  # a G before the T


@pytest.mark.slow
@pytest.mark.parametrize(("first", "second"), [("0|1:1", "0|1:1"), ("1|0:1", "1|0:1"), ("1|1", "1|1"), ("0|1", "0|1")])
def test_a_change_that_is_undone_in_cis_is_none(place: Place, first: str, second: str) -> None:
    # Written the other way round, so that the two do not overlap: G lost behind P, G put in before P + 2.
    table = scored(place, (BREAKS, first), (RESTORES, second))
    rows = table.scan().collect()
    alone, joint = rows.filter(~pl.col("joint")), rows.filter("joint")
    assert alone["ds_dl"].round(4).to_list() == [pytest.approx(0.8)] * 2
    assert len(joint) == 1
    (found,) = joint.rows(named=True)
    assert (found["status"], found["d_splice"], found["ds_dl"], found["record"]) == ("scored", 0, 0, 0)
    assert found["haplotype"] == {"0": 2, "1": 1}[first[0]] if first[:3] != "1|1" else found["haplotype"] == 0
    assert found["phase_set"] == ("1" if first.endswith(":1") else None)
    assert found["id"] == f"chr1-{P}-TG-T+chr1-{P + 1}-G-GG"
    assert found["sample"] == "S"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0|1:1", "1|0:1"),  # in trans
        ("0/1:1", "0/1:1"),  # not phased
        ("0|1:1", "0/1:1"),
        ("0|1:1", "0|1:2"),  # phase sets of their own
        ("0|1:1", "0|.:1"),
        ("0|0", "1|1"),
        ("0|1:1", "./."),
        ("0|1:1", "."),
    ],
)
def test_what_is_not_known_to_be_in_cis_is_not_joined(place: Place, first: str, second: str) -> None:
    table = scored(place, (BREAKS, first), (RESTORES, second))
    assert joints(table) == []
    assert len(table.scan().collect()) == 2


def test_homozygous_variants_are_joined_with_those_of_either_haplotype(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [(Line("chr1", pos, at[pos - 1], "C"), gt) for pos, gt in ((510, "1/1"), (520, "0|1:7"), (530, "1|1"))]
    names = [f"chr1-{pos}-{at[pos - 1]}-C" for pos in (510, 520, 530)]
    table = scored(place, *lines)
    assert joints(table) == sorted(
        [("+".join(names), "scored", 2, "7"), (f"{names[0]}+{names[2]}", "scored", 1, "7")], key=str
    )


def test_homozygous_variants_alone_are_joined_once_on_both(place: Place) -> None:
    at = place.sequences["chr1"]
    far = [(Line("chr1", pos, at[pos - 1], "C"), "0|1:9") for pos in (1100, 1110)]  # a phase set elsewhere
    near = [(Line("chr1", pos, at[pos - 1], "C"), "1/1") for pos in (510, 530)]
    found = joints(scored(place, *near, *far))
    assert [one[1:] for one in found] == [("scored", 2, "9"), ("scored", 0, None)]


def test_hemizygous_variants_are_joined(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [(Line("chr1", pos, at[pos - 1], "C"), "1") for pos in (510, 530)]
    assert [one[1:] for one in joints(scored(place, *lines))] == [("scored", 1, None)]


@pytest.mark.slow
@pytest.mark.parametrize("distance", [5, 30])
def test_variants_are_joined_where_their_windows_overlap(place: Place, distance: int) -> None:
    at = place.sequences["chr1"]
    for gap, joined in ((2 * distance, True), (2 * distance + 1, False)):
        lines = [(Line("chr1", pos, at[pos - 1], "C"), "0|1") for pos in (550, 550 + gap)]
        assert len(joints(scored(place, *lines, distance=distance))) == joined


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Line("chr1", 509, "{509-514}", "{509}"), Line("chr1", 512, "{512}", "C")),  # within a deletion
        (Line("chr1", 510, "{510}", "C"), Line("chr1", 510, "{510}", "G")),
        (Line("chr1", 510, "{510}", "{510}C"), Line("chr1", 510, "{510}", "{510}G")),  # inserted at one place
    ],
)
def test_variants_that_overlap_are_a_conflict(place: Place, one: Line, other: Line) -> None:
    def filled(line: Line) -> Line:
        def text(pattern: str) -> str:
            if "{" not in pattern:
                return pattern
            first, _, last = pattern[1 : pattern.index("}")].partition("-")
            return place.sequences["chr1"][int(first) - 1 : int(last or first)] + pattern[pattern.index("}") + 1 :]

        return line._replace(ref=text(line.ref), alt=text(line.alt))

    table = scored(place, (filled(one), "0|1"), (filled(other), "0|1"))
    rows = table.scan().filter(pl.col("joint")).collect()
    assert rows.select("status", "ref", "alt", "d_splice").rows() == [("conflict", ".", ".", None)]
    assert dict(table.header.statuses) == {"scored": 2, "conflict": 1}


def test_variants_are_applied_as_they_are_written_not_where_they_can_be_moved(place: Place) -> None:
    # Of TTTTT the second T becomes G and a T behind it is lost. Moved left, the deletion would stand before the G.
    start = place.sequences["chr1"].index("TTTTT", 1010) + 1
    lost, changed = Line("chr1", start + 3, "TT", "T"), Line("chr1", start + 1, "T", "G")
    table = scored(place, (changed, "0|1"), (lost, "0|1"))
    (found,) = table.scan().filter(pl.col("joint")).collect().rows(named=True)
    assert (found["pos"], found["ref"], found["alt"]) == (start + 1, "TTT", "GT")


def test_one_record_may_give_an_allele_to_either_haplotype(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [(Line("chr1", 510, at[509], "C,G"), "1|2"), (Line("chr1", 530, at[529], "C"), "0|1")]
    table = scored(place, *lines)
    own = table.scan().filter(~pl.col("joint")).select("alt", "haplotype").collect().rows()
    assert sorted(own) == [("C", 1), ("C", 2), ("G", 2)]
    assert [one[2] for one in joints(table)] == [2]


def test_haplotypes_change_no_row_of_a_record(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [Line("chr1", pos, at[pos - 1], "C", genotypes=["0|1"]) for pos in range(480, 530, 7)]
    with_joints = place.score(lines, ["S"], sample="S", haplotypes=True, alleles_per_shard=3).scan().collect()
    without = place.score(lines, ["S"]).scan().collect()
    own = with_joints.filter(~pl.col("joint"))
    shared = [name for name in without.columns if name not in ("sample", "haplotype", "phase_set")]
    assert own.select(shared).equals(without.select(shared))
    assert without["haplotype"].null_count() == len(without)


@pytest.mark.slow
def test_many_phase_sets_and_shards_are_planned_in_one_order(place: Place) -> None:
    at = place.sequences["chr1"]
    lines = [Line("chr1", pos, at[pos - 1], "C", genotypes=["1/1"]) for pos in (510, 512)]
    lines += [Line("chr1", pos, at[pos - 1], "C", genotypes=[f"0|1:{pos % 5}"]) for pos in range(515, 560)]
    jobs = [place.job(lines, ["S"], sample="S", haplotypes=True, alleles_per_shard=2) for _ in range(2)]
    assert jobs[0].fields == jobs[1].fields
    table = finished(jobs[0])
    found = table.scan().filter(pl.col("joint")).select("record", "haplotype", "phase_set").collect()
    # The homozygous ones with each of the five sets on one haplotype, and by themselves on the other one.
    assert sorted(found["phase_set"].to_list()) == sorted([*"01234"] * 2)


@pytest.mark.slow
def test_what_spans_too_much_is_named_and_not_applied(place: Place, tmp_path: Path) -> None:
    text = "A" * 140_000
    wide = write_place(tmp_path / "wide", {"chr1": text}, [Transcript("T", "chr1", "+", [(1, len(text))])])
    lines = [(Line("chr1", pos, "A", "C"), "1|1") for pos in range(1_000, 139_000, 900)]
    table = scored(wide, *lines, distance=500)
    rows = table.scan().filter(pl.col("joint")).collect()
    assert rows.select("status", "haplotype", "phase_set", "ref", "alt").rows() == [("too_long", 0, None, ".", ".")]
    assert rows["id"][0].count("+") == MAX_NAMED
    assert rows["id"][0].endswith("+...")
