"""BCF files as lines of VCF text, read by pysam (extra `vcf`).

Format: BCF2 of the VCF specification, section 6, in bgzip or not; a file is BCF by its content, whatever its name is.
htslib writes each record as text, so floats are those of the file and lines end in LF.

Errors: `InputError` where pysam is missing, and for a file that is damaged or cut short.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from pipeline.inputs.text import GZIP_MAGIC
from pipeline.inputs.uris import local_copy
from sptx_core.errors import InputError
from sptx_core.files import reason

_MAGIC = b"BCF\x02"
_GZIP = 16 + zlib.MAX_WBITS  # for zlib: with the header of gzip


def is_bcf(stream: io.BufferedReader) -> bool:
    """Whether an open file, at its beginning, is BCF; nothing is taken from it."""
    head = stream.peek(len(_MAGIC))
    if head.startswith(GZIP_MAGIC):
        try:
            head = zlib.decompressobj(wbits=_GZIP).decompress(head, len(_MAGIC))
        except zlib.error:
            return False
    return head.startswith(_MAGIC)


def load_pysam(uri: str) -> ModuleType:
    """Import pysam for a BCF file.

    Parameters
    ----------
    uri : str
        The file, for the message.

    Raises
    ------
    InputError
        If pysam is not installed.
    """
    try:
        import pysam
    except ImportError as error:
        raise InputError(f"{uri} is BCF, which needs pysam: install sptx[vcf], or use a .vcf.gz") from error
    return pysam


@contextmanager
def quiet(pysam: ModuleType) -> Iterator[None]:
    """Keep htslib's own messages from standard error: what matters of them is raised."""
    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def bcf_lines(uri: str) -> Iterator[bytes]:
    """Read a BCF file as the lines of a VCF.

    Parameters
    ----------
    uri : str
        Path or URI; a remote file is copied to this machine first.

    Yields
    ------
    bytes
        The lines of the header, then those of the records, each with its LF.

    Raises
    ------
    InputError
        If pysam is missing, or the file cannot be read.
    """
    pysam = load_pysam(uri)
    path = local_copy(uri)
    try:
        with quiet(pysam), pysam.VariantFile(str(path), "rb") as file:
            for line in str(file.header).splitlines(keepends=True):
                yield line.encode()
            for record in file:
                yield str(record).encode()
    except (OSError, ValueError) as error:
        raise InputError(f"{uri} is a damaged or cut BCF file ({reason(error)}); copy it again") from error
