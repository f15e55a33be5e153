"""Genes, transcripts and exons of a file -> its transcripts, and what is odd about some of them.

In: `pipeline.inputs.gtf.Features`. Out: `Assembly`; `pipeline.inputs.annotation` says what its columns mean.

**Which transcripts there are.** In GTF every `transcript_id` of a transcript or exon line; in GFF3 every feature that
an exon names as its `Parent`, and every `transcript` and `mRNA`. A transcript without a line of its own spans its
exons. Lines of coding sequence and UTR alone make no transcript, as in NCBI's mitochondrial genes, unless the file has
neither transcript nor exon lines.

**One transcript is one id of one gene on one contig and strand.** In GTF lines of one `transcript_id` and several
`gene_id`s are several transcripts, and so are transcript lines of one id on several contigs or strands. They are named
`ID@GENE` and `ID@CONTIG+`, so that no two transcripts share a name (NCBI calls many `unknown_transcript_1`). In GFF3
the `ID` decides; transcripts of one `transcript_id` are named by their `ID`.

**Exons.** A transcript without exon lines has the stretches that its coding sequence, UTR and codons cover together as
its exons, as gffread and AGAT read it.

**Odd transcripts** are those without a strand, those whose exons lie on several contigs or strands (trans-spliced) or
beyond the transcript's ends, those given twice, those of which a file has only parts, and those beyond the positions
that a table can hold. Each gets the sentence that refuses it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple

import polars as pl

from pipeline.inputs.gtf import PARTS, Features

Style = Literal["gencode", "ensembl", "gff3"]

UNKNOWN_BIOTYPE = "unknown"
UNSTRANDED = "without a strand"
APART = "with exons on several contigs or strands"
OUTSIDE = "with exons beyond their own ends"
TWICE = "given twice"
PARTS_ALONE = "with lines of CDS or UTR alone"
FAR = "beyond position 2,147,483,647"
_MAX_POSITION = 2**31 - 1  # of an int32, in which tables hold positions
_ID_PREFIX = r"^(?:transcript|gene|rna|id)[:-]"  # GFF3 writes `transcript:ENST...` (Ensembl), `rna-NM_...` (RefSeq)
_GFF3_TRANSCRIPTS = ("transcript", "mRNA")
_PROTEINS = ("protein", "polypeptide")  # which coding sequence may name as a second parent (TAIR)
_LINELESS = ("exon", *PARTS)  # features of transcripts that have no line of their own
_PLACE = ("contig", "strand")
_JOINT, _SHOWN_JOINT = "\x1f", "@"  # between an id and what tells it from its like


class Assembly(NamedTuple):
    """Transcripts of a file in the order of their lines.

    Attributes
    ----------
    style : {"gencode", "ensembl", "gff3"}
        The dialect of the file.
    transcripts : polars.DataFrame
        One row a transcript that can be used.
    left_out : polars.DataFrame
        The odd ones: the same columns, `kind` (what is odd) and `fault` (the sentence).
    circular : tuple of str
        Contigs that the file declares circular.
    from_parts, without_exons, told_apart : polars.Series
        Ids of the transcripts whose exons are stretches of CDS and UTR, of those that have no exons at all, and of
        those that were named anew because they shared an id.
    """

    style: Style
    transcripts: pl.DataFrame
    left_out: pl.DataFrame
    circular: tuple[str, ...]
    from_parts: pl.Series
    without_exons: pl.Series
    told_apart: pl.Series


def assemble(features: Features, uri: str) -> Assembly:
    """Put the transcripts of a file together.

    Parameters
    ----------
    features : Features
        What the file holds.
    uri : str
        Its name, for sentences.

    Returns
    -------
    Assembly
    """
    features = _told_apart(features)  # from here on keys alone tell transcripts apart
    features = replace(features, exons=features.exons.drop("parent"), parts=features.parts.drop("parent"))
    style, circular, genes = _style(features), features.circular, _genes(features)
    transcripts, exons, from_parts, alone = _transcripts_and_exons(features)
    del features  # before more memory is taken
    transcripts = _with_names(transcripts.sort("line").with_row_index("index"), genes, style)
    twice = _given_twice(transcripts, "key", uri)
    placed, misplaced = _placed(exons, transcripts, twice["index"], uri)
    odd = [
        *(twice, misplaced, _given_twice(transcripts, "transcript_id", uri)),
        *_unusable(transcripts, alone, uri),
    ]
    faults = pl.concat(odd).unique("index", keep="first", maintain_order=True)
    transcripts = _with_exons(transcripts, placed)
    left_out = transcripts.join(faults, on="index", maintain_order="left")
    sound = transcripts.join(faults, on="index", how="anti", maintain_order="left")
    ids = pl.col("transcript_id")
    return Assembly(
        style,
        sound,
        left_out,
        circular,
        sound.filter(pl.col("key").is_in(from_parts.implode()))["transcript_id"],
        sound.filter(pl.col("exon_starts").list.len() == 0)["transcript_id"],
        sound.filter(pl.col("key").str.contains(_JOINT, literal=True)).select(ids).to_series(),
    )


def _style(features: Features) -> Style:
    """Ensembl writes `gene_biotype` where GENCODE writes `gene_type`."""
    if features.dialect == "gff3":
        return "gff3"
    has_biotype = features.named.select(pl.col("gene_biotype", "transcript_biotype").is_not_null().any())
    return "ensembl" if any(has_biotype.row(0)) else "gencode"


def _told_apart(features: Features) -> Features:
    """Give the transcripts of a GTF that share an id keys of their own."""
    rows = features.named.select("feature", "key", "parent", *_PLACE).filter(pl.col("feature") != "gene")
    repeated = rows.filter(pl.col("key").is_duplicated())
    if features.dialect == "gff3" or repeated.is_empty():
        return features
    genes = repeated.group_by("key").agg(pl.col("parent").drop_nulls().n_unique().alias("genes"))
    shared = genes.filter(pl.col("genes") > 1)["key"]
    if not shared.is_empty():
        features = _renamed(features, shared, "parent")
    lines = features.named.filter(pl.col("feature") == "transcript").select("key", *_PLACE)
    places = lines.filter(pl.col("key").is_duplicated()).unique()
    several = places.filter(pl.col("key").is_duplicated())["key"].unique()
    if not several.is_empty():
        is_one = pl.col("key").is_in(several.implode())
        exons = features.exons.filter(is_one)
        # Of an id with exons the parts do not count, wherever they lie.
        has_exons = pl.col("key").is_in(exons["key"].unique().implode())
        named = features.named.filter(~(pl.col("feature").is_in(PARTS) & has_exons))
        features = replace(features, named=named, parts=features.parts.filter(~has_exons))
        # An exon elsewhere than any of the lines belongs to none of them: then the id stays, given twice.
        of_them = pl.concat([exons, features.parts.filter(is_one)])
        lost = of_them.join(places, on=["key", *_PLACE], how="anti")["key"].unique()
        features = _renamed(features, several.filter(~several.is_in(lost.implode())), *_PLACE)
    return features


def _renamed(features: Features, keys: pl.Series, *columns: str) -> Features:
    """`features` with what tells them apart added to these keys."""
    is_meant = pl.col("key").is_in(keys.implode()) & pl.col(columns[0]).is_not_null()
    new = pl.concat_str("key", pl.lit(_JOINT), *columns)
    key = pl.when(is_meant).then(new).otherwise("key").alias("key")
    of_named = pl.when(pl.col("feature") == "gene").then("key").otherwise(key).alias("key")
    return replace(
        features,
        named=features.named.with_columns(of_named),
        exons=features.exons.with_columns(key),
        parts=features.parts.with_columns(key),
    )


class _Parsed(NamedTuple):
    transcripts: pl.DataFrame
    exons: pl.DataFrame
    from_parts: pl.Series
    alone: pl.Series


def _transcripts_and_exons(features: Features) -> _Parsed:
    """Rows of `named` that stand for transcripts, and all exons.

    The keys of transcripts whose exons are parts come with them, and of those that have parts alone.
    """
    lines = _with_genes_of_exons(_transcript_lines(features), features)
    first = _first_of_each(features.named.filter(pl.col("feature") == "exon"))
    rows = pl.concat([lines, first.join(lines, on="key", how="anti", maintain_order="left")])
    parts, exons = features.parts, features.exons
    if not parts.is_empty():
        covered = exons.join(parts.select("key").unique(), on="key", how="semi")["key"].unique()
        parts = parts.filter(~pl.col("key").is_in(covered.implode()))
    has_row = pl.col("key").is_in(rows["key"].implode())
    orphans = parts.filter(~has_row)["key"].unique()
    described = features.named.filter(pl.col("key").is_in(orphans.implode()))
    of_part = _first_of_each(described.filter(pl.col("feature").is_in(PARTS)))
    if features.dialect == "gff3":  # the line that the parts name as their parent, a gene's
        described = described.filter(~pl.col("feature").is_in([*_LINELESS, *_PROTEINS]))
        of_part = pl.concat([described, of_part.join(described, on="key", how="anti", maintain_order="left")])
    alone = of_part["key"] if len(rows) else orphans.clear()
    all_exons = exons if parts.is_empty() else pl.concat([exons, _merged(parts)])
    transcripts = _spanning(pl.concat([rows, of_part]), all_exons)
    return _Parsed(transcripts, all_exons, parts["key"].unique(), alone)


def _first_of_each(lineless: pl.DataFrame) -> pl.DataFrame:
    """The first row of each transcript, if possible one that names the gene."""
    if lineless["parent"].null_count():
        lineless = lineless.sort(pl.col("parent").is_null(), "line", maintain_order=True)
    return lineless.unique("key", keep="first", maintain_order=True)


def _transcript_lines(features: Features) -> pl.DataFrame:
    """The rows of `Features.named` that describe a transcript on a line of its own."""
    if features.dialect == "gtf":
        return features.named.filter(pl.col("feature") == "transcript")
    lines = features.named.filter(~pl.col("feature").is_in(_LINELESS))
    is_parent = pl.col("key").is_in(features.exons["key"].unique().implode())
    return lines.filter(is_parent | pl.col("feature").is_in(_GFF3_TRANSCRIPTS))


def _with_genes_of_exons(lines: pl.DataFrame, features: Features) -> pl.DataFrame:
    """`lines` whose missing attributes, with a bare id for example, come from the first exon or part."""
    if features.dialect == "gff3" or not lines["parent"].is_null().any():
        return lines
    first = _first_of_each(features.named.filter(pl.col("feature").is_in(_LINELESS)))
    own = ("feature", "key", "tags", *_PLACE, "start", "end", "line")
    columns = [name for name in lines.columns if name not in own]
    joined = lines.join(first.select("key", *columns), on="key", how="left", suffix="_exon", maintain_order="left")
    filled = (
        pl.when(pl.col("parent").is_null()).then(pl.coalesce(name, f"{name}_exon")).otherwise(name) for name in columns
    )
    return joined.with_columns(expression.alias(name) for expression, name in zip(filled, columns, strict=True)).select(
        lines.columns
    )


def _merged(parts: pl.DataFrame) -> pl.DataFrame:
    """The stretches of one transcript, contig and strand that its parts cover together, in the form of exons."""
    place = ["key", *_PLACE]
    reach = pl.col("end").cum_max().shift().over(place)
    stretches = parts.sort(*place, "start", "end").with_columns(
        (pl.col("start") > reach).fill_null(value=True).cum_sum().alias("stretch")
    )
    return (
        stretches.group_by("stretch", maintain_order=True)
        .agg(pl.col(place).first(), pl.col("start").min(), pl.col("end").max(), pl.col("line").min())
        .drop("stretch")
    )


def _spanning(transcripts: pl.DataFrame, exons: pl.DataFrame) -> pl.DataFrame:
    """`transcripts`, of which those without a line of their own span their exons."""
    lineless = pl.col("feature").is_in(_LINELESS)
    keys = transcripts.filter(lineless).select("key")
    if keys.is_empty():
        return transcripts
    span = (
        exons.join(keys, on="key", how="semi")
        .group_by("key")
        .agg(pl.col("start").min().alias("first"), pl.col("end").max().alias("last"), pl.col("line").min().alias("top"))
    )
    return (
        transcripts.join(span, on="key", how="left", maintain_order="left")
        .with_columns(
            pl.when(lineless).then(pl.coalesce("first", "start")).otherwise("start").alias("start"),
            pl.when(lineless).then(pl.coalesce("last", "end")).otherwise("end").alias("end"),
            pl.when(lineless).then(pl.coalesce("top", "line")).otherwise("line").alias("line"),
        )
        .drop("first", "last", "top")
    )


def _given_twice(transcripts: pl.DataFrame, name: str, uri: str) -> pl.DataFrame:
    """The transcripts that have the same value in column `name`, and what is said of them: index, kind, fault."""
    repeats = transcripts.filter(pl.col(name).is_duplicated())
    copies = repeats.group_by(name).agg(
        pl.col("line", "contig", "feature").sort_by("line").get(at).name.suffix(f"_{at}") for at in (0, 1)
    )
    copy = pl.format(
        "{} line {}: transcript {} on {} was already given on line {} ({}); each copy needs an id of its own",
        *(pl.lit(uri), "line_1", name, "contig_1", "line_0", "contig_0"),
    )
    shared = pl.format(
        "{} line {}: {} and {} (line {}) share the ID {}; in GFF3 each feature needs an ID of its own",
        *(pl.lit(uri), "line_1", "feature_1", "feature_0", "line_0", name),
    )
    fault = pl.when(pl.col("feature_0") == pl.col("feature_1")).then(copy).otherwise(shared)
    return repeats.join(copies, on=name).select("index", _kind(TWICE), fault.alias("fault"))


def _placed(
    exons: pl.DataFrame, transcripts: pl.DataFrame, twice: pl.Series, uri: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Exons with the index of their transcript, and the transcripts with an exon elsewhere than themselves.

    The former has index, start and end, the latter index, kind and fault, one row for each such exon. Transcripts that
    are given `twice`, by index, have neither.
    """
    once = transcripts.select("key", "index").filter(~pl.col("index").is_in(twice.implode()))
    placed = exons.join(once, on="key").drop("key")
    own = {name: transcripts[name].gather(placed["index"]) for name in _PLACE}
    apart = (placed["contig"] != own["contig"]) | (placed["strand"] != own["strand"])
    own = {name: transcripts[name].gather(placed["index"]) for name in ("start", "end")}
    outside = (placed["start"] < own["start"]) | (placed["end"] > own["end"])
    faulty = placed.with_columns(apart.alias("apart")).filter(apart | outside)
    return placed.select("index", "start", "end"), _misplaced(faulty, transcripts, uri)


