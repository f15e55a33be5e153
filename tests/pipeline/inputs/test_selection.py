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
ODD = [  # transcript_id, its version, kind, fault, of a gene with other transcripts
    ("ENST99", None, "without a strand", "has no strand"),
    ("ENST98", "3", "with exons on several contigs or strands", "lies on both strands"),
]
COLUMNS = (
    *("transcript_id", "transcript_version", "gene_id", "gene_version", "gene_name", "gene_type", "transcript_type"),
    *("tags", "contig", "start", "end"),
)


@pytest.fixture(scope="module")
def annotation() -> Annotation:
    types = {"tags": pl.List(pl.String), "transcript_version": pl.String, "gene_version": pl.String}
    transcripts = pl.DataFrame(ROWS, schema=COLUMNS, orient="row", schema_overrides=types)
    odd = [
        (name, version, *ROWS[0][2:4], "DOCK8", *ROWS[0][5:], kind, f"transcript {name} of genes.gtf {fault}")
        for name, version, kind, fault in ODD
    ]
    lost = ("ENST97", None, "ENSG97.2", None, "LOST", *ROWS[0][5:], "given twice", "genes.gtf line 5: ENST97 again")
    schema = (*COLUMNS, "kind", "fault")
    left_out = pl.DataFrame([*odd, lost], schema=schema, orient="row", schema_overrides=types)
    return Annotation("genes.gtf", "gencode", transcripts, left_out)


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


LIFTED = [("ENST07.3_1", "ENSG07.5_2"), ("ENST08.1_4_PAR_Y", "ENSG08.1_4_PAR_Y"), ("NM_01.3_1", "NM_01.5_2")]


@pytest.mark.parametrize(
    ("gene", "expected"),
    [
        *((name, ["ENST07"]) for name in ("ENSG07.5_2", "ENSG07.5", "ENSG07")),
        *((name, ["ENST08"]) for name in ("ENSG08.1_4_PAR_Y", "ENSG08.1_PAR_Y", "ENSG08_PAR_Y")),
        ("NM_01.5_2", ["NM_01."]),
        *((name, None) for name in ("ENSG07.2", "ENSG07.5_1", "ENSG07.5_", "ENSG08.1", "NM_01.5", "NM_01")),
    ],
)
def test_lifted_ids_match_with_or_without_their_numbers(annotation, gene, expected):
    rows = [(name, None, of, None, of, *ROWS[0][5:]) for name, of in LIFTED]
    types = {"tags": pl.List(pl.String), "transcript_version": pl.String, "gene_version": pl.String}
    transcripts = pl.DataFrame(rows, schema=COLUMNS, orient="row", schema_overrides=types)
    lifted = Annotation("genes.gtf", "gencode", transcripts, annotation.left_out)
    if expected is None:
        with pytest.raises(InputError, match=f"has no gene {gene}"):
            selected(lifted, genes=(gene,))
    else:
        assert selected(lifted, genes=(gene,)) == expected


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
        ({"transcripts": ("ENST99",)}, "^transcript ENST99 of genes.gtf has no strand"),
        ({"transcripts": ("ENST01", "ENST98.3")}, "^transcript ENST98 of genes.gtf lies on both strands"),
        ({"genes": ("DOCK8", "LOST")}, "^gene LOST: genes.gtf line 5: ENST97 again"),
        ({"genes": ("ENSG97",)}, "^gene ENSG97: genes.gtf line 5: ENST97 again"),
        ({"tags": ("LOST",)}, "has no tag LOST"),
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
