"""An indexed FASTA -> the bases of any stretch of a contig.

In: a path or URI of a FASTA, plain or bgzip (recognised by content). Its index `.fai` (and `.gzi` for bgzip) lies
beside it or is built there. A FASTA on a server is copied once to this machine's cache, with its index
(`pipeline.inputs.uris`).

Out: codes of bases [start, end) as uint8 (`sptx_core.alphabet`), 0-based half-open on the plus strand, N beyond the
contig's ends. Lower case (soft masking) reads as upper case, and ambiguity letters read as N.

Formats: the FASTA index as `samtools faidx` writes it (name, length, offset, bases a line, bytes a line), and the
`.gzi` of htslib's `bgzip`: the number of entries, then for every block but the first its offset in the compressed and
in the plain file, all uint64, little-endian. pyfaidx builds both. An index is used if it fits the file, whatever the
ages of the two: each header must stand right before its contig, and nothing may follow the last contig. An index that
does not fit is built anew. In addition every read checks that lines end where the index says, so that no base is ever
taken from a wrong place.

Errors: `InputError` for a file that is not a FASTA, or is plain gzip; for an index that is missing and cannot be built;
for a letter that is no nucleotide; and for a contig that the FASTA does not hold.
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

from pipeline.inputs.text import GZIP_MAGIC
from pipeline.inputs.uris import local_copy
from sptx_core.alphabet import N_CODE, Codes, encode
from sptx_core.errors import InputError

DIGEST_CHUNK_BASES = 4 << 20  # bases in memory at a time for a digest
_DIGEST_THREADS = min(8, os.cpu_count() or 1)
_MAX_HEADER_BYTES = 1 << 16  # more bytes between two contigs mean that the index is wrong
_BGZF_MAGIC = GZIP_MAGIC + b"\x08\x04"  # gzip with an extra field; its first subfield is BC (SAM specification, 4.1)


class _Contig(NamedTuple):
    """One line of a `.fai`: bases of the contig, byte offset of its first base, bases and bytes of a full line."""

    length: int
    offset: int
    line_bases: int
    line_bytes: int

    def byte(self, base: int) -> int:
        """Byte offset of a base (0-based) in the plain file."""
        return self.offset + base // self.line_bases * self.line_bytes + base % self.line_bases

    @property
    def end(self) -> int:
        """Byte offset after the last base."""
        return self.byte(self.length - 1) + 1 if self.length else self.offset


class _IndexMismatch(Exception):  # noqa: N818  # no error for the caller: the index is then built anew
    """The index does not fit the file."""


class Genome:
    """The contigs of a FASTA.

    Reading leaves the object unchanged, so threads may share it. It is pickled as its URI and opened again elsewhere.

    Parameters
    ----------
    uri : str
        Path or URI of the FASTA.

    Raises
    ------
    InputError
        If the file is no FASTA, is plain gzip, or has no index and none can be built.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._path = local_copy(uri, siblings=tuple(f"{uri.rpartition('/')[2]}{ending}" for ending in (".fai", ".gzi")))
        self._is_bgzf = _is_bgzf(self._path, uri)
        try:
            self._read_index()
        except (_IndexMismatch, FileNotFoundError) as reason:
            self._build_index(reason)
            self._read_index()

    def __reduce__(self) -> tuple[type[Genome], tuple[str]]:
        return Genome, (self.uri,)

    @property
    def lengths(self) -> dict[str, int]:
        """Number of bases of each contig, in the order of the file."""
        return {name: contig.length for name, contig in self._contigs.items()}

    def fetch(self, contig: str, start: int, end: int) -> Codes:
        """Read a stretch of a contig.

        Parameters
        ----------
        contig : str
            Name in the FASTA.
        start, end : int
            0-based, half-open; both may lie beyond the contig's ends.

        Returns
        -------
        numpy.ndarray
            Codes of the plus strand, uint8 [end - start]; N beyond the contig's ends.

        Raises
        ------
        InputError
            If the FASTA does not hold the contig, a letter is no nucleotide, or the index does not fit.
        """
        record = self._contigs.get(contig)
        if record is None:
            raise InputError(f"{self.uri} has no contig {contig}")
        codes = np.full(end - start, N_CODE, dtype=np.uint8)
        first, last = max(start, 0), min(end, record.length)
        if first < last:
            try:
                codes[first - start : last - start] = self._read_bases(record, first, last)
            except (_IndexMismatch, InputError) as error:
                raise InputError(f"{self.uri}, contig {contig} from base {first + 1}: {error}") from error
        return codes

    def digest(self, contigs: Iterable[str]) -> str:
        """Digest the names and bases of contigs; letter case and the container do not change it.

        Parameters
        ----------
        contigs : iterable of str
            Names in the FASTA, in any order. Each contig is read whole.

        Returns
        -------
        str
            SHA-256, in hexadecimal.
        """
        names = sorted(set(contigs))
        with ThreadPoolExecutor(_DIGEST_THREADS) as pool:
            parts = list(pool.map(self._contig_digest, names))
        listing = "".join(f"{name}\t{part}\n" for name, part in zip(names, parts, strict=True))
        return hashlib.sha256(listing.encode()).hexdigest()

    def _contig_digest(self, contig: str) -> str:
        sha = hashlib.sha256()
        for start in range(0, self._contigs[contig].length, DIGEST_CHUNK_BASES):
            end = min(start + DIGEST_CHUNK_BASES, self._contigs[contig].length)
            sha.update(self.fetch(contig, start, end).tobytes())
        return sha.hexdigest()

    def _read_bases(self, record: _Contig, start: int, end: int) -> Codes:
        """Codes of bases [start, end), which lie within the contig."""
        with self._path.open("rb") as file:
            text = np.frombuffer(self._read_exactly(file, record.byte(start), record.byte(end - 1) + 1), np.uint8)
        into_line = start % record.line_bases
        lines = (end - 1) // record.line_bases - start // record.line_bases + 1
        # Padded to whole lines, the text is a grid [lines, line_bytes] with the line ends in its last columns.
        whole = np.full(lines * record.line_bytes, ord("\n"), np.uint8)
        whole[into_line : into_line + len(text)] = text
        grid = whole.reshape(lines, record.line_bytes)
        if not np.isin(grid[:, record.line_bases :], (ord("\n"), ord("\r"))).all():
            raise _IndexMismatch(
                f"its index does not fit, lines do not end where {self._path}.fai says; delete the index"
            )
        return encode(grid[:, : record.line_bases].ravel()[into_line : into_line + end - start].tobytes())

    def _read_exactly(self, file: BinaryIO, first: int, end: int) -> bytes:
        """Bytes [first, end) of the plain text, all of which the file must hold."""
        content = self._read_up_to(file, first, end)
        if len(content) < end - first:
            raise _IndexMismatch(
                f"its index does not fit, the file ends before {self._path}.fai says; delete the index"
            )
        return content

    def _read_up_to(self, file: BinaryIO, first: int, end: int) -> bytes:
        """Bytes [first, end) of the plain text, or fewer where the text ends before `end`."""
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
            raise _IndexMismatch(f"its index {self._path}.gzi does not fit, or the file is damaged") from error

    def _read_index(self) -> None:
        """Read the index and check that it fits the file."""
        self._contigs = _read_fai(Path(f"{self._path}.fai"))
        self._blocks = _read_gzi(Path(f"{self._path}.gzi")) if self._is_bgzf else None
        previous_end = 0
        with self._path.open("rb") as file:
            for name, contig in sorted(self._contigs.items(), key=lambda item: item[1].offset):
                if not 0 < contig.offset - previous_end <= _MAX_HEADER_BYTES:
                    raise _IndexMismatch(f"{self._path}.fai does not fit: {name} cannot start at byte {contig.offset}")
                header = self._read_exactly(file, previous_end, contig.offset).rstrip().rpartition(b"\n")[2]
                if header[1:].split(maxsplit=1)[:1] != [name.encode()]:
                    raise _IndexMismatch(
                        f"{self._path}.fai does not fit: {name} does not start at byte {contig.offset}"
                    )
                previous_end = contig.end
            if self._read_up_to(file, previous_end, previous_end + _MAX_HEADER_BYTES).strip():
                raise _IndexMismatch(f"{self._path}.fai does not fit: the file goes on after the last contig")

    def _build_index(self, reason: Exception) -> None:
        """Build the index in a temporary folder and move it beside the file; `reason` is why the old one was no use."""
        why = str(reason) if isinstance(reason, _IndexMismatch) else f"{self.uri} has no index"
        try:
            folder = tempfile.TemporaryDirectory(dir=self._path.parent, prefix=".sptx-index-")
        except OSError as error:
            raise InputError(
                f"{why}, and none can be built in {self._path.parent} ({error.strerror}); run `samtools faidx` on "
                "a copy of the file in a folder that can be written"
            ) from error
        with folder:
            link = Path(folder.name) / (
                "genome.fa.gz" if self._is_bgzf else "genome.fa"
            )  # pyfaidx tells bgzip by the file's name
            link.symlink_to(self._path)
            try:
                Faidx(str(link)).close()
            except (FastaIndexingError, ValueError, OSError) as error:
                problem = str(error).replace(str(link), self.uri)
                raise InputError(f"no index can be built for {self.uri}: {problem}") from error
            for ending in (".fai", ".gzi") if self._is_bgzf else (".fai",):
                Path(f"{link}{ending}").replace(f"{self._path}{ending}")


