"""The plan against oracles that count base by base and window by window."""

from __future__ import annotations

import itertools
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.batch.units import Unit
from pipeline.coordinates import Interval
from pipeline.tracks.axis import Axis
from pipeline.tracks.plan import Plan, make_plan
from pipeline.tracks.settings import Flanks
from pipeline.tracks.shards import Shard, shard_stretches
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

LENGTHS = {"chr1": 400, "chr2": 300}


def frame(rows: list[tuple[str, str, str, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        rows,
        schema={
            "transcript_id": pl.String,
            "contig": pl.String,
            "strand": pl.String,
            "start": pl.Int64,
            "end": pl.Int64,
        },
        orient="row",
    )


@st.composite
def transcripts(draw: st.DrawFn) -> pl.DataFrame:
    rows = []
    for index in range(draw(st.integers(1, 12))):
        contig = draw(st.sampled_from(list(LENGTHS)))
        start = draw(st.integers(0, LENGTHS[contig] - 1))
        end = draw(st.integers(start + 1, min(LENGTHS[contig], start + 90)))
        rows.append((f"T{index:02d}", contig, draw(st.sampled_from("+-")), start, end))
    return frame(rows)


specs = st.integers(1, 12).flatmap(
    lambda core: st.builds(WindowSpec, core=st.just(core), context=st.integers(0, 5), overlap=st.integers(0, core - 1))
)
regions = st.lists(
    st.tuples(st.sampled_from(list(LENGTHS)), st.integers(0, 250), st.integers(1, 120)).map(
        lambda r: Interval(r[0], r[1], min(r[1] + r[2], LENGTHS[r[0]]))
    ),
    max_size=3,
)


def planned(
    given_transcripts: pl.DataFrame, spec: WindowSpec, flanks: Flanks, per_shard: int, clip: list[Interval]
) -> Plan | None:
    try:
        return make_plan(
            given_transcripts, LENGTHS, spec=spec, flanks=flanks, windows_per_shard=per_shard, regions=clip
        )
    except InputError:
        return None


def wanted_bases(given_transcripts: pl.DataFrame, flanks: Flanks, clip: list[Interval]) -> list[tuple[str, ...]]:
    bases = set()
    for name, contig, strand, start, end in given_transcripts.iter_rows():
        for pos in range(start, end):
            if clip and not any(r.contig == contig and r.start <= pos < (r.end or 0) for r in clip):
                continue
            bases.add((contig, strand, name if flanks is Flanks.TRANSCRIPT else "", pos))
    return sorted(bases)


def test_transcripts_beyond_the_largest_position_of_the_table_are_refused() -> None:
    limit = 2**31 - 1
    frame = pl.DataFrame(
        {
            "transcript_id": ["T", "Pt1.1"],
            "contig": ["chr4", "chr4"],
            "strand": ["+", "+"],
            "start": [limit - 600, limit - 500],
            "end": [limit, limit + 1],
        }
    )
    options: dict[str, Any] = {"spec": WindowSpec(), "flanks": Flanks.GENOMIC, "windows_per_shard": 64}
    message = (
        r"transcript Pt1\.1 ends at base 2,147,483,648 of contig chr4, but positions in the table are 32-bit and end "
        r"at 2,147,483,647; select others, on this contig those of --regions chr4:-2147483647"
    )
    with pytest.raises(InputError, match=message):
        make_plan(frame, {"chr4": 2_160_000_000}, **options)
    assert make_plan(frame.head(1), {"chr4": 2_160_000_000}, **options).shards["last"].item(-1) == limit - 1


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("c" * 249, True),
        ("c" * 250, False),
        ("é" * 42, False),
        ("a/b=c ..", True),
        ("__HIVE_DEFAULT_PARTITION__", False),
    ],
)
def test_contigs_that_cannot_name_a_folder_are_refused(name: str, kept: bool) -> None:
    frame = pl.DataFrame({"transcript_id": ["T"], "contig": [name], "strand": ["+"], "start": [5], "end": [9]})
    options: dict[str, Any] = {"spec": WindowSpec(), "flanks": Flanks.GENOMIC, "windows_per_shard": 64}
    if kept:
        assert make_plan(frame, {name: 10}, **options).bases == 4
        return
    with pytest.raises(InputError, match=f"contig {name[:60]}.* cannot be the name of a folder"):
        make_plan(frame, {name: 10}, **options)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(transcripts(), specs, st.sampled_from(Flanks), st.integers(1, 9), regions)
