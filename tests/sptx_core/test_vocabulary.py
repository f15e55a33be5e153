"""Tokens and their numbers, special tokens and their roles, how sequences are cut."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sptx_core.errors import InputError
from sptx_core.vocabulary import ALPHABETS, Cutting, SpecialTokens, Vocabulary, alphabet_tokens

SPECIAL = SpecialTokens(bos="<b>", pad="N", unk="<u>", cls="<b>", additional=("<x>",), null="<n>")


def test_special_tokens_by_role_and_once_each() -> None:
    assert SPECIAL.all() == ["<b>", "<u>", "N", "<x>", "<n>"]
    assert SPECIAL.by_role() == {
        "bos": "<b>",
        "eos": None,
        "unk": "<u>",
        "sep": None,
        "pad": "N",
        "cls": "<b>",
        "mask": None,
        "null": "<n>",
    }


@pytest.mark.parametrize("token", ["", 3, ["<b>"]])
def test_what_is_no_word_is_no_special_token(token: Any) -> None:
    for special in ({"bos": token}, {"additional": ("<x>", token)}):
        with pytest.raises(InputError, match=re.escape(f"a special token must be a word or None, not {token!r}")):
            SpecialTokens(**special)


def test_special_tokens_that_are_none_yet_are_numbered_last() -> None:
    vocabulary = Vocabulary(["<n>", "A", "N"], SPECIAL)
    assert vocabulary.tokens == ["<n>", "A", "N", "<b>", "<u>", "<x>"]
    assert vocabulary.ids == {token: number for number, token in enumerate(vocabulary.tokens)}


def test_letters_are_no_marks() -> None:
    assert Vocabulary(["<n>", "A", "N"], SPECIAL).marks == {"<b>", "<u>", "<x>", "<n>"}
    pairs = alphabet_tokens("nucleobase", 2)
    assert Vocabulary(pairs, SpecialTokens(unk="AC", pad="A", mask="XX"), 2).marks == {"A", "XX"}


def test_the_longest_special_token_counts() -> None:
    vocabulary = Vocabulary(["A"], SpecialTokens(cls="<b>", mask="<b><b>", additional=("*",)))
    assert vocabulary.split("<b><b>A<b>*") == [("<b><b>", True), ("A", False), ("<b>", True), ("*", False)]
    assert Vocabulary(["A"], SpecialTokens()).split("<b>") == [("<b>", False)]


def test_an_empty_token_is_refused() -> None:
    with pytest.raises(InputError, match=r"^tokens must have letters: that of number 1 is empty$"):
        Vocabulary(["A", "", "C"], SPECIAL)


@given(st.text("ACN<b>", max_size=12))
def test_nothing_is_lost_between_special_tokens(sequence: str) -> None:
    for nmers in (1, 2):
        pieces = Vocabulary(["A", "C", "N"], SPECIAL, nmers).split(sequence)
        assert "".join(piece for piece, _ in pieces) == sequence
        assert all(piece in SPECIAL.all() for piece, special in pieces if special)


@pytest.mark.parametrize("nmers", [1, 2, 3])
@pytest.mark.parametrize("alphabet", ["nucleobase", "streamline", ["T", "A"]])
def test_tokens_of_an_alphabet(alphabet: Any, nmers: int) -> None:
    letters = list(ALPHABETS.get(alphabet, alphabet) if isinstance(alphabet, str) else alphabet)
    tokens = alphabet_tokens(alphabet, nmers)
    assert len(tokens) == len(set(tokens)) == len(letters) ** nmers
    assert [token[0] for token in tokens[:: len(letters) ** (nmers - 1)]] == letters


@pytest.mark.parametrize("alphabet", [[], ["AC"], [" "], [3], ["A", ""]])
def test_what_is_no_letter_is_refused(alphabet: Any) -> None:
    with pytest.raises(InputError, match="an alphabet must be made of single letters"):
        alphabet_tokens(alphabet, 1)


def test_how_sequences_are_cut() -> None:
    assert Cutting(2).tokens("acgu") == ["AC", "CG", "GT"]
    assert Cutting(2, replace_U_with_T=False, do_upper_case=False).tokens("aCGu") == ["aC", "CG", "Gu"]
    assert Cutting(codon=True) == Cutting(3, codon=True)
    assert Cutting(codon=True).tokens("acguna") == ["ACG", "TNA"]
    assert Cutting(4).tokens("ACG") == []
    assert Cutting().tokens("aßtŉ") == ["A", "ß", "T", "ŉ"]  # str.upper makes two letters each of these
    with pytest.raises(
        InputError, match=r"^length of input sequence must be a multiple of 3 for codon tokenization, b"
    ):
        Cutting(codon=True).tokens("ACGT")
