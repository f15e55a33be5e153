"""A generated genome that the tests of its parts share; they only read it."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import pytest

from pipeline.inputs.annotation import Annotation, read_annotation
from pipeline.inputs.genome import Genome
from pipeline.simulation.sequence import Contig, make_contig
from pipeline.simulation.simulate import Simulated, simulate


class Sizes(NamedTuple):
    """Arguments of the simulation."""

    seed: int = 5
    contigs: int = 2
    bases: int = 120_000


@pytest.fixture(scope="session")
def sizes() -> Sizes:
    return Sizes()


@pytest.fixture(scope="session")
def made(sizes: Sizes, tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    return simulate(tmp_path_factory.mktemp("sim") / "genome", **sizes._asdict())


@pytest.fixture(scope="session")
def annotation(made: Simulated) -> Annotation:
    return read_annotation(str(made.annotation))


@pytest.fixture(scope="session")
def genome(made: Simulated) -> Genome:
    return Genome(str(made.genome))


@pytest.fixture(scope="session")
def truth(made: Simulated) -> pl.DataFrame:
    return pl.read_parquet(made.usage)


@pytest.fixture(scope="session")
def contig(sizes: Sizes) -> Contig:
    """The first contig."""
    return make_contig(sizes.seed, 1, sizes.bases)