def _misplaced(exons: pl.DataFrame, transcripts: pl.DataFrame, uri: str) -> pl.DataFrame:
    """What is said of transcripts with these exons, which lie `apart` from them or outside: index, kind, fault."""
    exon = pl.format("{}:{}-{} ({})", "contig", pl.col("start") + 1, "end", "strand")
    transcript = pl.format("{}:{}-{} ({})", "contig_tr", pl.col("start_tr") + 1, "end_tr", "strand_tr")
    key = pl.col("key").str.replace_all(_JOINT, _SHOWN_JOINT, literal=True)
    beside = pl.format(
        "{} line {}: exon {} lies outside its transcript {}, {}", pl.lit(uri), "line", exon, key, transcript
    )
    several = pl.format(
        "{} line {}: the exons of transcript {} lie on several contigs or strands", pl.lit(uri), "line_tr", key
    )
    columns = ("index", "feature", "key", *_PLACE, "start", "end", "line")
    return (
        exons.join(transcripts.select(columns), on="index", suffix="_tr")
        .sort(~pl.col("apart"), "line")
        .select(
            "index",
            pl.when("apart").then(pl.lit(APART)).otherwise(pl.lit(OUTSIDE)).alias("kind"),
            pl.when(pl.col("feature").is_in(_LINELESS)).then(several).otherwise(beside).alias("fault"),
        )
    )


