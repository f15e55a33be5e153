"""The functions of the compiled library compute what PyTorch does in float64."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.native import library
from sptx_core.engine.native.library import COLUMNS, ConvolutionArguments, Mode

pytestmark = pytest.mark.usefixtures("one_thread")


FEATURES = library.features()
MODES = {
    "float32": (torch.float32, library.FLOAT32),
    "bfloat16": (torch.bfloat16, library.FLOAT32 | library.BFLOAT16),
    "float32 by matrix units": (torch.float32, library.FLOAT32 | library.BFLOAT16 | library.MATRIX_UNITS),
    "bfloat16 by matrix units": (torch.bfloat16, library.FLOAT32 | library.BFLOAT16 | library.MATRIX_UNITS),
}


@pytest.fixture(scope="module", params=MODES)
def dtype(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """Of operands of products, which the library computes by these instructions and no newer ones."""
    found, wanted = MODES[request.param]
    if FEATURES & wanted != wanted:
        pytest.skip("the compiled library is not there, or not for this processor")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "features", lambda: wanted)
        yield found


def rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """To the operands' precision and back: what a product sees of x."""
    return x.to(dtype).double()


@settings(max_examples=80, deadline=None)
@given(
    kernel=st.integers(0, 12).map(lambda half: 2 * half + 1),
    dilation=st.integers(1, 7),
    length=st.integers(1, 1500),
    sizes=st.tuples(st.sampled_from([32, 64]), st.sampled_from([32, 96])),
    zeros=st.tuples(st.integers(0, 90), st.integers(0, 90)),
    cut_at=st.integers(0, 100),
    extras=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    threads=st.integers(1, 3),
    seed=st.integers(0, 100),
)
def test_convolutions_equal_pytorchs_wherever_their_input_lies(
    dtype: torch.dtype,
    kernel: int,
    dilation: int,
    length: int,
    sizes: tuple[int, int],
    zeros: tuple[int, int],
    cut_at: int,
    extras: tuple[bool, bool, bool],
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
        row[0:3] = [0, *addresses] if side == 0 else [*addresses, 0]
        row[3:6] = [empty, *counts] if side == 0 else [*counts, empty]
        if residual:
            row[6:8] = more.data_ptr(), more[min(cut_at, length) :].data_ptr()
            row[8:10] = min(cut_at, length), max(0, length - cut_at)
        row[10:12] = result.data_ptr(), length
        parts.append((first, second, more))
        results.append(result)
        active = x if norm is None else (x * norm[0] + norm[1]).relu()
        padded = F.pad(active, (0, 0, empty, 0) if side == 0 else (0, 0, 0, empty)).double()
        y = F.conv1d(padded.T[None], weight.double(), bias.double(), dilation=dilation)[0].T
        expected.append((y.relu() if relu else y) + (more if residual else 0))

    arguments = ConvolutionArguments.of(weight, bias, norm, dilation=dilation, relu=relu, mode=Mode.of(dtype))
    library.convolve(Mode.of(dtype), [arguments], [table], threads)
    for result, wanted in zip(results, expected, strict=True):
        assert result[length].isnan().all()  # nothing is written beyond the end
        tolerance = 3e-5 if dtype == torch.float32 else 0.3
        torch.testing.assert_close(result[:length].double(), wanted, rtol=0, atol=tolerance)
        if dtype == torch.bfloat16 and kernel > 1:
            # The median of n errors is itself uncertain by some 1 / n ** 0.5; that of many is 0.005.
            assert (result[:length] - wanted).abs().median() < 0.01 * (1 + 5 / wanted.numel() ** 0.5)


@pytest.mark.parametrize("length", [1, 63, 64, 130])
def test_linear_maps_of_positions_equal_pytorchs(dtype: torch.dtype, length: int) -> None:
    generator = torch.Generator().manual_seed(length)
    weight, x = torch.randn(64, 32, generator=generator), torch.randn(length, 32, generator=generator)
    more, result = torch.randn(length, 64, generator=generator), torch.full((length + 1, 64), torch.nan)
    row = [x.data_ptr(), 0, 0, length, 0, 0, more.data_ptr(), 0, length, 0, result.data_ptr(), length]
    arguments = ConvolutionArguments.of_positions(weight, Mode.of(dtype))
    library.convolve(Mode.of(dtype), [arguments], [np.array([row])], 1)
    expected = more + rounded(x, dtype) @ rounded(weight, dtype).T
    torch.testing.assert_close(result[:length].double(), expected, rtol=0, atol=2e-5)
    assert result[length].isnan().all()


def test_more_heads_than_a_word_has_bits_do_not_fit() -> None:
    assert library.fits(SpTransformerConfig(hidden_size=31 * 32, heads=31))
    assert not library.fits(SpTransformerConfig(hidden_size=32 * 32, heads=32))


def test_it_computes_in_what_the_processor_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "library", lambda: object())
    monkeypatch.setattr(library, "features", lambda: library.FLOAT32)
    assert library.usable(torch.float32)
    assert not library.usable(torch.bfloat16)
    assert "avx512_bf16" in library.missing(torch.bfloat16)
    monkeypatch.setattr(library, "features", lambda: library.FLOAT32 | library.BFLOAT16)
    assert library.usable(torch.bfloat16)
    assert not library.usable(torch.float64)


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.system() != "Linux" or shutil.which("g++") is None,
    reason="not x86-64 Linux with a C++ compiler",
)
def test_it_is_compiled_where_it_can_be() -> None:
    assert library._loaded()[1] == ""


@pytest.mark.skipif(library.library() is None, reason="the compiled library is not there")
def test_a_library_compiled_from_another_source_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(library.__file__).parent
    for path in (*folder.glob("_native*.so"), folder / "native.cpp"):
        shutil.copy(path, tmp_path)
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    load = library._loaded.__wrapped__
    assert load()[0] is not None
    with (tmp_path / "native.cpp").open("a") as source:
        source.write("// changed\n")
    found, reason = load()
    assert found is None
    assert "another native.cpp" in reason
    for path in list(tmp_path.glob("_native*.so")):
        path.unlink()
    (tmp_path / "_native.other.so").write_text("no library")
    assert "cannot be loaded" in load()[1]
