"""The tokenizer: numbering, letters, n-mers, codons, special tokens, files; live against MultiMolecule's package."""

from __future__ import annotations

import copy
import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from material.hub_server import HubServer
from material.networks import network_of, tiny_config

from sptx_core import tokenizer
from sptx_core.alphabet import encode
from sptx_core.errors import InputError
from sptx_core.tokenizer import ALPHABETS, DnaTokenizer


def test_examples_in_the_docstring_run() -> None:
    result = doctest.testmod(tokenizer)
    assert result.failed == 0
    assert result.attempted >= 8


@pytest.mark.parametrize(
    ("choices", "sequence", "ids"),
    [
        ({}, "<pad><cls><eos><unk><mask><null>ACGTNRYSWKMBDHVX|.*-?", [1, *range(27), 2]),
        ({}, "acgt", [1, 6, 7, 8, 9, 2]),
        ({}, "acgu", [1, 6, 7, 8, 9, 2]),
        ({"replace_U_with_T": False}, "acgu", [1, 6, 7, 8, 3, 2]),
        ({"nmers": 3}, "tataaagta", [1, 84, 21, 81, 6, 8, 19, 71, 2]),
        ({"codon": True}, "tataaagta", [1, 84, 6, 71, 2]),
    ],
)
def test_the_ids_on_multimolecules_page(choices: dict[str, Any], sequence: str, ids: list[int]) -> None:
    assert DnaTokenizer(**choices)(sequence)["input_ids"] == ids


def test_the_refusal_on_multimolecules_page() -> None:
    words = "length of input sequence must be a multiple of 3 for codon tokenization, but got 10"
    with pytest.raises(ValueError, match=f"^{words}$"):
        DnaTokenizer(codon=True)("tataaagtaa")


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


def test_what_decode_takes() -> None:
    tokenizer = DnaTokenizer()
    for one in (6, np.int64(6), torch.tensor(6), [6], np.array([6]), [torch.tensor(6)], iter([6])):
        assert tokenizer.decode(one) == "A"
    for several in ([[6, 7], [8]], torch.tensor([[6, 7], [8, 2]])):
        expected = ["A C", "G"] if isinstance(several, list) else ["A C", "G <eos>"]
        assert tokenizer.decode(several) == tokenizer.batch_decode(several) == expected
    assert tokenizer.batch_decode([[1, 6, 0], []], skip_special_tokens=True) == ["A", ""]
    assert tokenizer.decode([]) == ""


@pytest.mark.parametrize("ids", ["ACGT", ["A"], None, [None], 1.5, [1.0], [[1.0]], torch.ones(2), [1, [2]], {"A": 6}])
def test_what_is_no_id_is_not_decoded(ids: Any) -> None:
    tokenizer = DnaTokenizer()
    for call in (tokenizer.decode, tokenizer.convert_ids_to_tokens, lambda ids: tokenizer.batch_decode([ids])):
        with pytest.raises(InputError, match=r"^ids must be integers, "):
            call(ids)


@pytest.mark.parametrize("ids", ["ACGT", None, 6])
def test_a_batch_of_ids_is_a_list(ids: Any) -> None:
    with pytest.raises(InputError, match=f"^ids must be lists of integers, not {ids!r}$"):
        DnaTokenizer().batch_decode(ids)


@pytest.mark.parametrize("tokens", [None, 3, [["A"]]])
def test_a_token_is_text(tokens: Any) -> None:
    with pytest.raises(InputError, match=r"^tokens must be text or a list of text, not "):
        DnaTokenizer().convert_tokens_to_ids(tokens)


def test_only_ascii_is_made_upper_case() -> None:
    assert DnaTokenizer()("aßc").input_ids == [1, 6, 3, 7, 2]  # str.upper makes two letters of the second


@pytest.mark.parametrize(
    "name", ["pad_token", "pad_token_id", "cls_token", "bos_token_id", "additional_special_tokens"]
)
def test_special_tokens_cannot_be_set(name: str) -> None:
    tokenizer = DnaTokenizer()
    words = f"{name} cannot be set: make a DnaTokenizer({name.removesuffix('_id')}=...)"
    for one in (tokenizer, copy.deepcopy(tokenizer)):
        with pytest.raises(AttributeError, match=re.escape(words)):
            setattr(one, name, None)
        assert (one.pad_token, one.pad_token_id) == ("<pad>", 0)


