"""The usage of splice sites from the reads of splice junctions: the formula.

In: for each tissue its junctions, with donor and acceptor as positions of the exon bases beside the intron. Out: a
usage table as `pipeline.inputs.usage.read_usage` returns it: contig, strand, kind, pos (int32, 1-based), and one
float64 column a tissue.

The usage of a site X in a tissue is a / (a + b). The partners of X are the sites that a junction of any tissue joins to
X; the nearest partner is the one with the shortest intron to X. For an acceptor X, in transcription order,

    a = reads of the junctions that end at X
    b = reads of the junctions from partners of X to other acceptors beyond the nearest partner

and for a donor X, mirrored,

    a = reads of the junctions that start at X
    b = reads of the junctions to partners of X from other donors before the nearest partner

Why: a molecule that leaves a partner of X and lands before the nearest partner may still use X, so it is not counted
yet. A molecule that lands beyond the nearest partner has not used X and no longer can: X lies in its intron (X was
skipped) or in the exon where it landed (another acceptor of that exon was used). No molecule is counted twice.

Usage is NaN where a + b is below `min_reads`; a site whose usage is NaN in every tissue has no row. docs/usage.md says
for which genes the formula is exact, what junctions cannot tell, and how other definitions differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

MIN_READS = 10  # the default of SpliSER's --minReads; with fewer, one read changes usage by more than a tenth
JUNCTION_COLUMNS = ("contig", "strand", "donor", "acceptor")


def usage_of_sites(tissues: Mapping[str, pl.DataFrame], min_reads: int = MIN_READS) -> pl.DataFrame:
    """Compute usage from junctions, by the formula in the module's docstring.

    Parameters
    ----------
    tissues : mapping of str to polars.DataFrame
        Tissue -> its junctions, as `pipeline.inputs.junctions.Junctions.frame`.
    min_reads : int
        Informative reads (a + b) below which the usage of a site is unknown in a tissue.

    Returns
    -------
    polars.DataFrame
        See the module's docstring; sorted by contig, pos, strand, kind.
    """
    # Within this function tissues are numbered, so that no tissue's name can clash with another column's.
    names = {f"tissue {order}": tissue for order, tissue in enumerate(tissues)}
    counts = pl.concat(
        [tissues[tissue].select(*JUNCTION_COLUMNS, pl.col("reads").alias(name)) for name, tissue in names.items()],
        how="diagonal",
    )
    junctions = counts.group_by(JUNCTION_COLUMNS).agg(pl.col(list(names)).sum())
    # Signed positions ascend in transcription order. With the opposite sign they ascend from 3' to 5', and then the
    # formula of acceptors serves donors too.
    sign = pl.when(pl.col("strand") == "+").then(1).otherwise(-1)
    ends = {"acceptor": (sign * pl.col("donor"), sign * pl.col("acceptor"))}
    ends["donor"] = (-sign * pl.col("acceptor"), -sign * pl.col("donor"))
    sites = [
        _usage_of_kind(
            junctions.select("contig", "strand", partner.alias("partner"), site.alias("site"), *names),
            list(names),
            min_reads,
        ).with_columns(pl.lit(kind).alias("kind"))
        for kind, (partner, site) in ends.items()
    ]
    known = pl.concat(sites).filter(pl.any_horizontal(pl.col(list(names)).is_not_null()))
    return (
        known.select("contig", "strand", "kind", pl.col("site").abs().cast(pl.Int32).alias("pos"), *names)
        .with_columns(pl.col(list(names)).fill_null(float("nan")))
        .sort("contig", "pos", "strand", "kind")
        .rename(names)
    )


def _usage_of_kind(junctions: pl.DataFrame, tissues: Sequence[str], min_reads: int) -> pl.DataFrame:
    """Usage of the sites of one kind: contig, strand, site, and usage by tissue (null where unknown).

    Each junction runs from `partner` to `site`, and the two positions ascend in the direction of reading.
    """
    place, reads = ["contig", "strand"], pl.col(tissues)
    # Running sums are looked up: pairing the junctions of each partner would grow with the square of their number.
    beyond = junctions.sort("site").with_columns(reads.cum_sum(reverse=True).over(*place, "partner"))
    # Of the reads from the partners of a site, those that land beyond its nearest partner: a + b.
    landed_beyond = (
        junctions.select(*place, "site", "partner", pl.col("partner").max().over(*place, "site").alias("nearest"))
        .sort("nearest")
        .join_asof(
            beyond.rename({"site": "landing"}),
            left_on="nearest",
            right_on="landing",
            by=[*place, "partner"],
            strategy="forward",
            allow_exact_matches=False,
            check_sortedness=False,
        )
    )
    used, informative = (frame.group_by(*place, "site").agg(reads.sum()) for frame in (junctions, landed_beyond))
    return used.join(informative, on=[*place, "site"], suffix=" informative").select(
        *place,
        "site",
        *(
            pl.when(pl.col(f"{tissue} informative") >= min_reads).then(pl.col(tissue) / pl.col(f"{tissue} informative"))
            for tissue in tissues
        ),
    )
