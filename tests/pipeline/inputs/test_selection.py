from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.coordinates import Interval
from pipeline.inputs.annotation import Annotation, read_annotation
from pipeline.inputs.selection import Selection, select
from sptx_core.errors import InputError

ROWS = [  # transcript_id, its version, gene_id, its version, gene_name, gene_type, transcript_type, tags, contig, span
    (
        "ENST01.1",
        None,
        "ENSG01.3",
        None,
        "DOCK8",
        "protein_coding",
        "protein_coding",
        ["basic", "CCDS"],
        "chr9",
        10,
        50,
    ),
    ("ENST02.4", None, "ENSG01.3", None, "DOCK8", "protein_coding", "retained_intron", [], "chr9", 5, 30),
    ("ENST03", "2", "ENSG02", "7", "KANK1", "lncRNA", "lncRNA", ["basic"], "chrM", 0, 20),
    ("ENST05.6_PAR_Y", None, "ENSG05.6_PAR_Y", None, "SHOX", "lncRNA", "lncRNA", [], "chr1", 0, 20),
    ("MSTRG.1.1", None, "MSTRG.1", None, "MSTRG.1", "unknown", "unknown", [], "chr1", 20, 40),
]
COLUMNS = (
    *("transcript_id", "transcript_version", "gene_id", "gene_version", "gene_name", "gene_type", "transcript_type"),
    *("tags", "contig", "start", "end"),
)


@pytest.fixture(scope="module")
def annotation() -> Annotation:
    types = {"tags": pl.List(pl.String)}
    transcripts = pl.DataFrame(ROWS, schema=COLUMNS, orient="row", schema_overrides=types)
    return Annotation("genes.gtf", "gencode", transcripts, ("ENST99",))


def selected(annotation: Annotation, **filters: tuple[object, ...]) -> list[str]:
    return [name[:6] for name in select(annotation, Selection(**filters))["transcript_id"]]


def test_everything_is_sorted_by_contig_of_appearance_and_place(annotation):
    assert selected(annotation) == ["ENST02", "ENST01", "ENST03", "ENST05", "MSTRG."]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"genes": ("DOCK8",)}, ["ENST02", "ENST01"]),
        ({"genes": ("ENSG01.3", "ENSG02")}, ["ENST02", "ENST01", "ENST03"]),
        ({"genes": ("ENSG01",)}, ["ENST02", "ENST01"]),
        ({"genes": ("ENSG02.7",)}, ["ENST03"]),
        ({"genes": ("ENSG05_PAR_Y",)}, ["ENST05"]),
        ({"genes": ("MSTRG.1",)}, ["MSTRG."]),
        ({"transcripts": ("ENST01", "ENST03")}, ["ENST01", "ENST03"]),
        ({"transcripts": ("ENST03.2",)}, ["ENST03"]),
        ({"biotypes": ("protein_coding",)}, ["ENST01"]),
        ({"tags": ("basic", "CCDS")}, ["ENST01", "ENST03"]),
        ({"contigs": ("9", "MT")}, ["ENST02", "ENST01", "ENST03"]),
        ({"regions": (Interval("chr9", 0, 10),)}, ["ENST02"]),
        ({"regions": (Interval("9", 30, 31), Interval("chrM", 19, None))}, ["ENST01", "ENST03"]),
        ({"genes": ("DOCK8",), "tags": ("CCDS",)}, ["ENST01"]),
    ],
)
def test_filters(annotation, filters, expected):
    assert selected(annotation, **filters) == expected


@given(start=st.integers(0, 60), length=st.integers(1, 60))
def test_a_region_selects_what_shares_a_base_with_it(annotation, start, length):
    bases = set(range(start, start + length))
    sharing = [row[0] for row in ROWS if row[8] == "chr9" and bases & set(range(*row[9:]))]
    whole = Selection(regions=(Interval("chr9", start, start + length),))
    if sharing:
        assert set(select(annotation, whole)["transcript_id"]) == set(sharing)
    else:
        with pytest.raises(InputError, match=f"overlaps region chr9:{start + 1}-{start + length};"):
            select(annotation, whole)


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"genes": ("DOCK8", "dock8")}, "genes.gtf has no gene dock8; the nearest is DOCK8"),
        ({"genes": ("DOK8",)}, "has no gene DOK8; the nearest is DOCK8"),
        ({"genes": ("ENSG01.4",)}, "has no gene ENSG01.4; the nearest is ENSG01.3"),
        ({"genes": ("MSTRG",)}, "has no gene MSTRG; the nearest is MSTRG.1"),
        ({"transcripts": ("ENST03.9",)}, "has no transcript ENST03.9; the nearest is ENST03"),
        ({"transcripts": ("ENST99",)}, "transcript ENST99 of genes.gtf has no strand"),
        ({"biotypes": ("protein-coding",)}, "has no transcript biotype protein-coding; the nearest is protein_coding"),
        ({"tags": ("MANE_Select",)}, "has no tag MANE_Select; it has basic, CCDS"),
        ({"contigs": ("chr2",)}, "has no transcript on contig chr2; it has chr9, chrM, chr1"),
        ({"regions": (Interval("chr2", 0, 9),)}, "has no transcript on contig chr2"),
        (
            {"regions": (Interval("9", 0, 9), Interval("9", 90, 99))},
            "no transcript of genes.gtf overlaps region 9:91-99",
        ),
        ({"genes": ("KANK1",), "tags": ("CCDS",)}, "none, of 1 that pass genes KANK1, passes tags CCDS"),
    ],
)
def test_nothing_selected_says_why(annotation, filters, message):
    with pytest.raises(InputError, match=message):
        selected(annotation, **filters)


@pytest.mark.parametrize(("name", "contig"), [("gencode", "9"), ("ensembl91", "chr9")])
def test_megabase(shared: Path, name: str, contig: str):
    annotation = read_annotation(str(shared / "data" / f"{name}.chr9_1Mb.gtf.gz"))
    chosen = select(annotation, Selection(genes=("DOCK8", "ENSG00000236875.3"), contigs=(contig,)))
    assert len(chosen) == 18
    assert chosen["start"].is_sorted()