def test_letters_that_fill_up_are_not_skipped() -> None:
    for made in (DnaTokenizer.of_network(), DnaTokenizer(pad_token="N", unk_token="N")):
        ids = made(["ACNJ", "A"], padding=True).input_ids
        assert made.batch_decode(ids, skip_special_tokens=True) == ["A C N N", "A N N N"]


def test_tokens_to_ids_and_back() -> None:
    tokenizer = DnaTokenizer()
    assert tokenizer.convert_tokens_to_ids("A") == 6
    assert tokenizer.convert_tokens_to_ids(["A", "<pad>", "a", "J"]) == [6, 0, 3, 3]
    assert tokenizer.convert_ids_to_tokens(6) == "A"
    assert tokenizer.convert_ids_to_tokens(torch.tensor([1, 6])) == ["<cls>", "A"]
    assert tokenizer.convert_ids_to_tokens([1, 6, 2], skip_special_tokens=True) == ["A"]
    assert tokenizer.get_vocab() == tokenizer.vocabulary
    assert tokenizer.vocab_size == len(tokenizer) == 27


def test_special_tokens_have_roles() -> None:
    tokenizer = DnaTokenizer(cls_token="[CLS]", eos_token=None, pad_token="N")
    assert tokenizer("AJ<eos>").input_ids == [27, 6, 3, 2]  # which separates, too, and so is one still
    assert (tokenizer.bos_token, tokenizer.cls_token, tokenizer.cls_token_id) == ("[CLS]", "[CLS]", 27)
    assert (tokenizer.eos_token, tokenizer.eos_token_id, tokenizer.pad_token_id) == (None, None, 10)
    assert tokenizer.all_special_tokens == ["[CLS]", "<unk>", "<eos>", "N", "<mask>", "<null>"]
    assert tokenizer.all_special_ids == [27, 3, 2, 10, 4, 5]
    assert DnaTokenizer(bos_token=None)("A").input_ids == [6, 2]
    assert DnaTokenizer(bos_token="<b>")("A").input_ids == [27, 6, 2]
    assert DnaTokenizer(mask_token=None).tokenize("<mask>") == list("<MASK>")


