"""A FASTA with its index -> codes of any stretch of a contig.

In: a path or URI of a FASTA, plain or bgzip (told by content), with `.fai` (and `.gzi`) beside it or a folder in which
they can be built. A FASTA on a server is copied once to this machine's cache, with its index (see `pipeline.inputs.uris`).
Out: uint8 codes (see `sptx_core.alphabet`) of bases [start, end), 0-based half-open on the plus strand, N beyond the
contig's ends. Soft-masked bases count as their upper case, ambiguity letters as N.

Formats: FASTA index (`name, length, offset, bases a line, bytes a line`) as written by `samtools faidx`, and the
`.gzi` of htslib's `bgzip` (number of entries, then offsets in the compressed and the plain file of each block but the
first; uint64, little-endian). pyfaidx builds both. An index is used when it fits, whatever its age: each header
stands right before its contig and nothing follows the last one; one that does not fit is built anew. Each read
checks besides that lines end where the index says, so that no base is ever taken from the wrong place.

Errors: `InputError` for a file that is no FASTA, or plain gzip, an index that is missing and cannot be built, a letter
that is no nucleotide, and a contig that the FASTA does not hold.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from pyfaidx import Faidx, FastaIndexingError

from pipeline.inputs.uris import local_copy
from sptx_core.alphabet import N_CODE, Codes, encode
from sptx_core.errors import InputError

_DIGEST_BASES = 4 << 20  # bases read at a time for the digest
_DIGEST_THREADS = min(8, os.cpu_count() or 1)
_LONGEST_HEADER = 1 << 16  # bytes; a wider gap between contigs means a wrong index
_GZIP_MAGIC = b"\x1f\x8b"
_BGZF_FLAGS = b"\x1f\x8b\x08\x04"  # gzip with an extra field, whose first subfield is BC (SAM specification, 4.1)


class _Contig(NamedTuple):
    """Line of a `.fai`: bases, byte offset of the first one, and bases and bytes of a line."""

    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def byte(self, base: int) -> int:
        """Offset of a base in the plain file."""
        return self.offset + base // self.line_bases * self.line_bytes + base % self.line_bases

    @property
    def end(self) -> int:
        """Offset of the byte after the last base."""
        return self.byte(self.length - 1) + 1 if self.length else self.offset


class _Misfit(Exception):  # noqa: N818  # not an error yet: the index is built anew
    """The index does not belong to the file."""


class Genome:
    """The contigs of a FASTA. Reading keeps no state, so threads share one; pickled, it is its URI."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._path = local_copy(uri, siblings=tuple(f"{uri.rpartition('/')[2]}{ending}" for ending in (".fai", ".gzi")))
        self._is_bgzf = _is_bgzf(self._path, uri)
        try:
            self._read_index()
        except (_Misfit, FileNotFoundError) as reason:
            self._build_index(reason)
            self._read_index()

    def __reduce__(self) -> tuple[type[Genome], tuple[str]]:
        return Genome, (self.uri,)

    @property
    def lengths(self) -> dict[str, int]:
        """Bases of each contig, in the order of the file."""
        return {name: contig.length for name, contig in self._contigs.items()}

    def fetch(self, contig: str, start: int, end: int) -> Codes:
        """Codes of bases start <= x < end: uint8 [end - start]; N where x lies beyond the contig."""
        record = self._contigs.get(contig)
        if record is None:
            raise InputError(f"{self.uri} has no contig {contig}")
        codes = np.full(end - start, N_CODE, dtype=np.uint8)
        first, last = max(start, 0), min(end, record.length)
        if first < last:
            try:
                codes[first - start : last - start] = self._encoded(record, first, last)
            except (_Misfit, InputError) as error:
                raise InputError(f"{self.uri}, contig {contig} from base {first + 1}: {error}") from error
        return codes

    def digest(self, contigs: Iterable[str]) -> str:
        """Hex SHA-256 of the names and codes of contigs, whatever their order; reads each of them whole."""
        names = sorted(set(contigs))
        with ThreadPoolExecutor(_DIGEST_THREADS) as pool:
            parts = list(pool.map(self._contig_digest, names))
        listing = "".join(f"{name}\t{part}\n" for name, part in zip(names, parts, strict=True))
        return hashlib.sha256(listing.encode()).hexdigest()

    def _contig_digest(self, contig: str) -> str:
        sha = hashlib.sha256()
        for start in range(0, self._contigs[contig].length, _DIGEST_BASES):
            end = min(start + _DIGEST_BASES, self._contigs[contig].length)
            sha.update(self.fetch(contig, start, end).tobytes())
        return sha.hexdigest()

    def _encoded(self, record: _Contig, start: int, end: int) -> Codes:
        """Codes of bases that the contig holds."""
        with self._path.open("rb") as file:
            text = np.frombuffer(self._bytes(file, record.byte(start), record.byte(end - 1) + 1), np.uint8)
        into_line = start % record.line_bases
        lines = (end - 1) // record.line_bases - start // record.line_bases + 1
        # Filled up to whole lines, text is a grid: bases to the left, line ends to the right.
        whole = np.full(lines * record.line_bytes, ord("\n"), np.uint8)
        whole[into_line : into_line + len(text)] = text
        grid = whole.reshape(lines, record.line_bytes)
        if not np.isin(grid[:, record.line_bases :], (ord("\n"), ord("\r"))).all():
            raise _Misfit(f"its index does not fit, lines do not end where {self._path}.fai says; delete the index")
        return encode(grid[:, : record.line_bases].ravel()[into_line : into_line + end - start].tobytes())

    def _bytes(self, file: BinaryIO, first: int, end: int) -> bytes:
        """Bytes [first, end) of the plain text."""
        content = self._text(file, first, end)
        if len(content) < end - first:
            raise _Misfit(f"its index does not fit, the file ends before {self._path}.fai says; delete the index")
        return content

    def _text(self, file: BinaryIO, first: int, end: int) -> bytes:
        """Bytes [first, end) of the plain text, fewer at its end."""
        if self._blocks is None:
            file.seek(first)
            return file.read(end - first)
        packed, plain = self._blocks
        low, high = int(np.searchsorted(plain, first, "right")) - 1, int(np.searchsorted(plain, end, "left"))
        file.seek(int(packed[low]))
        compressed = file.read(int(packed[high] - packed[low])) if high < len(packed) else file.read()
        try:
            return gzip.decompress(compressed)[first - int(plain[low]) : end - int(plain[low])]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise _Misfit(f"its index {self._path}.gzi does not fit, or the file is damaged") from error

    def _read_index(self) -> None:
        """Read the index and check that it fits."""
        self._contigs = _read_fai(Path(f"{self._path}.fai"))
        self._blocks = _read_gzi(Path(f"{self._path}.gzi")) if self._is_bgzf else None
        previous_end = 0
        with self._path.open("rb") as file:
            for name, contig in sorted(self._contigs.items(), key=lambda item: item[1].offset):
                if not 0 < contig.offset - previous_end <= _LONGEST_HEADER:
                    raise _Misfit(f"{self._path}.fai does not fit: {name} cannot start at byte {contig.offset}")
                header = self._bytes(file, previous_end, contig.offset).rstrip().rpartition(b"\n")[2]
                if header[1:].split(maxsplit=1)[:1] != [name.encode()]:
                    raise _Misfit(f"{self._path}.fai does not fit: {name} does not start at byte {contig.offset}")
                previous_end = contig.end
            if self._text(file, previous_end, previous_end + _LONGEST_HEADER).strip():
                raise _Misfit(f"{self._path}.fai does not fit: the file goes on after the last contig")

    def _build_index(self, reason: Exception) -> None:
        """Build the index beside the file, where it appears whole."""
        why = str(reason) if isinstance(reason, _Misfit) else f"{self.uri} has no index"
        try:
            folder = tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".sptx-index-")
        except OSError as error:
            raise InputError(
                f"{why}, and none can be built in {self._path.parent} ({error.strerror}); run `samtools faidx` on "
                "a copy of the file in a folder that can be written"
            ) from error
        with folder:
            link = Path(folder.name) / ("genome.fa.gz" if self._is_bgzf else "genome.fa")  # pyfaidx goes by the name
            link.symlink_to(self._path)
            try:
                Faidx(str(link)).close()
            except (FastaIndexingError, ValueError, OSError) as error:
                problem = str(error).replace(str(link), self.uri)
                raise InputError(f"no index can be built for {self.uri}: {problem}") from error
            for ending in (".fai", ".gzi") if self._is_bgzf else (".fai",):
                Path(f"{link}{ending}").replace(f"{self._path}{ending}")


