"""What only htslib does, through pysam (extra `vcf`): a VCF made into BCF, and indexes.

BCF names contigs, filters and keys of INFO and FORMAT by their numbers in the header, so the header must describe them
all (VCF specification 4.3, section 6). `missing_definitions` gives the lines that a file lacks: contigs with their
lengths where these are known, anything else as text, as htslib itself takes what it does not know.

Errors: `InputError` for a file that BCF cannot hold, and where pysam is missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pipeline.inputs.bcf import load_pysam, quiet
from pipeline.inputs.vcf import header_fields, open_vcf
from sptx_core.errors import InputError

MAX_TBI_POS = 2**29  # of an index .tbi (SAM specification, section 5.2); .csi has no such limit
_FILTER, _INFO, _FORMAT = 6, 7, 8  # columns
_DESCRIBED = re.compile(r"##(contig|FILTER|INFO|FORMAT)=<")
_UNKNOWN = 'Description="Not described in the input"'
_KNOWN = {  # of section 1.4 and 1.6, what htslib reads by itself
    ("INFO", "END"): '##INFO=<ID=END,Number=1,Type=Integer,Description="End position">',
    ("FORMAT", "GT"): '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
}


def missing_definitions(uri: str, lengths: Mapping[str, int]) -> list[str]:
    """Find what the header of a VCF must describe before its records can be BCF.

    Parameters
    ----------
    uri
        Path or URI of the VCF, which is read once.
    lengths
        Bases of contigs by the names that it uses.

    Returns
    -------
    list of str
        Lines for the header, without ends.

    Raises
    ------
    InputError
        If a record is malformed: BCF cannot hold it.

    """
    needed: dict[tuple[str, str], str] = {}
    with open_vcf(uri) as vcf:
        described = {("FILTER", "PASS"), ("FILTER", "."), ("INFO", "."), ("FORMAT", ".")}
        for line in vcf.header.text.splitlines():
            if found := _DESCRIBED.match(line):
                described.add((found[1], header_fields(line).get("ID", "")))
        for record in vcf.records():
            if record.problem is not None:
                raise InputError(
                    f"{uri} line {record.line}: {record.problem}; BCF cannot hold such a record, write a .vcf.gz"
                )
            columns = record.raw.split(b"\t", _FORMAT + 1)[_FILTER : _FORMAT + 1]
            names = [column.decode(errors="replace").strip("\r\n") for column in columns]
            used = [("contig", record.chrom, ""), *(("FILTER", name, "") for name in names[0].split(";"))]
            used += [("INFO", *one.partition("=")[::2]) for one in names[1].split(";") if one]
            used += [("FORMAT", name, "") for name in (names[2].split(":") if len(names) > 2 else ())]
            for kind, name, value in used:
                if (kind, name) not in described:
                    needed.setdefault((kind, name), _definition(kind, name, lengths, flag=not value))
                    described.add((kind, name))
    return list(needed.values())


def write_bcf(text: Path, target: Path, uri: str) -> None:
    """Make a VCF into BCF.

    Parameters
    ----------
    text
        A VCF whose header describes all that its records use.
    target
        Where the BCF is written.
    uri
        Its name in messages.

    Raises
    ------
    InputError
        If htslib refuses.

    """
    pysam = load_pysam(uri)
    from pysam import bcftools

    flags = ("--no-version", "--output-type", "b", "--output", str(target))
    try:
        with quiet(pysam):
            bcftools.view(*flags, str(text), catch_stdout=False)
    except pysam.SamtoolsError as error:
        said = " ".join(str(error.args[0]).rpartition("stderr=")[2].replace(str(target), uri).split())
        raise InputError(f"{uri} cannot be written as BCF: {said}; write a .vcf.gz, which holds any line") from error


def index_of(path: Path, *, is_bcf: bool, last: int) -> tuple[str, bytes] | None:
    """Index a sorted file.

    Parameters
    ----------
    path
        A VCF as bgzip, or a BCF.
    is_bcf
        Which of both.
    last
        Largest position in it.

    Returns
    -------
    tuple of str and bytes, or None
        The suffix, `.tbi` or `.csi`, and the content; None where htslib makes none.

    Raises
    ------
    ImportError
        If pysam is missing.

    """
    import pysam
    from pysam.utils import SamtoolsError

    suffix = ".csi" if is_bcf or last > MAX_TBI_POS else ".tbi"
    made = path.with_name(f"{path.name}{suffix}.tmp")
    try:
        with quiet(pysam):
            if is_bcf:
                from pysam import bcftools

                bcftools.index("--csi", "--output", str(made), str(path), catch_stdout=False)
            else:
                csi = suffix == ".csi"
                pysam.tabix_index(str(path), preset="vcf", index=str(made), force=True, csi=csi)
        return suffix, made.read_bytes()
    except (OSError, SamtoolsError):
        return None
    finally:
        made.unlink(missing_ok=True)


def _definition(kind: str, name: str, lengths: Mapping[str, int], *, flag: bool) -> str:
    if kind == "contig":
        return f"##contig=<ID={name},length={lengths[name]}>" if name in lengths else f"##contig=<ID={name}>"
    if kind == "FILTER":
        return f"##FILTER=<ID={name},{_UNKNOWN}>"
    form = "Number=0,Type=Flag" if kind == "INFO" and flag else "Number=.,Type=String"
    return _KNOWN.get((kind, name), f"##{kind}=<ID={name},{form},{_UNKNOWN}>")
