"""bigBeds as three independent readers see them."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from material.big_readers import READERS, Reader

from pipeline.exporting.big_file import Contig, Fields
from pipeline.exporting.bigbed import FEATURES_PER_BLOCK, BigBed, depth_of
from sptx_core.errors import InputError

CONTIGS = [Contig("HLA-A*01:01", 500), Contig("chr1", 200_000)]
FIELDS = Fields(
    'table t\n"t"\n(\nstring chrom; "c"\nuint chromStart; "s"\nuint chromEnd; "e"\nstring name; "n"\n)\n', 4, 4
)


@pytest.fixture(params=READERS, ids=lambda kind: kind.module)
def reader(request: pytest.FixtureRequest) -> Reader:
    return request.param()


def features(count: int, length: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features that overlap, some much longer than others."""
    random = np.random.default_rng(count)
    starts = np.sort(random.integers(0, length - 1, count))
    ends = np.minimum(starts + np.where(np.arange(count) % 100 == 7, length // 4, 3), length)
    return starts, ends, [f"name_{number}" for number in range(count)]


HELD = {"HLA-A*01:01": features(9, 500), "chr1": features(3 * FEATURES_PER_BLOCK + 5, 200_000)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bigbed") / "features.bb"
    with target.open("wb") as file:
        writer = BigBed(file, CONTIGS, FIELDS)
        for name, held in HELD.items():
            writer.add(name, *held)
        writer.close()
    assert writer.features == 3 * FEATURES_PER_BLOCK + 5 + 9
    return target


@pytest.mark.parametrize(("start", "end"), [(0, 500), (120, 180)])
@pytest.mark.parametrize("contig", HELD)
def test_each_feature_is_found_where_it_lies(path: Path, reader: Reader, contig: str, start: int, end: int) -> None:
    rows = zip(*HELD[contig], strict=True)
    wanted = [(int(first), int(last), (name,)) for first, last, name in rows if first < end and last > start]
    assert reader.features(path, contig, start, end) == wanted


def test_a_long_feature_is_found_from_its_end(path: Path, reader: Reader) -> None:
    starts, ends, names = HELD["chr1"]
    at = 207
    found = reader.features(path, "chr1", int(ends[at]) - 1, int(ends[at]))
    assert (int(starts[at]), int(ends[at]), (names[at],)) in found


def test_a_file_may_be_empty(tmp_path: Path, reader: Reader) -> None:
    with (tmp_path / "empty.bb").open("wb") as file:
        BigBed(file, CONTIGS, FIELDS).close()
    assert reader.features(tmp_path / "empty.bb", "chr1", 0, 200_000) == []


def test_a_bigbed_tells_its_columns(path: Path) -> None:
    columns, standard = struct.unpack_from("<HH", path.read_bytes(), 32)
    assert (columns, standard) == (4, 4)
    libbigwig = pytest.importorskip("pyBigWig")
    with libbigwig.open(str(path)) as file:
        assert file.SQL() == FIELDS.autosql.encode()
    ucsc = pytest.importorskip("bbi")
    with ucsc.open(str(path)) as file:
        assert list(file.schema["columns"]) == ["chrom", "start", "end", "name"]


def test_features_that_a_contig_cannot_hold_are_refused() -> None:
    writer = BigBed(io.BytesIO(), CONTIGS, FIELDS)
    with pytest.raises(InputError, match="leave the contig of 500 bases"):
        writer.add("HLA-A*01:01", np.array([499]), np.array([501]), ["beyond"])


def test_depth_counts_the_features_over_a_base() -> None:
    starts, ends, depth = depth_of(np.array([0, 0, 4, 20]), np.array([5, 2, 10, 21]))
    runs = list(zip(starts.tolist(), ends.tolist(), depth.tolist(), strict=True))
    assert runs == [(0, 2, 2), (2, 4, 1), (4, 5, 2), (5, 10, 1), (20, 21, 1)]
