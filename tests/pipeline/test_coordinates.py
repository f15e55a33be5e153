from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.coordinates import (
    Cover,
    Interval,
    Strand,
    mitochondrion_note,
    parse_region,
    reconcile_contigs,
    require_contigs,
    shortened,
)
from sptx_core.errors import InputError

CONTIG_NAMES = st.sampled_from(
    ["1", "chr1", "CHR1", "M", "MT", "chrM", "chrMT", "X", "chrX", "GL000220.1", "chrUn_GL000220v1", "chrGL000220.1"]
)


def test_strand_is_its_symbol_and_has_a_folder_name():
    assert [(strand.value, strand.partition) for strand in Strand] == [("+", "plus"), ("-", "minus")]
    assert Strand("-") is Strand.MINUS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chr9:214,854-220,000", Interval("chr9", 214_853, 220_000)),
        ("9:1-1", Interval("9", 0, 1)),
        (" chrM ", Interval("chrM", 0, None)),
        ("HLA-A*01:01:5-90", Interval("HLA-A*01:01", 4, 90)),
        ("chr9:3,100", Interval("chr9", 3_099, None)),  # open ends as in samtools
        ("chr9:3,100-", Interval("chr9", 3_099, None)),
        ("chr9:-3,100", Interval("chr9", 0, 3_100)),
        ("HLA-A*01:01:-90", Interval("HLA-A*01:01", 0, 90)),
    ],
)
def test_region_text_is_one_based_and_inclusive(text, expected):
    assert parse_region(text) == expected


@pytest.mark.parametrize(
    "text", ["", ":", "chr9:", "chr9:-", "chr9:a-b", "chr9:,-,", ":5-9", "chr9:5-9-", f"chr9:{10**18}"]
)
def test_unreadable_region_is_named(text):
    with pytest.raises(InputError) as error:
        parse_region(text)
    assert f"region {text!r} cannot be read: write contig, contig:first-last, contig:first- or" in str(error.value)


@pytest.mark.parametrize("text", ["chr9:0-5", "chr9:0", "chr9:0-", "chr9:-0", "chr9:6-5"])
def test_empty_region_is_named(text):
    with pytest.raises(InputError) as error:
        parse_region(text)
    assert f"region {text!r} is empty: positions count from 1" in str(error.value)


@pytest.mark.parametrize(
    ("text", "contigs", "expected"),
    [
        ("HLA-A*01:01:01:01", ["HLA-A*01:01:01:01"], Interval("HLA-A*01:01:01:01", 0, None)),
        ("HLA-A*01:01:01:01", ["HLA-A*01:01:01"], Interval("HLA-A*01:01:01", 0, None)),  # from base 1
        ("HLA-A*01:01:01:01:5-90", ["HLA-A*01:01:01:01"], Interval("HLA-A*01:01:01:01", 4, 90)),
        ("chr9:5-90", ["chr9", "chr9:5-90"], Interval("chr9:5-90", 0, None)),
        ("chr1:5", ["1:5"], Interval("chr1:5", 0, None)),  # an alias of a whole name
        ("chr9:x", ["chr9:x"], Interval("chr9:x", 0, None)),
    ],
)
def test_a_whole_name_of_a_contig_comes_first(text, contigs, expected):
    assert parse_region(text, contigs) == expected


@given(st.integers(0, 10**9), st.one_of(st.none(), st.integers(1, 10**9)))
def test_region_text_round_trips(start, length):
    interval = Interval("chr9", start, None if length is None else start + length)
    assert parse_region(str(interval)) == interval
    last = "" if length is None else f"{start + length:,}"
    assert parse_region(f"chr9:{start + 1:,}-{last}") == interval


@given(st.text("chr9:-,01 ", max_size=12), st.lists(st.sampled_from(["chr9", "chr9:1", "c:h", "9"])))
def test_any_region_is_read_or_refused(text, contigs):
    try:
        contig, start, end = parse_region(text, contigs)
    except InputError:
        return
    assert contig in text
    assert start >= 0
    assert end is None or end > start


