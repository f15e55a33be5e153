"""Alleles: one form for all ways to write a change, compared with the changed sequences themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.changes import Raw, changes
from material.stub_scorer import fetch_of

from pipeline.variants.alleles import Allele, Status, normalise, reverse_complemented, unscorable
from sptx_core.alphabet import Codes
from sptx_core.errors import InputError


def normal(text: str, start: int, ref: str, alt: str) -> Allele | None:
    return normalise(start, ref, alt, fetch_of(text), len(text))


def form(raw: Raw) -> Allele:
    allele = normal(*raw)
    assert allele is not None
    return allele


def placement(allele: Allele, text: str, k: int) -> str:
    """The contig with the change made k bases further right."""
    start, end, content = allele.start + k, allele.end + k, allele.ref or allele.alt
    if allele.ref:
        return text[:start] + allele.alt + text[end:]
    turned = "".join(content[(n + k) % len(content)] for n in range(len(content)))
    return text[:start] + turned + text[start:]


@settings(max_examples=150)
@given(changes())
def test_the_form_makes_the_same_sequence_and_shares_no_base_at_its_ends(raw: Raw) -> None:
    allele = form(raw)
    assert raw.text[allele.start : allele.end] == allele.ref
    assert placement(allele, raw.text, 0) == raw.changed
    assert not allele.ref or not allele.alt or allele.ref[0] != allele.alt[0]
    assert not allele.ref or not allele.alt or allele.ref[-1] != allele.alt[-1]
    assert allele.before == raw.text[: allele.start][-1:]
    assert allele.after == raw.text[allele.end : allele.end + 1]
    assert (allele.ref == allele.alt == "") == (raw.changed == raw.text)


@settings(max_examples=150)
@given(changes())
def test_a_change_can_be_moved_by_its_shift_and_no_further(raw: Raw) -> None:
    allele = form(raw)
    if bool(allele.ref) == bool(allele.alt):
        assert allele.shift == 0
        return
    for k in range(allele.shift + 1):
        assert placement(allele, raw.text, k) == raw.changed
    low, high = allele.span
    assert (low, high) == (allele.start, allele.end + allele.shift)
    if low > 0:
        assert placement(allele, raw.text, -1) != raw.changed
    if high < len(raw.text):
        assert placement(allele, raw.text, allele.shift + 1) != raw.changed
    start, ref, alt = allele.moved()
    assert start == allele.start + allele.shift
    assert raw.text[start : start + len(ref)] == ref
    assert raw.text[:start] + alt + raw.text[start + len(ref) :] == raw.changed


@pytest.mark.slow
@settings(max_examples=150)
@given(changes(), st.integers(0, 9), st.integers(0, 9), st.data())
def test_all_ways_to_write_a_change_are_one_allele(raw: Raw, before: int, after: int, data: st.DataObject) -> None:
    allele = form(raw)
    if allele.ref == allele.alt:
        return
    assert form(raw.padded(before, after)) == allele
    k = data.draw(st.integers(0, allele.shift))
    start, end = allele.start + k, allele.end + k
    moved = Raw(raw.text, start, raw.text[start:end], placement(allele, raw.text, k)[start : start + len(allele.alt)])
    assert form(moved) == allele
    assert form(moved.padded(before, after)) == allele  # also as a longer ALT of the same line makes it
    written = data.draw(st.sampled_from([str.lower, str.upper, str.swapcase]))
    assert normal(written(raw.text), raw.start, written(raw.ref), raw.alt.lower()) == allele
    pos, ref, alt = allele.to_vcf()
    assert form(Raw(raw.text, pos - 1, ref, alt)) == allele


@settings(max_examples=100)
@given(changes())
def test_the_mirror_image_of_a_change_is_its_right_most_placement(raw: Raw) -> None:
    allele, mirrored = form(raw), form(raw.mirrored())
    if allele.ref == allele.alt:
        return
    start, ref, alt = allele.moved()
    assert mirrored.start == len(raw.text) - start - len(ref)
    assert (mirrored.ref, mirrored.alt) == (reverse_complemented(ref), reverse_complemented(alt))
    assert mirrored.shift == allele.shift


@pytest.mark.parametrize(
    ("start", "ref", "alt"),
    [(50, "G", "A"), (49, "TG", "TA"), (47, "GCTG", "GCTA"), (50, "GCC", "ACC"), (47, "gctg", "GCTa")],
)
def test_padding_of_any_kind_changes_nothing(start: int, ref: str, alt: str) -> None:
    text = "C" * 47 + "GCTGCC" + "T" * 20
    assert normal(text, start, ref, alt) == Allele(50, "G", "A", 0, "T", "C")


@pytest.mark.parametrize("start", [4, 5, 6, 7, 8, 9])
def test_every_placement_of_a_duplication_is_one_insertion(start: int) -> None:
    text = "GCAACAGTTGTCC"
    inserted = "AGTTG"[start - 5 :] + "AGTTG"[: start - 5] if start > 5 else "AGTTG"
    anchor = text[start - 1] if start > 4 else text[4]
    at = start - 1 if start > 4 else 4
    assert normal(text, at, anchor, anchor + inserted) == Allele(5, "", "AGTTG", 5, "C", "A")


@pytest.mark.parametrize(
    ("text", "raw", "expected", "vcf"),
    [
        ("ACGT", (0, "", "G"), Allele(0, "", "G", 0, "", "A"), (1, "A", "GA")),
        ("ACGT", (0, "A", "GA"), Allele(0, "", "G", 0, "", "A"), (1, "A", "GA")),
        ("AACGT", (1, "A", "AA"), Allele(0, "", "A", 2, "", "A"), (1, "A", "AA")),
        ("ACGT", (3, "T", "TG"), Allele(4, "", "G", 0, "T", ""), (4, "T", "TG")),
        ("ACGT", (4, "", "G"), Allele(4, "", "G", 0, "T", ""), (4, "T", "TG")),
        ("ACGTT", (4, "T", "TT"), Allele(3, "", "T", 2, "G", "T"), (3, "G", "GT")),
        ("ACGT", (0, "AC", "C"), Allele(0, "A", "", 0, "", "C"), (1, "AC", "C")),
        ("ACGT", (2, "GT", "G"), Allele(3, "T", "", 0, "G", ""), (3, "GT", "G")),
        ("AAAA", (2, "AA", "A"), Allele(0, "A", "", 3, "", "A"), (1, "AA", "A")),
        ("ACGT", (0, "ACGT", ""), Allele(0, "ACGT", "", 0, "", ""), (1, "ACGT", "")),
        ("ACGT", (0, "ACGT", "T"), Allele(0, "ACG", "", 0, "", "T"), (1, "ACGT", "T")),
        ("ACGT", (0, "ACGT", "GG"), Allele(0, "ACGT", "GG", 0, "", ""), (1, "ACGT", "GG")),
        ("ACGT", (0, "ACGT", "TGCAG"), Allele(0, "ACGT", "TGCAG", 0, "", ""), (1, "ACGT", "TGCAG")),
        ("A", (0, "A", "C"), Allele(0, "A", "C", 0, "", ""), (1, "A", "C")),
        ("A", (0, "A", "AAA"), Allele(0, "", "AA", 1, "", "A"), (1, "A", "AAA")),
    ],
)
def test_ends_of_a_contig(text: str, raw: tuple[int, str, str], expected: Allele, vcf: tuple[int, str, str]) -> None:
    assert normal(text, *raw) == expected
    assert expected.to_vcf() == vcf


@pytest.mark.parametrize(("start", "ref"), [(0, "A"), (2, "GT"), (3, "t"), (0, "ACGT")])
def test_what_changes_nothing_is_written_where_it_stood(start: int, ref: str) -> None:
    allele = normal("ACGT", start, ref, ref.upper())
    assert allele is not None
    assert (allele.ref, allele.alt, allele.shift) == ("", "", 0)
    assert allele.to_vcf() == (start + 1, "ACGT"[start], "ACGT"[start])


@pytest.mark.parametrize(
    ("start", "ref"),
    [(0, "C"), (0, "AG"), (3, "TA"), (4, "A"), (5, ""), (-1, "A"), (-1, "NA"), (9, "A"), (1, "N"), (0, "ACGTN")],
)
def test_a_ref_that_the_contig_does_not_hold_is_none(start: int, ref: str) -> None:
    assert normal("ACGT", start, ref, "G") is None


def test_letters_for_several_bases_are_n() -> None:
    text = "ACRGNTT"
    assert normal(text, 2, "R", "A") == Allele(2, "N", "A", 0, "C", "G")
    assert normal(text, 2, "n", "A") == normal(text, 2, "Y", "A") == normal(text, 2, "R", "A")
    assert normal(text, 2, "A", "G") is None  # neither of the bases that R stands for
    assert normal(text, 3, "G", "R") == Allele(3, "G", "N", 0, "N", "N")
    assert normal(text, 2, "R", "Y") == Allele(2, "", "", 0, "C", "N")  # N for N


def test_u_is_t_and_what_is_no_base_is_refused() -> None:
    assert normal("ACGT", 3, "U", "A") == normal("ACGT", 3, "T", "A")
    for ref in ("*", "X", "AJ", "É", "<DEL>", "A\n"):
        assert normal("ACGT", 0, ref, "G") is None
    for alt in ("*", "<DEL>", ".", "É"):
        with pytest.raises(InputError, match="is no nucleotide"):
            normal("ACGT", 0, "A", alt)


@pytest.mark.parametrize(
    ("text", "raw", "expected"),
    [
        ("AANAAC", (3, "A", ""), Allele(3, "A", "", 1, "N", "A")),
        ("AANAAC", (0, "A", ""), Allele(0, "A", "", 1, "", "A")),
        ("AANAAC", (5, "", "A"), Allele(3, "", "A", 2, "N", "A")),
        ("AANAAC", (2, "", "A"), Allele(0, "", "A", 2, "", "A")),
        ("CNNNNG", (2, "N", ""), Allele(2, "N", "", 0, "N", "N")),
        ("CNNNNG", (2, "", "RN"), Allele(2, "", "NN", 0, "N", "N")),
        ("ANANACG", (2, "AN", ""), Allele(0, "AN", "", 3, "", "A")),
        ("CANANG", (3, "", "AN"), Allele(1, "", "AN", 4, "C", "A")),
    ],
)
def test_a_change_is_moved_across_an_n_only_with_an_n(text: str, raw: tuple[int, str, str], expected: Allele) -> None:
    assert normal(text, *raw) == expected


def test_a_long_change_in_a_long_repeat_is_read_in_pieces() -> None:
    unit = "".join(np.random.default_rng(5).choice(list("ACGT"), 999)) + "A"
    text = "C" + unit * 30 + "C"
    fetch, read = fetch_of(text), []

    def counted(start: int, end: int) -> Codes:
        read.append(end - start)
        return fetch(start, end)

    allele = normalise(15_001, unit, "", counted, len(text))
    assert allele is not None
    assert (allele.start, len(allele.ref), allele.shift) == (1, 1000, 29_000)
    assert max(read) == 1000
    assert sum(read) < 2 * len(text)


def test_an_allele_says_what_it_touches() -> None:
    assert Allele(10, "A", "C").touched == (10, 11)
    assert Allele(10, "A", "C").is_snv
    assert Allele(10, "ACG", "", 4).touched == (10, 17)
    assert Allele(10, "", "ACG", 4).touched == (9, 15)  # the bases on either side
    assert Allele(10, "", "ACG").touched == (9, 11)
    assert not Allele(10, "", "A").is_snv
    assert [allele.length for allele in (Allele(1, "AC", "G"), Allele(1, "", "ACG"), Allele(1, "", ""))] == [2, 3, 0]
    assert Allele(1, "A", "", 40).length == 41  # all that is looked at


def test_a_deletion_whose_pos_lies_before_a_gene_touches_it() -> None:
    gene = (20, 40)
    text = "C" * 15 + "ACGTACGGTCA" + "C" * 20
    for start, ref in ((14, "CACGTAC"), (15, "ACGTAC")):  # by the base before it, and without
        allele = normal(text, start, ref, ref[:1] if start == 14 else "")
        assert allele is not None
        low, high = allele.touched
        assert low < gene[0] < high
        assert allele.to_vcf()[0] <= gene[0]


def test_both_edits_of_a_haplotype_are_one_block() -> None:
    # Donor A|GT; GT > GA breaks it, GT inserted before restores it.
    text = "CCCCAGTCCCC"
    assert normal(text, 5, "GT", "GTGA") == Allele(7, "", "GA", 0, "T", "C")


@pytest.mark.parametrize(
    ("alts", "status"),
    [
        (("A", "acgt", "N", "RYSWKM", "U", "A" * 5000), None),
        ((".", ""), Status.NO_ALT),
        (("*",), Status.SPANNING_DELETION),
        (("<DEL>", "<INS:ME:ALU>", "<*>", "<NON_REF>", "<CN0>", "C<ctg1>"), Status.SYMBOLIC),
        (("A]1:5]A", "A[1:5[", "]13:123456]T", "[<ctg1>:7[C", "C[<ctg1>:7[", "G.", ".TG", "[17:1[."), Status.BREAKEND),
        (("-", "*A", "A*", "A G", "ACGX", "É", "A\n", "<DEL", "DEL>", "-<DEL>", "0", "A,C"), Status.MALFORMED),
    ],
)
def test_an_alt_without_a_sequence_says_why(alts: tuple[str, ...], status: Status | None) -> None:
    assert {alt: unscorable(alt) for alt in alts} == dict.fromkeys(alts, status)


@given(st.text("ACGTNacgtnRYU*.<>[]:1-", max_size=4))
def test_an_alt_that_may_be_scored_can_be_read(alt: str) -> None:
    if unscorable(alt) is None:
        assert normal("ACGT", 0, "A", alt) is not None