def test_without_a_token_for_it_a_letter_is_refused() -> None:
    tokenizer = DnaTokenizer(unk_token=None)
    assert tokenizer("ACGT").input_ids == [1, 6, 7, 8, 9, 2]
    for call in (tokenizer, tokenizer.encode, tokenizer.convert_tokens_to_ids):
        with pytest.raises(InputError, match=r"^'J' is no token, and there is no unk_token for it$"):
            call("J")


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"nmers": 0}, "nmers must be an integer of at least 1, not 0"),
        ({"codon": True, "nmers": 2}, "codons have 3 letters"),
        ({"alphabet": "ACGT"}, "no alphabet 'ACGT': choose one of standard, iupac, streamline, nucleobase"),
        ({"alphabet": ["AC", "G"]}, "single letters"),
        ({"alphabet": ["A", "A"]}, "all be different"),
        ({"additional_special_tokens": ["<pad>"]}, "all be different"),
        ({"additional_special_tokens": ["<x>", "<x>"]}, "all be different"),
        ({"additional_special_tokens": ["A"]}, "all be different"),
        ({"additional_special_tokens": "<sep>"}, "additional_special_tokens must be a list of words, not '<sep>'"),
        ({"additional_special_tokens": 3}, "additional_special_tokens must be a list of words, not 3"),
        ({"additional_special_tokens": [["<x>"]]}, "a special token must be a word or None, not ['<x>']"),
        ({"pad_token": 0}, "a special token must be a word or None, not 0"),
    ],
)
def test_impossible_settings_are_refused(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        DnaTokenizer(**choices)


def test_impossible_sequences_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of 3 for codon tokenization, but got 4"):
        DnaTokenizer(codon=True)("ACGT")
    with pytest.raises(InputError, match="ask for padding"):
        DnaTokenizer()(["ACGT", "A"], return_tensors="pt")
    with pytest.raises(InputError, match="return_tensors must be 'pt'"):
        DnaTokenizer()("ACGT", return_tensors="np")
    with pytest.raises(InputError, match="there is no pad_token"):
        DnaTokenizer(pad_token=None)("ACGT", padding=True)
    for sequences in (3, None):
        with pytest.raises(
            InputError, match=rf"^a sequence must be text, or sequences a list of text, not {sequences}$"
        ):
            DnaTokenizer()(sequences)  # type: ignore[arg-type]
    for sequence in (3, b"ACGT", None):
        with pytest.raises(InputError, match=rf"^a sequence must be text, not {sequence!r}$"):
            DnaTokenizer()([sequence])  # type: ignore[list-item]


# --- files -----------------------------------------------------------------------------------------------------------

MADE: list[dict[str, Any]] = [
    {},
    {"nmers": 2, "alphabet": "nucleobase"},
    {"codon": True},
    {"alphabet": ["T", "A"], "do_upper_case": False, "replace_U_with_T": False},
    {"pad_token": "N", "cls_token": None, "additional_special_tokens": ["<exon>"]},
    {"null_token": None, "mask_token": "[M]", "bos_token": "<b>"},
]
SEQUENCES = ["", "acgUNNacg", "TA<mask>Taa<null>ACG", "AAA<exon>[M]<pad>"]


def same(one: Any, other: Any) -> bool:
    """Whether two tokenizers number the same tokens and read sequences alike."""
    if one.get_vocab() != other.get_vocab() or one.pad_token_id != other.pad_token_id:
        return False
    sequences = [x for x in SEQUENCES if not one.codon or all(len(y) % 3 == 0 for y in re.split("<[a-z]*>", x))]
    return all(list(one(x)["input_ids"]) == list(other(x)["input_ids"]) for x in sequences)


@pytest.mark.slow
@pytest.mark.parametrize("choices", MADE)
def test_what_is_saved_is_loaded_again(choices: dict[str, Any], hub: HubServer, tmp_path: Path) -> None:
    tokenizer = DnaTokenizer(**choices)
    tokenizer.save_pretrained(tmp_path / "made")
    hub.put_folder("someone/tokenizer", tmp_path / "made", "v1")
    for loaded in (
        DnaTokenizer.from_pretrained(tmp_path / "made"),
        DnaTokenizer.from_pretrained("someone/tokenizer", revision="v1", token="t"),
    ):
        assert same(loaded, tokenizer)
        for name in ("nmers", "codon", "replace_U_with_T", "do_upper_case"):
            assert getattr(loaded, name) == getattr(tokenizer, name) == choices.get(name, getattr(tokenizer, name))
        assert loaded.all_special_tokens == tokenizer.all_special_tokens
    assert hub.tokens == {"t"}


def test_the_tokenizer_of_the_network_is_saved_and_loaded(tmp_path: Path) -> None:
    DnaTokenizer.of_network().save_pretrained(tmp_path)
    assert (tmp_path / "vocab.txt").read_text() == "A\nC\nG\nT\nN\n"
    loaded = DnaTokenizer.from_pretrained(tmp_path)
    assert same(loaded, DnaTokenizer.of_network())
    assert loaded.decode([0, 4], skip_special_tokens=True) == "A N"


def test_a_checkpoint_without_a_tokenizer_has_that_of_the_network(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no checkpoint folder: it lacks config.json$"):
        DnaTokenizer.from_pretrained(tmp_path)
    network_of(tiny_config(context=4)).save_pretrained(tmp_path / "network")
    hub.put_folder("someone/network", tmp_path / "network")
    for source in (tmp_path / "network", tmp_path / "network" / "model.safetensors", "someone/network"):
        assert DnaTokenizer.from_pretrained(source).vocabulary == DnaTokenizer.of_network().vocabulary
    assert hub.downloaded() == ["config.json"]  # and no weights
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match="describes no SpTransformer network"):
        DnaTokenizer.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        DnaTokenizer.from_pretrained(tmp_path / "nothing")


def test_ids_need_no_torch() -> None:
    program = "import sys, sptx_core.tokenizer as t; t.DnaTokenizer()('A'); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


# --- live against MultiMolecule's package ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def port() -> Any:
    """MultiMolecule's package."""
    return pytest.importorskip("multimolecule")


WORD = st.sampled_from(["<pad>", "<cls>", "<eos>", "<unk>", "<mask>", "<null>", "[X]", "<exon>", "<MASK>"])
TEXT = st.lists(st.text("ACGTNacgtnuUXJ<> -", max_size=6) | WORD, max_size=4).map("".join)
SPECIAL = st.sampled_from([None, "[X]", "<b>", "N"])
CHOICES = st.fixed_dictionaries(
    {},
    optional={
        "alphabet": st.sampled_from([None, "nucleobase", "streamline", ["T", "A", "N"]]),
        "nmers": st.integers(1, 3),
        "codon": st.booleans(),
        "replace_U_with_T": st.booleans(),
        "do_upper_case": st.booleans(),
        "additional_special_tokens": st.sampled_from([None, [], ["<exon>"], ("<exon>", "<intron>")]),
        "null_token": st.none(),
        **{f"{role}_token": SPECIAL for role in ("cls", "eos", "pad", "unk", "mask", "sep", "bos")},
    },
)
CALL = st.fixed_dictionaries(
    {},
    optional={
        "add_special_tokens": st.booleans(),
        "padding": st.sampled_from([True, "longest", "max_length", False, "do_not_pad"]),
        "truncation": st.sampled_from([None, True, "longest_first", "only_first", False, "do_not_truncate"]),
        "max_length": st.none() | st.integers(2, 12),
    },
)


def outcome(call: Any) -> Any:
    """What a call returns, or that it refuses."""
    try:
        return call()
    except ValueError:
        return "refused"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`max_length` is ignored when `padding`")
@settings(max_examples=200, deadline=None)
@given(choices=CHOICES, sequences=st.lists(TEXT, min_size=1, max_size=3), call=CALL)
def test_ids_are_those_of_multimolecule(
    choices: dict[str, Any], sequences: list[str], call: dict[str, Any], port: Any
) -> None:
    theirs = outcome(lambda: port.DnaTokenizer(**choices))
    ours = outcome(lambda: DnaTokenizer(**choices))
    if "refused" in (theirs, ours):
        assert theirs == ours
        return
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours.all_special_tokens == theirs.all_special_tokens
    assert ours.all_special_ids == theirs.all_special_ids
    roles = ("cls", "eos", "pad", "unk", "mask", "sep", "bos")
    names = [name for role in roles for name in (f"{role}_token", f"{role}_token_id")]
    for name in (*names, "nmers", "codon", "replace_U_with_T", "do_upper_case"):
        assert getattr(ours, name) == getattr(theirs, name), name
    tokens = outcome(lambda: theirs.tokenize(sequences[0]))
    assert outcome(lambda: ours.tokenize(sequences[0])) == tokens
    assert outcome(lambda: ours.convert_tokens_to_ids(tokens)) == outcome(lambda: theirs.convert_tokens_to_ids(tokens))
    alone = [sequences[0]] if tokens else []  # theirs fills up no empty sequence that comes alone
    for asked in (sequences, *alone):
        for name in ("__call__", "encode"):
            expected = outcome(lambda asked=asked, name=name: getattr(theirs, name)(asked, **call))
            assert outcome(lambda asked=asked, name=name: getattr(ours, name)(asked, **call)) == expected


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.lists(st.integers(0, 26), max_size=8), min_size=1, max_size=3), skip=st.booleans())
def test_tokens_are_those_of_multimolecule(ids: list[list[int]], skip: bool, port: Any) -> None:
    theirs, ours = port.DnaTokenizer(), DnaTokenizer()
    assert ours.batch_decode(ids, skip_special_tokens=skip) == theirs.batch_decode(ids, skip_special_tokens=skip)
    for row in ids:
        assert ours.decode(row, skip_special_tokens=skip) == theirs.decode(row, skip_special_tokens=skip)
        assert ours.convert_ids_to_tokens(row, skip) == theirs.convert_ids_to_tokens(row, skip)


@pytest.mark.slow
@pytest.mark.parametrize("choices", MADE)
def test_saved_tokenizers_are_loaded_by_the_other_package(choices: dict[str, Any], port: Any, tmp_path: Path) -> None:
    ours, theirs = DnaTokenizer(**choices), port.DnaTokenizer(**choices)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    assert same(ours, port.DnaTokenizer.from_pretrained(tmp_path / "ours"))
    # MultiMolecule leaves one setting out of its files, so that its own package loads another tokenizer, too.
    again = port.DnaTokenizer.from_pretrained(tmp_path / "theirs")
    assert same(DnaTokenizer.from_pretrained(tmp_path / "theirs"), again)
    assert same(ours, again) == ("do_upper_case" not in choices)


@pytest.mark.slow
def test_the_tokenizer_of_the_network_is_loaded_by_multimolecule(port: Any, tmp_path: Path) -> None:
    DnaTokenizer.of_network().save_pretrained(tmp_path)
    assert same(DnaTokenizer.of_network(), port.DnaTokenizer.from_pretrained(tmp_path))
