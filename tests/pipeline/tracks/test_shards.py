"""Shards as units of work, and the runs of windows that serve their pieces."""

from __future__ import annotations

from pipeline.batch.units import Unit
from pipeline.tracks.axis import Axis
from pipeline.tracks.layout import ShardKey
from pipeline.tracks.settings import Flanks
from pipeline.tracks.shards import Piece, Shard, Stretch, shard_stretches
from sptx_core.windows import WindowSpec

PIECES = (Piece(3, 100, 130, 0, 0, ""), Piece(4, 135, 160, 0, 0, ""), Piece(5, 300, 310, 0, 0, ""))
SHARD = Shard(7, "chr9", "-", PIECES, 8)
SPEC = WindowSpec(core=10, context=5)


def test_a_shard_travels_as_a_unit_and_comes_back() -> None:
    unit = SHARD.to_unit()
    assert (unit.index, unit.size, unit.label, unit.place) == (7, 65, "101-310", "chrom=chr9/strand=minus")
    assert Shard.from_unit(Unit.from_row(unit.to_row())) == SHARD
    assert SHARD.key == ShardKey(7, "chr9", "-", 101, 310)


def test_pieces_whose_windows_touch_share_a_run_and_each_window_is_in_one() -> None:
    runs = shard_stretches(SHARD, Axis("-", Flanks.GENOMIC), SPEC)
    assert runs == [Stretch(10, 15, PIECES[:2]), Stretch(30, 30, PIECES[2:])]


def test_each_transcript_has_a_run_of_its_own() -> None:
    pieces = (Piece(0, 100, 115, 100, 140, "A"), Piece(1, 120, 140, 100, 140, "B"))
    runs = shard_stretches(Shard(0, "chr9", "-", pieces, 4), Axis("-", Flanks.TRANSCRIPT), SPEC)
    assert runs == [Stretch(2, 3, pieces[:1]), Stretch(0, 1, pieces[1:])]
