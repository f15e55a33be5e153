"""From sequences to token ids, numbered as MultiMolecule's DNA tokenizer numbers them, or as the network does.

By default the six special tokens come first (`<pad>` 0, `<cls>` 1, `<eos>` 2, `<unk>` 3, `<mask>` 4, `<null>` 5), then
the letters of the alphabet or their n-mers, then additional special tokens; `<cls>` is put before each sequence and
`<eos>` after it. `DnaTokenizer.of_network()` numbers A C G T N from 0 to 4, as `SpTransformerModel` reads them: it has
no special tokens, pads a batch with N, and reads every unknown letter as N.

    >>> from sptx_core.tokenizer import DnaTokenizer
    >>> DnaTokenizer()("GATuaca")["input_ids"]
    [1, 8, 6, 9, 9, 6, 7, 6, 2]
    >>> DnaTokenizer(nmers=2)("gatt")["input_ids"]
    [1, 16, 9, 24, 2]
    >>> DnaTokenizer(codon=True).tokenize("atggcc")
    ['ATG', 'GCC']
    >>> DnaTokenizer(codon=True)("atggccta")
    Traceback (most recent call last):
    sptx_core.errors.InputError: 8 letters are no whole number of codons: give a multiple of 3
    >>> DnaTokenizer.of_network()(["acgt", "nu"], padding=True)
    {'input_ids': [[0, 1, 2, 3], [4, 3, 4, 4]], 'attention_mask': [[1, 1, 1, 1], [1, 1, 0, 0]]}

Impossible settings and sequences are an `InputError`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Self, TypedDict

from sptx_core.alphabet import BASES
from sptx_core.errors import InputError

ALPHABETS = {
    "standard": "ACGTNRYSWKMBDHVX|.*-?",
    "iupac": "ACGTNRYSWKMBDHV.",
    "streamline": "ACGTN",
    "nucleobase": "ACGT",
}
PAD, CLS, EOS, UNKNOWN, MASK, NULL = SPECIAL_TOKENS = ("<pad>", "<cls>", "<eos>", "<unk>", "<mask>", "<null>")
CODON = 3  # letters of a codon


class Encoding(TypedDict):
    """What the tokenizer returns: a list for one sequence; lists of lists, or int64 tensors [B, L], for several."""

    input_ids: Any
    """Number of each token."""
    attention_mask: Any
    """1 for each token of the sequence, 0 for padding."""


class DnaTokenizer:
    """Turns sequences into ids and back.

    Parameters
    ----------
    alphabet
        "standard", "iupac", "streamline", "nucleobase", or a list of letters; by default "standard" for single letters
        and "streamline" for n-mers and codons.
    nmers
        Letters in a token. Tokens overlap: each starts one letter after the one before it.
    codon
        Whether tokens are codons, three letters each, which do not overlap.
    replace_U_with_T
        Whether U is read as T.
    do_upper_case
        Whether lower case is read as upper case; otherwise lower-case letters are unknown.
    additional_special_tokens
        Further special tokens, which are recognised in sequences and numbered last.

    Raises
    ------
    InputError
        The settings contradict each other, or two tokens are the same.
    """

    def __init__(
        self,
        alphabet: str | Sequence[str] | None = None,
        nmers: int = 1,
        codon: bool = False,
        replace_U_with_T: bool = True,  # noqa: N803  # MultiMolecule's name
        do_upper_case: bool = True,
        additional_special_tokens: Iterable[str] = (),
    ) -> None:
        if type(nmers) is not int or nmers < 1:
            raise InputError(f"nmers must be an integer of at least 1, not {nmers!r}")
        if codon and nmers not in (1, CODON):
            raise InputError(f"codons have {CODON} letters: leave nmers ({nmers}) out")
        self.nmers, self.codon = CODON if codon else nmers, codon
        self.replace_u, self.do_upper_case = replace_U_with_T, do_upper_case
        letters = _letters(alphabet or ("standard" if self.nmers == 1 else "streamline"))
        tokens = ["".join(token) for token in product(letters, repeat=self.nmers)]
        more = list(additional_special_tokens)
        self._number([*SPECIAL_TOKENS, *tokens, *more], {*SPECIAL_TOKENS, *more})
        self.pad, self.unknown = self._ids[PAD], self._ids[UNKNOWN]
        self.before, self.after = [self._ids[CLS]], [self._ids[EOS]]

    @classmethod
    def of_network(cls) -> Self:
        """Make the tokenizer whose ids `SpTransformerModel` reads: A C G T N are 0 to 4, there are no other tokens."""
        tokenizer = cls(list(BASES))
        tokenizer._number(list(BASES), set())
        tokenizer.pad = tokenizer.unknown = BASES.index("N")
        tokenizer.before = tokenizer.after = []
        return tokenizer

    @classmethod
    def from_pretrained(cls, source: str | os.PathLike[str]) -> Self:
        """Make the tokenizer of a checkpoint, which is that of `of_network` for every checkpoint.

        Parameters
        ----------
        source
            A file, a folder or a hub id.

        Raises
        ------
        InputError
            There is no such checkpoint.
        """
        from sptx_core.checkpoint import locate  # late: that package loads PyTorch

        locate(source)
        return cls.of_network()

    def _number(self, tokens: list[str], special: set[str]) -> None:
        if len(set(tokens)) != len(tokens):
            raise InputError("letters of the alphabet and special tokens must all be different")
        self._tokens, self._special = tokens, special
        self._ids = {token: number for number, token in enumerate(tokens)}
        longest_first = sorted(special, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if special else None

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of each token."""
        return dict(self._ids)

    def __len__(self) -> int:
        return len(self._tokens)

    def __call__(
        self,
        sequences: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        padding: bool = False,
        return_tensors: str | None = None,
    ) -> Encoding:
        """Turn one sequence or several into ids.

        Parameters
        ----------
        sequences
            A string, or a list of strings.
        add_special_tokens
            Whether to put `<cls>` before each sequence and `<eos>` after it.
        padding
            Whether to fill up shorter sequences to the length of the longest.
        return_tensors
            "pt" for int64 tensors [B, L], which one sequence gives too (B = 1); None for lists.

        Returns
        -------
        Encoding
            Ids and mask.

        Raises
        ------
        InputError
            A sequence is no whole number of codons, or sequences of several lengths shall make a tensor.
        """
        if return_tensors not in (None, "pt"):
            raise InputError(f"return_tensors must be 'pt' or None, not {return_tensors!r}")
        several = [sequences] if isinstance(sequences, str) else sequences
        rows = [self._encode(row, add_special_tokens) for row in several]
        longest = max(map(len, rows), default=0) if padding else 0
        ids = [row + [self.pad] * (longest - len(row)) for row in rows]
        masks = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
        if return_tensors is None and isinstance(sequences, str):
            return Encoding(input_ids=ids[0], attention_mask=masks[0])
        if return_tensors is None:
            return Encoding(input_ids=ids, attention_mask=masks)
        if len({len(row) for row in ids}) > 1:
            raise InputError("sequences of several lengths make no tensor: ask for padding")
        import torch  # late: ids alone need no PyTorch

        shape = (len(ids), len(ids[0]) if ids else 0)
        tensors = (torch.tensor(x, dtype=torch.int64).reshape(shape) for x in (ids, masks))
        return Encoding(input_ids=next(tensors), attention_mask=next(tensors))

    def tokenize(self, sequence: str) -> list[str]:
        """Cut a sequence into tokens, known or not, without `<cls>` and `<eos>`.

        Raises
        ------
        InputError
            The sequence is no whole number of codons.
        """
        pieces = [sequence] if self._split is None else self._split.split(sequence)
        return [token for piece in pieces for token in ([piece] if piece in self._special else self._cut(piece))]

    def decode(self, ids: Iterable[int], *, skip_special_tokens: bool = False) -> str:
        """Turn ids into tokens.

        Parameters
        ----------
        ids
            Integers [L], in a list or a tensor.
        skip_special_tokens
            Whether to leave special tokens out.

        Returns
        -------
        str
            The tokens with a space between two.

        Raises
        ------
        InputError
            An id is the number of no token.
        """
        numbers = [int(number) for number in ids]
        if any(not 0 <= number < len(self) for number in numbers):
            raise InputError(f"ids must be 0..{len(self) - 1}, found {min(numbers)}..{max(numbers)}")
        tokens = [self._tokens[number] for number in numbers]
        return " ".join(token for token in tokens if not (skip_special_tokens and token in self._special))

    def _encode(self, sequence: str, add_special_tokens: bool) -> list[int]:
        ids = [self._ids.get(token, self.unknown) for token in self.tokenize(sequence)]
        return [*self.before, *ids, *self.after] if add_special_tokens else ids

    def _cut(self, piece: str) -> list[str]:
        """Cut a piece that holds no special tokens into letters, n-mers or codons."""
        if self.do_upper_case:
            piece = piece.upper()
        if self.replace_u:
            piece = piece.replace("U", "T")
        if self.codon and len(piece) % CODON:
            raise InputError(f"{len(piece)} letters are no whole number of codons: give a multiple of {CODON}")
        starts = range(0, len(piece) - self.nmers + 1, CODON if self.codon else 1)
        return [piece[start : start + self.nmers] for start in starts]


def _letters(alphabet: str | Sequence[str]) -> Sequence[str]:
    if isinstance(alphabet, str):
        if alphabet not in ALPHABETS:
            known = ", ".join(ALPHABETS)
            raise InputError(f"there is no alphabet {alphabet!r}: choose one of {known}, or give letters as a list")
        return ALPHABETS[alphabet]
    if not all(isinstance(letter, str) and len(letter) == 1 for letter in alphabet):
        raise InputError(f"an alphabet must be made of single letters, not {list(alphabet)!r}")
    return alphabet
