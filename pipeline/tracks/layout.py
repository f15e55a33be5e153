"""What lies below the root of a table, and how shards name their parts.

    run.json, settings.yaml, manifest.parquet, strikes/, failures/      see `pipeline.batch.layout`
    contigs.parquet, loci.parquet, transcripts.parquet, plan.parquet    small tables for people
    tracks/chrom=chr9/strand=plus/<part>                                all rows of a shard: its receipt
    sites/chrom=chr9/strand=plus/<part>                                 its rows that are likely splice sites, unrounded

A part is named `<shard>-<first>-<last>-<fingerprint>.parquet`, with its least and largest position, 1-based inclusive.
Contigs such as `HLA-A*01:01` are percent-encoded in folders, which every reader of Hive partitions decodes; strands are
`plus` and `minus` there, `+` and `-` everywhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote, unquote

from pipeline.batch.layout import Part, part_name
from pipeline.coordinates import Strand
from sptx_core.errors import InputError

TRACKS, SITES = "tracks", "sites"
TABLES = (TRACKS, SITES)  # the receipts come first
CONTIGS, LOCI, TRANSCRIPTS, PLAN = "contigs", "loci", "transcripts", "plan"  # tables beside the parts

_MAX_FOLDER_BYTES = 255  # NAME_MAX of Linux
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_STRANDS = {strand.partition: strand.value for strand in Strand}
SHARD_PARTS = re.compile(r"chrom=(?P<chrom>[^/]+)/strand=(?P<strand>plus|minus)/(?P<first>\d+)-(?P<last>\d+)")


@dataclass(frozen=True, order=True)
class ShardKey:
    """What names a shard's parts: `first` and `last` are its least and largest position, 1-based inclusive."""

    index: int
    chrom: str
    strand: str
    first: int
    last: int

    @classmethod
    def of(cls, part: Part) -> Self:
        """The key of a part's shard; `InputError` for a file that only looks like one."""
        match = SHARD_PARTS.fullmatch(f"{part.place}/{part.label}")
        if match is None:
            raise InputError(f"{part.name} is named like a part but is none of a table of tracks; remove it")
        chrom, strand = unquote(match["chrom"]), _STRANDS[match["strand"]]
        return cls(part.unit, chrom, strand, int(match["first"]), int(match["last"]))

    @property
    def place(self) -> str:
        """Folders of the shard's parts."""
        return f"{contig_folder(self.chrom)}/strand={Strand(self.strand).partition}"

    @property
    def label(self) -> str:
        """Span of the shard in the names of its parts."""
        return f"{self.first}-{self.last}"

    def part_name(self, table: str, fingerprint: str) -> str:
        """Name of its part in `TRACKS` or `SITES`, below the root."""
        return part_name(table, self.place, self.index, self.label, fingerprint)


def require_folder(chrom: str) -> None:
    """Check that a contig's rows can lie in a folder of its name, from which readers learn the contig.

    Raises
    ------
    InputError
        The name is too long for a folder, or is the one that readers of Hive partitions take for no value.
    """
    if not is_folder(chrom):
        raise InputError(
            f"contig {chrom[:60]}{'...' if len(chrom) > 60 else ''} cannot be the name of a folder, as which the table "
            "keeps it; rename it in FASTA and annotation, or leave it out"
        )


def is_folder(chrom: str) -> bool:
    """Whether a contig's rows can lie in a folder of its name."""
    return chrom not in ("", _NO_VALUE) and len(contig_folder(chrom)) <= _MAX_FOLDER_BYTES


def contig_folder(chrom: str) -> str:
    """Name of the folder of a contig's rows."""
    return f"chrom={quote(chrom, safe='')}"


def manifest_columns(part: Part) -> dict[str, str]:
    """What the manifest says of a shard besides its files, given one of its parts."""
    key = ShardKey.of(part)
    return {"chrom": key.chrom, "strand": key.strand}
