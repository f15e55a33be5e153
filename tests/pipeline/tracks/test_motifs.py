"""Bases beside sites and classes of introns, on both strands; the whole is held against a sequence in named sites."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipeline.inputs.annotation import read_annotation
from pipeline.tracks.known_sites import known_sites
from pipeline.tracks.motifs import MOTIFS, with_motifs

LETTERS = str.maketrans("ACGT", "TGCA")


def motif_of(
    kind: str, own: str, partners: list[str], strand: str, *, known: bool = True
) -> tuple[str | None, str | None]:
    """bases and motif of a site at 1,000 with such bases, annotated with partners that have such bases."""
    plus = strand == "+"
    donor = (kind == "donor") == plus  # the intron lies to the right
    refs: dict[int, str] = {}

    def put(at: int, bases: str, *, right: bool) -> None:
        text = bases if plus else bases.translate(LETTERS)[::-1]
        first = at + 1 if right else at - 2
        refs.update(zip((first, first + 1), text, strict=True))

    if known:
        put(1_000, own, right=donor)
    places = []
    for number, bases in enumerate(partners, 1):
        at = 1_000 + (100 * number if donor else -100 * number)
        put(at, bases, right=not donor)
        places.append(at)
    other = "acceptor" if kind == "donor" else "donor"
    introns = pl.DataFrame({kind: [1_000] * len(places), other: places}, {kind: pl.Int32, other: pl.Int32})
    sites = pl.DataFrame(
        {"pos": [1_000], "kind": [kind], "kept": [7]}, {"pos": pl.Int32, "kind": pl.String, "kept": pl.Int8}
    )
    table = pl.DataFrame({"pos": list(refs), "ref": list(refs.values())}, {"pos": pl.Int32, "ref": pl.String})
    found = with_motifs(
        sites, introns.select("donor", "acceptor"), strand, lambda at: table.filter(pl.col("pos").is_in(at.implode()))
    )
    (row,) = found.rows(named=True)
    assert (row["pos"], row["kind"], row["kept"]) == (1_000, kind, 7)
    return row["bases"], row["motif"]


@pytest.mark.slow
@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize(
    ("kind", "own", "partners", "motif"),
    [
        ("donor", "GT", ["AG"], "GT-AG"),
        ("donor", "GC", ["AG"], "GC-AG"),
        ("donor", "AT", ["AC"], "AT-AC"),
        ("donor", "AT", ["AG"], "other"),
        ("donor", "GT", ["AA"], "other"),
        ("donor", "GT", ["AA", "AG"], "GT-AG"),  # the first class of several
        ("acceptor", "AG", ["GC"], "GC-AG"),
        ("acceptor", "AG", ["GC", "GT"], "GT-AG"),
        ("acceptor", "AG", ["CC"], "other"),
        ("acceptor", "AC", ["AT"], "AT-AC"),
        ("donor", "GT", [], "GT-AG"),  # without a partner its own bases tell
        ("donor", "GC", [], "GC-AG"),
        ("donor", "AT", [], "AT-AC"),
        ("donor", "AG", [], "other"),
        ("acceptor", "AG", [], "GT-AG"),
        ("acceptor", "AC", [], "AT-AC"),
        ("acceptor", "GT", [], "other"),
    ],
)
def test_classes(kind: str, own: str, partners: list[str], motif: str, strand: str) -> None:
    assert motif in MOTIFS
    assert motif_of(kind, own, partners, strand) == (own, motif)


@pytest.mark.parametrize("strand", ["+", "-"])
def test_a_site_beside_which_nothing_is_known_has_no_motif(strand: str) -> None:
    assert motif_of("donor", "GT", ["AG"], strand, known=False) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("strand", ["+", "-"])
def test_introns_of_the_real_megabase(strand: str, shared: Path) -> None:
    with gzip.open(shared / "data" / "GRCh38.chr9_1Mb.fa.gz", "rt") as lines:
        letters = np.array(list("".join(line.strip() for line in lines if not line.startswith(">")).upper()))
    annotation = read_annotation(str(shared / "data" / "gencode.chr9_1Mb.gtf.gz"))
    transcripts = annotation.transcripts.filter(strand=strand)
    coding = transcripts.filter(pl.col("tags").list.contains("CCDS"))
    shares = []
    for some in (transcripts, coding):
        known = known_sites(some, strand)
        found = with_motifs(
            known.sites,
            known.introns,
            strand,
            lambda at: pl.DataFrame({"pos": at, "ref": letters[at.to_numpy() - 1]}),
        )
        assert found.height >= 40
        shares.append((found["motif"] != "other").mean())
    assert shares[0] >= 0.98
    assert shares[1] == 1
