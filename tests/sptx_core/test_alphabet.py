"""Bases as codes: round trips, the accepted letters, errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sptx_core.alphabet import BASES, decode, encode, reverse_complement
from sptx_core.errors import InputError

sequences = st.text(alphabet=BASES, max_size=50)


def test_codes_follow_the_order_of_bases() -> None:
    assert encode("ACGTN").tolist() == [0, 1, 2, 3, 4]
    assert encode("ACGTN").dtype == np.uint8
    assert encode("").size == 0


@given(sequences)
def test_decode_inverts_encode(sequence: str) -> None:
    assert decode(encode(sequence)) == sequence
    assert np.array_equal(encode(sequence.encode()), encode(sequence))
    assert np.array_equal(encode(sequence.lower()), encode(sequence))


def test_u_counts_as_t_and_ambiguity_letters_as_n() -> None:
    assert decode(encode("ACGUacgu")) == "ACGTACGT"
    assert decode(encode("RYSWKMBDHVryswkmbdhvn")) == "N" * 21


@pytest.mark.parametrize("sequence", ["ACX", "AC-", "AC\n", "AC>", "AC*", "ACé", "AC ", b"ACX", b"AC\xff", b"AC\x00"])
def test_any_other_character_is_named_with_its_offset(sequence: str | bytes) -> None:
    character = sequence[2] if isinstance(sequence, str) else chr(sequence[2])
    with pytest.raises(InputError, match="offset 2 ") as error:
        encode(sequence)
    assert repr(character) in str(error.value)


def test_decode_refuses_numbers_that_are_no_codes() -> None:
    with pytest.raises(InputError, match="code 5"):
        decode(np.array([0, 5], dtype=np.uint8))


def test_reverse_complement_of_each_base() -> None:
    assert decode(reverse_complement(encode("AACGTN"))) == "NACGTT"


@given(sequences)
def test_reverse_complement_is_its_own_inverse(sequence: str) -> None:
    codes = encode(sequence)
    once = reverse_complement(codes)
    assert once.flags.c_contiguous
    assert once.dtype == np.uint8
    assert np.array_equal(reverse_complement(once), codes)
