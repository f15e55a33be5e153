"""The example: files always the same, with a gene worth a picture, and the checkpoint that is shipped."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.splice_sites import splice_sites
from pipeline.inputs.usage import read_usage
from pipeline.simulation.example import GENE, Example, write_example
from sptx_core import demo
from sptx_core.channels import TISSUES
from sptx_core.checkpoint import load_checkpoint
from sptx_core.errors import InputError


@pytest.fixture
def stand_in(example: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An untrained checkpoint in the place of the shipped one."""
    monkeypatch.setattr(demo, "FOLDER", example.checkpoint)
    return Path(example.checkpoint)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def made(example: Any, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The written example; tests leave its files as they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "FOLDER", example.checkpoint)
        return write_example(tmp_path_factory.mktemp("example"))


@pytest.mark.slow
def test_the_same_files_twice_and_others_left_alone(made: Example, stand_in: Path) -> None:
    folder = made.genome.parent
    (folder / "tracks").mkdir()
    before = digests(folder)
    assert all(path.exists() for path in made)
    assert {"genome.fa.gz", "genome.fa.gz.fai", "README.txt", "checkpoint/config.json"} < before.keys()
    assert digests(made.checkpoint) == digests(stand_in)
    assert write_example(folder) == made
    assert digests(folder) == before
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["checkpoint", "tracks"]


def test_four_exons_of_the_gene_are_used_in_some_tissues_and_skipped_in_others(made: Example) -> None:
    transcripts = read_annotation(str(made.annotation)).transcripts.filter(pl.col("gene_name") == GENE)
    assert transcripts["strand"].unique().to_list() == ["-"]
    named = transcripts.with_columns(chrom="contig", biotype="transcript_type")
    sites = splice_sites(named).select("pos", "kind").unique()
    usage = read_usage(str(made.usage)).join(sites, on=["pos", "kind"], how="semi").fill_nan(None)
    assert len(usage) == len(sites)
    assert usage.select(pl.max_horizontal(TISSUES) > 0.9).to_series().all()
    cassettes = usage.filter(pl.min_horizontal(TISSUES) < 0.2)
    assert len(cassettes) == 8
    assert cassettes.select(TISSUES).unique().height == 4  # each exon in tissues of its own


def test_a_folder_that_cannot_be_written(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the example in .*file cannot be written: "):
        write_example(tmp_path / "file")


def test_an_installation_without_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="holds no checkpoint: install sptx again"):
        write_example(tmp_path / "example")
    assert not (tmp_path / "example").exists()


@pytest.mark.skipif(not (demo.FOLDER / "model.safetensors").is_file(), reason="no checkpoint is shipped yet")
def test_the_shipped_checkpoint_names_the_tissues() -> None:
    assert load_checkpoint(demo.demo_checkpoint()).config.tissue_names == TISSUES
    assert (demo.FOLDER / "README.md").is_file()


@pytest.mark.slow
def test_the_command_says_what_to_try(stand_in: Path, tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    lines = [shlex.split(line) for line in sptx_here("example", tmp_path, "--generated").out.splitlines()]
    assert [words[:2] for words in lines] == [["sptx", command] for command in ("run", "evaluate", "plot")]
    assert "164,636 bases" in sptx_here("plan", *lines[0][2:]).out
    named = {word for words in lines for word in words if word.startswith(str(tmp_path))}
    written = {path.name for path in map(Path, named) if path.exists()}
    assert written == {"genome.fa.gz", "annotation.gtf.gz", "usage.parquet", "checkpoint"}
    assert GENE in lines[2]
