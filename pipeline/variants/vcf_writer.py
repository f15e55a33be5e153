"""A VCF with what sptx found: the input's lines byte for byte in their order, and fields of our own in INFO.

In: the VCF or BCF that was scored, and for each of its records in their order what became of it (`RecordNotes`,
`pipeline.variants.vcf_notes`), or None for a record that gets nothing. Both are streamed; memory holds a few lines.

Out: a file by the name of the target: `.vcf` as plain text, `.vcf.gz` or `.vcf.bgz` as bgzip, `.bcf` as BCF (extra
`vcf`). Every line of the input is there, with comments, line ends, lines that are malformed, and a last line without
end; lines of a BCF are htslib's text of it. Our INFO stands behind the record's own; fields that an earlier run wrote
are replaced, and so are their lines in the header, which stand above that of the columns. So another run over the
output gives the same bytes. No other line is added, but to a BCF (`pipeline.variants.bcf_writer`), which has no place
for comments and blank lines among its records.

On a disk the file appears whole or not at all, in an object store by one upload; the target may be the input itself.
A sorted bgzip file gets an index `.tbi` (`.csi` beyond 512 Mb), a sorted BCF `.csi`, where pysam is installed; an old
index of the target is removed.

Errors: `InputError` where input or target cannot be read or written, where the input has other records than those that
were scored, and where the field for SpliceAI's format is another tool's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from Bio.bgzf import BgzfWriter

from pipeline.batch.storage import Store
from pipeline.inputs.bcf import load_pysam
from pipeline.inputs.uris import local_path
from pipeline.inputs.vcf import COLUMNS, Vcf, VcfHeader, is_record, open_vcf
from pipeline.variants.bcf_writer import index_of, missing_definitions, write_bcf
from pipeline.variants.vcf_fields import foreign_field, header_lines, info_text, is_own_line, own_fields
from pipeline.variants.vcf_notes import RecordNotes, VcfNotes, check_field_name
from sptx_core.errors import InputError
from sptx_core.files import replacing, require_writable, writing

_BLOCK_BYTES = 0xFF00  # of text in a block, as htslib's bgzip has it
_CHROM, _POS, _ALT, _INFO = 0, 1, 4, 7  # columns
_KINDS = {".vcf": "plain", ".vcf.gz": "bgzip", ".vcf.bgz": "bgzip", ".bcf": "bcf"}  # by the end of the name
_FAST = 1  # compression of a file that is read once


class WrittenVcf(NamedTuple):
    """What was written: how many records, the name of the index, and why there is none where one could be."""

    records: int
    index_uri: str | None
    note: str | None


def require_target(uri: str, source_uri: str | None = None, spliceai_field: str | None = None) -> None:
    """Check, before any work is done, that a VCF can be written; nothing is left there.

    Parameters
    ----------
    uri
        Path or URI of the target.
    source_uri, spliceai_field
        The file that is going to be scored, and a further field of INFO, as in `VcfNotes`.

    Raises
    ------
    InputError
        Its name does not say what kind of file it is, pysam is missing for a BCF, it cannot be written, or the field
        cannot have this name, which may be another tool's.

    """
    if spliceai_field is not None:
        check_field_name(spliceai_field)
        if source_uri is not None:
            with open_vcf(source_uri) as vcf:
                own_fields(vcf.header, spliceai_field)
    if _kind(uri) == "bcf":
        load_pysam(uri)
    path = local_path(uri)
    if path is not None:
        require_writable(path)
    else:
        _store_of(uri)[0].ensure_writable()


def write_vcf(
    source_uri: str, target_uri: str, header: VcfNotes, annotations: Iterable[RecordNotes | None]
) -> WrittenVcf:
    """Write a VCF or BCF again, with what sptx found.

    Parameters
    ----------
    source_uri
        Path or URI of the file that was scored.
    target_uri
        Path or URI of the new one; what stands there is replaced.
    header
        How it was scored.
    annotations
        What became of each record, in the order of the file.

    Returns
    -------
    WrittenVcf

    Raises
    ------
    InputError
        See the module; the target is then as it was.

    """
    kind = _kind(target_uri)
    needed = missing_definitions(source_uri, header.contig_lengths) if kind == "bcf" else []
    index: tuple[str, bytes] | None = None
    order = _Order()
    with open_vcf(source_uri) as vcf, _appearing(target_uri) as path:
        lines = _annotated_lines(vcf, header, annotations, needed, order)
        if kind == "bcf":
            _write_as_bcf(lines, path, target_uri)
        else:
            _write(lines, path, target_uri, blocked=kind == "bgzip")
        if kind != "plain" and order.broken is None:
            index = _index(path, order, is_bcf=kind == "bcf")
        _remove_indexes(target_uri)  # before the file changes, so that an old one never stands beside a new file
    if index is not None:
        store, name = _store_of(target_uri)
        store.write_atomic(name + index[0], index[1])
        return WrittenVcf(order.records, target_uri + index[0], None)
    return WrittenVcf(order.records, None, None if kind == "plain" else f"{target_uri} has no index: {order.broken}")


class _Order:
    """Whether records are in the order that an index needs, learned from one after the other.

    `broken` says why not, `last` is the largest position, and `records` how many there were.
    """

    def __init__(self) -> None:
        self.broken: str | None = None
        self.records = self.last = 0
        self._contigs: set[bytes] = set()
        self._at = (b"", 0)

    def see(self, columns: list[bytes], line: int) -> None:
        self.records += 1
        if self.broken is not None:
            return
        if len(columns) < len(COLUMNS) or not columns[_POS].isdigit():
            self.broken = f"line {line} is malformed"
            return
        contig, pos = columns[_CHROM], int(columns[_POS])
        before, last = self._at
        if contig != before and contig in self._contigs:
            self.broken = f"line {line} goes back to a contig that others followed; sort it (bcftools sort)"
        elif contig == before and pos < last:
            self.broken = f"line {line} lies before the line above it; sort it (bcftools sort)"
        self._contigs.add(contig)
        self._at, self.last = (contig, pos), max(self.last, pos)


def _annotated_lines(
    vcf: Vcf, notes: VcfNotes, annotations: Iterable[RecordNotes | None], needed: list[str], order: _Order
) -> Iterator[bytes]:
    """The lines of the new file; `needed` are further ones for its header."""
    uri, own = vcf.header.uri, own_fields(vcf.header, notes.spliceai_field)
    yield from _header(vcf.header, notes, own, needed)
    keys = frozenset(name.encode() for name in own)
    foreign = notes.spliceai_field if notes.spliceai_field not in own else None
    remaining = iter(annotations)
    for line, raw in enumerate(vcf.lines(), len(vcf.header.lines) + 1):
        if not is_record(raw):
            yield raw
            continue
        columns = raw.split(b"\t", len(COLUMNS))
        order.see(columns, line)
        try:
            found = next(remaining)
        except StopIteration:
            raise InputError(f"{uri} line {line} is a record more than were scored: score the file again") from None
        if len(columns) < len(COLUMNS):
            yield raw
            continue
        alts = columns[_ALT].decode(errors="replace").split(",")
        if found is not None and len(found.statuses) != len(alts):
            raise InputError(f"{uri} line {line} has other ALTs than those that were scored: score the file again")
        if foreign is not None and foreign.encode() in _keys(columns[_INFO]):
            raise foreign_field(f"{uri} line {line}", foreign)
        added = b"" if found is None else info_text(found, alts, notes.spliceai_field).encode()
        yield _with_info(raw, columns, added, keys)
    for _ in remaining:
        raise InputError(f"{uri} has fewer records than were scored: score the file again")


def _header(header: VcfHeader, notes: VcfNotes, own: frozenset[str], needed: list[str]) -> Iterator[bytes]:
    """The lines above the records, ours last but for that of the columns."""
    *above, columns = header.lines
    end = _end_of(header.lines[0]) or b"\n"
    yield from (line for line in above if not is_own_line(line, own))
    for line in (*needed, *header_lines(notes)):
        yield line.encode() + end
    yield columns


def _with_info(raw: bytes, columns: list[bytes], added: bytes, own: frozenset[bytes]) -> bytes:
    """A line with `added` at the end of INFO, in place of the fields `own`; as it is where nothing changes."""
    end = _end_of(columns[_INFO]) if len(columns) == len(COLUMNS) else b""
    info = columns[_INFO].removesuffix(end)
    kept = info
    if not own.isdisjoint(_keys(info)):
        kept = b";".join(part for part in info.split(b";") if part.partition(b"=")[0] not in own)
    elif not added:
        return raw
    kept = kept.rstrip(b";")  # that end in nothing: another run would not find them
    joined = b";".join(part for part in (b"" if kept == b"." else kept, added) if part) or b"."
    return b"\t".join([*columns[:_INFO], joined + end, *columns[_INFO + 1 :]])


def _keys(info: bytes) -> Iterator[bytes]:
    return (part.partition(b"=")[0].rstrip() for part in info.split(b";"))


def _end_of(line: bytes) -> bytes:
    """LF or CRLF, or nothing."""
    return line[len(line.rstrip(b"\r\n")) :]


def _write(lines: Iterable[bytes], path: Path, uri: str, *, blocked: bool, level: int = 6) -> None:
    """Write a file as plain text or bgzip; errors of whatever gives the lines stay their own."""
    with _opened(path, uri) as file:
        block: Any = BgzfWriter(fileobj=file, compresslevel=level) if blocked else None  # type: ignore[no-untyped-call]
        for text in _in_blocks(lines):
            with writing(uri):
                if block is None:
                    file.write(text)
                else:
                    block.write(text)
                    block.flush()
        if block is not None:
            with writing(uri):
                block.close()


@contextmanager
def _opened(path: Path, uri: str) -> Iterator[BinaryIO]:
    """The file, open for writing, which is closed in the end."""
    with writing(uri):
        file = path.open("wb")
    try:
        yield file
    except BaseException:
        with suppress(OSError):  # what it could not write was told
            file.close()
        raise
    with writing(uri):
        file.close()


def _write_as_bcf(lines: Iterable[bytes], path: Path, uri: str) -> None:
    """Write a file as BCF, by way of its text beside it."""
    text = path.with_name(f"{path.name}.tmp")
    try:
        _write(_for_htslib(lines), text, uri, blocked=True, level=_FAST)
        write_bcf(text, path, uri)
    finally:
        text.unlink(missing_ok=True)


def _for_htslib(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines as htslib reads them: it wants the version first, and nothing but records below the header."""
    in_header = True
    for number, line in enumerate(lines):
        if number == 0 and not line.startswith(b"##fileformat="):
            yield b"##fileformat=VCFv4.2\n"
        if (in_header and line.startswith(b"#")) or is_record(line):
            yield line.rstrip(b"\r\n") + b"\n"
        in_header = in_header and not line.startswith(b"#CHROM")


