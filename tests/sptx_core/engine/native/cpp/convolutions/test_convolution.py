"""Convolutions against PyTorch's in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sptx_core.engine.native import library
from sptx_core.engine.native.library import ADDED, ADDED_POSITIONS, COLUMNS, GIVEN, LENGTH, POSITIONS, RESULT, Mode
from sptx_core.engine.native.weights import ConvolutionArguments

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    kernel=st.integers(0, 12).map(lambda half: 2 * half + 1),
    dilation=st.integers(1, 7),
    length=st.integers(1, 1500),
    sizes=st.tuples(st.sampled_from([32, 64]), st.sampled_from([32, 96])),
    zeros=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    cut_at=st.integers(0, 100),
    extras=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    leak=st.sampled_from([0.0, 0.1]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_convolutions_equal_pytorchs_wherever_their_input_lies(
    mode: Mode,
    dtype: torch.dtype,
    kernel: int,
    dilation: int,
    length: int,
    sizes: tuple[int, int],
    zeros: tuple[int, int],
    cut_at: int,
    extras: tuple[bool, bool, bool],
    leak: float,
    threads: int,
    seed: int,
) -> None:
    """Zeros before, two parts, then the same with zeros after: as the left and right ends of windows are read."""
    inputs, outputs = sizes
    normed, relu, residual = extras
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weight, bias = random(outputs, inputs, kernel) / (inputs * kernel) ** 0.5, random(outputs)
    norm = (random(inputs), random(inputs)) if normed else None
    whole = length + (kernel - 1) * dilation
    parts, table, expected, results = [], np.zeros((2, COLUMNS), dtype=np.int64), [], []
    for side, row in enumerate(table):
        empty = min(zeros[side], whole - 1)
        x, more = random(whole - empty, inputs), random(length, outputs)
        first, second = x.split([min(cut_at, len(x)), max(0, len(x) - cut_at)])
        first, second, result = first.clone(), second.clone(), torch.full((length + 1, outputs), torch.nan)
        addresses = [first.data_ptr(), second.data_ptr()]
        counts = [len(first), len(second)]
        row[GIVEN : GIVEN + 3] = [0, *addresses] if side == 0 else [*addresses, 0]
        row[POSITIONS : POSITIONS + 3] = [empty, *counts] if side == 0 else [*counts, empty]
        if residual:
            row[ADDED : ADDED + 2] = more.data_ptr(), more[min(cut_at, length) :].data_ptr()
            row[ADDED_POSITIONS : ADDED_POSITIONS + 2] = min(cut_at, length), max(0, length - cut_at)
        row[RESULT], row[LENGTH] = result.data_ptr(), length
        parts.append((first, second, more))
        results.append(result)
        active = x if norm is None else F.leaky_relu(x * norm[0] + norm[1], leak)
        padded = F.pad(active, (0, 0, empty, 0) if side == 0 else (0, 0, 0, empty)).double()
        y = F.conv1d(padded.T[None], weight.double(), bias.double(), dilation=dilation)[0].T
        expected.append((F.leaky_relu(y, leak) if relu else y) + (more if residual else 0))

    arguments = ConvolutionArguments.of(weight, bias, norm, dilation=dilation, relu=relu, leak=leak, mode=mode)
    library.convolve(mode, [arguments], [table], threads)
    for result, wanted in zip(results, expected, strict=True):
        assert result[length].isnan().all()  # nothing is written beyond the end
        tolerance = 3e-5 if dtype == torch.float32 else 0.3
        torch.testing.assert_close(result[:length].double(), wanted, rtol=0, atol=tolerance)
        if dtype == torch.bfloat16 and kernel > 1:
            # The median of n errors is itself uncertain by some 1 / n ** 0.5; that of many is 0.005.
            assert (result[:length] - wanted).abs().median() < 0.01 * (1 + 5 / wanted.numel() ** 0.5)


def test_of_several_convolutions_a_row_is_done_one_after_the_other(mode: Mode) -> None:
    """The second reads what the first wrote, and rows of one thread use one memory between them."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(32, 32, 3, generator=generator) / 10 for _ in range(2)]
    arguments = [
        ConvolutionArguments.of(weight, torch.zeros(32), None, dilation=1, relu=False, mode=mode) for weight in weights
    ]
    rows, threads = 5, 2
    x, between = torch.randn(rows, 24, 32, generator=generator), torch.empty(threads, 22, 32)
    results = torch.full((rows, 20, 32), torch.nan)
    first, second = np.zeros((2, rows, COLUMNS), dtype=np.int64)
    for i in range(rows):
        memory = between[i % threads].data_ptr()
        first[i, [GIVEN, POSITIONS, RESULT, LENGTH]] = x[i].data_ptr(), 24, memory, 22
        second[i, [GIVEN, POSITIONS, RESULT, LENGTH]] = memory, 22, results[i].data_ptr(), 20
    library.convolve(mode, arguments, [first, second], threads)
    for i in range(rows):
        alone = torch.empty(22, 32), torch.empty(20, 32)
        for step, given_ in enumerate((x[i], alone[0])):
            row = np.zeros((1, COLUMNS), dtype=np.int64)
            row[0, [GIVEN, POSITIONS, RESULT, LENGTH]] = (
                given_.data_ptr(),
                len(given_),
                alone[step].data_ptr(),
                len(alone[step]),
            )
            library.convolve(mode, [arguments[step]], [row], 1)
        assert torch.equal(results[i], alone[1])
