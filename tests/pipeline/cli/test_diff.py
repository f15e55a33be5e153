"""The command `diff`: what it prints and writes, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from material import tables, two_tables
from material.tables import Part

from pipeline.tracks.difference import compare
from pipeline.tracks.reader import open_tracks


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("diff")
    two_tables.write(folder)
    return folder / "first", folder / "second"


def test_two_runs_of_one_plan(roots: tuple[Path, Path], sptx_here: Any, tmp_path: Path) -> None:
    shutil.copytree(roots[0], tmp_path / "again")
    done = sptx_here("diff", roots[0], tmp_path / "again", "--exit-code", "--to", tmp_path / "rows.csv")
    assert done.out.splitlines() == [
        f"A: {roots[0]}, 760 rows",
        f"B: {tmp_path / 'again'}, 760 rows",
        "rows of both: 760; of A alone: 0; of B alone: 0",
        "no difference",
    ]
    assert done.err == f"0 rows that differ by 0.01 or more: {tmp_path / 'rows.csv'}\n"
    assert (tmp_path / "rows.csv").read_text() == "chrom,strand,pos,ref,channel,first,second,difference\n"


@pytest.mark.slow
def test_two_tables_that_differ(roots: tuple[Path, Path], sptx_here: Any) -> None:
    done = sptx_here("diff", *roots)
    found = compare(*map(open_tracks, roots))
    assert f"rows of both: {found.shared:,}; of A alone: {760 - found.shared:,};" in done.out
    assert "A alone has contig chr2\n" in done.out
    assert "B alone has contig chr3\n" in done.out
    titles = ["Rows of both by their greatest difference", "Channels", "Called sites, score of 0.1 or more"]
    titles += ["Sites gained and lost that differ most", "Rows that differ most, by 0.01 or more"]
    places = [done.out.index(title) for title in titles]
    assert places == sorted(places)
    top = found.largest.row(0, named=True)
    for value in (f"{top['pos']:,}", f"{top['first']:.4f}", f"{top['second']:.4f}", f"{top['difference']:.4f}"):
        assert value in done.out
    assert max(map(len, done.out.splitlines()[6:])) <= 130
    assert sptx_here("diff", *roots, "--exit-code", code=1).out == done.out


def test_rows_of_one_table_alone_are_counted(sptx_here: Any, tmp_path: Path) -> None:
    parts = [Part("chr1", "+", range(first, first + size)) for first, size in ((1, 50), (51, 100), (151, 7))]
    tables.write(tmp_path / "a", parts[:2])
    tables.write(tmp_path / "b", parts[1:])
    done = sptx_here("diff", tmp_path / "a", tmp_path / "b", "--exit-code", code=1)
    assert "rows of both: 100; of A alone: 50; of B alone: 7\n" in done.out
    assert done.out.endswith("no difference in the rows of both\n")


@pytest.mark.slow
def test_a_site_that_is_gained_below_a_step_is_printed(sptx_here: Any, tmp_path: Path) -> None:
    for name, score, bases in (("a", 0.09998, "A"), ("b", 0.10001, "A"), ("c", 0.10001, "C")):
        tables.write(tmp_path / name, [Part("chr1", "+", range(1, 9), donor={3: score}, bases=bases * 8)])
    done = sptx_here("diff", tmp_path / "a", tmp_path / "b", "--exit-code", code=1)
    assert "Sites gained and lost that differ most" in done.out
    assert "no difference" not in done.out
    done = sptx_here("diff", tmp_path / "b", tmp_path / "c", "--exit-code", code=1)
    assert done.out.splitlines()[-2:] == [
        "8 rows of both have another reference base: the genomes differ",
        "no other difference in the rows of both",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rows.tsv", "rows.parquet"])
def test_all_rows_that_differ_go_to_a_file(name: str, roots: tuple[Path, Path], sptx_here: Any, tmp_path: Path) -> None:
    sptx_here("diff", *roots, "--to", tmp_path / name, "--least", "0.2", "--region", "chr1:200-400")
    taken: list[pl.DataFrame] = []
    compare(*map(open_tracks, roots), region="chr1:200-400", least=0.2, take=taken.append)
    expected = pl.concat(taken)
    if name.endswith("parquet"):
        assert pl.read_parquet(tmp_path / name).equals(expected)
    else:
        assert (tmp_path / name).read_text() == expected.write_csv(separator="\t")


def test_json(roots: tuple[Path, Path], sptx_here: Any) -> None:
    told = json.loads(sptx_here("diff", *roots, "--json", "--gene", "GENE", "--threshold", "0.5").out)
    found = compare(*map(open_tracks, roots), gene="GENE", threshold=0.5)
    assert (told["different"], told["shared"], told["threshold"]) == (True, found.shared, 0.5)
    assert [row["gained"] for row in told["sites"]] == found.sites["gained"].to_list()
    assert told["largest"][0]["difference"] == pytest.approx(found.largest["difference"][0], abs=1e-6)
    assert told["channels"][0]["name"] == "acceptor"


def test_an_unfinished_table_is_told_and_ends_with_3(roots: tuple[Path, Path], sptx_here: Any, tmp_path: Path) -> None:
    shutil.copytree(roots[0], tmp_path / "again")
    next((tmp_path / "again" / "tracks").rglob("000002-*.parquet")).unlink()
    done = sptx_here("diff", roots[0], tmp_path / "again", code=3)
    assert f"{tmp_path / 'again'} is unfinished: 3 of 4 shards; what both tables hold was compared" in done.err
    assert "no difference in the rows of both" in done.out
    assert sptx_here("diff", roots[0], tmp_path / "again", "--exit-code", code=1)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--gene", "GENF"), "has no gene GENF; the nearest is GENE"),
        (("--to", "rows.txt"), "does not tell its form: end its name in .csv, .tsv, .parquet\n"),
        (("--to", "none/rows.csv"), "there is no folder"),
    ],
)
def test_refusals(
    flags: tuple[str, ...], told: str, roots: tuple[Path, Path], sptx_here: Any, monkeypatch: Any, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in sptx_here("diff", *roots, *flags, code=2).err
    assert not list(tmp_path.iterdir())


def test_a_damaged_part_leaves_no_file(roots: tuple[Path, Path], sptx_here: Any, tmp_path: Path) -> None:
    shutil.copytree(roots[0], tmp_path / "again")
    next((tmp_path / "again" / "tracks").rglob("000002-*.parquet")).write_bytes(b"no Parquet")
    done = sptx_here("diff", roots[0], tmp_path / "again", "--to", tmp_path / "rows.tsv", code=2)
    assert "cannot be read" in done.err
    assert not (tmp_path / "rows.tsv").exists()
