"""Tokenizers in files: written and read, as older files have them, damaged ones."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest

from sptx_core.errors import InputError
from sptx_core.tokenizer_files import read_tokenizer, write_tokenizer
from sptx_core.vocabulary import Cutting, SpecialTokens, Vocabulary

SPECIAL = SpecialTokens(bos="<b>", pad="N", unk="N", cls="<b>", additional=("<x>",), null="<null>")
CUTTING = Cutting(1, replace_U_with_T=False, do_upper_case=False)
TOKENS = ["<b>", "A", "N", "<null>"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tokenizer(tmp_path / "made", Vocabulary(TOKENS, SPECIAL), CUTTING)
    return tmp_path / "made"


def change(folder: Path, **settings: Any) -> None:
    """Change settings; those that are None are left out."""
    path = folder / "tokenizer_config.json"
    changed = json.loads(path.read_text()) | settings
    path.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))


def test_what_is_written_is_read(folder: Path) -> None:
    vocabulary, cutting = read_tokenizer(folder)
    assert (vocabulary.tokens, vocabulary.special, cutting) == ([*TOKENS, "<x>"], SPECIAL, CUTTING)
    assert (folder / "vocab.txt").read_text() == "<b>\nA\nN\n<null>\n<x>\n"


def test_what_settings_leave_out_is_as_usual(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("<pad>\n<cls>\n<null>\nA\n<mask>")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    vocabulary, cutting = read_tokenizer(tmp_path)
    assert vocabulary.special == SpecialTokens(bos="<cls>", cls="<cls>", pad="<pad>", mask="<mask>", null="<null>")
    assert cutting == Cutting()


def test_null_stands_among_the_others_if_the_settings_do_not_name_it(folder: Path) -> None:
    change(folder, null_token=None, extra_special_tokens=["<x>", "<null>"])
    assert read_tokenizer(folder)[0].special == SPECIAL
    change(folder, extra_special_tokens=["<x>"])
    assert read_tokenizer(folder)[0].special == dataclasses.replace(SPECIAL, null=None)


def test_older_files(folder: Path) -> None:
    word = {"content": "<b>", "lstrip": False, "__type": "AddedToken"}
    change(folder, cls_token=word, bos_token=word, extra_special_tokens=None, additional_special_tokens=["<x>"])
    assert read_tokenizer(folder)[0].special == SPECIAL


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokenizer_class": "RnaTokenizer"}, "they are of no DnaTokenizer"),
        ({"nmers": 0}, "nmers must be an integer of at least 1, not 0"),
        ({"codon": "no"}, "codon must be true or false, not 'no'"),
        ({"extra_special_tokens": "<x>"}, "extra_special_tokens must be a list, not '<x>'"),
        ({"pad_token": 3}, "a special token must be a word or None, not 3"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], message: str, folder: Path) -> None:
    change(folder, **settings)
    with pytest.raises(InputError, match=rf"tokenizer_config.json cannot be used: {re.escape(message)}$"):
        read_tokenizer(folder)


def test_tokens_that_come_twice_are_refused(folder: Path) -> None:
    (folder / "vocab.txt").write_text("A\nA\n")
    with pytest.raises(InputError, match="must all be different"):
        read_tokenizer(folder)


@pytest.mark.parametrize(("text", "line"), [("", 1), ("\n\n", 1), ("A\n\nN\n", 2)])
def test_an_empty_line_is_no_token(text: str, line: int, folder: Path) -> None:
    (folder / "vocab.txt").write_text(text)
    with pytest.raises(InputError, match=rf"vocab.txt: line {line} is empty, but each must hold a token$"):
        read_tokenizer(folder)


def test_settings_nested_without_end_are_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=rf"cannot read the tokenizer of {folder}: maximum recursion depth exceeded"):
        read_tokenizer(folder)


@pytest.mark.parametrize("name", ["vocab.txt", "tokenizer_config.json"])
def test_files_that_cannot_be_read_are_refused(name: str, folder: Path) -> None:
    (folder / name).write_bytes(b'\xff{"')
    with pytest.raises(InputError, match=rf"cannot read the tokenizer of {folder}: "):
        read_tokenizer(folder)
    (folder / name).unlink()
    with pytest.raises(InputError, match=rf"cannot read the tokenizer of {folder}: .*{name}"):
        read_tokenizer(folder)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(InputError, match=r"cannot save a tokenizer to .*taken"):
        write_tokenizer(tmp_path / "taken", Vocabulary(TOKENS, SPECIAL), CUTTING)
