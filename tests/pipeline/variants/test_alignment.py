"""Alignments against the plain recursion, a cell at a time, and against what must not be possible: gaps further 5'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.variants.alignment import GAP_EXTEND, GAP_OPEN, MISMATCH, aligned

SEQUENCES = st.one_of(st.text("AC", max_size=14), st.text("ACGT", max_size=14))
INFINITE = 10**6


def least_cost(ref: str, alt: str) -> int:
    """By the recursion over all cells and the three last steps: a pair, a deleted base, an inserted one."""
    cells = {(0, 0): (0, INFINITE, INFINITE)}
    for i in range(len(ref) + 1):
        for j in range(len(alt) + 1):
            if (i, j) == (0, 0):
                continue
            pair = min(cells[i - 1, j - 1]) + MISMATCH * (ref[i - 1] != alt[j - 1]) if i and j else INFINITE
            deleted = inserted = INFINITE
            if i:
                above = cells[i - 1, j]
                deleted = min(min(above) + GAP_OPEN, above[1]) + GAP_EXTEND
            if j:
                left = cells[i, j - 1]
                inserted = min(min(left) + GAP_OPEN, left[2]) + GAP_EXTEND
            cells[i, j] = pair, deleted, inserted
    return min(cells[len(ref), len(alt)])


def cost(ref: str, alt: str, pairs: list[tuple[int, int]]) -> int:
    """Of an alignment that is given by its pairs."""
    total, i, j = 0, 0, 0
    for pair_ref, pair_alt in [*pairs, (len(ref), len(alt))]:
        assert pair_ref >= i
        assert pair_alt >= j
        total += sum(GAP_OPEN + GAP_EXTEND * gap for gap in (pair_ref - i, pair_alt - j) if gap)
        total += MISMATCH * (pair_ref < len(ref) and ref[pair_ref] != alt[pair_alt])
        i, j = pair_ref + 1, pair_alt + 1
    return total


def pairs_of(ref: str, alt: str) -> list[tuple[int, int]]:
    of_ref, of_alt = aligned(ref, alt)
    assert of_ref.dtype == of_alt.dtype == np.int64
    return list(zip(of_ref.tolist(), of_alt.tolist(), strict=True))


@settings(max_examples=120)
@given(SEQUENCES, SEQUENCES)
@example("ACGTACGTACGT", "TACGTACGTACG")
@example("CAAAAAAAAC", "AAAAAAAAAA")
def test_the_cost_is_the_least(ref: str, alt: str) -> None:
    assert cost(ref, alt, pairs_of(ref, alt)) == least_cost(ref, alt)


@settings(max_examples=120)
@given(st.text("AC", max_size=14), st.text("AC", max_size=14))
def test_no_gap_can_be_moved_five_prime_at_the_same_cost(ref: str, alt: str) -> None:
    pairs = pairs_of(ref, alt)
    ends = [*pairs, (len(ref), len(alt))][1:]
    for at, ((i, j), (next_ref, next_alt)) in enumerate(zip(pairs, ends, strict=True)):
        deleted, inserted = next_ref - i - 1, next_alt - j - 1
        if bool(deleted) != bool(inserted):  # the pair before the gap is put behind it
            moved = [*pairs[:at], (i + deleted, j + inserted), *pairs[at + 1 :]]
            assert cost(ref, alt, moved) > cost(ref, alt, pairs)


@pytest.mark.parametrize(
    ("ref", "alt", "pairs"),
    [
        ("A", "C", [(0, 0)]),
        ("", "ACG", []),
        ("ACG", "", []),
        ("", "", []),
        ("AC", "GT", [(0, 0), (1, 1)]),
        ("A", "CG", [(0, 1)]),  # the inserted base lies 5'
        ("CG", "A", [(1, 0)]),
        ("ACAAAC", "GCAAG", [(0, 0), (1, 1), (3, 2), (4, 3), (5, 4)]),
        ("TAAAAC", "GAAG", [(2, 0), (3, 1), (4, 2), (5, 3)]),
    ],
)
def test_short_changes(ref: str, alt: str, pairs: list[tuple[int, int]]) -> None:
    assert pairs_of(ref, alt) == pairs


def test_two_substitutions_far_apart_are_no_gaps() -> None:
    middle = "ACGTTGCA" * 20
    assert pairs_of("A" + middle + "C", "G" + middle + "T") == [(n, n) for n in range(len(middle) + 2)]


def test_a_gap_between_two_substitutions_is_found() -> None:
    left, lost, right = "ACGTTGCAATCGG" * 3, "TCAGGATTC", "CCATGACGTTAAC" * 3
    pairs = pairs_of("A" + left + lost + right + "G", "C" + left + right + "T")
    whole = 1 + len(left)
    assert pairs == [
        *((n, n) for n in range(whole)),
        *((n + len(lost), n) for n in range(whole, whole + len(right) + 1)),
    ]