def _unusable(transcripts: pl.DataFrame, alone: pl.Series, uri: str) -> list[pl.DataFrame]:
    """Transcripts without a strand, with parts alone, and beyond all positions: index, kind, fault of each kind."""
    name, line = pl.col("transcript_id"), pl.col("line")
    unstranded = pl.format("transcript {} of {} has no strand; splice sites need one", name, pl.lit(uri))
    parts = pl.format(
        "{} line {}: transcript {} has lines of CDS or UTR, but neither a transcript nor an exon line",
        *(pl.lit(uri), line, name),
    )
    end = pl.col("end").map_elements("{:,}".format, return_dtype=pl.String)
    far = pl.format(
        "{} line {}: transcript {} ends at base {} of contig {}, but positions in the table are 32-bit and end at {}",
        *(pl.lit(uri), line, name, end, "contig", pl.lit(f"{_MAX_POSITION:,}")),
    )
    kinds = (
        (~pl.col("strand").is_in(["+", "-"]), UNSTRANDED, unstranded),
        (pl.col("key").is_in(alone.implode()), PARTS_ALONE, parts),
        (pl.col("end") > _MAX_POSITION, FAR, far),
    )
    return [
        transcripts.filter(which).select("index", _kind(kind), fault.alias("fault")) for which, kind, fault in kinds
    ]


