"""The bases at the ends of introns: which two stand beside a splice site, and of which class its introns are.

All bases are read 5' to 3' on the transcript's strand. A donor's `bases` are the first two of the intron that follows
it (GT in most), an acceptor's the last two of the intron that precedes it (AG in most). `motif` is the class of an
intron by both its ends: GT-AG, GC-AG or AT-AC, which are over 99.9 % of mammalian introns (Burset, Seledtsov and
Solovyev, Nucleic Acids Research 28:4364, 2000), and `other`.

- A site whose annotated introns are of several classes has the first of them in the order of `MOTIFS`.
- A site without an annotated intron (a novel one), or whose partners lie where no base is known, has the class that its
  own bases point to: of donors GT GT-AG, GC GC-AG, AT AT-AC; of acceptors AG GT-AG, AC AT-AC; any others `other`.
- A site beside which the table has no bases has neither bases nor motif (null).

Positions are 1-based.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from pipeline.inputs.splice_sites import KINDS

MOTIFS = ("GT-AG", "GC-AG", "AT-AC", "other")
OTHER = MOTIFS[-1]
_SITE = ["pos", "kind"]
_COMPLEMENT = {"A": "T", "C": "G", "G": "C", "T": "A", "N": "N"}
_BY_OWN_BASES = {
    "donor": {"GT": "GT-AG", "GC": "GC-AG", "AT": "AT-AC"},
    "acceptor": {"AG": "GT-AG", "AC": "AT-AC"},
}

Bases = Callable[[pl.Series], pl.DataFrame]
"""Positions -> pos and ref (base of the plus strand) of those that the table holds, each once."""


def with_motifs(sites: pl.DataFrame, introns: pl.DataFrame, strand: str, bases: Bases) -> pl.DataFrame:
    """Add the bases beside each site and the class of its introns.

    Parameters
    ----------
    sites : polars.DataFrame
        pos and kind, and any other columns; sites of one strand of a contig.
    introns : polars.DataFrame
        donor and acceptor (positions of sites), each annotated intron of that strand once.
    strand : {"+", "-"}
        Their strand.
    bases : callable
        Reads bases of the plus strand.

    Returns
    -------
    polars.DataFrame
        `sites` with bases and motif (str or null) added.
    """
    of_sites = [introns.join(sites.filter(kind=kind), left_on=kind, right_on="pos", how="semi") for kind in KINDS]
    held = pl.concat(of_sites).unique()
    ends = [held.select(pl.col(kind).alias("pos"), pl.lit(kind).alias("kind")) for kind in KINDS]
    wanted = pl.concat([sites.select(_SITE), *ends]).unique()
    known = _with_bases(wanted, strand, bases)
    classes = _classes(held, known)
    own = pl.coalesce(
        pl.when(pl.col("kind") == kind).then(
            pl.col("bases").replace_strict(table, default=OTHER, return_dtype=pl.String)
        )
        for kind, table in _BY_OWN_BASES.items()
    )
    found = known.join(classes, on=_SITE, how="left").with_columns(
        pl.when(pl.col("bases").is_not_null()).then(pl.coalesce("motif", own)).alias("motif")
    )
    return sites.join(found, on=_SITE, how="left", maintain_order="left")


def _with_bases(sites: pl.DataFrame, strand: str, bases: Bases) -> pl.DataFrame:
    """pos, kind, and the two bases of the intron beside it, read in the direction of the strand."""
    forward = 1 if strand == "+" else -1
    near, far = (
        pl.when(pl.col("kind") == "donor").then(pl.lit(donor)).otherwise(pl.lit(acceptor)) * forward
        for donor, acceptor in ((1, -2), (2, -1))
    )
    placed = sites.with_columns((pl.col("pos") + near).alias("one"), (pl.col("pos") + far).alias("two")).cast(
        {"one": pl.Int32, "two": pl.Int32}
    )
    known = bases(pl.concat([placed["one"], placed["two"]]).unique().sort())
    letter = pl.col("ref") if strand == "+" else pl.col("ref").replace_strict(_COMPLEMENT)
    known = known.select("pos", letter.alias("ref"))
    for name in ("one", "two"):
        placed = placed.join(known.rename({"pos": name, "ref": f"base_{name}"}), on=name, how="left")
    return placed.select(*_SITE, (pl.col("base_one") + pl.col("base_two")).alias("bases"))


def _classes(introns: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """pos, kind and the class of the introns of each annotated site, as far as both their ends are known."""
    for kind in KINDS:
        ends = known.filter(kind=kind).select(pl.col("pos").alias(kind), pl.col("bases").alias(f"{kind}_bases"))
        introns = introns.join(ends, on=kind, how="left")
    pair = pl.col("donor_bases") + "-" + pl.col("acceptor_bases")
    rank = pair.replace_strict({motif: at for at, motif in enumerate(MOTIFS)}, default=len(MOTIFS) - 1)
    introns = introns.filter(pair.is_not_null()).with_columns(rank.alias("rank"))
    by_kind = [introns.select(pl.col(kind).alias("pos"), pl.lit(kind).alias("kind"), "rank") for kind in KINDS]
    named = pl.col("rank").replace_strict(dict(enumerate(MOTIFS)), return_dtype=pl.String).alias("motif")
    return pl.concat(by_kind).group_by(_SITE).agg(pl.col("rank").min()).select(*_SITE, named)
