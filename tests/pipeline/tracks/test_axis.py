"""The axis against the plainest reading of its contract: a base at a time, from both ends of a transcript."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracks.axis import Axis, Origin
from pipeline.tracks.settings import Flanks
from sptx_core.alphabet import reverse_complement
from sptx_core.windows import WindowSpec, cut

AXES = st.builds(Axis, st.sampled_from("+-"), st.sampled_from(Flanks))
SPECS = st.integers(1, 9).flatmap(
    lambda core: st.builds(WindowSpec, core=st.just(core), context=st.integers(0, 4), overlap=st.integers(0, core - 1))
)


@st.composite
def spans(draw: st.DrawFn) -> tuple[Origin, int, int]:
    """A transcript and a stretch of it."""
    origin = Origin(low := draw(st.integers(0, 50)), low + draw(st.integers(1, 60)))
    start = draw(st.integers(origin.start, origin.end - 1))
    return origin, start, draw(st.integers(start + 1, origin.end))


def place(axis: Axis, pos: int, origin: Origin) -> int:
    """Where a position lies on the axis."""
    if axis.flanks is Flanks.GENOMIC:
        return pos
    return origin.end - 1 - pos if axis.strand == "-" else pos - origin.start


@pytest.mark.slow
@given(AXES, spans())
def test_an_interval_on_the_axis_holds_the_places_of_its_positions(axis: Axis, span: tuple[Origin, int, int]) -> None:
    origin, start, end = span
    first, stop = axis.to_axis(start, end, origin)
    places = [place(axis, pos, origin) for pos in range(start, end)]
    assert sorted(places) == list(range(first, stop))
    assert axis.ascending == (places == sorted(places)) or end - start == 1
    assert axis.to_genome(first, stop, origin) == (start, end)


@pytest.mark.slow
@given(AXES, spans(), SPECS)
def test_windows_own_the_positions_that_they_are_said_to_own(
    axis: Axis, span: tuple[Origin, int, int], spec: WindowSpec
) -> None:
    origin, start, end = span
    owners = [spec.owner(place(axis, pos, origin), five_prime_low=axis.five_prime_low) for pos in range(start, end)]
    k_first, k_last = axis.owners(start, end, origin, spec)
    assert (k_first, k_last) == (min(owners), max(owners))
    low, high = axis.owned(k_first, k_last, origin, spec)
    assert low <= start
    assert end <= high


@pytest.mark.slow
@given(AXES, st.lists(spans(), min_size=1, max_size=5), SPECS)
def test_arrays_give_what_their_numbers_give(
    axis: Axis, several: list[tuple[Origin, int, int]], spec: WindowSpec
) -> None:
    origins = Origin(*np.array([origin for origin, _, _ in several]).T)
    start, end = np.array([span[1:] for span in several]).T
    k_first, k_last = axis.owners(start, end, origins, spec)
    low, high = axis.owned(k_first, k_last, origins, spec)
    for row, (origin, first, stop) in enumerate(several):
        assert axis.owners(first, stop, origin, spec) == (k_first[row], k_last[row])
        assert axis.owned(int(k_first[row]), int(k_last[row]), origin, spec) == (low[row], high[row])


@pytest.mark.slow
@given(AXES, spans(), SPECS)
def test_stitched_rows_stand_where_their_bases_stand(
    axis: Axis, span: tuple[Origin, int, int], spec: WindowSpec
) -> None:
    """Each predicted base is told by its own code: windows cut from a stretch of positions give positions back."""
    origin, start, end = span
    k_first, k_last = axis.owners(start, end, origin, spec)
    low, high = spec.input_span(k_first, k_last)
    on_axis = np.arange(low, high)  # each place on the axis, as "codes"
    transcribed = on_axis[::-1] if axis.genomic and axis.minus else on_axis
    windows = cut(transcribed.copy(), spec)[:, spec.context : spec.context + spec.core]
    rows = axis.stitch(windows, spec, k_first, start, end, origin)
    assert rows.tolist() == [place(axis, pos, origin) for pos in range(start, end)]


@pytest.mark.parametrize("flanks", Flanks)
def test_the_minus_strand_is_read_as_its_reverse_complement(flanks: Flanks) -> None:
    codes = np.array([0, 1, 1, 4, 3], dtype=np.uint8)
    assert Axis("+", flanks).transcribed(codes).tolist() == codes.tolist()
    assert Axis("-", flanks).transcribed(codes).tolist() == reverse_complement(codes).tolist()


def test_which_end_is_the_five_prime_end() -> None:
    low = {(axis.strand, axis.flanks.value): axis.five_prime_low for axis in (Axis(s, f) for s in "+-" for f in Flanks)}
    assert low == {
        ("+", "genomic"): True,
        ("-", "genomic"): False,
        ("+", "transcript"): True,
        ("-", "transcript"): True,
    }
