"""`sptx sites`: the three forms, where they go, what is said of them, and exit codes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import gene, tables
from material.genomes import Transcript, write_gtf
from material.tables import Part

from pipeline import open_tracks
from pipeline.cli import main


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gene's table; it has four annotated sites, one of them below 0.1, and a novel one."""
    folder = tmp_path_factory.mktemp("sites") / "table"
    gene.write(folder)
    return folder


def test_sites_as_text(root: Path, sptx_here: Any) -> None:
    done = sptx_here("sites", root)
    found = pl.read_csv(io.StringIO(done.out), separator="\t")
    expected = open_tracks(root).sites(named=True).collect()
    assert found.columns == expected.columns
    assert found["pos"].to_list() == expected["pos"].to_list()
    assert found["transcripts"].to_list() == [";".join(names) for names in expected["transcripts"]]
    assert found["score"].cast(pl.Float32).to_list() == expected["score"].to_list()
    said = done.err.splitlines()
    assert said[0] == "annotated is what the 2 transcripts of the run have; --gtf takes a whole annotation"
    assert said[1] == "sites: 5, of which 3 called and annotated, 1 called and novel, 1 annotated and below 0.1"


@pytest.mark.slow
def test_the_name_of_the_file_says_the_form(root: Path, sptx_here: Any, tmp_path: Path) -> None:
    expected = open_tracks(root).sites(named=True).collect()
    for name in ("sites.tsv", "sites.bed", "sites.parquet"):
        assert sptx_here("sites", root, "--to", tmp_path / name).out == ""
    assert pl.read_parquet(tmp_path / "sites.parquet").equals(expected)
    header, *lines = (tmp_path / "sites.bed").read_text().splitlines()
    assert header.startswith("#chrom\tchromStart\tchromEnd\tname\tscore\tstrand\t")
    assert [int(line.split("\t")[2]) for line in lines] == expected["pos"].to_list()
    assert (tmp_path / "sites.tsv").read_text() == sptx_here("sites", root, "--format", "tsv").out
    assert (tmp_path / "sites.bed").read_text() == sptx_here("sites", root, "--format", "bed").out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sites.bed", "sites.parquet", "sites.tsv"]


def test_parquet_on_standard_output(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["sptx", "sites", str(root), "--format", "parquet"])
    with (tmp_path / "piped").open("w") as file, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", file)
        with pytest.raises(SystemExit) as ended:
            main()
    assert not ended.value.code
    assert pl.read_parquet(tmp_path / "piped").height == 5


@pytest.mark.slow
def test_filters_and_an_annotation(root: Path, sptx_here: Any, tmp_path: Path) -> None:
    odd = Transcript("T;9", "1", "+", [(1_950, 2_000), (2_400, 2_500)], gene="CYX3;1")
    write_gtf(tmp_path / "genes.gtf.gz", [odd, Transcript("T8", "1", "+", [(10, 20), (30, 40)])])
    flags = ("--gtf", tmp_path / "genes.gtf.gz", "--format", "tsv")
    done = sptx_here("sites", root, *flags, "--threshold", "0.5")
    found = pl.read_csv(io.StringIO(done.out), separator="\t")
    assert found.filter(pl.col("annotated"))["gene_names"].to_list() == ["CYX3%3B1"] * 2
    assert "left out, as the table has no row there: 2 annotated" in done.err
    assert "annotated is what" not in done.err
    few = sptx_here("sites", root, *flags, "--genes", "CYX3;1", "--regions", "chr1:1,990-2,010")
    assert [line.split("\t")[2] for line in few.out.splitlines()[1:]] == ["2000"]
    (brain,) = sptx_here("sites", root, "--novel", "--tissue", "brain", "--min-usage", "0.999").out.splitlines()
    assert brain.startswith("chrom\tstrand\tpos\tkind\t")  # a header alone


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--threshold", "0.001"), "--threshold 0.001: give a score from 0.01 to 1"),
        (("--tissue", "brian"), "has no tissue brian; the nearest is brain"),
        (("--genes", "GENF"), "has no gene GENF; the nearest is GENE"),
        (("--to", "sites.txt"), "does not tell its form: end its name in .tsv, .bed, .parquet, or give --format"),
        (("--to", "sites.bed", "--format", "tsv"), "is the name of a bed file, but --format is tsv"),
        (("--to", "no/sites.bed"), "cannot be written: there is no folder"),
        (("--gtf", "none.gtf"), "none.gtf does not exist"),
    ],
)
def test_refusals(
    root: Path, sptx_here: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = sptx_here("sites", root, *flags, code=2)
    assert told in done.err
    assert not done.out
    assert not list(tmp_path.iterdir())


def test_an_unfinished_table_is_told_and_ends_with_3(sptx_here: Any, tmp_path: Path) -> None:
    part = Part("chr1", "+", gene.SPAN, **gene.sites("+"), usage=gene.USAGE)
    other = part._replace(pos=range(5_001, 5_101), acceptor={}, donor={5_010: 0.9}, usage={})
    tables.write(tmp_path / "table", [part, other], gene.transcripts("+"))
    lost = next((tmp_path / "table" / "tracks").rglob("*5001-*.parquet"))
    lost.unlink()
    done = sptx_here("sites", tmp_path / "table", "--to", tmp_path / "sites.bed", code=3)
    assert done.err.splitlines()[-1] == (
        "missing: 1 of the shards that may hold sites; the same `sptx run` computes them"
    )
    assert len((tmp_path / "sites.bed").read_text().splitlines()) == 6
    assert sptx_here("sites", tmp_path / "table", "--genes", "GENE").out  # of which all shards are there


def test_a_fault_of_the_table_leaves_no_file(sptx_here: Any, tmp_path: Path) -> None:
    gene.write(tmp_path / "table")
    next((tmp_path / "table" / "sites").rglob("*.parquet")).write_bytes(b"no Parquet")
    for name in ("sites.tsv", "sites.parquet"):
        done = sptx_here("sites", tmp_path / "table", "--to", tmp_path / name, code=2)
        assert "a part of" in done.err
        assert "cannot be read" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["table"]
