"""An indexed FASTA -> the bases of any stretch of a contig.

In: a path or URI of a FASTA, plain or bgzip (recognised by content). Its index `.fai` (and `.gzi` for bgzip) lies
beside it or is built there, or in this machine's cache where the folder cannot be written. A FASTA on a server is
copied once to the cache, with its index (`pipeline.inputs.uris`).

Out: codes of bases [start, end) as uint8 (`sptx_core.alphabet`), 0-based half-open on the plus strand, N beyond the
contig's ends. Lower case (soft masking) reads as upper case, and ambiguity letters read as N.

What a FASTA and its index may look like is said in `pipeline.inputs.fasta_index` and `pipeline.inputs.bgzip`. An index
is used if it fits the file, whatever the ages of the two: each header must stand right before its contig, the contig's
first line must end where the index says, and nothing may follow the last contig. An index that does not fit or cannot
be read is built anew: the file is read as samtools reads it, in bounded memory however long a line is. What is refused
there, but not by pyfaidx, is indexed by that. In addition every read checks that lines end where the index says, so
that no base is ever taken from a wrong place.

Digests of contigs are kept beside the index (`pipeline.inputs.contig_digests`).

Errors: `InputError` for a file that is not a FASTA, is plain gzip, or is damaged; for an index that is missing and can
be kept nowhere; for a letter that is no nucleotide; and for a contig that the FASTA does not hold.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pyfaidx import Faidx

from pipeline.inputs.bgzip import IndexMismatch, has_end, index_of, is_bgzip, iter_blocks, read_gzi, read_text
from pipeline.inputs.contig_digests import identity_of, keep_digests, read_digests
from pipeline.inputs.fasta_index import BOM, Contig, fai_text, find_contigs, read_fai
from pipeline.inputs.text import in_lines
from pipeline.inputs.uris import cache_place, local_copy
from sptx_core.alphabet import N_CODE, Codes, encode
from sptx_core.errors import InputError
from sptx_core.files import reading, reason, write_atomic
from sptx_core.words import counted

DIGEST_CHUNK_BASES = 4 << 20  # bases in memory at a time for a digest
MIN_KEPT_BASES = 50_000_000  # digests of fewer are computed in about a second and not kept
_DIGEST_THREADS = min(8, os.cpu_count() or 1)
_MAX_HEADER_BYTES = 1 << 20  # more bytes between two contigs mean that the index is wrong
_CHUNK_BYTES = 4 << 20  # of plain text read at a time to build an index
_WINDOW_BYTES = 1 << 16  # read at once to check an index: contigs of a draft assembly are short
_LINE_ENDS = b"\n\r"


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
        with reading(uri):
            self._is_bgzip = is_bgzip(self._path, uri)
            self._index = self._path  # where `.fai` and `.gzi` lie, less these endings
            fault = self._load_index(self._index)
            if fault is not None:
                self._index = self._cached()
                if self._load_index(self._index) is not None:
                    self._build_index(fault)

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
        first, last = max(start, 0), min(end, record.length)
        if first >= last:
            return np.full(end - start, N_CODE, dtype=np.uint8)
        try:
            with reading(self.uri):
                bases = self._read_bases(record, first, last)
        except (IndexMismatch, InputError) as error:
            raise InputError(f"{self.uri}, contig {contig} from base {first + 1}: {error}") from error
        if len(bases) == end - start:
            return bases
        codes = np.full(end - start, N_CODE, dtype=np.uint8)
        codes[first - start : last - start] = bases
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
        digests = self._contig_digests(set(contigs))
        listing = "".join(f"{name}\t{digests[name]}\n" for name in sorted(digests))
        return hashlib.sha256(listing.encode()).hexdigest()

    def _contig_digests(self, names: set[str]) -> dict[str, str]:
        """Digest of each contig of these names, computed or kept from before."""
        with reading(self.uri):
            identity = identity_of(self._path)
        places = (self._path, self._cached())
        kept = read_digests(places, identity)
        # The longest first, so that all threads end together.
        lacking = sorted(names - kept.keys(), key=lambda name: self._contigs[name].length, reverse=True)
        with ThreadPoolExecutor(_DIGEST_THREADS) as pool:
            found = dict(zip(lacking, pool.map(self._contig_digest, lacking), strict=True))
        digests = {**kept, **found}
        if sum(self._contigs[name].length for name in lacking) >= MIN_KEPT_BASES:
            with reading(self.uri):
                if identity_of(self._path) == identity:
                    keep_digests(places, identity, digests)
        return {name: digests[name] for name in names}

    def _contig_digest(self, contig: str) -> str:
        sha = hashlib.sha256()
        for start in range(0, self._contigs[contig].length, DIGEST_CHUNK_BASES):
            end = min(start + DIGEST_CHUNK_BASES, self._contigs[contig].length)
            sha.update(self.fetch(contig, start, end).data)
        return sha.hexdigest()

    def _cached(self) -> Path:
        """Where this machine's cache keeps what lies beside the file elsewhere, less the endings."""
        return cache_place(f"index of {self._path} {_version(self._path)}", self._path.name)

    def _read_bases(self, record: Contig, start: int, end: int) -> Codes:
        """Codes of bases [start, end), which lie within the contig."""
        with self._path.open("rb") as file:
            content = self._read_text(file, record.byte(start), record.byte(end - 1) + 1)
        if len(content) < record.byte(end - 1) + 1 - record.byte(start):
            raise IndexMismatch(f"the file ends before its index {self._index}.fai says; delete the index")
        if start // record.line_bases == (end - 1) // record.line_bases:  # one line, of whatever length
            return encode(content)
        text = np.frombuffer(content, np.uint8)
        into_line = start % record.line_bases
        lines = (end - 1) // record.line_bases - start // record.line_bases + 1
        # Padded to whole lines, the text is a grid [lines, line_bytes] with the line ends in its last columns.
        whole = np.full(lines * record.line_bytes, ord("\n"), np.uint8)
        whole[into_line : into_line + len(text)] = text
        grid = whole.reshape(lines, record.line_bytes)
        if not np.isin(grid[:, record.line_bases :], tuple(_LINE_ENDS)).all():
            raise IndexMismatch(
                f"its index does not fit, lines do not end where {self._index}.fai says; delete the index"
            )
        return encode(grid[:, : record.line_bases].ravel()[into_line : into_line + end - start].tobytes())

    def _read_text(self, file: BinaryIO, first: int, end: int) -> bytes:
        """Bytes [first, end) of the text, or fewer where the text ends before `end`."""
        if self._blocks is not None:
            return read_text(file, self._blocks, first, end)
        file.seek(first)
        return file.read(end - first)

    def _load_index(self, index: Path) -> str | None:
        """Read an index, and check that it fits the file; what is wrong with it, None where it is sound."""
        try:
            contigs = read_fai(Path(f"{index}.fai"))
            size = self._path.stat().st_size
            self._blocks = read_gzi(Path(f"{index}.gzi"), size) if self._is_bgzip else None
        except FileNotFoundError:
            return f"{self.uri} has no index"
        except IndexMismatch as mismatch:
            return str(mismatch)
        except OSError as error:
            return f"the index {index}.fai cannot be read ({reason(error)})"
        try:
            with self._path.open("rb") as file:
                limit = size if self._blocks is None else self._blocks.text_limit
                _check_contigs(contigs, _Window(partial(self._read_text, file)), limit)
        except IndexMismatch as mismatch:
            return f"{index}.fai does not fit: {mismatch}"
        self._contigs = contigs
        return None

    def _build_index(self, fault: str) -> None:
        """Read the whole file for its index, and write that beside it or into the cache."""
        try:
            self._find_by_reading()
        except InputError:
            if not (self._has_short_lines() and self._find_by_pyfaidx()):
                raise
        cached, problems = self._index, []
        for place in (self._path, cached):
            try:
                if place is cached:
                    place.parent.mkdir(parents=True, exist_ok=True)
                if self._blocks is not None:
                    write_atomic(Path(f"{place}.gzi"), self._blocks.to_gzi())
                write_atomic(Path(f"{place}.fai"), fai_text(self._contigs).encode())
            except OSError as error:
                problems.append(f"{place.parent} ({reason(error)})")
            else:
                self._index = place
                return
        raise InputError(
            f"{fault}, and none can be written to {' or '.join(problems)}; run `samtools faidx` on a copy of the file "
            "in a folder that can be written, or set SPTX_CACHE to such a folder"
        )

    def _find_by_pyfaidx(self) -> bool:
        """Find contigs and blocks by pyfaidx; False where it cannot, or where what it finds does not fit the file."""
        if self._is_bgzip and not has_end(self._path):
            return False
        with tempfile.TemporaryDirectory(prefix="sptx-index-") as folder:
            # pyfaidx tells bgzip by the file's name, and writes beside it.
            link = Path(folder) / ("genome.fa.gz" if self._is_bgzip else "genome.fa")
            link.symlink_to(self._path.absolute())
            try:
                Faidx(str(link)).close()
            except Exception:  # of many kinds, none of which tells the line; the error of reading the file here does
                return False
            return self._load_index(link) is None

    def _find_by_reading(self) -> None:
        """Find contigs and blocks as samtools does, or say in which line they are wrong."""
        blocks: list[tuple[int, int]] = []
        with self._path.open("rb") as file:
            self._contigs = find_contigs(self._chunks(file, blocks), self.uri)
        self._blocks = index_of(blocks) if self._is_bgzip else None

    def _has_short_lines(self) -> bool:
        """Whether the file is whole, and no line too long for pyfaidx, which holds lines and is slow at long ones."""
        with self._path.open("rb") as file:
            try:
                for _ in in_lines(self._chunks(file, []), self.uri, _CHUNK_BYTES):
                    pass
            except InputError:
                return False
        return True

    def _chunks(self, file: BinaryIO, blocks: list[tuple[int, int]]) -> Iterator[bytes]:
        """The text in pieces; offset and bytes of text of each block of bgzip are put into `blocks`."""
        if not self._is_bgzip:
            yield from iter(partial(file.read, _CHUNK_BYTES), b"")
            return
        for block in iter_blocks(file, self.uri):
            blocks.append((block.offset, len(block.text)))
            yield block.text


