"""Numbered tokens: letters of an alphabet, their n-mers or codons, and special tokens with their roles.

In: letters and special tokens, or tokens in the order of their numbers; sequences as text. Out: the tokens of a
sequence and the number of each token. Of lower-case letters only a to z are read as upper case. Tokens are numbered
from 0 in their order; special tokens that are none of them are numbered after them. A letter may be a special token
too: the network's tokenizer fills up with N. Impossible tokens and settings are an `InputError`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from string import ascii_lowercase, ascii_uppercase

from sptx_core.errors import InputError

ALPHABETS = {
    "standard": "ACGTNRYSWKMBDHVX|.*-?",
    "iupac": "ACGTNRYSWKMBDHV.",
    "streamline": "ACGTN",
    "nucleobase": "ACGT",
}
CODON = 3  # letters of a codon
UPPER = str.maketrans(ascii_lowercase, ascii_uppercase)  # str.upper makes two letters of one such as the German sharp s
PAD, CLS, EOS, UNK, MASK, NULL = SPECIAL_TOKENS = ("<pad>", "<cls>", "<eos>", "<unk>", "<mask>", "<null>")


@dataclass(frozen=True)
class SpecialTokens:
    """Which token plays which role; None where none does. The order of the roles is that of their new numbers."""

    bos: str | None = None
    """Put before each sequence."""
    eos: str | None = None
    """Put after each sequence."""
    unk: str | None = None
    """Stands for whatever is no token."""
    sep: str | None = None
    pad: str | None = None
    """Fills up shorter sequences of a batch."""
    cls: str | None = None
    mask: str | None = None
    additional: tuple[str, ...] = ()
    """Further special tokens without a role."""
    null: str | None = None

    def __post_init__(self) -> None:
        for token in (*self.by_role().values(), *self.additional):
            if token is not None and not (isinstance(token, str) and token):
                raise InputError(f"a special token must be a word or None, not {token!r}")

    def by_role(self) -> dict[str, str | None]:
        """The token of each role, without the additional ones."""
        roles = [field.name for field in dataclasses.fields(self) if field.name != "additional"]
        return {role: getattr(self, role) for role in roles}

    def all(self) -> list[str]:
        """Every special token, once."""
        tokens = (self.bos, self.eos, self.unk, self.sep, self.pad, self.cls, self.mask, *self.additional, self.null)
        return list(dict.fromkeys(token for token in tokens if token is not None))


@dataclass(frozen=True)
class Cutting:
    """How a sequence is cut into tokens, by MultiMolecule's names."""

    nmers: int = 1
    """Letters in a token."""
    codon: bool = False
    """Whether tokens are codons, which do not overlap; other tokens start one letter after the one before."""
    replace_U_with_T: bool = True  # noqa: N815  # MultiMolecule's name
    do_upper_case: bool = True

    def __post_init__(self) -> None:
        if type(self.nmers) is not int or self.nmers < 1:
            raise InputError(f"nmers must be an integer of at least 1, not {self.nmers!r}")
        if self.codon and self.nmers not in (1, CODON):
            raise InputError(f"codons have {CODON} letters: leave nmers ({self.nmers}) out")
        object.__setattr__(self, "nmers", CODON if self.codon else self.nmers)

    def tokens(self, sequence: str) -> list[str]:
        """Cut a sequence that holds no special tokens; `InputError` if it is no whole number of codons."""
        if self.do_upper_case:
            sequence = sequence.upper() if sequence.isascii() else sequence.translate(UPPER)
        if self.replace_U_with_T:
            sequence = sequence.replace("U", "T")
        if self.codon and len(sequence) % CODON:
            raise InputError(
                f"length of input sequence must be a multiple of {CODON} for codon tokenization, "
                f"but got {len(sequence)}"
            )
        starts = range(0, len(sequence) - self.nmers + 1, CODON if self.codon else 1)
        return [sequence[start : start + self.nmers] for start in starts]


class Vocabulary:
    """The number of each token, and the special tokens in a sequence.

    Parameters
    ----------
    tokens
        Tokens in the order of their numbers, all different.
    special
        Special tokens; those that are not among `tokens` are numbered after them.
    nmers
        Letters in a token that is not special.

    Raises
    ------
    InputError
        Two tokens are the same, or one is empty.

    Attributes
    ----------
    tokens : list of str
        All tokens in the order of their numbers.
    ids : dict
        The number of each token.
    special : SpecialTokens
        Those given.
    marks : frozenset of str
        Special tokens that stand for no letters: all but letters and n-mers that play a role.
    """

    def __init__(self, tokens: Sequence[str], special: SpecialTokens, nmers: int = 1) -> None:
        self.special = special
        self.tokens = [*tokens, *(token for token in special.all() if token not in tokens)]
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        if len(self.ids) != len(self.tokens):
            raise InputError("letters of the alphabet and special tokens must all be different")
        if not all(self.tokens):
            raise InputError(f"tokens must have letters: that of number {self.tokens.index('')} is empty")
        words = {*tokens} - {*special.all(), *SPECIAL_TOKENS}
        letters = {*"".join(words), *(token for token in tokens if len(token) == 1)}
        self.marks = frozenset(x for x in special.all() if len(x) != nmers or not letters.issuperset(x))
        # A capital that is a token is found without a search; in a sequence of N alone that saves most of the time.
        sought = [x for x in special.all() if nmers > 1 or len(x) > 1 or x == "U" or x != x.upper()]
        longest_first = sorted(sought, key=len, reverse=True)
        self._special = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if sought else None

    def split(self, sequence: str) -> list[tuple[str, bool]]:
        """Cut a sequence before and after its special tokens, and say of each piece whether it is one."""
        pieces = [sequence] if self._special is None else self._special.split(sequence)
        return [(piece, index % 2 == 1) for index, piece in enumerate(pieces) if piece]


def alphabet_tokens(alphabet: str | Sequence[str] | None, nmers: int) -> list[str]:
    """Every token of `nmers` letters.

    Parameters
    ----------
    alphabet
        A name in `ALPHABETS`, or letters; None for "standard" for single letters and "streamline" for n-mers.
    nmers
        Letters in a token.

    Raises
    ------
    InputError
        There is no such alphabet, or something in it is no letter.
    """
    letters = _letters(("standard" if nmers == 1 else "streamline") if alphabet is None else alphabet)
    return ["".join(token) for token in product(letters, repeat=nmers)]


def _letters(alphabet: str | Iterable[str]) -> Sequence[str]:
    if isinstance(alphabet, str):
        if alphabet not in ALPHABETS:
            known = ", ".join(ALPHABETS)
            raise InputError(f"there is no alphabet {alphabet!r}: choose one of {known}, or give letters as a list")
        return ALPHABETS[alphabet]
    letters = list(alphabet)
    if not letters or not all(isinstance(x, str) and len(x) == 1 and not x.isspace() for x in letters):
        raise InputError(f"an alphabet must be made of single letters, not {letters!r}")
    return letters
