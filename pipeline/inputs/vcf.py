"""VCF and BCF files as they really are -> their header, and their lines and records one by one.

In: a path or URI of a VCF, plain or gzip (bgzip too), or of a BCF (extra `vcf`); recognised by content, not by name.
Format: the VCF specification 4.1 to 4.5 (samtools/hts-specs). Lines end in LF or CRLF, the last one may lack its end.
The text is read in chunks, so memory holds one chunk and one line, never the file. A byte order mark is left out.

Out: `Vcf` with the header and the lines below it, each as it is written, and `VcfRecord` for each line that is a
record: one that is neither blank nor a comment. No record is left out. One whose columns, CHROM, POS or REF do not
follow the format carries a `problem`, a sentence without file and line; its other fields are what could be understood.
Each ALT is for the caller to judge. Columns behind INFO are read on demand (`VcfRecord.genotype`).

Positions are 1-based, as in the file. Alleles are as written: lower case and IUPAC letters stay. Text that is not UTF-8
has replacement characters in the fields and its own bytes in `raw`.

Errors: `InputError` for a file that cannot be read, is damaged or cut short, or is no VCF.
"""

from __future__ import annotations

import io
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.coordinates import shortened
from pipeline.inputs.bcf import bcf_lines, is_bcf
from pipeline.inputs.bgzip import ends_whole, is_blocked
from pipeline.inputs.genotypes import Genotype, read_genotype
from pipeline.inputs.text import MAX_LINE_BYTES, decompressed, in_lines
from pipeline.inputs.uris import open_input
from sptx_core.errors import InputError
from sptx_core.words import counted

COLUMNS = ("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO")
MAX_POS = 2**31 - 1  # of BCF and of every index
_CHUNK_BYTES = 4 << 20
_MAX_HEADER_BYTES = MAX_LINE_BYTES  # far more than a million contigs need
_FIRST_SAMPLE = len(COLUMNS) + 1  # behind FORMAT
_MAX_SHOWN = 30  # letters of a value that a message quotes
_REF = re.compile(r"[A-Za-z]+")
_HEADER_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,>]*)')


class VcfRecord(NamedTuple):
    """A record; where it has a `problem`, fields that could not be read are empty and `pos` is 0.

    Attributes
    ----------
    number : int
        0-based among the records of the file.
    line : int
        1-based number of its line; of a BCF, in its text.
    chrom, id, ref : str
        As written.
    pos : int
        1-based; 0 is a telomere.
    alts : tuple of str
        As written, at least one: bases, `*`, `.`, `<...>`, a breakend, or whatever else stands there, for each ALT is
        judged by itself.
    raw : bytes
        The line with its end.
    problem : str or None
        What does not follow the format; None for a sound record.
    """

    number: int
    line: int
    chrom: str
    pos: int
    id: str
    ref: str
    alts: tuple[str, ...]
    raw: bytes
    problem: str | None

    def genotype(self, column: int) -> Genotype:
        """The genotype in a column that `VcfHeader.sample` gave."""
        columns = self.raw.rstrip(b"\r\n").split(b"\t", column + 1)
        if len(columns) <= column:  # the line ends before it
            return Genotype(())
        return read_genotype(columns[_FIRST_SAMPLE - 1], columns[column], self.alts)


@dataclass(frozen=True)
class VcfHeader:
    """What stands above the records.

    Attributes
    ----------
    uri : str
        The file, for messages.
    lines : tuple of bytes
        All of it with the ends of lines; the last line is that of the columns (`#CHROM`).
    contigs : dict of str to int or None
        Contigs that `##contig` lines declare, in their order, and how many bases they have where it says.
    samples : tuple of str
    """

    uri: str
    lines: tuple[bytes, ...]
    contigs: dict[str, int | None]
    samples: tuple[str, ...]

    @property
    def text(self) -> str:
        """The lines as text."""
        return b"".join(self.lines).decode(errors="replace")

    def sample(self, name: str) -> int:
        """Find the column of a sample, for `VcfRecord.genotype`.

        Parameters
        ----------
        name : str
            As the header writes it.

        Returns
        -------
        int
            0-based among all columns.

        Raises
        ------
        InputError
            If the file has no such sample, or more than one of that name; the message lists the names.
        """
        if self.samples.count(name) == 1:
            return _FIRST_SAMPLE + self.samples.index(name)
        if not self.samples:
            raise InputError(f"{self.uri} has no samples, so no {name!r}; leave --sample out or give another file")
        held = shortened(self.samples)
        if name in self.samples:
            raise InputError(
                f"{self.uri} has more than one sample {name!r} among {held}; rename them (bcftools reheader)"
            )
        raise InputError(f"{self.uri} has no sample {name!r}; it has {held}")


class Vcf:
    """An open file, read once from its beginning to its end.

    Attributes
    ----------
    header : VcfHeader
    """

    def __init__(self, header: VcfHeader, lines: Iterator[bytes]) -> None:
        self.header, self._lines = header, lines

    def lines(self) -> Iterator[bytes]:
        """All lines below the header with their ends: records (`is_record`), comments and blank ones."""
        return self._lines

    def records(self) -> Iterator[VcfRecord]:
        """The records, in their order."""
        number = 0
        for line, raw in enumerate(self._lines, len(self.header.lines) + 1):
            if is_record(raw):
                yield _record(number, line, raw)
                number += 1


