"""Bases as numbers: A C G T N are the codes 0 1 2 3 4.

Codes are one byte a base, in uint8 arrays of one dimension. Text is accepted in either case (lower case is soft
masking), U counts as T, and the IUPAC ambiguity letters count as N; any other character is an `InputError` that names
it and its 0-based offset. `sptx_core.tokenizer` makes batches of ids from several sequences.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sptx_core.errors import InputError

Codes = npt.NDArray[np.uint8]

BASES = "ACGTN"
N_CODE = BASES.index("N")

_AMBIGUOUS = "RYSWKMBDHV"  # IUPAC letters for two or three possible bases
_INVALID = 255


def _code_of_byte() -> Codes:
    codes = np.full(256, _INVALID, dtype=np.uint8)
    for code, letters in enumerate(("A", "C", "G", "TU", "N" + _AMBIGUOUS)):
        for letter in letters + letters.lower():
            codes[ord(letter)] = code
    return codes


_CODE_OF_BYTE = _code_of_byte().tobytes()
_BYTE_OF_CODE = np.frombuffer(BASES.encode(), dtype=np.uint8)
_COMPLEMENT = np.array([BASES.index(base) for base in "TGCAN"], dtype=np.uint8)


def encode(sequence: str | bytes) -> Codes:
    """Turn a sequence into codes.

    Parameters
    ----------
    sequence
        Nucleotides as text, or the same in ASCII bytes.

    Returns
    -------
    ndarray
        uint8 [len(sequence)], 0 to 4.

    Raises
    ------
    InputError
        A character is no nucleotide and no IUPAC ambiguity letter.
    """
    text = sequence.encode("ascii", errors="replace") if isinstance(sequence, str) else sequence
    # An array as the table would take four times as long.
    codes: Codes = np.frombuffer(bytearray(text).translate(_CODE_OF_BYTE), dtype=np.uint8)
    if (codes == _INVALID).any():
        offset = int(np.argmax(codes == _INVALID))
        found = sequence[offset] if isinstance(sequence, str) else chr(text[offset])
        raise InputError(
            f"{found!r} at offset {offset} (0-based) is no nucleotide; expected A, C, G, T, U, N or an IUPAC code"
        )
    return codes


def decode(codes: Codes) -> str:
    """Turn codes into an upper-case sequence: the inverse of `encode`, except for case, U and ambiguity letters.

    Parameters
    ----------
    codes
        uint8 [length], 0 to 4.

    Returns
    -------
    str
        Of A, C, G, T and N.

    Raises
    ------
    InputError
        A code is above 4.
    """
    if codes.size and codes.max() > N_CODE:
        raise InputError(f"code {codes.max()} is no nucleotide; expected 0..{N_CODE} ({' '.join(BASES)})")
    return _BYTE_OF_CODE[codes].tobytes().decode("ascii")


def reverse_complement(codes: Codes) -> Codes:
    """Read the opposite strand 5' to 3'.

    Parameters
    ----------
    codes
        uint8 [length], 0 to 4.

    Returns
    -------
    ndarray
        uint8 [length], a new contiguous array; N stays N.
    """
    return _COMPLEMENT[codes[::-1]]
