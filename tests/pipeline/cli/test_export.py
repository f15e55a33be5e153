"""The command `export`: what it writes, says and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from material import tables

from pipeline.batch import actors


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export") / "table"
    tables.write_example(root)
    return root


@pytest.mark.slow
def test_export_writes_all_but_the_hub_without_a_genome(table: Path, sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("export", table, "--to", tmp_path / "out", code=0)
    assert done.out == f"37 files written: {tmp_path / 'out'}\n"
    assert "there is no hub.txt without --genome" in done.err
    assert not list((tmp_path / "out").glob("hub.*"))
    again = sptx_here("export", table, "--to", tmp_path / "out", code=0)
    assert again.out == f"0 files written, 37 kept: {tmp_path / 'out'}\n"


def test_export_takes_regions_with_commas_and_a_genome(table: Path, sptx_here: Any, tmp_path: Path) -> None:
    flags = ("--regions", "chr9:101-1,000,HLA-A*01:01", "--genome", "hg38", "--every-base", "--quiet")
    done = sptx_here("export", table, "--to", tmp_path / "out", *flags, code=0)
    assert done.err == ""
    assert (tmp_path / "out" / "hub.txt").read_text().splitlines()[7] == "genome hg38"
    assert '"chr9:101-1,000"' in (tmp_path / "out" / "export.json").read_text()


def test_an_unfinished_table_ends_with_3(sptx_here: Any, tmp_path: Path) -> None:
    tables.write(tmp_path / "table", [tables.Part("chr1", "+", range(1, 101))], shards=2)
    done = sptx_here("export", tmp_path / "table", "--to", tmp_path / "out", "--quiet", code=3)
    assert "unfinished: 1 of 2 shards" in done.err
    assert (tmp_path / "out" / "acceptor.plus.bw").exists()
    flags = ("--to", tmp_path / "other", "--regions", "chr1:500-600")
    nothing = sptx_here("export", tmp_path / "table", *flags, code=3)
    assert "has no rows of chr1:500-600 (unfinished: 1 of 2 shards); finish it" in nothing.err
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--least", "0.1", "--every-base"), "--every-base and --least exclude each other"),
        (("--least", "2"), "--least 2 is no probability"),
        (("--genes", "GENE1", "--regions", "chr9"), "--genes and --regions exclude each other"),
        (("--genes", "GENE9"), "the nearest is GENE"),
        (("--genome", "hg 38"), "is no id of a genome"),
        (("--regions", "chr9:1-100"), "has no rows of chr9:1-100; ask for what its loci cover"),
        (("--genes", "CLIPPED"), "has no rows of CLIPPED; ask for what its loci cover"),
        (("--to", ""), "--to is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    table: Path, sptx_here: Any, tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    done = sptx_here("export", table, "--to", tmp_path / "out", *flags, code=2)
    assert told in done.err
    assert not (tmp_path / "out").exists()


def test_a_place_without_a_table_is_refused(sptx_here: Any, tmp_path: Path) -> None:
    assert "holds no table" in sptx_here("export", tmp_path, "--to", tmp_path / "out", code=2).err


@pytest.mark.slow
def test_with_workers_it_writes_the_same_on_the_workbench(
    table: Path, sptx_here: Any, tmp_path: Path, without_ray: None, digests: Any
) -> None:
    sptx_here("export", table, "--to", tmp_path / "one", "--verify", code=0)
    done = sptx_here("export", table, "--to", tmp_path / "workers", "--workers", "2", code=0)
    assert "export of 1,000 bases, 3 pieces (0 done, 3 to do) on 2 x" in done.err
    assert ", 1 thread\n" in done.err
    assert digests(tmp_path / "workers") == digests(tmp_path / "one")


@pytest.mark.slow
def test_a_cluster_that_does_not_answer_leaves_the_place_free(table: Path, sptx_here: Any, tmp_path: Path) -> None:
    done = sptx_here("export", table, "--to", tmp_path / "out", "--address", "nonsense", code=2)
    assert "no Ray cluster answers at nonsense" in done.err
    assert list((tmp_path / "out").iterdir()) == []
    sptx_here("export", table, "--to", tmp_path / "out", "--least", "0.5", code=0)


def test_an_interrupted_one_says_how_to_go_on(
    table: Path, sptx_here: Any, tmp_path: Path, without_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(actors, "execute", interrupted)
    done = sptx_here("export", table, "--to", tmp_path / "out", "--shared-output", "--object-store-mb", 80, code=130)
    assert "interrupted; the same command again goes on" in done.err


def test_a_damaged_part_is_refused_where_parts_are_checked(sptx_here: Any, tmp_path: Path) -> None:
    store = tables.write_example(tmp_path / "table")
    part = next(iter(store.list("tracks/")))
    content = bytearray(store.read_bytes(part))
    content[len(content) // 3] ^= 1
    store.write_atomic(part, bytes(content))
    done = sptx_here("export", tmp_path / "table", "--to", tmp_path / "out", "--verify", code=2)
    assert part in done.err
