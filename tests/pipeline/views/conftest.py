"""What tests of views share: the gene on each strand, a measurement of two of its sites, and changes of it."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from material import gene, gene_variants, saturated

from pipeline.inputs.usage import read_usage
from pipeline.tracks.reader import Tracks
from pipeline.variants.reader import Variants


@pytest.fixture(scope="session", params=["+", "-"])
def strand(request: pytest.FixtureRequest) -> str:
    """Strand of the gene."""
    return str(request.param)


@pytest.fixture(scope="session")
def tracks(tmp_path_factory: pytest.TempPathFactory, strand: str) -> Tracks:
    """The gene's table; tests only read it."""
    return gene.write(tmp_path_factory.mktemp("gene") / "table", strand)


@pytest.fixture(scope="session")
def variants(tmp_path_factory: pytest.TempPathFactory, strand: str) -> Variants:
    """The table of the gene's variants; tests only read it."""
    return gene_variants.write(tmp_path_factory.mktemp("variants") / "table", strand)


@pytest.fixture(scope="session")
def saturation(tmp_path_factory: pytest.TempPathFactory, strand: str) -> Variants:
    """The table of every change of a stretch of the gene; tests only read it."""
    return saturated.write(tmp_path_factory.mktemp("saturation") / "table", strand)


@pytest.fixture
def measured(tmp_path: Path, strand: str) -> pl.DataFrame:
    """Usage of the sites at 1,100 and 1,500, with the contig's name in another style."""
    kind = "donor" if strand == "+" else "acceptor"
    lines = ["contig\tposition\tstrand\tkind\tliver\tbrain", f"1\t1100\t{strand}\t{kind}\t0.25\t0.75"]
    (tmp_path / "usage.tsv").write_text("\n".join([*lines, f"1\t1500\t{strand}\t{kind}\t\t0.5"]) + "\n")
    return read_usage(str(tmp_path / "usage.tsv"))