@contextmanager
def open_vcf(uri: str) -> Iterator[Vcf]:
    """Open a file, in a `with` statement.

    Parameters
    ----------
    uri : str
        Path or URI of a VCF or BCF.

    Yields
    ------
    Vcf

    Raises
    ------
    InputError
        If the file cannot be read or is no VCF; while its lines are read, if it is damaged, or cut short.
    """
    lines = _text_lines(uri)
    try:
        yield Vcf(_header(uri, lines), lines)
    finally:
        lines.close()


def is_record(raw: bytes) -> bool:
    """Whether a line below the header is a record, rather than blank or a comment."""
    return not raw.startswith(b"#") and not raw.isspace()


def header_fields(line: str) -> dict[str, str]:
    """Read a structured line of a header, such as `##contig=<ID=1,length=9>`.

    Parameters
    ----------
    line : str
        The line.

    Returns
    -------
    dict
        Key -> value, without quotes; empty for a line of another form.
    """
    _, _, inside = line.partition("=<")
    return {key: value.strip('"') for key, value in _HEADER_FIELD.findall(inside)}


def _text_lines(uri: str) -> Generator[bytes, None, None]:
    """The lines of a file, header included; errors raised where they are used are not taken for the file's."""
    with open_input(uri) as stream:
        if not is_bcf(stream):
            blocked = is_blocked(stream)
            yield from _lines_of_chunks(in_lines(decompressed(stream, uri, _CHUNK_BYTES), uri), uri)
            if blocked and not ends_whole(stream):
                raise InputError(
                    f"{uri} lacks the empty block at the end of a bgzip file, so it may be cut short; copy it again, "
                    f"or recompress it if it is whole: gunzip -c {uri} | bgzip > whole.vcf.gz"
                )
            return
    yield from bcf_lines(uri)


def _lines_of_chunks(chunks: Iterator[bytes], uri: str) -> Iterator[bytes]:
    unfinished = b""
    for chunk in chunks:
        if b"\0" in chunk:
            raise InputError(f"{uri} is not text: give a VCF, plain or gzip, or a BCF")
        text, unfinished = unfinished + chunk, b""
        for line in io.BytesIO(text):  # which splits at LF alone
            if line.endswith(b"\n"):
                yield line
            else:
                unfinished = line
    if unfinished:
        yield unfinished


def _header(uri: str, lines: Iterator[bytes]) -> VcfHeader:
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if line.startswith(b"#CHROM"):
            return VcfHeader(uri, tuple(held), _contigs(held), _samples(line, len(held), uri))
        if is_record(line):
            raise InputError(
                f"{uri} line {len(held)}: no header line #CHROM stands above it; give a VCF with its header, or a BCF"
            )
        if size > _MAX_HEADER_BYTES:
            raise InputError(f"{uri}: no line #CHROM within the first {_MAX_HEADER_BYTES:,} bytes; it is no VCF")
    raise InputError(f"{uri} is no VCF: it {'has no header line #CHROM' if held else 'is empty'}")


def _contigs(lines: list[bytes]) -> dict[str, int | None]:
    contigs: dict[str, int | None] = {}
    for line in lines:
        if line.startswith(b"##contig="):
            fields = header_fields(line.decode(errors="replace"))
            length = fields.get("length", "")
            if fields.get("ID"):
                contigs[fields["ID"]] = int(length) if length.isdecimal() and length.isascii() else None
    return contigs


def _samples(line: bytes, number: int, uri: str) -> tuple[str, ...]:
    """Names of the samples, from the line of the columns, which is checked."""
    columns = line.rstrip(b"\r\n").decode(errors="replace").split("\t")
    if tuple(columns[: len(COLUMNS)]) != COLUMNS:
        raise InputError(f"{uri} line {number}: the columns are not {' '.join(COLUMNS)}, separated by tabs")
    if len(columns) > len(COLUMNS) and columns[len(COLUMNS)] != "FORMAT":
        raise InputError(f"{uri} line {number}: the ninth column is {_shown(columns[len(COLUMNS)])}, not FORMAT")
    return tuple(columns[_FIRST_SAMPLE:])


def _record(number: int, line: int, raw: bytes) -> VcfRecord:
    parts = raw.split(b"\t", len(COLUMNS))
    if len(parts) < len(COLUMNS):
        parts = raw.rstrip(b"\r\n").split(b"\t")
    fields = [part.decode(errors="replace") for part in parts[:5]] + [""] * (5 - len(parts))
    chrom, pos, name, ref, alt = fields
    problem = None
    place = _position(parts[1]) if len(parts) > 1 else None
    if len(parts) < len(COLUMNS):
        problem = f"{counted(len(parts), 'tab-separated column')} where a VCF has at least {len(COLUMNS)}"
    elif not chrom:
        problem = "CHROM is empty"
    elif place is None:
        problem = f"POS is {_shown(pos)}, not a whole number up to {MAX_POS:,}"
    elif not _REF.fullmatch(ref):
        problem = f"REF is {_shown(ref)}, not bases" if ref else "REF is empty"
    return VcfRecord(number, line, chrom, place or 0, name, ref, tuple(alt.split(",")), raw, problem)


def _position(digits: bytes) -> int | None:
    """POS as a number; None where it is none."""
    number = int(digits) if digits.isdigit() and len(digits) <= len(str(MAX_POS)) else None
    return None if number is None or number > MAX_POS else number


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