def _in_blocks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """The text in pieces of one size; the last may be shorter."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            text = b"".join(held)
            size %= _BLOCK_BYTES
            end = len(text) - size
            yield from (text[start : start + _BLOCK_BYTES] for start in range(0, end, _BLOCK_BYTES))
            held = [text[end:]]
    if rest := b"".join(held):
        yield rest


def _kind(uri: str) -> str:
    """`plain`, `bgzip` or `bcf`."""
    for suffix, kind in _KINDS.items():
        if uri.endswith(suffix):
            return kind
    raise InputError(f"{uri} does not say what to write: name it .vcf, .vcf.gz, .vcf.bgz or .bcf")


def _store_of(uri: str) -> tuple[Store, str]:
    """The folder of a file, and its name in it."""
    path = local_path(uri)
    if path is not None:
        return Store(path.parent), path.name
    folder, _, name = uri.rpartition("/")
    return Store(folder), name


@contextmanager
def _appearing(uri: str) -> Iterator[Path]:
    """A file of this machine to write to, which appears under its name when the `with` statement ends well."""
    path = local_path(uri)
    store, name = _store_of(uri)
    with ExitStack() as stack:
        with writing(uri):
            if path is not None:
                temporary = stack.enter_context(replacing(path))
            else:
                temporary = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sptx-"))) / name
        yield temporary
        if path is None:
            store.upload(name, temporary)
        with writing(uri):  # the rename and whatever comes before it
            stack.close()


def _index(path: Path, order: _Order, *, is_bcf: bool) -> tuple[str, bytes] | None:
    """The index of a sorted file, or None, and then `order` says why."""
    try:
        made = index_of(path, is_bcf=is_bcf, last=order.last)
    except ImportError:
        order.broken = "pysam makes one; install sptx[vcf], or run tabix"
        return None
    if made is None:
        order.broken = "htslib made none"
    return made


def _remove_indexes(uri: str) -> None:
    store, name = _store_of(uri)
    for suffix in (".tbi", ".csi"):
        store.delete(name + suffix)
