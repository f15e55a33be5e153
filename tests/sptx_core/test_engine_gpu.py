"""Kernels for GPUs compute what the network does; without a GPU they run in Triton's interpreter, on small networks.

The interpreter has no bfloat16: float16, which is cut into the same tiles, stands for it.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sptx_core import channels
from sptx_core.bench import seeded_model
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine import Predictor, calibrate, calibration, gpu
from sptx_core.engine.arithmetic import exact_arithmetic
from sptx_core.engine.fast import SharedPath
from sptx_core.engine.flops import count_flops
from sptx_core.engine.shared import Shared
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core.engine.gpu import operations
from sptx_core.engine.gpu.layers import GpuLayer
from sptx_core.engine.gpu.operations import (
    Convolution,
    FeedForward,
    Tile,
    activate,
    attend,
    choose,
    convolve,
    multiply,
    normalise,
)

pytestmark = pytest.mark.usefixtures("one_thread")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = [
    pytest.param(torch.float32, 1e-6 if DEVICE == "cpu" else 4e-6, id="float32"),
    pytest.param(torch.float16, 2e-3, id="float16"),
    *([pytest.param(torch.bfloat16, 2e-2, id="bfloat16")] if DEVICE == "cuda" else []),
]
CONTEXT = 48
SMALL = SpTransformerConfig(
    context=CONTEXT,
    max_seq_len=96,
    encoders=(
        SpTransformerFeatureEncoderConfig(32, (ResidualStage(2, 5, 1), ResidualStage(1, 3, 3))),
        SpTransformerFeatureEncoderConfig(16, (ResidualStage(1, 5, 1),)),  # reaches less far
    ),
    input_path_channels=8,
    hidden_size=32,
    layers=2,
    heads=2,
    local_heads=1,
    bucket_size=16,
    feed_forward_size=64,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def close(found: Tensor, expected: Tensor, tolerance: float) -> None:
    """Within a tolerance that is relative to the largest value expected."""
    assert found.shape == expected.shape
    if found.numel():
        assert (found.double() - expected).abs().max() <= tolerance * max(1.0, float(expected.abs().max()))


def pairs(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Operands: of float32, pairs."""
    if dtype != torch.float32:
        return x.to(dtype)
    high = (x * 8).half()
    return torch.cat((high, (x * 8 - high).half()), -1)


def values(operands: Tensor, channels: int) -> Tensor:
    """What operands stand for, in float64."""
    found = operands.double()
    return found if operands.shape[-1] == channels else (found[..., :channels] + found[..., channels:]) / 8


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e3])
def test_pairs_hold_what_float32_does(size: float) -> None:
    x = random(256, 64) * size
    one, zero = torch.ones(64, device=DEVICE), torch.zeros(64, device=DEVICE)
    found = activate(Shared.begin(x, 1, 256, 0), one, zero, torch.float32).inner
    assert found.dtype == torch.float16
    assert found.shape == (256, 128)
    expected = x.double().relu()
    assert ((values(found, 64) - expected).abs() <= expected * 2.0**-22 + 2.0**-28).all()
    torch.testing.assert_close(found, pairs(x.relu(), torch.float32))


@pytest.mark.parametrize("scale", [1e-20, 1.0, 3.0, 1e6])
def test_products_of_pairs_have_the_error_of_float32(scale: float) -> None:
    x, weight, out = random(96, 256), random(32, 256, seed=1) * scale, torch.empty(96, 32, device=DEVICE)
    multiply(pairs(x, torch.float32), Convolution.of(weight[..., None], None, torch.float32), out)
    expected = x.double() @ weight.double().T
    error, usual = ((y - expected).norm() / expected.norm() for y in (out.double(), x @ weight.T))
    assert error < (1.5 * usual if DEVICE == "cpu" else 1e-5)  # tensor cores cut sums off where they should round


