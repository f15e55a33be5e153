"""Genes and transcripts by name, in the transcripts of a table: what a person may call them, and the spans they cover.

Ids match with or without their version; two different versions are not the same (`pipeline.inputs.selection`).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_

import polars as pl

from pipeline.inputs.selection import nearest, without_lift, without_version


def genes_called(transcripts: pl.DataFrame, name: str) -> pl.DataFrame:
    """Transcripts of the genes with this name or id; several genes may share a name."""
    return transcripts.filter(of_gene(name))


def transcripts_called(transcripts: pl.DataFrame, name: str) -> pl.DataFrame:
    """Transcripts with this id."""
    return transcripts.filter(has_id("transcript_id", name))


def nearest_name(transcripts: pl.DataFrame, name: str, columns: Iterable[str]) -> str | None:
    """What a person may have meant: the most similar value of these columns, None if none is similar."""
    held = pl.concat([transcripts[column].alias("name") for column in columns]).unique(maintain_order=True)
    return nearest(name, held) if name else None


def merged_spans(transcripts: pl.DataFrame) -> list[tuple[int, int]]:
    """The stretches (1-based inclusive) that transcripts of one contig and strand cover together."""
    merged: list[tuple[int, int]] = []
    for start, end in transcripts.select("start", "end").sort("start", "end").iter_rows():
        if merged and start <= merged[-1][1] + 1:
            start, end = merged[-1][0], max(merged.pop()[1], end)
        merged.append((start, end))
    return merged


def of_gene(name: str) -> pl.Expr:
    """Whether a row's gene has this name, or this id with or without its version."""
    return (pl.col("gene_name") == name) | has_id("gene_id", name)


def has_id(column: str, name: str) -> pl.Expr:
    """Whether an id is `name`, where either may lack its version."""
    stored, given = pl.col(column), pl.lit(name)
    forms = [given == form(stored) for form in (without_version, without_lift)]
    forms += [stored == form(given) for form in (without_version, without_lift)]
    return reduce(or_, forms, stored == given)
