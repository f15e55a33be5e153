"""From sequences to token ids, numbered as MultiMolecule's DNA tokenizer numbers them, or as the network does.

By default the six special tokens come first (`<pad>` 0, `<cls>` 1, `<eos>` 2, `<unk>` 3, `<mask>` 4, `<null>` 5), then
the letters of the alphabet or their n-mers, then additional special tokens; `<cls>` is put before each sequence and
`<eos>` after it. `DnaTokenizer.of_network()` numbers A C G T N from 0 to 4, as `SpTransformerModel` reads them: it puts
nothing around a sequence, pads a batch with N, and reads every unknown letter as N.

    >>> from sptx_core.tokenizer import DnaTokenizer
    >>> DnaTokenizer()("GATuaca").input_ids
    [1, 8, 6, 9, 9, 6, 7, 6, 2]
    >>> DnaTokenizer(nmers=2)("gatt")["input_ids"]
    [1, 16, 9, 24, 2]
    >>> DnaTokenizer(codon=True).tokenize("atggcc")
    ['ATG', 'GCC']
    >>> DnaTokenizer(codon=True)("atggccta")
    Traceback (most recent call last):
    sptx_core.errors.InputError: length of input sequence must be a multiple of 3 for codon tokenization, but got 8
    >>> tokenizer = DnaTokenizer.of_network()
    >>> tokenizer(["acgt", "nu"], padding=True)
    {'input_ids': [[0, 1, 2, 3], [4, 3, 4, 4]], 'attention_mask': [[1, 1, 1, 1], [1, 1, 0, 0]]}
    >>> tokenizer.encode("acgtacgt", max_length=5, truncation=True)
    [0, 1, 2, 3, 0]
    >>> tokenizer.batch_decode([[0, 1], [4, 3]])
    ['A C', 'N T']

Tokenizers are saved in MultiMolecule's two files: `vocab.txt`, a token a line in the order of the ids, and
`tokenizer_config.json`. Impossible settings and sequences are an `InputError`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sptx_core.alphabet import BASES
from sptx_core.encoding import Encoding, batch, kept, plain_ids
from sptx_core.errors import InputError
from sptx_core.tokenizer_files import SETTINGS_FILE, VOCABULARY_FILE, read_tokenizer, write_tokenizer
from sptx_core.vocabulary import (
    ALPHABETS,
    CLS,
    EOS,
    MASK,
    NULL,
    PAD,
    SPECIAL_TOKENS,
    UNK,
    Cutting,
    SpecialTokens,
    Vocabulary,
    alphabet_tokens,
)

if TYPE_CHECKING:
    from sptx_core.checkpoint.hub import Token

__all__ = ["ALPHABETS", "DnaTokenizer", "Encoding"]


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
        Whether lower case is read as upper case (a to z); otherwise lower-case letters are unknown.
    additional_special_tokens
        Further special tokens, a list of words, which are recognised in sequences and numbered last.
    cls_token, eos_token
        What is put before and after each sequence; None for nothing.
    pad_token
        What fills up shorter sequences of a batch; without it a batch cannot be filled up.
    unk_token
        What stands for unknown letters; without it they are refused.
    mask_token, null_token, sep_token
        Recognised in sequences, as all special tokens are.
    bos_token
        What is put before each sequence in place of `cls_token`; the empty default stands for `cls_token`.

    Attributes
    ----------
    cls_token, cls_token_id, ...
        Each special token and its id, None for one that there is not. They cannot be set.

    Raises
    ------
    InputError
        The settings contradict each other, two tokens are the same, or one is no word.
    """

    cls_token: str | None
    eos_token: str | None
    pad_token: str | None
    unk_token: str | None
    mask_token: str | None
    null_token: str | None
    sep_token: str | None
    bos_token: str | None
    cls_token_id: int | None
    eos_token_id: int | None
    pad_token_id: int | None
    unk_token_id: int | None
    mask_token_id: int | None
    null_token_id: int | None
    sep_token_id: int | None
    bos_token_id: int | None

    def __init__(
        self,
        alphabet: str | Sequence[str] | None = None,
        nmers: int = 1,
        codon: bool = False,
        replace_U_with_T: bool = True,  # noqa: N803  # MultiMolecule's name
        do_upper_case: bool = True,
        additional_special_tokens: Iterable[str] | None = None,
        *,
        cls_token: str | None = CLS,
        eos_token: str | None = EOS,
        pad_token: str | None = PAD,
        unk_token: str | None = UNK,
        mask_token: str | None = MASK,
        null_token: str | None = NULL,
        sep_token: str | None = EOS,
        bos_token: str | None = "",
    ) -> None:
        cutting = Cutting(nmers, codon, replace_U_with_T, do_upper_case)
        tokens = [*SPECIAL_TOKENS, *alphabet_tokens(alphabet, cutting.nmers)]
        if isinstance(additional_special_tokens, str) or not isinstance(additional_special_tokens, Iterable | None):
            raise InputError(f"additional_special_tokens must be a list of words, not {additional_special_tokens!r}")
        special = SpecialTokens(
            bos=cls_token if bos_token == "" else bos_token,
            eos=eos_token,
            unk=unk_token,
            sep=sep_token,
            pad=pad_token,
            cls=cls_token,
            mask=mask_token,
            additional=tuple(additional_special_tokens or ()),
            null=null_token,
        )
        if len({*tokens, *special.additional}) < len(tokens) + len(special.additional):
            raise InputError("letters of the alphabet and special tokens must all be different")
        self._set_up(Vocabulary(tokens, special, cutting.nmers), cutting)

    def _set_up(self, vocabulary: Vocabulary, cutting: Cutting) -> None:
        self._vocabulary, self._cutting = vocabulary, cutting
        for role, token in vocabulary.special.by_role().items():
            number = None if token is None else vocabulary.ids[token]
            vars(self).update({f"{role}_token": token, f"{role}_token_id": number})

    def __setattr__(self, name: str, value: Any) -> None:
        if name in DnaTokenizer.__annotations__ or name == "additional_special_tokens":
            setting = name.removesuffix("_id")
            raise AttributeError(f"{name} cannot be set: make a DnaTokenizer({setting}=...) with the one that you want")
        super().__setattr__(name, value)

    @classmethod
    def _of(cls, vocabulary: Vocabulary, cutting: Cutting) -> Self:
        tokenizer = cls.__new__(cls)
        tokenizer._set_up(vocabulary, cutting)
        return tokenizer

    @classmethod
    def of_network(cls) -> Self:
        """Make the tokenizer whose ids `SpTransformerModel` reads: A C G T N are 0 to 4, there are no other tokens."""
        return cls._of(Vocabulary(list(BASES), SpecialTokens(pad="N", unk="N")), Cutting())

    @classmethod
    def from_pretrained(
        cls, source: str | os.PathLike[str], *, revision: str | None = None, token: Token = None
    ) -> Self:
        """Load a tokenizer that was saved, here or by MultiMolecule.

        Parameters
        ----------
        source
            A folder or a hub id. A file of a checkpoint, and a checkpoint without a tokenizer, has that of
            `of_network`.
        revision, token
            For a hub id, as in `SpTransformerModel.from_pretrained`.

        Raises
        ------
        InputError
            There is no such folder or checkpoint, or its tokenizer cannot be read.
        """
        from sptx_core.checkpoint import CONFIG_FILE, load_config, locate_some  # late: that package loads PyTorch

        path = locate_some(source, [SETTINGS_FILE, VOCABULARY_FILE, CONFIG_FILE], revision=revision, token=token)
        if (path / SETTINGS_FILE).is_file():
            return cls._of(*read_tokenizer(path))
        if path.is_dir():
            load_config(path)  # another network would have another tokenizer
        return cls.of_network()

    def save_pretrained(self, directory: str | os.PathLike[str]) -> None:
        """Write `vocab.txt` and `tokenizer_config.json`, from which MultiMolecule's tokenizer can be loaded, too.

        Parameters
        ----------
        directory
            The folder, which `from_pretrained` then reads; it is made if need be.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        write_tokenizer(Path(directory), self._vocabulary, self._cutting)

    # --- the vocabulary ----------------------------------------------------------------------------------------------

    @property
    def nmers(self) -> int:
        """Letters in a token."""
        return self._cutting.nmers

    @property
    def codon(self) -> bool:
        """Whether tokens are codons."""
        return self._cutting.codon

    @property
    def replace_U_with_T(self) -> bool:  # noqa: N802  # MultiMolecule's name
        """Whether U is read as T."""
        return self._cutting.replace_U_with_T

    @property
    def do_upper_case(self) -> bool:
        """Whether lower case is read as upper case."""
        return self._cutting.do_upper_case

    @property
    def vocabulary(self) -> dict[str, int]:
        """The id of each token."""
        return dict(self._vocabulary.ids)

    def get_vocab(self) -> dict[str, int]:
        """Give the id of each token."""
        return self.vocabulary

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self._vocabulary.tokens)

    def __len__(self) -> int:
        return self.vocab_size

    @property
    def all_special_tokens(self) -> list[str]:
        """Every special token, once."""
        return self._vocabulary.special.all()

    @property
    def all_special_ids(self) -> list[int]:
        """The id of each special token."""
        return [self._vocabulary.ids[token] for token in self.all_special_tokens]

    def convert_tokens_to_ids(self, tokens: Any) -> Any:
        """Give the id of a token, or the list of those of several; unknown ones have that of `unk_token`.

        Raises
        ------
        InputError
            Something is no text, or a token is unknown and there is no `unk_token`.
        """
        try:
            return self._numbers([tokens])[0] if isinstance(tokens, str) else self._numbers(tokens)
        except TypeError:
            raise InputError(f"tokens must be text or a list of text, not {tokens!r:.80}") from None

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """Give the token of an id, or the list of those of several, in a list or a tensor.

        Raises
        ------
        InputError
            Something is no integer, or an id is the number of no token.
        """
        ids = plain_ids(ids)
        if isinstance(ids, int):
            return self._tokens([ids])[0]
        tokens = self._tokens(ids)
        return [x for x in tokens if x not in self._vocabulary.marks] if skip_special_tokens else tokens

    # --- from sequences to ids ---------------------------------------------------------------------------------------

    def __call__(
        self,
        sequences: str | Sequence[str],
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        return_tensors: str | None = None,
    ) -> Encoding:
        """Turn one sequence or several into ids.

        Parameters
        ----------
        sequences
            A string, or a list of strings.
        add_special_tokens
            Whether to put `bos_token` before each sequence and `eos_token` after it.
        padding
            True or "longest" fills up shorter sequences to the length of the longest, "max_length" all to `max_length`;
            False or "do_not_pad" none.
        truncation
            True, "longest_first" or "only_first" cuts longer sequences at their end to `max_length` ids, those around
            it included; False or "do_not_truncate" leaves them. The default, None, cuts if `padding` is False.
        max_length
            Ids of a sequence; None for any number.
        return_tensors
            "pt" for int64 tensors [B, L], which one sequence gives too (B = 1); None for lists.

        Returns
        -------
        Encoding
            Ids and mask.

        Raises
        ------
        InputError
            A sequence is no text or no whole number of codons, sequences of several lengths shall make a tensor, or the
            settings are impossible.
        """
        before, after = (self.bos_token_id, self.eos_token_id) if add_special_tokens else (None, None)
        around = [[] if number is None else [number] for number in (before, after)]
        room = kept(padding, truncation, max_length, sum(map(len, around)))
        if not isinstance(sequences, Iterable):
            raise InputError(f"a sequence must be text, or sequences a list of text, not {sequences!r:.80}")
        several: Sequence[str] = [sequences] if isinstance(sequences, str) else sequences
        rows = [[*around[0], *self._numbers(self.tokenize(sequence))[:room], *around[1]] for sequence in several]
        found = batch(rows, padding, max_length, self.pad_token_id, return_tensors)
        if isinstance(sequences, str) and return_tensors is None:
            return Encoding({name: lists[0] for name, lists in found.items()})
        return found

    def encode(self, sequences: str | Sequence[str], **settings: Any) -> Any:
        """Give the `input_ids` alone; the settings are those of a call."""
        return self(sequences, **settings).input_ids

    def tokenize(self, sequence: str) -> list[str]:
        """Cut a sequence into tokens, known or not, without those around it.

        Raises
        ------
        InputError
            The sequence is no text or no whole number of codons.
        """
        if not isinstance(sequence, str):
            raise InputError(f"a sequence must be text, not {sequence!r:.80}")
        pieces = self._vocabulary.split(sequence)
        return [token for piece, special in pieces for token in ([piece] if special else self._cutting.tokens(piece))]

    # --- from ids to sequences ---------------------------------------------------------------------------------------

    def decode(self, ids: Any, *, skip_special_tokens: bool = False) -> Any:
        """Turn ids into tokens.

        Parameters
        ----------
        ids
            An integer, or integers [L], in a list or a tensor; [B, L] is decoded as by `batch_decode`.
        skip_special_tokens
            Whether to leave special tokens out. Letters stay, also those that fill up a batch or stand for others.

        Returns
        -------
        str
            The tokens with a space between two; a list of them for [B, L].

        Raises
        ------
        InputError
            Something is no integer, or an id is the number of no token.
        """
        ids = plain_ids(ids)
        if isinstance(ids, int):
            ids = [ids]
        if ids and isinstance(ids[0], list):
            return self.batch_decode(ids, skip_special_tokens=skip_special_tokens)
        return " ".join(self.convert_ids_to_tokens(ids, skip_special_tokens))

    def batch_decode(self, sequences: Any, *, skip_special_tokens: bool = False) -> list[str]:
        """Turn ids [B, L], in lists or a tensor, into a string each; see `decode`."""
        if isinstance(sequences, int | str | bytes) or not isinstance(sequences, Iterable):
            raise InputError(f"ids must be lists of integers, not {sequences!r:.80}")
        return [self.decode(ids, skip_special_tokens=skip_special_tokens) for ids in sequences]

    def _numbers(self, tokens: Iterable[str]) -> list[int]:
        known, unknown = self._vocabulary.ids, self.unk_token_id
        if unknown is not None:
            return [known.get(token, unknown) for token in tokens]
        try:
            return [known[token] for token in tokens]
        except KeyError as error:
            raise InputError(f"{error} is no token, and there is no unk_token for it") from None

    def _tokens(self, ids: Iterable[int]) -> list[str]:
        numbers = [*ids]
        if wrong := {*map(type, numbers)} - {int, bool}:
            raise InputError(f"ids must be integers, found {next(x for x in numbers if type(x) in wrong)!r:.80}")
        if any(not 0 <= number < len(self) for number in numbers):
            raise InputError(f"ids must be 0..{len(self) - 1}, found {min(numbers)}..{max(numbers)}")
        return [self._vocabulary.tokens[number] for number in numbers]
