"""Which named sites pass: by gene, region, novelty and tissue; what is refused; shards that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import tables
from material.genomes import Transcript, write_gtf
from material.tables import Part

from pipeline.inputs.annotation import Annotation, read_annotation
from pipeline.tracks.reader import Tracks
from pipeline.tracks.site_choice import SiteChoice, choose_sites
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError

GENES = [
    Transcript("ENST01.1", "chr1", "+", [(101, 120), (151, 200)], gene="ONE", own_gene_id="ENSG01.4"),
    Transcript("ENST02.1", "chr1", "+", [(301, 320), (361, 400)], gene="TWO", own_gene_id="ENSG02.4"),
    Transcript("ENST03.1", "chr1", "-", [(121, 160), (181, 190)], gene="THREE", own_gene_id="ENSG03.4"),
]


def usage(**of: float) -> list[float]:
    """Usage in the tissues named; 0 elsewhere."""
    return [of.get(tissue, 0.0) for tissue in TISSUES]


def write(root: Path) -> Tracks:
    """Genes on both strands; brain alone uses the donor of ONE, all its acceptor, liver most a novel donor."""
    plus = [
        Part("chr1", "+", range(101, 201), {151: 0.8}, {120: 0.9, 170: 0.4}, USAGE),
        Part("chr1", "+", range(301, 401), {361: 0.7}, {320: 0.6, 330: 0.3}, {330: usage(brain=0.05)}),
    ]
    minus = Part("chr1", "-", range(121, 191), {160: 0.5}, {181: 0.05}, {181: usage(brain=0.9)})
    return tables.write(root, [*plus, minus], GENES)


USAGE = {120: usage(brain=0.9), 151: [0.5] * len(TISSUES), 170: usage(liver=0.6, brain=0.1)}


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> Tracks:
    return write(tmp_path_factory.mktemp("choice") / "table")


def chosen(tracks: Tracks, annotation: Annotation | None = None, **choice: Any) -> list[int]:
    """Positions of the sites chosen."""
    batches = choose_sites(tracks, annotation, SiteChoice(**choice)).batches()
    return pl.concat([batch.sites for batch in batches])["pos"].to_list()


ALL = [120, 151, 170, 320, 330, 361, 160, 181]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ALL),
        ({"genes": ("ONE",)}, [120, 151, 170]),
        ({"genes": ("ENSG01",)}, [120, 151, 170]),  # without its version
        ({"genes": ("TWO", "THREE")}, [320, 330, 361, 160, 181]),
        ({"regions": ("1:151-330",)}, [151, 170, 320, 330, 160, 181]),  # on both strands, by an alias
        ({"regions": ("chr1:151", "chr1:1-120")}, [120, 151, 170, 320, 330, 361, 160, 181]),
        ({"regions": ("chr1:121-155", "chr1:361-361")}, [151, 361]),
        ({"genes": ("ONE",), "regions": ("chr1:150-400",)}, [151, 170]),
        ({"novel": True}, [170, 330]),
        ({"tissue": "brain"}, [120, 151, 170]),
        ({"tissue": "brain", "min_usage": 0.5}, [120, 151]),
        ({"tissue": "brain", "min_usage": 0.05, "novel": True}, [170, 330]),
        ({"specific": True}, [120, 170, 330]),  # 181, which brain alone uses, is not called
        ({"specific": True, "tissue": "brain"}, [120]),
        ({"specific": True, "tissue": "liver"}, [170]),
        ({"specific": True, "tissue": "heart"}, []),
    ],
)
def test_choices(tracks: Tracks, choice: dict[str, Any], expected: list[int]) -> None:
    assert chosen(tracks, **choice) == expected


def test_genes_are_those_of_the_annotation(tracks: Tracks, tmp_path: Path) -> None:
    write_gtf(tmp_path / "genes.gtf.gz", [GENES[0]._replace(contig="1", gene="UNO"), GENES[2]._replace(contig="7")])
    annotation = read_annotation(str(tmp_path / "genes.gtf.gz"))
    assert chosen(tracks, annotation, genes=("UNO",)) == [120, 151, 170]
    with pytest.raises(InputError, match=r"genes\.gtf\.gz has no gene ONE; it has"):
        chosen(tracks, annotation, genes=("ONE",))
    with pytest.raises(InputError, match=r"THREE: on no contig of .*table, which has chr1"):
        chosen(tracks, annotation, genes=("THREE",))
    assert chosen(tracks, annotation, genes=("UNO", "THREE")) == [120, 151, 170]


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"genes": ("ONF",)}, r"transcripts\.parquet has no gene ONF; the nearest is ONE"),
        ({"regions": ("chr5",)}, "has no contig, gene or transcript chr5"),
        ({"regions": ("chr5:1-10",)}, "has no contig"),
        ({"regions": ("ONE",)}, "--regions ONE: this is a gene or transcript; give a gene to --genes"),
        ({"tissue": "brian"}, "has no tissue brian; the nearest is brain"),
        ({"min_usage": 0.5}, "--min-usage is the least usage in --tissue: name the tissue"),
        ({"tissue": "donor"}, "has no tissue donor; it has adipose_tissue, blood"),
    ],
)
def test_what_is_not_known_is_refused(tracks: Tracks, choice: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        chosen(tracks, **choice)


def test_missing_shards_count_where_sites_are_wanted(tmp_path: Path) -> None:
    tracks = write(tmp_path / "table")
    (part,) = (part for part in tracks.parts if part.key.first == 301)
    Path(tracks.store.path(part.name)).unlink()
    tracks = Tracks(tracks.store)
    assert chosen(tracks) == [120, 151, 170, 160, 181]
    counts = {
        name: choose_sites(tracks, None, SiteChoice(**choice)).missing_shards()
        for name, choice in (
            ("all", {}),
            ("ONE", {"genes": ("ONE",)}),
            ("TWO", {"genes": ("TWO",)}),
            ("THREE", {"genes": ("THREE",)}),
            ("before", {"regions": ("chr1:1-300",)}),
            ("its first base", {"regions": ("chr1:1-301",)}),
            ("its last base", {"regions": ("chr1:400-",)}),
            ("after", {"regions": ("chr1:401-",)}),
        )
    }
    assert counts == dict.fromkeys(counts, 0) | dict.fromkeys(("all", "TWO", "its first base", "its last base"), 1)
    over = next(part for part in tracks.parts if part.key.strand == "-")  # below gene ONE
    Path(tracks.store.path(over.name)).unlink()
    assert choose_sites(Tracks(tracks.store), None, SiteChoice(genes=("ONE",))).missing_shards() == 0