class _Window:
    """Text read by ascending offsets, some of it in advance."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._start, self._text = 0, b""

    def __call__(self, first: int, end: int) -> bytes:
        """Bytes [first, end), or fewer where the text ends before `end`."""
        if first < self._start or end > self._start + len(self._text):
            self._start, self._text = first, self._read(first, max(end, first + _WINDOW_BYTES))
        return self._text[first - self._start : end - self._start]


def _check_contigs(contigs: dict[str, Contig], text: Callable[[int, int], bytes], limit: int) -> None:
    """Raise `IndexMismatch` unless every contig begins, breaks its lines and ends where the index says.

    `text` gives bytes [first, end) of the text, which has at most `limit` bytes.
    """
    previous = 0
    for name, contig in sorted(contigs.items(), key=lambda item: item[1].offset):
        between = text(previous, contig.offset) if 0 < contig.offset - previous <= _MAX_HEADER_BYTES else b""
        if not _leads_to(name.encode(), between.removeprefix(BOM)):
            raise IndexMismatch(f"{name} does not start at byte {contig.offset}")
        previous = contig.end
        if previous > limit or (contig.length and not text(previous - 1, previous).strip()):
            raise IndexMismatch(f"{name} does not end at byte {previous}")
        if contig.length > contig.line_bases and not _breaks_lines(contig, text):
            raise IndexMismatch(f"{name} does not have lines of {counted(contig.line_bases, 'base')}")
    if not all(map(_is_no_sequence, text(previous, previous + _MAX_HEADER_BYTES).split(b"\n"))):
        raise IndexMismatch("the file goes on after the last contig")


def _leads_to(name: bytes, between: bytes) -> bool:
    """Whether the text between two contigs is blank but for the header of the second, its last line."""
    at = between.rfind(b"\n", 0, -1) + 1
    if between[-1:] != b"\n" or between[at : at + 1] != b">":
        return False
    return between[at + 1 :].split(None, 1)[:1] == [name] and all(map(_is_no_sequence, between[:at].split(b"\n")))


def _breaks_lines(contig: Contig, text: Callable[[int, int], bytes]) -> bool:
    """Whether the first line of a contig with several ends where the index says."""
    width = contig.line_bytes - contig.line_bases
    if width not in (1, 2):
        return width == 0  # all bases on one line, as the end of the contig proves
    end = contig.offset + contig.line_bytes
    return text(end - width, end) in (b"\n", b"\r\n")


def _is_no_sequence(line: bytes) -> bool:
    """Whether a line between two contigs is blank, or a header: samtools does not list contigs without a base."""
    return line.startswith(b">") or not line.strip()


def _version(path: Path) -> str:
    """Size and time of change of a file: another text has another."""
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"
