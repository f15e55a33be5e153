"""What sptx has to say in a VCF: of each record (`RecordNotes`), and of how all were scored (`VcfNotes`).

Units. ds and d_splice are differences of probabilities, 0 to 1; dp are bases along the plus strand from the normalised
position; positions are genomic and 1-based. `pipeline.variants.vcf_fields` writes them down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.variants.deltas import EVENTS
from sptx_core.errors import InputError
from sptx_core.version import __version__

ENTRIES, SPLICE, DS, TISSUES, STATUS = "SpTx", "SpTx_dSplice", "SpTx_DS", "SpTx_tissues", "SpTx_status"
FIELDS = (ENTRIES, SPLICE, DS, TISSUES, STATUS)
"""Fields of INFO that sptx writes."""
_INFO_KEY = re.compile(r"[A-Za-z_][0-9A-Za-z_.]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteChange:
    """The gain or loss of acceptor or donor that a change causes.

    Parameters
    ----------
    ds
        How large it is, 0 to 1.
    dp
        Where, relative to the normalised position; None where nothing changes.
    pos
        Where, genomic and 1-based.
    ins_offset
        Of an inserted base, its place among the inserted ones, genomic, from 1.
    ds_masked, dp_masked, pos_masked
        The same without gains at annotated sites and losses elsewhere.

    """

    ds: float
    dp: int | None = None
    pos: int | None = None
    ins_offset: int | None = None
    ds_masked: float | None = None
    dp_masked: int | None = None
    pos_masked: int | None = None

    @classmethod
    def of_row(cls, row: Mapping[str, Any], event: str) -> SiteChange:
        """What a row of the table says of one of `EVENTS`."""
        columns = {
            "ds": f"ds_{event}",
            "dp": f"dp_{event}",
            "pos": f"{event}_pos",
            "ins_offset": f"ins_offset_{event}",
            "ds_masked": f"ds_{event}_masked",
            "dp_masked": f"dp_{event}_masked",
            "pos_masked": f"{event}_pos_masked",
        }
        return cls(**{name: row[column] for name, column in columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class SpTxEntry:
    """What an ALT does to a gene.

    Parameters
    ----------
    alt_index
        Which ALT of the record, from 1.
    status
        `scored`, or why not.
    gene_name, gene_id, strand, transcripts
        The gene; strand is `+` or `-`.
    d_splice
        Largest change of max(acceptor, donor).
    sites
        By event, `ag`, `al`, `dg` and `dl`; all of them where the ALT was scored, else none.
    tissues, z
        Tissues that are called, and the z of each.
    calibrated
        Whether z is what its constants are of; None without z.
    tie
        Whether a choice of buckets was nearly a tie.
    haplotype
        1, 2, or 0 for both; None where it is not known or not asked.
    phase_set
        As written; None where there is none.
    joint
        Whether it was scored together with others of its haplotype.

    """

    alt_index: int
    status: str
    gene_name: str | None = None
    gene_id: str | None = None
    strand: str | None = None
    transcripts: Sequence[str] = ()
    d_splice: float | None = None
    sites: Mapping[str, SiteChange] = field(default_factory=dict)
    tissues: Sequence[str] = ()
    z: Sequence[float] = ()
    calibrated: bool | None = None
    tie: bool = False
    haplotype: int | None = None
    phase_set: str | None = None
    joint: bool = False

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> SpTxEntry:
        """What a row of the table says (`pipeline.variants.schema`)."""
        tissues = row.get("tissues") or ()
        return cls(
            alt_index=row["alt_index"],
            status=row["status"],
            gene_name=row["gene_name"],
            gene_id=row["gene_id"],
            strand=row["strand"],
            transcripts=row["transcripts"] or (),
            d_splice=row["d_splice"],
            sites={} if row["d_splice"] is None else {event: SiteChange.of_row(row, event) for event in EVENTS},
            tissues=tissues,
            z=[row[f"z_{name}"] for name in tissues],
            calibrated=row.get("calibrated"),
            tie=bool(row["tie"]),
            haplotype=row["haplotype"],
            phase_set=row["phase_set"],
            joint=bool(row["joint"]),
        )


class RecordNotes(NamedTuple):
    """What became of a record: the status of each of its ALTs, in their order, and the entries."""

    statuses: Sequence[str]
    entries: Sequence[SpTxEntry] = ()


@dataclass(frozen=True, kw_only=True)
class VcfNotes:
    """How a VCF was scored, for its header.

    Parameters
    ----------
    checkpoint
        Digest of the network's weights.
    distance
        Bases that are looked at on either side of a change.
    mask, flanks, precision
        In the words of the settings.
    more
        Further settings to name, such as windows and genome: key (letters and digits) -> value.
    contig_lengths
        Bases of contigs by the names that the VCF uses; BCF needs a line for each of its contigs.
    spliceai_field
        Name of a further INFO field with SpliceAI's ten subfields; None for none.
    version
        Of sptx.

    """

    checkpoint: str
    distance: int
    mask: str
    flanks: str
    precision: str
    more: Mapping[str, str] = field(default_factory=dict)
    contig_lengths: Mapping[str, int] = field(default_factory=dict)
    spliceai_field: str | None = None
    version: str = __version__

    def __post_init__(self) -> None:
        if self.spliceai_field is not None:
            check_field_name(self.spliceai_field)


def check_field_name(name: str) -> None:
    """Refuse a name that no further field of INFO can have (VCF specification 4.3, section 1.6.1, "INFO").

    Raises
    ------
    InputError
        It is no key of INFO, or one of sptx's own.

    """
    if not _INFO_KEY.fullmatch(name) or name in FIELDS:
        raise InputError(
            f"--spliceai-field {name}: give the name of an INFO field, letters, digits, _ and . after a letter, that "
            "is not one of sptx's own, such as SpliceAI"
        )