@pytest.mark.parametrize(
    ("mapping", "lengths", "told"),
    [
        ({"chrM": "chrM"}, {"chrM": 16_571}, "chrM of the FASTA has 16,571 bases, as only UCSC's hg19 has it"),
        ({"MT": "chrM"}, {"chrM": 16_571}, "leave MT out unless the annotation was made on it"),
        ({"chrM": "MT"}, {"MT": 16_569}, "chrM of the annotation is taken to be MT of the FASTA with 16,569 bases"),
        ({"chrM": "chrM"}, {"chrM": 16_569}, None),
        ({"MT": "MT"}, {"MT": 16_569}, None),
        ({"chr1": "1"}, {"1": 16_571, "MT": 16_571}, None),  # it is not selected
        ({"MT": "chrM"}, {"chrM": 16_299}, None),  # of the mouse
    ],
)
def test_mitochondria_of_two_sequences_are_told(mapping, lengths, told):
    note = mitochondrion_note(mapping, lengths)
    assert (note is None) if told is None else told in note


@pytest.mark.parametrize(
    ("annotation", "fasta"),
    [
        ("chr9", "9"),
        ("9", "chr9"),
        ("chrM", "MT"),
        ("MT", "chrM"),
        ("M", "chrMT"),
        ("GL000220.1", "chrUn_GL000220v1"),
        ("chr1_KI270706v1_random", "KI270706.1"),
        ("GL000220.1", "chrGL000220.1"),
    ],
)
def test_alias_is_found(annotation, fasta):
    contigs = reconcile_contigs([annotation], ["decoy", fasta])
    assert contigs.mapping == {annotation: fasta}
    assert contigs.rule == f"0 by the same name, 1 by alias ({annotation} -> {fasta})"


def test_exact_name_wins_over_alias():
    assert reconcile_contigs(["9"], ["chr9", "9"]).mapping == {"9": "9"}


@pytest.mark.parametrize(
    ("annotation", "fasta"),
    [(["MT"], ["chrM", "chrMT"]), (["9", "CHR9"], ["chr9"]), (["chr9", "9"], ["chr9"])],
)
def test_ambiguous_alias_is_no_match(annotation, fasta):
    contigs = reconcile_contigs(annotation, fasta)
    assert set(contigs.unmatched) == set(annotation) - set(fasta)


def test_unmatched_contigs_are_listed_with_those_of_the_fasta():
    contigs = reconcile_contigs(["chr9", "chr10"], ["chr9", "chr9_other"])
    assert contigs.unmatched == ("chr10",)
    assert "1 not in the FASTA (chr10)" in contigs.rule
    with pytest.raises(InputError, match=r"contigs chr10 are not in the FASTA, which holds chr9, chr9_other"):
        require_contigs(contigs, ["chr9", "chr9_other"])


def test_matched_contigs_pass():
    require_contigs(reconcile_contigs(["9"], ["chr9"]), ["chr9"])


def test_long_lists_are_shortened():
    assert shortened([str(number) for number in range(200)]).endswith("7, ... (200 in all)")


@given(st.lists(CONTIG_NAMES, unique=True), st.lists(CONTIG_NAMES, unique=True))
def test_every_name_is_matched_once_or_reported(annotation, fasta):
    contigs = reconcile_contigs(annotation, fasta)
    assert sorted([*contigs.mapping, *contigs.unmatched]) == sorted(annotation)
    assert len(set(contigs.mapping.values())) == len(contigs.mapping)
    assert set(contigs.mapping.values()) <= set(fasta)
    assert all(contigs.mapping[name] == name for name in set(annotation) & set(fasta))


@given(st.lists(CONTIG_NAMES, unique=True), st.lists(CONTIG_NAMES, unique=True))
def test_reconciling_is_symmetric(annotation, fasta):
    forward = reconcile_contigs(annotation, fasta).mapping
    backward = reconcile_contigs(fasta, annotation).mapping
    assert {held: name for name, held in forward.items()} == backward


intervals = st.tuples(st.integers(0, 20), st.none() | st.integers(1, 10)).map(
    lambda pair: Interval("chr1", pair[0], None if pair[1] is None else pair[0] + pair[1])
)


@given(st.lists(intervals, max_size=4), st.integers(0, 30), st.integers(1, 9))
def test_a_cover_holds_what_one_of_its_intervals_holds(some: list[Interval], start: int, length: int) -> None:
    held = [any(one.start <= base and (one.end is None or base < one.end) for one in some) for base in range(40)]
    cover = Cover(some)
    assert cover.holds(np.arange(40)).tolist() == held
    assert cover.touches([start], [start + length]).tolist() == [any(held[start : start + length])]
