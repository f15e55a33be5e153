"""The compiled library computes what the network does: each part against PyTorch in float64, and the whole path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sptx_core import channels
from sptx_core.bench import run_bench, seeded_model
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine import Predictor, fast, hardware
from sptx_core.engine.fast import SharedPath
from sptx_core.engine.native import library
from sptx_core.engine.native.layers import NativeLayer
from sptx_core.engine.native.library import BUCKET
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

CONTEXT = 100
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


@pytest.mark.parametrize("local_heads", [0, 1, 3])
@pytest.mark.parametrize("buckets", [1, 2, 5, 40])
@torch.inference_mode()
def test_a_layer_equals_the_networks(
    dtype: torch.dtype, local_heads: int, buckets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = library.new_tiles  # memory as it comes, here the worst
    monkeypatch.setattr(library, "new_tiles", lambda *sizes: new(*sizes).fill_(torch.nan))
    config = SpTransformerConfig(
        context=CONTEXT,
        max_seq_len=BUCKET * buckets,
        hidden_size=96,
        heads=3,
        local_heads=local_heads,
        layers=1,
        bucket_size=BUCKET,
        feed_forward_size=608,  # more columns than are expanded at once, and a rest
    )
    layer = seeded_model(config, 3).layers[0].double()
    layer.expand.weight.mul_(4)  # so that GELU sees what lies far from zero, too
    native = NativeLayer(layer, dtype)
    x = torch.randn(2, BUCKET * buckets, 96, generator=torch.Generator().manual_seed(buckets))
    expected, choice, _ = layer(x.double())
    tolerance = 1e-4 if dtype == torch.float32 else 0.5
    limit = 1e-5 if dtype == torch.float32 else 0.03  # of the median; values are about 8

    whole, chosen = x.clone(), []
    native(whole, chosen)
    assert torch.equal(chosen[0], choice.bucket)
    difference = (whole - expected).abs()
    assert difference.max() < tolerance
    assert difference.median() < limit

    first, length = BUCKET * buckets // 3, min(70, BUCKET * buckets // 2)
    kept = native.last(x.clone(), first, length, chosen)
    difference = (kept - expected[:, first : first + length]).abs()
    assert difference.max() < tolerance
    assert difference.median() < limit
    needed = chosen[1] >= 0
    assert torch.equal(chosen[1][needed], choice.bucket[needed])
    within = slice(first // BUCKET, (first + length - 1) // BUCKET + 1)
    assert needed[..., within].all()


@pytest.mark.parametrize("local_heads", [0, 3])
@torch.inference_mode()
def test_shares_and_values_have_all_their_bits(dtype: torch.dtype, local_heads: int) -> None:
    """Attention alone, from shares near each other; in sums of other parts the last bits of these products are lost."""
    config = SpTransformerConfig(
        context=CONTEXT,
        max_seq_len=3 * BUCKET,
        hidden_size=96,
        heads=3,
        local_heads=local_heads,
        layers=1,
        bucket_size=BUCKET,
        feed_forward_size=64,
    )
    layer = seeded_model(config, 3).layers[0].double()
    layer.attention.query.weight.mul_(0.05)
    layer.attention.output.weight.copy_(2**20 * torch.eye(96))  # beside which what it is added to is small
    for rest in (layer.attention.output.bias, layer.contract.weight, layer.contract.bias):
        rest.zero_()
    x = torch.randn(4, 3 * BUCKET, 96, generator=torch.Generator().manual_seed(local_heads))
    expected = layer(x.double())[0]
    NativeLayer(layer, dtype)(x, [])
    error = (x - expected).square().mean() / expected.square().mean()
    assert error.sqrt() < (5e-7 if dtype == torch.float32 else 0.02)  # 1e-6 without any one product of parts


def fitting_model(max_seq_len: int = 192, context: int = CONTEXT) -> SpTransformerModel:
    """A small network of the library's sizes, with kernels that leave a tap over and such that do not."""
    stages = (ResidualStage(2, 3, 1), ResidualStage(1, 5, 4), ResidualStage(1, 11, 5))
    config = SpTransformerConfig(
        context=context,
        max_seq_len=max_seq_len,
        encoders=(
            SpTransformerFeatureEncoderConfig(64, stages),
            SpTransformerFeatureEncoderConfig(32, stages[:2]),  # reaches less far
        ),
        input_path_channels=8,
        hidden_size=64,
        layers=3,
        heads=2,
        local_heads=1,
        bucket_size=BUCKET,
        feed_forward_size=96,
    )
    return seeded_model(config, 1)