def test_every_selected_base_is_in_exactly_one_piece(
    chosen: pl.DataFrame, spec: WindowSpec, flanks: Flanks, per_shard: int, clip: list[Interval]
) -> None:
    wanted = wanted_bases(chosen, flanks, clip)
    plan = planned(chosen, spec, flanks, per_shard, clip)
    if plan is None:
        assert not wanted
        return
    held = [
        (shard.chrom, shard.strand, piece.transcript_id, pos)
        for shard in plan.iter_shards()
        for piece in shard.pieces
        for pos in range(piece.start, piece.end)
    ]
    assert sorted(held) == wanted
    assert plan.bases == len(held)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(transcripts(), specs, st.sampled_from(Flanks), st.integers(1, 9), regions)
def test_a_window_belongs_to_one_shard_and_shards_are_full(
    chosen: pl.DataFrame, spec: WindowSpec, flanks: Flanks, per_shard: int, clip: list[Interval]
) -> None:
    plan = planned(chosen, spec, flanks, per_shard, clip)
    if plan is None:
        return
    owners: dict[tuple[str, str, int, int], int] = {}
    shards = list(plan.iter_shards())
    for shard in shards:
        windows = 0
        for stretch in shard_stretches(shard, Axis(shard.strand, flanks), spec):
            windows += stretch.k_last - stretch.k_first + 1
            locus = stretch.pieces[0].locus if flanks is Flanks.TRANSCRIPT else -1
            for k in range(stretch.k_first, stretch.k_last + 1):
                assert owners.setdefault((shard.chrom, shard.strand, locus, k), shard.index) == shard.index
        assert windows == shard.windows <= per_shard
    for shard, following in itertools.pairwise(shards):
        if (shard.chrom, shard.strand) == (following.chrom, following.strand):
            assert shard.windows == per_shard
    assert [shard.index for shard in shards] == list(range(len(shards)))
    assert plan.windows == sum(shard.windows for shard in shards)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(transcripts(), specs, st.sampled_from(Flanks), st.integers(1, 9))
def test_rows_of_the_parts_are_sorted(chosen: pl.DataFrame, spec: WindowSpec, flanks: Flanks, per_shard: int) -> None:
    plan = planned(chosen, spec, flanks, per_shard, [])
    assert plan is not None
    keys = [
        (shard.chrom, shard.strand, piece.transcript_id, pos)
        for shard in plan.iter_shards()
        for piece in shard.pieces
        for pos in range(piece.start, piece.end)
    ]
    assert keys == sorted(keys)
    for shard in plan.iter_shards():
        assert (shard.key.first, shard.key.last) == (
            min(piece.start for piece in shard.pieces) + 1,
            max(piece.end for piece in shard.pieces),
        )
        assert Shard.from_unit(Unit.from_row(shard.to_unit().to_row())) == shard


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(transcripts(), specs, st.sampled_from(Flanks), st.integers(1, 9))
def test_windows_of_a_piece_do_not_depend_on_what_else_is_planned(
    chosen: pl.DataFrame, spec: WindowSpec, flanks: Flanks, per_shard: int
) -> None:
    """The window that owns a base is the same when its transcript is planned alone."""

    def owners(plan: Plan) -> dict[tuple[str, str, str, int], int]:
        found = {}
        for shard in plan.iter_shards():
            axis = Axis(shard.strand, flanks)
            for piece in shard.pieces:
                for pos in range(piece.start, piece.end):
                    key = (shard.chrom, shard.strand, piece.transcript_id, pos)
                    found[key], _ = axis.owners(pos, pos + 1, piece.origin, spec)
        return found

    whole = planned(chosen, spec, flanks, per_shard, [])
    alone = planned(chosen.head(1), spec, flanks, per_shard + 3, [])
    assert whole is not None
    assert alone is not None
    assert owners(alone).items() <= owners(whole).items()


def test_overlapping_and_bookended_transcripts_merge_and_others_do_not() -> None:
    chosen = frame(
        [("A", "chr1", "+", 0, 10), ("B", "chr1", "+", 10, 20), ("C", "chr1", "+", 21, 30), ("D", "chr1", "-", 5, 25)]
    )
    plan = make_plan(chosen, LENGTHS, spec=WindowSpec(10, 2), flanks=Flanks.GENOMIC, windows_per_shard=4)
    assert plan.loci.select("strand", "start", "end", "transcripts").rows() == [
        ("+", 0, 20, 2),
        ("+", 21, 30, 1),
        ("-", 5, 25, 1),
    ]


def test_regions_that_touch_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="no base is left"):
        make_plan(
            frame([("A", "chr1", "+", 0, 10)]),
            LENGTHS,
            spec=WindowSpec(10, 2),
            flanks=Flanks.GENOMIC,
            windows_per_shard=4,
            regions=[Interval("chr1", 20, 30)],
        )
