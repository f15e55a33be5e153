"""The index of a FASTA: where each contig lies in the text, read from a `.fai` or found by reading the text once.

Format: the FASTA index of `samtools faidx` (faidx(5)), one line a contig in the order of the file: name, bases, offset
of the first base, bases and bytes of a full line, separated by tabs. Offsets are in bytes of the text, decompressed.

A FASTA is read as samtools reads it. A contig's name is the first word after `>`. All lines of a contig but the last
have the same number of bases and the same line end (LF or CRLF). Blank lines may stand before, between and after
contigs, not within one. In addition a UTF-8 byte order mark may begin the file, contigs without a base are listed
(samtools leaves them out), and what samtools takes in silence is refused: two contigs of one name, a contig without a
name, and white space within a line of sequence.

Errors: `InputError` with the number of the line for text that is no FASTA; `IndexMismatch` for an index that is none.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from pipeline.inputs.bgzip import IndexMismatch
from sptx_core.errors import InputError

BOM = codecs.BOM_UTF8
CHUNK_BYTES = 4 << 20  # of text searched for line ends at a time
_MAX_HEADER_BYTES = 1 << 20  # a longer line that begins with ">" is no header
_NUMBER = r"\t([0-9]{1,18})"  # less than 2**63
_FAI_LINE = re.compile(rf"^([^\t\n]+){4 * _NUMBER}\r?$", re.MULTILINE)
_FIRST, _LAST = np.uint8(ord("!")), np.uint8(ord("~"))  # of the characters of ASCII that are visible
_LF, _CR, _HEADER = b"\n\r>"

_BEFORE = "text before the first contig, whose line begins with `>`"
_UNEVEN = (
    "the line is longer than those of its contig before it, or follows a shorter or blank one; all but the last must "
    "have the same number of bases and the same line end, or places cannot be found in the file"
)
_WHITE = "white space or a character that is no letter of ASCII within a line of sequence"

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]  # of letters, as the file holds them


class Contig(NamedTuple):
    """One line of a `.fai`: bases of the contig, byte offset of its first base, bases and bytes of a full line."""

    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def byte(self, base: int) -> int:
        """Byte offset of a base (0-based) in the text."""
        return self.offset + base // self.line_bases * self.line_bytes + base % self.line_bases

    @property
    def end(self) -> int:
        """Byte offset after the last base."""
        return self.byte(self.length - 1) + 1 if self.length else self.offset


def read_fai(path: Path) -> dict[str, Contig]:
    """Read a `.fai`.

    Parameters
    ----------
    path : Path
        The index.

    Returns
    -------
    dict
        Name -> contig, in the order of the file.

    Raises
    ------
    IndexMismatch
        The file is no index.
    OSError
        As the file system raises it.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        raise IndexMismatch(f"{path} is no text") from None
    found = _FAI_LINE.findall(text)
    contigs = {name: Contig(*map(int, numbers)) for name, *numbers in found}
    is_whole = len(contigs) == text.count("\n") + (not text.endswith("\n"))
    if not is_whole or any(length and not 0 < bases <= size for length, _, bases, size in contigs.values()):
        raise IndexMismatch(f"{path} is no FASTA index")
    return contigs


def fai_text(contigs: dict[str, Contig]) -> str:
    """The content of a `.fai`."""
    return "".join("\t".join(map(str, (name, *contig))) + "\n" for name, contig in contigs.items())


def find_contigs(chunks: Iterable[bytes], uri: str, chunk_bytes: int = CHUNK_BYTES) -> dict[str, Contig]:
    """Read a FASTA from its beginning to its end, and find its contigs.

    Parameters
    ----------
    chunks : iterable of bytes
        The text in pieces of any size.
    uri : str
        Name of the file, for messages.
    chunk_bytes : int
        Small pieces are joined to about as many bytes, which are searched at once.

    Returns
    -------
    dict
        Name -> contig, in the order of the file.

    Raises
    ------
    InputError
        The text is no FASTA.
    """
    search = _Search(uri)
    pending, size = [], 0
    for chunk in chunks:
        pending.append(chunk)
        size += len(chunk)
        if size >= chunk_bytes:
            search.take(b"".join(pending))
            pending, size = [], 0
    search.take(b"".join(pending))
    return search.end()