def stretch_of(spec: WindowSpec, windows: int) -> np.ndarray:
    first, end = spec.input_span(0, windows - 1)
    return np.random.default_rng(0).integers(0, 5, end - first, dtype=np.uint8)


@pytest.mark.parametrize("part", ["conv1", "conv2", "norm1"])
def test_what_is_not_a_number_stays_so(dtype: torch.dtype, part: str) -> None:
    """A ReLU that makes zeros of it would hide it."""
    model, spec = fitting_model(), WindowSpec(20, CONTEXT)
    getattr(model.encoders[0].blocks[1], part).bias.data[3] = torch.nan
    predictor = Predictor(model, spec, precision=str(dtype).removeprefix("torch."), batch=1, path="native")
    with pytest.raises(ArithmeticError, match="not finite"):
        predictor.predict([stretch_of(spec, 2)])


LAYOUTS = [
    pytest.param(WindowSpec(20, CONTEXT, 5), 64, id="features-cropped"),
    pytest.param(WindowSpec(20, CONTEXT), 192, id="crop-inside-the-reach"),
    pytest.param(WindowSpec(33, CONTEXT, 32), 128, id="odd-core-dense-windows"),
    pytest.param(WindowSpec(1, CONTEXT), 192, id="one-base-core"),
    pytest.param(WindowSpec(90, CONTEXT, 1), 320, id="features-padded"),
    pytest.param(WindowSpec(64, CONTEXT), 64, id="everything-kept"),
]


@pytest.mark.parametrize(("spec", "max_seq_len"), LAYOUTS)
@pytest.mark.parametrize("windows", [1, 9])
@torch.inference_mode()
def test_path_equals_the_network(dtype: torch.dtype, spec: WindowSpec, max_seq_len: int, windows: int) -> None:
    model = fitting_model(max_seq_len)
    stretch = stretch_of(spec, windows)
    found = torch.cat(list(SharedPath(model, spec, dtype, path="native").logits([[stretch]])))
    expected = model.double()(torch.from_numpy(cut(stretch, spec).copy()), flanked=True).logits
    difference = (channels.scores(found) - channels.scores(expected)).abs()
    if dtype == torch.float32:
        assert (found - expected).abs().max() < 2e-5
    assert difference.max() < (1e-5 if dtype == torch.float32 else 0.05)
    assert difference.median() < (1e-6 if dtype == torch.float32 else 0.005)


def test_threads_give_the_same_bytes(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "CPU_RUN", 3)
    spec = WindowSpec(20, CONTEXT, 5)
    precision = str(dtype).removeprefix("torch.")
    predictor = Predictor(fitting_model(), spec, batch=1, precision=precision)
    assert predictor.path == "native"
    given_ = [stretch_of(spec, windows) for windows in (10, 1, 4)]
    alone = predictor.predict(given_)
    for threads in (2, 3):
        torch.set_num_threads(threads)
        together = predictor.predict(given_)
        assert torch.get_num_threads() == threads
        assert [scores.tobytes() for scores in together] == [scores.tobytes() for scores in alone]


