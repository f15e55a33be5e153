from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from material.operands import DEVICE, DTYPES, assert_close, random, to_operands
from torch import Tensor

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.features import SharedFeatures
from sptx_core.engine.triton import convolution
from sptx_core.engine.triton.activation import activate_features
from sptx_core.engine.triton.convolution import PreparedConvolution, convolve_features, multiply_rows
from sptx_core.engine.triton.operands import Tile

NUMPY_WARNS = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # in the interpreter
STRIDE, WINDOWS = 11, 2


def made_features(channels: int, seed: int, reach: int, margin: int, width: int) -> tuple[Tensor, SharedFeatures]:
    """Features of each window, whole; and the parts of them that are kept. Windows agree but in their ends."""
    stretch = random((WINDOWS - 1) * STRIDE + width, channels, seed=seed)
    whole = torch.stack([stretch[i * STRIDE :][:width] for i in range(WINDOWS)]).clone()
    whole[:, :reach] = random(WINDOWS, reach, channels, seed=seed + 1)
    whole[:, width - reach :] = random(WINDOWS, reach, channels, seed=seed + 2)
    kept = min(margin, reach)
    left, right = whole[:, kept:reach].contiguous(), whole[:, width - reach : width - kept].contiguous()
    inner = stretch[reach : len(stretch) - reach].contiguous()
    return whole, SharedFeatures(inner, left, right, reach, kept, width, STRIDE)


@pytest.mark.slow
@settings(max_examples=12, deadline=None)
@given(
    kernel=st.integers(0, 3).map(lambda half: 2 * half + 1),
    dilation=st.integers(1, 5),
    sizes=st.tuples(st.sampled_from([16, 32]), st.sampled_from([16, 32])),
    reach=st.integers(0, 20),
    margin=st.integers(0, 6),
    extras=st.tuples(*5 * [st.booleans()]),
    seed=st.integers(0, 9),
)
@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
def test_windows_are_convolved_wherever_their_positions_lie(
    dtype: torch.dtype,
    tolerance: float,
    kernel: int,
    dilation: int,
    sizes: tuple[int, int],
    reach: int,
    margin: int,
    extras: tuple[bool, bool, bool, bool, bool],
    seed: int,
) -> None:
    """Against each window convolved alone between zeros."""
    inputs, outputs = sizes
    relu, residual, short, stored, small = extras
    width = 2 * (reach + kernel * dilation) + 150
    margin = min(margin, reach)
    whole, x = made_features(inputs, seed, reach, margin, width)
    added, more = made_features(outputs, seed + 20, reach // 2 if short else reach, margin, width)
    weight, bias = random(outputs, inputs, kernel, seed=seed) / (inputs * kernel) ** 0.5, random(outputs)
    ready = PreparedConvolution.of(weight, bias, dtype, dilation=dilation, after="relu" if relu else "nothing")

    def convolved(features: Tensor, padding: str) -> Tensor:
        operands = features.to(dtype).double().transpose(-1, -2)
        y = F.conv1d(operands, weight.to(dtype).double(), bias.double(), padding=padding, dilation=dilation)
        return (y.relu() if relu else y).transpose(-1, -2)

    expected, inner = convolved(whole, "same"), convolved(x.inner, "valid")
    grown = reach + ready.radius
    if residual:
        expected = expected + added
        inner = inner + more.inner[grown - more.reach : len(more.inner) - grown + more.reach]
    if stored:
        x = x.map(lambda part: to_operands(part, dtype))
    first = 0 if margin == 0 else margin + ready.radius  # nearer to an end it takes positions that are not held
    with pytest.MonkeyPatch.context() as patch:
        if small:  # several tiles of rows, columns and depth
            patch.setattr(convolution, "TILES", dict.fromkeys((False, True), Tile(16, 16, 16, 4, 1)))
        found = convolve_features(ready, x, first, more if residual else None)
    assert (found.reach, found.margin) == (grown, first)
    assert_close(found.left, expected[:, first:grown], tolerance)
    assert_close(found.right, expected[:, width - grown : width - first], tolerance)
    assert_close(found.inner, inner, tolerance)


def test_ends_of_which_too_little_is_known_are_refused() -> None:
    ends = random(2, 6, 16)
    x = SharedFeatures(random(100, 16), ends, ends, 8, 2, 60, 50)
    ready = PreparedConvolution.of(random(16, 16, 5), None, torch.float32)
    assert convolve_features(ready, x, 4).left.shape == (2, 6, 16)
    with pytest.raises(ValueError, match="ends from 3 on depend on positions before 2"):
        convolve_features(ready, x, 3)


@pytest.mark.parametrize("pieces", [1, 3])
def test_many_rows_are_multiplied_in_pieces(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, "MAX_ELEMENTS", -(-70 // pieces) * 64)
    x, weight, out = random(70, 32), random(16, 32, seed=1), random(70, 16, seed=2)
    expected = out.double() + x.double() @ weight.double().T
    linear = PreparedConvolution.of(weight[..., None], None, torch.float32)
    multiply_rows(to_operands(x, torch.float32), linear, out, out)
    assert_close(out, expected, 1e-6)


@NUMPY_WARNS
@pytest.mark.parametrize("value", [1e4, torch.inf, torch.nan])
def test_what_pairs_cannot_hold_never_becomes_a_number(value: float) -> None:
    x = random(64, 32)
    x[20, 3] = value
    one, zero = torch.ones(32, device=DEVICE), torch.zeros(32, device=DEVICE)
    first, second = (
        PreparedConvolution.of(random(32, 32, 3, seed=seed), zero, torch.float32, after="relu") for seed in (1, 2)
    )
    x = activate_features(SharedFeatures.begin(x, 1, 64, 0), one, zero, torch.float32)
    y = convolve_features(first, x, 1, dtype=torch.float32)
    y = convolve_features(second, y, 2)
    assert y.inner[17:20].isnan().all()  # rows 19 to 21 of 64, of which two at either side are ends
    assert y.inner[22:].isfinite().all()


@NUMPY_WARNS
@pytest.mark.parametrize("weight", [torch.inf, torch.nan])
def test_a_weight_that_is_not_finite_gives_nothing_finite(weight: float) -> None:
    weights = random(16, 16)
    weights[2, 3] = weight
    out = torch.zeros(8, 16, device=DEVICE)
    linear = PreparedConvolution.of(weights[..., None], None, torch.float32)
    multiply_rows(to_operands(random(8, 16, seed=1), torch.float32), linear, out)
    assert not out[:, 2].isfinite().any()
