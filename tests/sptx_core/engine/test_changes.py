"""Features of changed windows: in spans, as in windows that are computed whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from material.engine_networks import (
    SMALL_SPEC,
    family_logits,
    family_windows,
    random_family,
    small_network,
)

from sptx_core.engine.changes import (
    ChangedFeatures,
    ChangeGroup,
    around_spans,
    gather_around,
    group_changes,
    outside,
    zero_outside,
)
from sptx_core.engine.families import Alternative, Family, plan_family
from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.scheduling import StretchPath
from sptx_core.engine.torch.encoder import torch_encoder
from sptx_core.engine.torch.layers import TorchTransformer
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")
WIDTH = 30


def group(*starts: int, size: int = 2, windows: tuple[int, ...] = ()) -> ChangeGroup:
    given = np.array(starts)
    return ChangeGroup(np.arange(len(given)), np.array(windows or (0,) * len(given)), given, size, WIDTH)


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "max_seq_len"), [(SMALL_SPEC, 128), (SMALL_SPEC, 64), (WindowSpec(20, 60), 192)])
@pytest.mark.parametrize("run", [2, 48])
@torch.inference_mode()
def test_changed_windows_are_those_of_the_network_in_float64(spec: WindowSpec, max_seq_len: int, run: int) -> None:
    """Features cropped, cropped within the reach, and padded."""
    model, family = small_network(max_seq_len=max_seq_len).double(), random_family(spec)
    encoder = torch_encoder(model, spec, torch.float64, torch.float64)
    path = StretchPath(encoder, TorchTransformer(model, spec, torch.float64, torch.float64, 24), spec, run=run)
    expected = model(family_windows(family, spec), flanked=True).logits
    torch.testing.assert_close(family_logits(path, family), expected, rtol=0, atol=1e-12)


def test_a_span_grows_with_the_reach_and_ends_where_nothing_is_kept() -> None:
    changes = group(10, 12)
    assert [(first.tolist(), length) for first, length in (changes.span(0, 0), changes.span(4, 0))] == [
        ([10, 12], 2),
        ([6, 8], 10),
    ]
    first, length = group(3).span(5, 4)
    assert (first.tolist(), length) == ([4], 6)
    first, length = group(25).span(5, 4)
    assert (first.tolist(), length) == ([20], 6)


def test_changes_with_spans_of_one_shape_are_grouped() -> None:
    codes = np.random.default_rng(0).integers(0, 4, WIDTH + 1, dtype=np.uint8)
    one, two = np.array([4], dtype=np.uint8), np.array([4, 4], dtype=np.uint8)
    places = [(0, 10, one), (0, 12, one), (1, 12, one), (0, 12, two), (0, 1, one), (1, 2, one)]
    family = Family(codes, [0], [Alternative(*place) for place in places])
    (run,) = plan_family(family, WIDTH, 48).runs
    groups = group_changes(run, [(0, 0), (5, 0)])
    assert [(some.starts.tolist(), some.windows.tolist(), some.size) for some in groups] == [
        ([10, 12, 12], [0, 0, 1], 1),
        ([12], [0], 2),
        ([1], [0], 1),
        ([2], [1], 1),
    ]
    assert sorted(row for some in groups for row in some.rows.tolist()) == list(range(1, 7))


@pytest.mark.parametrize(("first", "length"), [(6, 10), (8, 3), (9, 2), (-2, 33), (10, 1)])
def test_a_span_lies_in_the_window_as_it_is(first: int, length: int) -> None:
    """Windows at 0 and 3 of a stretch, with ends of 5 positions of their own, of which the outermost is not kept."""
    inner, left, right = torch.arange(5, 28).double(), torch.arange(101, 105).double(), torch.arange(201, 205).double()
    reference = SharedFeatures(
        inner[:, None], torch.stack((left, left + 50))[..., None], torch.stack((right, right + 50))[..., None],
        5, 1, WIDTH, 0, starts=(0, 3),
    )  # fmt: skip
    window = torch.zeros(WIDTH)
    window[1:5], window[5:25], window[25:29] = left + 50, inner[3:23], right + 50
    window[8:12] = torch.arange(-4, 0)
    changed = ChangedFeatures(group(9, windows=(1,)), torch.arange(-4, 0)[None, :, None].double(), np.array([8]))
    whole = torch.cat((torch.zeros(5), window, torch.zeros(5)))
    found = changed.within(reference, np.array([first]), length)
    assert found[0, :, 0].tolist() == whole[first + 5 : first + 5 + length].tolist()


@pytest.mark.parametrize(("reach", "margin"), [(0, 0), (5, 0), (5, 2), (5, 5)])
@pytest.mark.parametrize("starts", [None, (0, 1, 6)])
def test_what_a_gpu_gathers_is_what_is_copied_around_a_span(
    reach: int, margin: int, starts: tuple[int, ...] | None
) -> None:
    generator = torch.Generator().manual_seed(reach)
    inner, left, right = (
        torch.randn(*shape, 2, generator=generator)
        for shape in ((WIDTH + 6 - 2 * reach,), (3, reach - margin), (3, reach - margin))
    )
    reference = SharedFeatures(inner, left, right, reach, margin, WIDTH, 3, starts=starts)
    changes, first, size = group(9, 12, 15, windows=(2, 0, 1)), np.array([-3, 5, 20]), 4
    span = first + 7
    copied = around_spans(reference, changes, span, size, first, 14)
    gathered = gather_around(reference, changes, first, 14)
    gathered[:, 7 : 7 + size] = copied[:, 7 : 7 + size] = 0
    assert torch.equal(gathered, copied)


def test_positions_outside_a_window_are_counted_and_zeroed() -> None:
    first = np.array([-3, 5, 25])
    assert [part.tolist() for part in outside(first, 8, WIDTH)] == [[3, 0, 0], [0, 0, 3]]
    rows = zero_outside(torch.ones(3, 8, 1), first, WIDTH)
    assert rows.sum((1, 2)).tolist() == [5, 8, 5]
    assert rows[0, :3].sum() == rows[2, 5:].sum() == 0
