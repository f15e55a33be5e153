"""What lies below the root of a table of variants, and how shards name their parts.

    run.json, settings.yaml, manifest.parquet, strikes/, failures/      see `pipeline.batch.layout`
    variants/chrom=chr9/<shard>-<first>-<last>-<fingerprint>.parquet    all rows of a shard: its receipt
    sites/chrom=chr9/...                                                every base about its changes, if asked for

`first` and `last` are the least and the largest POS of a shard, as written. Contigs are percent-encoded in folders,
which every reader of Hive partitions decodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote

from pipeline.batch.layout import Part
from pipeline.tracks.layout import contig_folder
from sptx_core.errors import InputError

SHARD_PARTS = re.compile(r"chrom=(?P<chrom>[^/]+)/(?P<first>\d+)-(?P<last>\d+)")


@dataclass(frozen=True, order=True)
class ShardKey:
    """What names a shard's parts."""

    index: int
    chrom: str
    first: int
    last: int

    @classmethod
    def of(cls, part: Part) -> Self:
        """The key of a part's shard; `InputError` for a file that only looks like one."""
        match = SHARD_PARTS.fullmatch(f"{part.place}/{part.label}")
        if match is None:
            raise InputError(f"{part.name} is named like a part but is none of a table of variants; remove it")
        return cls(part.unit, unquote(match["chrom"]), int(match["first"]), int(match["last"]))

    @property
    def place(self) -> str:
        """Folders of the shard's parts."""
        return contig_folder(self.chrom)

    @property
    def label(self) -> str:
        """Span of the shard in the names of its parts."""
        return f"{self.first}-{self.last}"
