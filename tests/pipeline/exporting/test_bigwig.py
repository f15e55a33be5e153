"""bigWigs as three independent readers see them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from material.big_readers import READERS, Reader

from pipeline.exporting.big_file import Contig
from pipeline.exporting.bigwig import RUNS_PER_BLOCK, BigWig, runs_of
from sptx_core.errors import InputError

MANY = [Contig(f"c{number:04d}", 50) for number in range(700)]  # contigs: a tree of two levels
CONTIGS = [*MANY, Contig("chr1", 300_000), Contig("chr2", 90), Contig("dense", 20_000)]


@pytest.fixture(params=READERS, ids=lambda kind: kind.module)
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param()


def signal(contig: Contig) -> np.ndarray:
    """Values in steps: at half of the bases stretches of one value, of zeros, and single ones, NaN elsewhere.

    On `dense` another value at each base.
    """
    random = np.random.default_rng(contig.length)
    values = (random.integers(0, 10_001, contig.length) / 10_000).astype(np.float32)
    if contig.name == "dense":
        return values
    kind = np.repeat(random.integers(0, 4, contig.length // 10 + 1), 10)[: contig.length]
    values[kind == 1], values[kind == 2] = 0, 0.25
    values[(kind == 3) | (random.random(contig.length) < 0.3)] = np.nan
    return values


@pytest.fixture(scope="module")
def signals() -> dict[str, np.ndarray]:
    """What the file holds: nothing of most contigs."""
    return {contig.name: signal(contig) for contig in (*MANY[::50], *CONTIGS[-3:])}


@pytest.fixture(scope="module")
def path(signals: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bigwig") / "signal.bw"
    with target.open("wb") as file:
        writer = BigWig(file, CONTIGS)
        for name, values in signals.items():
            pos = np.flatnonzero(~np.isnan(values)) + 1
            for held in np.array_split(pos, 3):  # as parts of a table
                writer.add(name, *runs_of(held, values[held - 1]))
        writer.close()
    assert writer.values == sum((~np.isnan(values)).sum() for values in signals.values())
    return target


def test_each_base_has_its_value_and_the_others_none(
    path: Path, signals: dict[str, np.ndarray], reader: Reader
) -> None:
    held = np.flatnonzero(~np.isnan(signals["chr1"]))
    assert len(runs_of(held + 1, signals["chr1"][held])[0]) > 30 * RUNS_PER_BLOCK
    for contig in (*MANY[::25], *CONTIGS[-3:]):
        wanted = signals.get(contig.name, np.full(contig.length, np.nan, np.float32))
        assert np.array_equal(reader.values(path, contig.name, 0, contig.length), wanted, equal_nan=True)


@pytest.mark.parametrize("bases", [1024, 4096, 16_384, 65_536])
def test_zoomed_out_the_greatest_value_stays(
    path: Path, signals: dict[str, np.ndarray], reader: Reader, bases: int
) -> None:
    bins = 300_000 // bases
    wanted = np.nanmax(signals["chr1"][: bins * bases].reshape(bins, bases), axis=1)
    assert np.array_equal(reader.greatest(path, "chr1", 0, bins * bases, bins), wanted)


def test_values_of_neighbouring_bases_take_little_room(signals: dict[str, np.ndarray]) -> None:
    file = io.BytesIO()
    writer = BigWig(file, CONTIGS[-1:])
    writer.add("dense", *runs_of(np.arange(1, 20_001), signals["dense"]))
    writer.close()
    assert len(file.getvalue()) < 4 * 20_000  # bytes of a value by itself


def test_a_single_peak_is_seen_from_afar(tmp_path: Path, reader: Reader) -> None:
    with (tmp_path / "peak.bw").open("wb") as file:
        writer = BigWig(file, [Contig("chr1", 248_956_422)])
        writer.add("chr1", np.array([100_000_000]), np.array([100_000_001]), np.array([0.9], np.float32))
        writer.close()
    found = reader.greatest(tmp_path / "peak.bw", "chr1", 0, 248_956_422, 100)
    assert np.flatnonzero(found == np.float32(0.9)).tolist() == [40]
    assert np.isnan(np.delete(found, 40)).all()


def test_a_file_may_be_empty(tmp_path: Path, reader: Reader) -> None:
    with (tmp_path / "empty.bw").open("wb") as file:
        BigWig(file, CONTIGS).close()
    assert np.isnan(reader.values(tmp_path / "empty.bw", "chr2", 0, 90)).all()
    assert np.isnan(reader.greatest(tmp_path / "empty.bw", "chr1", 0, 300_000, 3)).all()


@pytest.mark.parametrize(
    ("contig", "starts", "ends", "values"),
    [
        ("chr1", [10, 12], [13, 14], [0.1, 0.2]),
        ("chr1", [4], [6], [0.1]),
        ("chr1", [299_999], [300_001], [0.1]),
        ("chr1", [10], [11], [np.nan]),
        ("c0000", [0], [1], [0.1]),
    ],
    ids=["overlap", "before the last", "beyond the end", "no number", "a contig before"],
)
def test_what_cannot_be_is_refused(contig: str, starts: list[int], ends: list[int], values: list[float]) -> None:
    writer = BigWig(io.BytesIO(), CONTIGS)
    writer.add("chr1", np.array([0]), np.array([5]), np.array([0.5], np.float32))
    with pytest.raises(InputError, match="`sptx verify` names what is damaged"):
        writer.add(contig, np.array(starts), np.array(ends), np.array(values, np.float32))


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.integers(1, 40), st.sampled_from([0.0, 0.25, 1.0])))
def test_runs_hold_every_base_once_and_are_as_long_as_can_be(held: dict[int, float]) -> None:
    pos = np.array(sorted(held), np.int64)
    values = np.array([held[at] for at in pos], np.float32)
    starts, ends, of_runs = runs_of(pos, values)
    bases = {at + 1: value for run in zip(starts, ends, of_runs, strict=True) for at, value in _bases(*run)}
    assert bases == held
    touching = starts[1:] == ends[:-1]
    assert (of_runs[1:][touching] != of_runs[:-1][touching]).all()


def _bases(start: int, end: int, value: float) -> list[tuple[int, float]]:
    return [(at, value) for at in range(start, end)]