class _Stretches(NamedTuple):
    """Lines of sequence in a piece of text by contig: where the contig begins there, and what they add to it."""

    begins: Ints
    bases: Ints
    line_bases: Ints
    line_bytes: Ints
    is_over: Flags

    def of_contigs(self) -> Iterator[list[int]]:
        """All but `begins`, as lists."""
        return (column.tolist() for column in self[1:])


def _is_invisible(codes: Codes) -> Flags:
    """Whether letters are white space, control codes or none of ASCII."""
    return codes - _FIRST > _LAST - _FIRST  # below the first, the difference wraps around


class _Search:
    """Reads text piece by piece; keeps the contig that it is in, and what has come of an unfinished line."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.contigs: dict[str, Contig] = {}
        self.offset = 0  # of the text taken so far, the unfinished line left out
        self.line = 1  # number of the line that begins there
        self.rest = b""  # the unfinished line: all of a header, the last byte of sequence
        self.hidden = 0  # bytes of the unfinished line before `rest`
        self.name: str | None = None
        self.contig = Contig(0, 0, 0, 0)
        self.is_over = False  # the contig has had a short or a blank line, its last

    def take(self, text: bytes) -> None:
        """Go on with the next piece."""
        if self.offset == 0 and self.line == 1 and not self.rest and text.startswith(BOM):
            text = text[len(BOM) :]
            self.offset = len(BOM)
        text = self.rest + text
        whole = text.rfind(b"\n") + 1
        if whole:
            self._lines(text[:whole])
            self.hidden = 0
        self._keep(text[whole:])

    def end(self) -> dict[str, Contig]:
        """Finish, and give the contigs."""
        if self.rest:
            self._lines(self.rest + b"\n")  # as samtools counts a last line without its end
        self._finish()
        if not any(contig.length for contig in self.contigs.values()):
            raise InputError(f"{self.uri} holds no base: a FASTA has lines of `>name`, each followed by its sequence")
        return self.contigs

    def _keep(self, rest: bytes) -> None:
        """Keep an unfinished line, of sequence only how long it is."""
        if self.hidden or not rest.startswith(b">"):
            if self.name is None and rest:
                self._refuse(self.line, _BEFORE)
            if not self.hidden and len(rest) <= _MAX_HEADER_BYTES and not rest.strip():
                self.rest = rest  # so far a blank line
                return
            codes = np.frombuffer(rest[:-1], np.uint8)
            if _is_invisible(codes).any():
                self._refuse(self.line, _WHITE)
            self.hidden += len(codes)
            rest = rest[-1:]
        elif len(rest) > _MAX_HEADER_BYTES:
            self._refuse(self.line, "the line begins with `>`, but it is too long for the name of a contig")
        self.rest = rest

    def _lines(self, text: bytes) -> None:
        """Take whole lines, of which the first may have begun before with `hidden` bytes."""
        codes = np.frombuffer(text, np.uint8)
        is_invisible = _is_invisible(codes)
        at = np.flatnonzero(is_invisible)
        ends = at[codes[at] == _LF] + 1
        starts = np.concatenate([[0], ends[:-1]])
        is_header = codes[starts] == _HEADER
        is_header[0] &= not self.hidden
        blanks = at[(codes[at] != _LF) & ~((codes[at] == _CR) & (codes[np.minimum(at + 1, len(codes) - 1)] == _LF))]
        sizes = ends - starts
        is_blank = np.add.reduceat(is_invisible.astype(np.int64), starts) == sizes
        is_blank[0] &= not self.hidden
        self._check_blanks(codes, blanks, ends, is_header, is_blank)
        crlf = (codes[ends - 2] == _CR) & (sizes > 1)  # ends - 2 may be -1: then the line is a lone LF
        sizes[0] += self.hidden
        bases = np.where(is_header | is_blank, 0, sizes - 1 - crlf)
        stretches = self._stretches(sizes, bases, is_header)
        offsets = self.offset + np.cumsum(sizes)  # of the line after each
        for begin, after, length, line_bases, line_bytes, is_over in zip(
            stretches.begins.tolist(), offsets[stretches.begins].tolist(), *stretches.of_contigs(), strict=True
        ):
            if is_header[begin]:
                self._begin(text[starts[begin] : ends[begin]], self.line + begin, after)
            self.contig = Contig(self.contig.length + length, self.contig.offset, line_bases, line_bytes)
            self.is_over = self.is_over or is_over
        self.offset, self.line = int(offsets[-1]), self.line + len(sizes)

    def _stretches(self, sizes: Ints, bases: Ints, is_header: Flags) -> _Stretches:
        """Lines (their bytes and bases) by contig; refuses lines of which an index cannot tell where they are."""
        lines, count = np.arange(len(sizes)), len(sizes)
        goes_on = not is_header[0]
        begins = np.concatenate([[0] if goes_on else [], np.flatnonzero(is_header)]).astype(np.int64)
        owner = np.cumsum(is_header) - (0 if goes_on else 1)
        if goes_on and self.name is None and bases[owner == 0].any():
            self._refuse(self.line + int(np.flatnonzero(bases)[0]), _BEFORE)
        first = np.minimum(begins + is_header[begins], count - 1)  # its first line, or a header, which has no base
        line_bases, line_bytes = bases[first], np.where(bases[first] > 0, sizes[first], 0)
        if goes_on and (self.contig.line_bases or self.is_over):
            line_bases[0], line_bytes[0] = self.contig.line_bases, self.contig.line_bytes
        is_full = (sizes == line_bytes[owner]) & (bases == line_bases[owner])
        last = np.minimum.reduceat(np.where(is_header | is_full, count, lines), begins)
        if goes_on and self.is_over:
            last[0] = -1
        is_longer = (bases > line_bases[owner]) | (sizes > line_bytes[owner])
        uneven = (bases > 0) & ((lines > last[owner]) | ((lines == last[owner]) & is_longer))
        if uneven.any():
            self._refuse(self.line + int(np.flatnonzero(uneven)[0]), _UNEVEN)
        return _Stretches(begins, np.add.reduceat(bases, begins), line_bases, line_bytes, last < count)

    def _check_blanks(self, codes: Codes, blanks: Ints, ends: Ints, is_header: Flags, is_blank: Flags) -> None:
        """Refuse white space that is no line end, but for blank lines and what separates the words of a header."""
        lines = np.searchsorted(ends, blanks, "right")
        faulty = ~is_blank[lines] & (~is_header[lines] | (codes[blanks] == _CR))
        if faulty.any():
            first = np.flatnonzero(faulty)[0]
            line = int(lines[first])
            if self.name is None and not is_header[: line + 1].any():
                self._refuse(self.line + line, _BEFORE)
            if codes[blanks[first]] == _CR:
                self._refuse(self.line + line, "a carriage return that no line feed follows; lines end in LF or CRLF")
            self._refuse(self.line + line, _WHITE)

    def _begin(self, header: bytes, line: int, offset: int) -> None:
        """Begin the contig whose first line of sequence lies at `offset`."""
        self._finish()
        words = header[1:].split(maxsplit=1)
        if not words:
            self._refuse(line, "`>` without the name of a contig")
        try:
            self.name = words[0].decode()
        except UnicodeDecodeError:
            self._refuse(line, f"the name of contig {words[0]!r} is not UTF-8 text")
        if any(letter < " " or letter == "\x7f" for letter in self.name):
            self._refuse(line, f"the name of contig {self.name!r} holds a control code")
        if self.name in self.contigs:
            self._refuse(line, f"contig {self.name} is there a second time; names of contigs must differ")
        self.contig, self.is_over = Contig(0, offset, 0, 0), False

    def _finish(self) -> None:
        if self.name is not None:
            self.contigs[self.name] = self.contig

    def _refuse(self, line: int, problem: str) -> NoReturn:
        raise InputError(f"{self.uri} line {line}: {problem}")