def _kind(kind: str) -> pl.Expr:
    return pl.lit(kind).alias("kind")


def _genes(features: Features) -> pl.DataFrame:
    """Id, version, name and biotype of whatever a transcript may name as its parent."""
    is_gene = pl.col("feature") == "gene" if features.dialect == "gtf" else ~pl.col("feature").is_in(_LINELESS)
    return (
        features.named.filter(is_gene)
        .unique("key", keep="first")
        .select(
            pl.col("key").alias("parent"),
            pl.col("gene_id").alias("parent_id"),
            pl.coalesce("gene_version", "version").alias("parent_version"),
            pl.coalesce("gene_name", "gene_symbol", "gene", "Name").alias("parent_name"),
            pl.coalesce("gene_type", "gene_biotype", "biotype").alias("parent_type"),
        )
    )


def _with_names(transcripts: pl.DataFrame, genes: pl.DataFrame, style: Style) -> pl.DataFrame:
    """Add ids, names and biotypes, taken from the transcript's line or, where it lacks them, from its gene's."""
    own_version = pl.when(~pl.col("feature").is_in(_LINELESS)).then("version")  # on an exon's line, the exon's version
    without_prefix = pl.col("key").str.replace(_ID_PREFIX, "")
    name = pl.coalesce("transcript_id", without_prefix)
    if style != "gff3":  # the key is the id, or more than it
        name = pl.col("key").str.replace_all(_JOINT, _SHOWN_JOINT, literal=True)
    gene_type = pl.coalesce("gene_type", "gene_biotype", "parent_type")
    parent = pl.coalesce("parent", "key")  # a gene that exons name as Parent is its own transcript
    described = (
        transcripts.with_columns(parent)
        .join(genes, on="parent", how="left", maintain_order="left")
        .with_columns(
            name.alias("transcript_id"),
            pl.coalesce("transcript_version", own_version),
            pl.coalesce("gene_id", "parent_id", "gene", pl.col("parent").str.replace(_ID_PREFIX, ""), without_prefix),
            pl.coalesce("gene_version", "parent_version"),
            pl.coalesce("gene_name", "gene_symbol", "gene", "parent_name"),
            pl.coalesce(gene_type, pl.lit(UNKNOWN_BIOTYPE)).alias("gene_type"),
            pl.coalesce(
                *("transcript_type", "transcript_biotype", "biotype", gene_type), pl.lit(UNKNOWN_BIOTYPE)
            ).alias("transcript_type"),
        )
    )
    described = described.with_columns(pl.coalesce("gene_name", "gene_id"))
    if style != "gff3":
        return described
    # In RefSeq's GFF3 the copies of a pseudoautosomal transcript share their transcript_id; their IDs differ.
    repeated = pl.col("transcript_id").is_duplicated()
    return described.with_columns(
        pl.when(repeated).then(without_prefix).otherwise("transcript_id").alias("transcript_id")
    )


def _with_exons(transcripts: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """Add the lists of exon starts and ends."""
    lists = (
        placed.sort("index", "start", "end")
        .group_by("index", maintain_order=True)
        .agg(pl.col("start").alias("exon_starts"), pl.col("end").alias("exon_ends"))
    )
    joined = transcripts.join(lists, on="index", how="left", maintain_order="left")
    return joined.with_columns(pl.col("exon_starts", "exon_ends").fill_null([]))