def _is_bgzf(path: Path, uri: str) -> bool:
    """Whether the file is bgzip; raises `InputError` for plain gzip."""
    with path.open("rb") as file:
        head = file.read(18)
    if head.startswith(_BGZF_MAGIC) and head[12:14] == b"BC":
        return True
    if head.startswith(GZIP_MAGIC):
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
            raise _IndexMismatch(f"{path} is no FASTA index")
        contig = _Contig(*map(int, numbers))
        if contig.length and not 0 < contig.line_bases <= contig.line_bytes:
            raise _IndexMismatch(f"{path} is no FASTA index")
        if name in contigs:
            raise InputError(f"{path} holds contig {name} twice; give each contig a name of its own")
        contigs[name] = contig
    return contigs


def _read_gzi(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Offsets of all blocks in the compressed and in the plain file, int64, ascending."""
    content = path.read_bytes()
    numbers = np.frombuffer(content[: len(content) // 8 * 8], dtype="<u8").astype(np.int64)
    if not len(numbers) or len(content) != 8 * (1 + 2 * int(numbers[0])):
        raise _IndexMismatch(f"{path} is no index of a bgzip file")
    blocks = np.concatenate([np.zeros((1, 2), np.int64), numbers[1:].reshape(-1, 2)])
    return blocks[:, 0], blocks[:, 1].copy()