@pytest.mark.parametrize("pieces", [1, 3])
def test_many_rows_are_multiplied_in_pieces(pieces: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "MOST_NUMBERS", -(-70 // pieces) * 64)
    x, weight, out = random(70, 32), random(16, 32, seed=1), random(70, 16, seed=2)
    expected = out.double() + x.double() @ weight.double().T
    multiply(pairs(x, torch.float32), Convolution.of(weight[..., None], None, torch.float32), out, out)
    close(out, expected, 1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("rows", [16, 80, 208])
def test_the_norm_of_rows_and_its_means(dtype: torch.dtype, tolerance: float, rows: int) -> None:
    x, scale, shift = random(rows, 64, seed=1) * 3 + 1, random(64), random(64, seed=2)
    found, means = normalise(x, (scale, shift, 1e-5), 16, dtype)
    expected = F.layer_norm(x.double(), (64,), scale.double(), shift.double(), 1e-5)
    close(values(found, 64), expected, tolerance)
    close(means, expected.view(-1, 16, 64).mean(1), 2e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize("rows", [16, 64, 144])
@pytest.mark.parametrize("last", [False, True])
def test_what_follows_attention(dtype: torch.dtype, tolerance: float, rows: int, last: bool) -> None:
    x, attended = random(rows, 64), pairs(random(rows, 64, seed=1), dtype)
    output, expand, contract = (
        ((random(n, k, seed=n) / k**0.5).to(dtype), random(n, seed=k)) for n, k in ((64, 64), (128, 64), (64, 128))
    )
    scale, shift = random(64, seed=5), random(64, seed=6)
    y = x.double() + F.linear(values(attended, 64), output[0].double(), output[1].double())
    z = F.layer_norm(y, (64,), scale.double(), shift.double(), 1e-5)
    z = F.gelu(F.linear(z, expand[0].double(), expand[1].double()))
    expected = y + F.linear(z, contract[0].double(), contract[1].double())
    following = None if last else (shift, scale, 1e-3)
    normed, means = FeedForward(output, (scale, shift, 1e-5), expand, contract, dtype)(x, attended, following, 16)
    close(x, expected, tolerance)
    if not last:
        expected = F.layer_norm(expected, (64,), shift.double(), scale.double(), 1e-3)
        close(values(normed, 64), expected, tolerance)
        close(means, expected.view(-1, 16, 64).mean(1), tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES)
@pytest.mark.parametrize(("first", "asked"), [(0, 4), (1, 2), (0, 1), (3, 1)])
def test_attention_sees_neighbours_in_the_window_and_the_chosen_bucket(
    dtype: torch.dtype, tolerance: float, first: int, asked: int
) -> None:
    windows, buckets, size, heads, near, width = 2, 4, 16, 3, 1, 16
    hidden = heads * width
    qkv = random(windows * buckets * size, 3 * hidden).to(dtype)
    chosen = torch.from_numpy(np.random.default_rng(0).integers(0, windows * buckets, (windows * asked, heads - near)))
    chosen = chosen.to(DEVICE)
    probability = random(windows * asked, heads - near).abs()
    far = qkv[:, hidden + near * width : 2 * hidden]
    found = attend(qkv, far, chosen, probability, heads=heads, size=size, windows=windows, first=first)

    of_all = values(found, hidden)
    q, k, v = qkv.double().view(windows, buckets, size, 3, heads, width).unbind(3)
    of_bucket = k.flatten(0, 1)
    for window in range(windows):
        for i in range(asked):
            b = first + i
            for head in range(heads):
                if head < near:
                    low, high = max(b - 1, 0), min(b + 2, buckets)
                    keys, value = (x[window, low:high, :, head].flatten(0, 1) for x in (k, v))
                else:
                    row = window * asked + i
                    moved = of_bucket[chosen[row, head - near], :, head] * probability[row, head - near].double()
                    keys = torch.cat((moved, k[window, b, :, head]))
                    value = torch.cat((moved, v[window, b, :, head]))
                weights = (q[window, b, :, head] @ keys.T * np.log(2)).softmax(-1)
                rows = slice((window * asked + i) * size, (window * asked + i + 1) * size)
                close(of_all[rows, head * width : (head + 1) * width], weights @ value, tolerance)


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
def test_convolution_of_windows_wherever_their_positions_lie(
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
    """Features of windows 11 apart that agree but in their ends, against each window convolved alone between zeros."""
    inputs, outputs = sizes
    relu, residual, short, stored, small = extras
    stride, width, windows = 11, 2 * (reach + kernel * dilation) + 150, 2
    length = (windows - 1) * stride + width
    margin = min(margin, reach)

    def features(channels: int, seed: int, reach: int) -> tuple[Tensor, Shared]:
        """Of each window, whole; and the parts that `Shared` holds of them."""
        stretch = random(length, channels, seed=seed)
        whole = torch.stack([stretch[i * stride :][:width] for i in range(windows)]).clone()
        whole[:, :reach] = random(windows, reach, channels, seed=seed + 1)
        whole[:, width - reach :] = random(windows, reach, channels, seed=seed + 2)
        kept = min(margin, reach)
        left, right = whole[:, kept:reach].contiguous(), whole[:, width - reach : width - kept].contiguous()
        inner = stretch[reach : length - reach].contiguous()
        return whole, Shared(inner, left, right, reach, kept, width, stride)

    whole, x = features(inputs, seed, reach)
    added, more = features(outputs, seed + 20, reach // 2 if short else reach)
    weight, bias = random(outputs, inputs, kernel, seed=seed) / (inputs * kernel) ** 0.5, random(outputs)
    ready = Convolution.of(weight, bias, dtype, dilation=dilation, after="relu" if relu else "nothing")

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
        x = x.map(lambda part: pairs(part, dtype))
    first = 0 if margin == 0 else margin + ready.radius  # nearer to an end it takes positions that are not held
    with pytest.MonkeyPatch.context() as patch:
        if small:  # several tiles of rows, columns and depth
            patch.setattr(operations, "CONVOLVE", dict.fromkeys((False, True), Tile(16, 16, 16, 4, 1)))
        found = convolve(ready, x, first, more if residual else None)
    assert (found.reach, found.margin) == (grown, first)
    close(found.left, expected[:, first:grown], tolerance)
    close(found.right, expected[:, width - grown : width - first], tolerance)
    close(found.inner, inner, tolerance)


@pytest.mark.parametrize("margin", [2, 3])
def test_activation_of_what_a_convolution_gives(margin: int) -> None:
    scale, shift = random(32, seed=1), random(32, seed=2)
    weight = random(32, 16, 7, seed=3)
    x = convolve(Convolution.of(weight, None, torch.float32), Shared.begin(random(70, 16), 2, 60, 10), margin)
    assert x.left.shape == (2, 3 - margin, 32)
    found = activate(x, scale, shift, torch.float16)
    for part, before in zip((found.inner, found.left, found.right), (x.inner, x.left, x.right), strict=True):
        assert part.dtype == torch.float16
        close(part, (before * scale + shift).relu(), 1e-3)


def test_ends_of_which_too_little_is_known_are_refused() -> None:
    ends = random(2, 6, 16)
    x = Shared(random(100, 16), ends, ends, 8, 2, 60, 50)
    ready = Convolution.of(random(16, 16, 5), None, torch.float32)
    assert convolve(ready, x, 4).left.shape == (2, 6, 16)
    with pytest.raises(ValueError, match="ends from 3 on depend on positions before 2"):
        convolve(ready, x, 3)
    with pytest.raises(ValueError, match="ends do not lie after"):
        activate(x, torch.ones(16, device=DEVICE), torch.zeros(16, device=DEVICE), torch.float32)


NUMPY_WARNS = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # in the interpreter


@NUMPY_WARNS
def test_a_bucket_is_chosen_among_those_there_are_even_where_nothing_is_a_number() -> None:
    chosen, probability = choose(random(2, 6, 32) * torch.nan, random(16, 32), random(16, 32), 1.0, 16, 0, 6)
    assert ((chosen >= 0) & (chosen < 12)).all()
    assert probability.isnan().all()


@NUMPY_WARNS
@pytest.mark.parametrize("value", [1e4, torch.inf, torch.nan])
def test_what_pairs_cannot_hold_never_becomes_a_number(value: float) -> None:
    x = random(64, 32)
    x[20, 3] = value
    one, zero = torch.ones(32, device=DEVICE), torch.zeros(32, device=DEVICE)
    first, second = (Convolution.of(random(32, 32, 3, seed=seed), zero, torch.float32, after="relu") for seed in (1, 2))
    y = convolve(first, activate(Shared.begin(x, 1, 64, 0), one, zero, torch.float32), 1, dtype=torch.float32)
    y = convolve(second, y, 2)
    assert y.inner[17:20].isnan().all()  # rows 19 to 21 of 64, of which two at either side are ends
    assert y.inner[22:].isfinite().all()


@NUMPY_WARNS
@pytest.mark.parametrize("weight", [torch.inf, torch.nan])
def test_a_weight_that_is_not_finite_gives_nothing_finite(weight: float) -> None:
    weights = random(16, 16)
    weights[2, 3] = weight
    out = torch.zeros(8, 16, device=DEVICE)
    multiply(pairs(random(8, 16, seed=1), torch.float32), Convolution.of(weights[..., None], None, torch.float32), out)
    assert not out[:, 2].isfinite().any()


@pytest.mark.parametrize(("buckets", "first", "asked"), [(4, 0, 4), (10, 2, 5), (16, 15, 1)])
def test_each_bucket_chooses_the_one_that_fits_best(buckets: int, first: int, asked: int) -> None:
    windows, heads, size, hidden = 3, 2, 16, 64
    means = random(windows, buckets, hidden)
    query, key = random(heads * size, hidden, seed=1), random(heads * size, hidden, seed=2)
    chosen, probability = choose(means, query, key, 0.01, size, first, asked)
    q, k = (
        (means.double() @ weight.double().T).view(windows, buckets, heads, size).transpose(1, 2)
        for weight in (query, key)
    )
    share, best = (q @ k.transpose(2, 3) * 0.01).softmax(-1).max(-1)  # [windows, heads, buckets]
    best = best + buckets * torch.arange(windows, device=DEVICE)[:, None, None]
    assert torch.equal(chosen, best[..., first : first + asked].transpose(1, 2).flatten(0, 1))
    close(probability, share[..., first : first + asked].transpose(1, 2).flatten(0, 1), 1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float16, 2e-2)])
@pytest.mark.parametrize(
    ("spec", "max_seq_len", "changed"),
    [
        pytest.param(WindowSpec(20, CONTEXT, 5), 96, {}, id="features-cropped"),
        pytest.param(WindowSpec(20, CONTEXT), 160, {"heads": 1, "local_heads": 0}, id="features-padded-no-local-head"),
        pytest.param(WindowSpec(17, CONTEXT), 64, {"local_heads": 2}, id="local-heads-alone"),
    ],
)
@torch.inference_mode()
def test_the_whole_path_equals_the_network(
    dtype: torch.dtype, tolerance: float, spec: WindowSpec, max_seq_len: int, changed: dict[str, int]
) -> None:
    model = seeded_model(dataclasses.replace(SMALL, max_seq_len=max_seq_len, **changed), 0).to(DEVICE)
    first, end = spec.input_span(0, 2)
    stretch = np.random.default_rng(0).integers(0, 5, end - first, dtype=np.uint8)
    found = torch.cat(list(SharedPath(model, spec, dtype, 2, path="triton").logits([[stretch]])))
    rows = torch.from_numpy(cut(stretch, spec).copy()).to(DEVICE)
    assert (found - model.double()(rows, flanked=True).logits).abs().max() < tolerance


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU here")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_gpu_gives_the_scores_of_a_cpu(precision: str, tolerance: float, batch: int) -> None:
    model, spec = seeded_model(SMALL, 0), WindowSpec(20, CONTEXT)
    if why := gpu.missing(SMALL, "cuda"):
        pytest.skip(f"path triton {why}")
    codes = np.random.default_rng(0).integers(0, 5, spec.input_span(0, 5)[1] + CONTEXT, dtype=np.uint8)
    (expected,) = Predictor(model, spec, batch=1, path="reference").predict([codes])
    predictor = Predictor(model, spec, batch=batch, path="triton", precision=precision, device="cuda")
    (found,), (again,) = predictor.predict([codes]), predictor.predict([codes])
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert found.tobytes() == again.tobytes()


@pytest.mark.skipif(DEVICE == "cpu", reason="no GPU here")
@pytest.mark.parametrize("path", ["shared", "triton"])
@torch.inference_mode()
def test_a_gpu_gives_the_golden_logits(
    path: str, golden_checkpoint: Path, golden_cases: tuple[tuple[np.ndarray, np.ndarray], ...]
) -> None:
    model = SpTransformerModel.from_pretrained(golden_checkpoint).cuda()
    if path == "triton" and (why := gpu.missing(model.config, "cuda")):
        pytest.skip(f"path triton {why}")
    for case in range(6):
        codes, expected = golden_cases[case][0], torch.from_numpy(golden_cases[case][1])
        spec = WindowSpec(core=len(expected))
        with exact_arithmetic("cuda"):
            exact, rounded = (
                next(SharedPath(model, spec, dtype, 1, path=path).logits([[codes]]))[0].cpu()
                for dtype in (torch.float32, torch.bfloat16)
            )
        assert (exact - expected).abs().max() < 1e-4
        difference = (channels.scores(rounded) - channels.scores(expected)).abs()
        assert difference.max() < 0.02
        assert difference.median() < 0.003


@pytest.mark.parametrize("windows", [1, 2])
@torch.inference_mode()
def test_a_layer_tells_the_buckets_it_chose(windows: int) -> None:
    config = dataclasses.replace(SMALL, max_seq_len=64, layers=1)
    layer = seeded_model(config, 1).layers[0].double().to(DEVICE)
    x = random(windows, 64, 32)
    expected, choice, _ = layer(x.double())
    chosen: list[Tensor] = []
    ready = GpuLayer(layer, torch.float32)
    kept = ready.last(x.clone(), ready.begin(x), 20, 30, chosen)
    close(kept, expected[:, 20:50], 1e-6)
    assert torch.equal(chosen[0][..., 1:4], choice.bucket[..., 1:4])
    assert (chosen[0][..., [0]] == -1).all()
    rows = ready.begin(x)
    with count_flops() as performed:
        rows = ready(x, rows, ready.norm, chosen)
    close(x, expected, 1e-6)
    again = ready.begin(x)
    close(values(rows.normed, 32), values(again.normed, 32), 1e-6)
    close(rows.means, again.means.double(), 1e-6)
    assert torch.equal(chosen[1], choice.bucket)
    linear = 64 * 32 * (3 * 32 + 32 + 2 * 64)
    choice = 4 * 16 * (2 * 32 + 4)
    assert performed[0] == windows * (2 * linear + 2 * choice + 4 * 4 * 16 * 16 * 16 * (3 + 2))


def test_every_kernel_of_the_published_network_compiles_for_a_hopper_gpu(tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "gpu_kernels.py"
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, script],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    rows = [line.split() for line in found.stdout.splitlines()[1:]]
    assert {(row[0], row[1]) for row in rows} == {
        (name, operands)
        for name in ("normalise", "attend", "activate", "convolve")
        for operands in ("bfloat16", "float32")
    } | {("place", "float32"), ("choose", "float32"), ("finish", "bfloat16")}
    without = ("activate", "place", "normalise", "choose")  # products on the tensor cores
    assert all((int(row[-1]) > 0) == (row[0] not in without) for row in rows)


def test_networks_of_other_sizes_and_processors_are_refused() -> None:
    assert gpu.fits(SpTransformerConfig())
    assert not gpu.fits(SpTransformerConfig(hidden_size=512))
    small = {"hidden_size": 16, "heads": 1, "local_heads": 1}
    long = {"max_seq_len": 129 * 16}
    for changed in (
        small,
        long,
        {"hidden_size": 64, "heads": 1, "local_heads": 1},
        {"hidden_size": 48},
        {"bucket_size": 8},
        {"feed_forward_size": 96},
        {"heads": 4},
    ):
        assert not gpu.fits(dataclasses.replace(SMALL, **changed))
    model = SpTransformerModel(SMALL)
    assert gpu.fits(dataclasses.replace(SMALL, max_seq_len=128 * 16))
    assert "at most 128 buckets" in gpu.missing(dataclasses.replace(SMALL, **long), "cuda")
    with pytest.raises(InputError, match="engine path 'triton' is for GPUs alone: use 'shared'"):
        Predictor(model, WindowSpec(20, CONTEXT), batch=1, path="triton")


@pytest.mark.parametrize(
    ("precision", "seconds", "error", "path", "note"),
    [
        ("float32", 0.5, 0.0, "triton", ""),
        ("float32", 1.0, 0.0, "shared", ""),
        ("float32", 0.5, 1e-4, "shared", "quantile 0.99 of its differences from the exact scores is 1.0e-04"),
        ("float32", None, 0.0, "shared", "left out: RuntimeError: no ptxas"),
        ("bfloat16", 0.5, 0.014, "triton", ""),  # beside 0.01 of the operators
        ("bfloat16", 0.5, 0.016, "shared", "is 1.6e-02, that of shared 1.0e-02"),
    ],
)
def test_auto_takes_the_kernels_where_they_are_faster_and_right(
    precision: str, seconds: float | None, error: float, path: str, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stand:
        """Stands for a predictor on a GPU, which this test must not need."""

        def __init__(self, *_: object, path: str, precision: str, batch: int, **__: object) -> None:
            self.path, self.precision, self.batch = "shared" if path == "auto" else path, precision, batch

    def trial(predictor: Stand, windows: tuple[int, ...], turns: int) -> tuple[float, np.ndarray]:
        del windows, turns
        if predictor.batch > 8:
            raise torch.OutOfMemoryError
        scores = np.zeros(40, np.float32)
        if predictor.path == "shared":
            scores[:9] = 0.01 if predictor.precision == "bfloat16" else 0.0
            return 8.0 / predictor.batch, scores
        if seconds is None:
            raise RuntimeError("no ptxas")
        scores[:9] = error
        return seconds * 8 / predictor.batch, scores

    monkeypatch.setattr(calibration, "Predictor", Stand)
    monkeypatch.setattr(calibration, "_trial", trial)
    monkeypatch.setattr(calibration, "hardware", lambda device: device)
    monkeypatch.setattr(gpu, "missing", lambda *_: "")
    model, spec = SpTransformerModel(SMALL), WindowSpec(20, CONTEXT)
    settled = calibrate(model, spec, device="cuda", precision=precision)
    assert (settled.path, settled.batch) == (path, 8)
    assert note in settled.note
    assert bool(note) == bool(settled.note)
    assert calibrate(model, spec, device="cuda", batch=4, path="shared").path == "shared"
    with pytest.raises(torch.OutOfMemoryError):
        calibrate(model, spec, device="cuda", batch=16)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_the_shared_path_never_waits_for_a_gpu_nor_mixes_devices(dtype: torch.dtype) -> None:
    """On tensors without values: whoever looked at one, or mixed them with a processor's, would raise."""
    spec = WindowSpec(20, CONTEXT)
    codes = [np.zeros(spec.input_span(0, windows)[1] + CONTEXT, dtype=np.uint8) for windows in (4, 1)]
    with torch.device("meta"):
        model = SpTransformerModel(SMALL).eval()
    logits = list(SharedPath(model, spec, dtype, 4).logits([codes]))
    assert [(found.shape, found.device.type, found.dtype) for found in logits] == [
        ((rows, 20, 18), "meta", torch.float32) for rows in (4, 3)
    ]
