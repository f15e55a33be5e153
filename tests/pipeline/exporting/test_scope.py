"""What an export takes: contigs in the order of the files, bases of strands, runs from the least value on."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from material import tables

from pipeline.coordinates import Strand
from pipeline.exporting.record import Options
from pipeline.exporting.scope import Scope
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.errors import InputError


@pytest.fixture
def tracks(tmp_path: Path) -> Tracks:
    parts = [
        tables.Part("2", "+", range(1, 101), donor={50: 0.5, 51: 0.5, 60: 0.002}),
        tables.Part("2", "-", range(1, 31)),
        tables.Part("10", "+", range(1, 11)),
    ]
    return tables.write(tmp_path, parts)


def test_contigs_lie_in_the_order_of_their_names_in_the_files(tracks: Tracks) -> None:
    assert list(Scope(tracks, Options()).chroms.items()) == [("10", "10"), ("2", "2")]
    scope = Scope(tracks, Options(genome="hg38"))
    assert [contig.name for contig in scope.contigs] == ["chr10", "chr2"]
    assert scope.chroms["chr2"] == "2"
    assert scope.stretches["chr2", "-"] == [(1, 30)]


def test_bases_are_those_that_have_rows(tracks: Tracks) -> None:
    scope = Scope(tracks, Options(regions=("2:91-200",)))
    assert [scope.bases([Strand.PLUS]), scope.bases([Strand.MINUS]), scope.bases([])] == [10, 0, 0]
    assert Scope(tracks, Options()).bases(Strand) == 140


@pytest.mark.parametrize(("least", "starts", "ends"), [(0.001, [49, 59], [51, 60]), (0.1, [49], [51])])
def test_runs_hold_values_from_the_least_on(tracks: Tracks, least: float, starts: list[int], ends: list[int]) -> None:
    scope = pickle.loads(pickle.dumps(Scope(tracks, Options(least=least))))  # as an actor gets it
    signal = next(one for one in scope.signals if one.file == "donor.plus.bw")
    (rows,) = scope.frames(1, Strand.PLUS, [signal], sites=False, within=None)
    found = scope.runs(signal, rows)
    assert [ends_.tolist() for ends_ in found[:2]] == [starts, ends]
    assert found[2][0] == np.float32(0.5)


def test_what_checks_parts_checks_them_in_an_actor_too(tmp_path: Path) -> None:
    store = tables.write_example(tmp_path)
    scope = pickle.loads(pickle.dumps(Scope(open_tracks(tmp_path, verify=True), Options())))
    part = next(name for name in store.list("tracks/") if "HLA" in name)
    content = bytearray(store.read_bytes(part))
    content[len(content) // 3] ^= 1
    store.write_atomic(part, bytes(content))
    with pytest.raises(InputError, match=re.escape(part)):
        list(scope.frames(0, Strand.PLUS, scope.signals[:1], sites=False, within=None))


def test_frames_lie_within_the_cuts_that_are_asked_for(tracks: Tracks) -> None:
    scope = Scope(tracks, Options())
    (rows,) = scope.frames(1, Strand.PLUS, scope.signals[:1], sites=False, within=[(11, 20)])
    assert rows["pos"].to_list() == list(range(11, 21))


def test_a_contig_that_no_file_can_hold_is_refused(tracks: Tracks) -> None:
    lengths = tracks.contigs.with_columns(length=pl.lit(2**32))
    tables.put(tracks.store, "contigs.parquet", lengths)
    with pytest.raises(InputError, match="has 4,294,967,296 bases; a bigWig or bigBed holds up to 4,294,967,295"):
        Scope(open_tracks(tracks.store.root), Options())