def test_a_stream_begins_jobs_ahead_with_the_bytes_of_each_alone(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "CPU_RUN", 3)
    spec = WindowSpec(20, CONTEXT, 5)
    predictor = Predictor(fitting_model(), spec, batch=1, precision=str(dtype).removeprefix("torch."))
    torch.set_num_threads(2)
    jobs = [[stretch_of(spec, windows) for windows in some] for some in ((5, 1), (), (4,), (2,))]
    expected = [predictor.predict(job) for job in jobs]
    events: list[str] = []

    def given_() -> Iterator[list[np.ndarray] | None]:
        yield None
        for number, job in enumerate(jobs):
            events.append(f"begin {number}")
            yield job
        yield None

    for number, found in enumerate(predictor.stream(given_())):
        events.append(f"end {number}")
        assert [scores.tobytes() for scores in found] == [scores.tobytes() for scores in expected[number]]
    assert number == 3
    assert events.index("begin 2") < events.index("end 0")
    assert events.index("begin 3") < events.index("end 2")


@torch.inference_mode()
def test_path_gives_the_golden_logits(
    golden_checkpoint: Path, golden_cases: tuple[tuple[np.ndarray, np.ndarray], ...], dtype: torch.dtype
) -> None:
    model = SpTransformerModel.from_pretrained(golden_checkpoint)
    for case in (1, 3, 5):
        codes, expected = golden_cases[case][0], torch.from_numpy(golden_cases[case][1])
        path = SharedPath(model, WindowSpec(core=len(expected)), dtype, path="native")
        logits = next(path.logits([[codes]]))[0]
        difference = (channels.scores(logits) - channels.scores(expected)).abs()
        if dtype == torch.float32:
            assert (logits - expected).abs().max() < 2e-5
        assert difference.max() < 0.02
        assert difference.median() < 0.002


def test_benchmark_counts_what_the_library_performs(dtype: torch.dtype) -> None:
    precision = str(dtype).removeprefix("torch.")
    model, spec = fitting_model(), WindowSpec(20, CONTEXT, 5)
    runs = [("shared", precision), ("native", precision)]
    reference, shared, native = run_bench(runs=runs, config=model.config, spec=spec, windows=4, repeats=1).rows
    performed = [row.performed_flops / row.windows_per_second for row in (reference, shared, native)]
    assert 0.4 * performed[1] < performed[2] < 1.2 * performed[1] < 1.2 * performed[0]


def other_heads(_: pytest.MonkeyPatch) -> SpTransformerModel:
    return seeded_model(SpTransformerConfig.from_dict({**fitting_model().config.to_dict(), "heads": 4}), 0)


def not_compiled(patch: pytest.MonkeyPatch) -> SpTransformerModel:
    patch.setattr(library, "loaded", lambda: library.Loaded(None, "is not compiled"))
    return fitting_model()


def other_processor(patch: pytest.MonkeyPatch) -> SpTransformerModel:
    patch.setattr(library, "library", lambda: object())
    patch.setattr(library, "features", lambda: 0)
    return fitting_model()


@pytest.mark.parametrize(
    ("message", "model"),
    [
        ("'native' needs fewer than 32 heads, of 32 channels each", other_heads),
        ("'native' is not compiled: use 'shared'", not_compiled),
        ("'native' needs AVX-512, which this processor does not have: use 'shared'", other_processor),
    ],
)
def test_where_it_cannot_run_the_other_path_does(
    message: str, model: Callable[[pytest.MonkeyPatch], SpTransformerModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    network, spec = model(monkeypatch), WindowSpec(20, CONTEXT, 5)
    with pytest.raises(InputError, match=message):
        Predictor(network, spec, batch=1, path="native")
    assert Predictor(network, spec, batch=1).path == "shared"


@pytest.mark.skipif(library.library() is None, reason="the compiled library is not there")
def test_processors_that_round_differently_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """By which a resumed run knows that it does not get the bytes that it began with."""
    names = []
    for _, found in [(None, 0), *MODES.values()]:
        monkeypatch.setattr(library, "features", lambda found=found: found)
        names.append(hardware("cpu"))
    assert len(set(names)) == len({0, *(found for _, found in MODES.values())}) == 4
