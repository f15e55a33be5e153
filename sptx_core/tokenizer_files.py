"""Tokenizers in files, as MultiMolecule writes them: `vocab.txt` and `tokenizer_config.json` in a folder.

`vocab.txt` has a token a line, in the order of their numbers. `tokenizer_config.json` has how sequences are cut, the
special tokens by role, and all others of them as `extra_special_tokens` (`additional_special_tokens` in older files).
Faults are an `InputError` that names the file or folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sptx_core.errors import InputError
from sptx_core.files import write_atomic
from sptx_core.vocabulary import CLS, EOS, MASK, NULL, PAD, UNK, Cutting, SpecialTokens, Vocabulary

SETTINGS_FILE, VOCABULARY_FILE = "tokenizer_config.json", "vocab.txt"
CLASS = "DnaTokenizer"  # `tokenizer_class` in the settings
DEFAULTS = {"cls": CLS, "eos": EOS, "unk": UNK, "sep": EOS, "pad": PAD, "mask": MASK, "null": NULL}


def write_tokenizer(folder: Path, vocabulary: Vocabulary, cutting: Cutting) -> None:
    """Write both files; the folder is made if need be, and files of these names are replaced."""
    special = vocabulary.special
    settings = {
        "tokenizer_class": CLASS,
        **dataclasses.asdict(cutting),
        **{f"{role}_token": token for role, token in special.by_role().items()},
        "extra_special_tokens": [*special.additional, *([special.null] if special.null else [])],
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / VOCABULARY_FILE, "".join(f"{token}\n" for token in vocabulary.tokens).encode())
        write_atomic(folder / SETTINGS_FILE, (json.dumps(settings, indent=2) + "\n").encode())
    except OSError as error:
        raise InputError(f"cannot save a tokenizer to {folder}: {error}") from error


def read_tokenizer(folder: Path) -> tuple[Vocabulary, Cutting]:
    """Read both files."""
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_bytes())
        tokens = (folder / VOCABULARY_FILE).read_text("utf-8").rstrip("\n").split("\n")
    except (OSError, ValueError, RecursionError) as error:  # the last of JSON that is nested without end
        raise InputError(f"cannot read the tokenizer of {folder}: {error}") from error
    if "" in tokens:
        line = tokens.index("") + 1
        raise InputError(f"{folder / VOCABULARY_FILE}: line {line} is empty, but each must hold a token")
    try:
        cutting = _cutting(settings)
        return Vocabulary(tokens, _special_tokens(settings, tokens), cutting.nmers), cutting
    except InputError as error:
        raise InputError(f"the settings in {folder / SETTINGS_FILE} cannot be used: {error}") from error


def _cutting(settings: Any) -> Cutting:
    if not isinstance(settings, dict) or settings.get("tokenizer_class", CLASS) != CLASS:
        raise InputError(f"they are of no {CLASS}")
    found = {field.name: settings[field.name] for field in dataclasses.fields(Cutting) if field.name in settings}
    if wrong := [name for name, value in found.items() if name != "nmers" and not isinstance(value, bool)]:
        raise InputError(f"{wrong[0]} must be true or false, not {found[wrong[0]]!r}")
    return Cutting(**found)


def _special_tokens(settings: Mapping[str, Any], tokens: Sequence[str]) -> SpecialTokens:
    """Special tokens by role; one that the settings leave out is the usual one if that is a token."""
    given = {role: _text(settings[f"{role}_token"]) for role in (*DEFAULTS, "bos") if f"{role}_token" in settings}
    roles = {role: usual if usual in tokens else None for role, usual in DEFAULTS.items()} | given
    roles.setdefault("bos", roles["cls"])
    more = settings.get("extra_special_tokens", settings.get("additional_special_tokens")) or []
    if not isinstance(more, list):
        raise InputError(f"extra_special_tokens must be a list, not {more!r}")
    others = [_text(token) for token in more]
    if "null" not in given and "extra_special_tokens" in settings and NULL not in others:
        roles["null"] = None  # MultiMolecule's own files have it there or nowhere
    return SpecialTokens(**roles, additional=tuple(token for token in others if token != roles["null"]))


def _text(token: Any) -> Any:
    """The token itself: older files may hold it among its properties."""
    return token.get("content") if isinstance(token, dict) else token