def _is_bgzf(path: Path, uri: str) -> bool:
    """Whether the file is bgzip; plain gzip is refused."""
    with path.open("rb") as file:
        head = file.read(18)
    if head.startswith(_BGZF_FLAGS) and head[12:14] == b"BC":
        return True
    if head.startswith(_GZIP_MAGIC):
        raise InputError(
            f"{uri} is plain gzip, which cannot be read at random places; "
            f"recompress it with htslib's bgzip: gunzip -c {uri} | bgzip > genome.fa.gz"
        )
    return False


def _read_fai(path: Path) -> dict[str, _Contig]:
    contigs: dict[str, _Contig] = {}
    for line in path.read_text().splitlines():
        name, *numbers = line.split("\t")
        if len(numbers) != len(_Contig._fields) or not all(number.isdecimal() for number in numbers):
            raise _Misfit(f"{path} is no FASTA index")
        contig = _Contig(*map(int, numbers))
        if contig.length and not 0 < contig.line_bases <= contig.line_bytes:
            raise _Misfit(f"{path} is no FASTA index")
        if name in contigs:
            raise InputError(f"{path} holds contig {name} twice; give each contig a name of its own")
        contigs[name] = contig
    return contigs


def _read_gzi(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets of the blocks in the compressed and in the plain file, ascending, the first block's included."""
    content = path.read_bytes()
    numbers = np.frombuffer(content[: len(content) // 8 * 8], dtype="<u8").astype(np.int64)
    if not len(numbers) or len(content) != 8 * (1 + 2 * int(numbers[0])):
        raise _Misfit(f"{path} is no index of a bgzip file")
    blocks = np.concatenate([np.zeros((1, 2), np.int64), numbers[1:].reshape(-1, 2)])
    return blocks[:, 0], blocks[:, 1].copy()
