"""The tokenizer: numbering, letters, n-mers, codons, special tokens, filling up."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sptx_core import tokenizer
from sptx_core.alphabet import encode
from sptx_core.errors import InputError
from sptx_core.tokenizer import ALPHABETS, DnaTokenizer


def test_examples_in_the_docstring_run() -> None:
    result = doctest.testmod(tokenizer)
    assert result.failed == 0
    assert result.attempted >= 6


@pytest.mark.parametrize(("name", "size"), [("standard", 27), ("iupac", 22), ("streamline", 11), ("nucleobase", 10)])
def test_letters_are_numbered_after_the_six_special_tokens(name: str, size: int) -> None:
    tokenizer = DnaTokenizer(name)
    assert len(tokenizer) == len(tokenizer.vocabulary) == size
    assert tokenizer(ALPHABETS[name])["input_ids"] == [1, *range(6, size), 2]


def test_special_tokens_are_recognised_and_put_around() -> None:
    tokenizer = DnaTokenizer(additional_special_tokens=["<exon>"])
    assert tokenizer("<pad><cls><eos><unk><mask><null>A<exon>")["input_ids"] == [1, 0, 1, 2, 3, 4, 5, 6, 27, 2]
    assert tokenizer("A<mask>", add_special_tokens=False)["input_ids"] == [6, 4]
    assert tokenizer("")["input_ids"] == [1, 2]


def test_case_u_and_unknown_letters() -> None:
    assert DnaTokenizer()("acguU J")["input_ids"] == [1, 6, 7, 8, 9, 9, 3, 3, 2]
    assert DnaTokenizer(do_upper_case=False)("acGT")["input_ids"] == [1, 3, 3, 8, 9, 2]
    assert DnaTokenizer(replace_U_with_T=False)("acgu")["input_ids"] == [1, 6, 7, 8, 3, 2]
    assert DnaTokenizer("nucleobase")("ACN")["input_ids"] == [1, 6, 7, 3, 2]


def test_an_alphabet_of_ones_own() -> None:
    tokenizer = DnaTokenizer(["T", "A"], nmers=2)
    assert list(tokenizer.vocabulary)[6:] == ["TT", "TA", "AT", "AA"]
    assert tokenizer("TAAC")["input_ids"] == [1, 7, 9, 3, 2]


def test_nmers_overlap_and_codons_do_not() -> None:
    assert DnaTokenizer(nmers=3).tokenize("acgtn") == ["ACG", "CGT", "GTN"]
    assert DnaTokenizer(nmers=3)("ac")["input_ids"] == [1, 2]
    assert DnaTokenizer(codon=True).tokenize("acgtna") == ["ACG", "TNA"]
    assert DnaTokenizer(codon=True, nmers=3)("nnn")["input_ids"] == [1, 130, 2]


@given(st.text(alphabet="ACGTNacgtnuURYSWKMBDHV", max_size=30))
def test_ids_of_the_network_are_the_codes_of_bases(sequence: str) -> None:
    assert DnaTokenizer.of_network()(sequence)["input_ids"] == encode(sequence).tolist()


def test_the_network_has_no_special_tokens_and_fills_up_with_n() -> None:
    tokenizer = DnaTokenizer.of_network()
    assert tokenizer.vocabulary == {"A": 0, "C": 1, "G": 2, "T": 3, "N": 4}
    found = tokenizer(["ACGT", "tg", ""], padding=True, return_tensors="pt")
    assert found["input_ids"].dtype == torch.int64
    assert found["input_ids"].tolist() == [[0, 1, 2, 3], [3, 2, 4, 4], [4, 4, 4, 4]]
    assert found["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert tokenizer("ACGT", return_tensors="pt")["input_ids"].shape == (1, 4)
    assert tokenizer([], return_tensors="pt")["input_ids"].shape == (0, 0)


def test_decode_gives_the_tokens_back() -> None:
    tokenizer = DnaTokenizer()
    ids = tokenizer("acgu", return_tensors="pt")["input_ids"][0]
    assert tokenizer.decode(ids) == "<cls> A C G T <eos>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == "A C G T"
    for wrong in (-1, 27):
        with pytest.raises(InputError, match=r"must be 0\.\.26"):
            tokenizer.decode([6, wrong])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nmers": 0}, "nmers must be an integer of at least 1, not 0"),
        ({"codon": True, "nmers": 2}, "codons have 3 letters"),
        ({"alphabet": "ACGT"}, "no alphabet 'ACGT': choose one of standard, iupac, streamline, nucleobase"),
        ({"alphabet": ["AC", "G"]}, "single letters"),
        ({"alphabet": ["A", "A"]}, "all be different"),
        ({"additional_special_tokens": ["<pad>"]}, "all be different"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        DnaTokenizer(**settings)


def test_impossible_sequences_are_refused() -> None:
    with pytest.raises(InputError, match="4 letters are no whole number of codons"):
        DnaTokenizer(codon=True)("ACGT")
    with pytest.raises(InputError, match="ask for padding"):
        DnaTokenizer()(["ACGT", "A"], return_tensors="pt")
    with pytest.raises(InputError, match="return_tensors must be 'pt'"):
        DnaTokenizer()("ACGT", return_tensors="np")


def test_only_what_is_a_checkpoint_has_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks model.safetensors and config.json"):
        DnaTokenizer.from_pretrained(tmp_path)
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).touch()
    assert DnaTokenizer.from_pretrained(tmp_path).vocabulary == DnaTokenizer.of_network().vocabulary


def test_ids_need_no_torch() -> None:
    program = "import sys, sptx_core.tokenizer as t; t.DnaTokenizer()('A'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
