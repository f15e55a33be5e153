"""Named sites -> rows of a BED file, for a genome browser.

In: frames of `pipeline.tracks.named_sites`. Out: text columns `COLUMNS`, the nine of BED and then our own, with 0-based
half-open positions: chromStart is pos - 1 and chromEnd is pos. A feature is the one exon base beside the intron.

    name     the genes' names joined by commas, the kind of a site of no gene
    score    1,000 times the score of its kind, rounded
    itemRgb  acceptors blue, donors vermilion, novel ones the lighter of their hue (sky blue, orange), those below the
             threshold grey; colours of Okabe and Ito (2008), which the colour-blind can tell apart

Source of the format: https://genome.ucsc.edu/FAQ/FAQformat.html#format1. Lists are joined by commas; white space,
commas and semicolons within names become `_`.
"""

from __future__ import annotations

import polars as pl

OWN = (
    "kind",
    "bases",
    "motif",
    "annotated",
    "gene_ids",
    "transcripts",
    "within",
    "nearest_distance",
    "top_tissue",
    "tau",
)
COLUMNS = ("chrom", "chromStart", "chromEnd", "name", "score", "strand", "thickStart", "thickEnd", "itemRgb", *OWN)
ANNOTATED = {"acceptor": "0,114,178", "donor": "213,94,0"}
NOVEL = {"acceptor": "86,180,233", "donor": "230,159,0"}
BELOW = "153,153,153"
MAX_SCORE = 1_000


def bed_rows(sites: pl.DataFrame) -> pl.DataFrame:
    """Turn named sites into rows of BED.

    Parameters
    ----------
    sites : polars.DataFrame
        As `pipeline.tracks.named_sites` gives them, all of one contig.

    Returns
    -------
    polars.DataFrame
        `COLUMNS`, sorted by position as tools that search BED files need it; unknown values are ".".
    """
    kind = pl.col("kind")
    colour = (
        pl.when(~pl.col("called"))
        .then(pl.lit(BELOW))
        .when("annotated")
        .then(kind.replace_strict(ANNOTATED, return_dtype=pl.String))
        .otherwise(kind.replace_strict(NOVEL, return_dtype=pl.String))
    )
    genes = _joined("gene_names", ",")
    name = pl.when(genes != "").then(genes).otherwise(kind)
    own = {
        **{column: pl.col(column).cast(pl.String) for column in OWN},
        "annotated": pl.when("annotated").then(pl.lit("annotated")).otherwise(pl.lit("novel")),
        "gene_ids": _joined("gene_ids", ","),
        "transcripts": _joined("transcripts", ","),
        "within": _joined("within", ","),
        "tau": pl.col("tau").round(3).cast(pl.String),
    }
    return sites.sort("pos", "strand", "kind").select(
        "chrom",
        (pl.col("pos") - 1).alias("chromStart"),
        pl.col("pos").alias("chromEnd"),
        name.alias("name"),
        (pl.col("score") * MAX_SCORE).round().cast(pl.Int32).alias("score"),
        "strand",
        (pl.col("pos") - 1).alias("thickStart"),
        pl.col("pos").alias("thickEnd"),
        colour.alias("itemRgb"),
        *(pl.when(text != "").then(text).fill_null(".").alias(column) for column, text in own.items()),
    )


def _joined(column: str, separator: str) -> pl.Expr:
    """A list of names as one text without white space."""
    return pl.col(column).list.eval(pl.element().str.replace_all(r"[\s;,]", "_")).list.join(separator)
