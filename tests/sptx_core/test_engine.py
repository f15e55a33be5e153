"""Every path gives each stretch its windows' scores, equal to a direct call of the network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine import PRECISIONS, Predictor, calibrate, calibration, fast, gpu
from sptx_core.engine.fast import SharedPath, fits
from sptx_core.engine.native import library
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

CONTEXT = 60
pytestmark = pytest.mark.usefixtures("one_thread")
SPEC = WindowSpec(core=20, context=CONTEXT, overlap=5)


def small_model(max_seq_len: int = 64, context: int = CONTEXT, local_heads: int = 2) -> SpTransformerModel:
    """A network of every kind of layer, small; statistics of its norms are made non-trivial."""
    stages = (ResidualStage(2, 3, 1), ResidualStage(1, 5, 2), ResidualStage(1, 3, 5))
    torch.manual_seed(0)
    model = SpTransformerModel(
        SpTransformerConfig(
            context=context,
            max_seq_len=max_seq_len,
            encoders=(SpTransformerFeatureEncoderConfig(16, stages), SpTransformerFeatureEncoderConfig(8, stages)),
            input_path_channels=8,
            hidden_size=32,
            layers=3,
            heads=4,
            local_heads=local_heads,
            bucket_size=8,
            feed_forward_size=48,
        )
    )
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.normal_(1, 0.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return model.eval()


def stretches(spec: WindowSpec, counts: list[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    spans = [spec.input_span(0, n - 1) for n in counts]
    return [rng.integers(0, 5, end - first, dtype=np.uint8) for first, end in spans]


@torch.inference_mode()
def direct(model: SpTransformerModel, spec: WindowSpec, stretch: np.ndarray) -> np.ndarray:
    """One window at a time, by the network itself."""
    rows = [model(torch.from_numpy(window.copy())[None], flanked=True).logits[0] for window in cut(stretch, spec)]
    return channels.scores(torch.stack(rows)).numpy()


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_reference_gathers_windows_across_stretches(batch: int) -> None:
    model = small_model()
    given = stretches(SPEC, [1, 4, 2, 1])
    predicted = Predictor(model, SPEC, batch=batch, path="reference").predict(given)
    assert [len(scores) for scores in predicted] == [1, 4, 2, 1]
    for stretch, scores in zip(given, predicted, strict=True):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, direct(model, SPEC, stretch), rtol=0, atol=2e-6)


def test_prediction_repeats_byte_for_byte() -> None:
    predictor = Predictor(small_model(), SPEC, batch=3)
    given = stretches(SPEC, [4, 1])
    first, second = predictor.predict(given), predictor.predict(given)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_no_stretches_give_no_scores() -> None:
    assert Predictor(small_model(), SPEC, batch=2).predict([]) == []


def test_output_that_is_not_finite_is_an_error() -> None:
    model = small_model()
    model.splice_head.bias.data[0] = torch.nan
    with pytest.raises(ArithmeticError, match="not finite"):
        Predictor(model, SPEC, batch=2).predict(stretches(SPEC, [2]))


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (WindowSpec(20, CONTEXT + 1), {}, "flanking bases"),
        (WindowSpec(65, CONTEXT), {}, "64 bases at once"),
        (SPEC, {"precision": "float8"}, "precision 'float8' is unknown"),
        (SPEC, {"path": "warp"}, "engine path 'warp' is unknown"),
        (SPEC, {"batch": 0}, "batch is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(spec: WindowSpec, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(small_model(), spec, **{"batch": 1, **settings})


def test_calibration_settles_path_and_batch() -> None:
    model = small_model()
    chosen = calibrate(model, SPEC)
    assert chosen.path != "auto"
    assert chosen.batch >= 1
    assert calibrate(model, SPEC, path="reference", batch=3).batch == 3
    assert calibrate(model, SPEC, path=chosen.path, batch=chosen.batch) == chosen


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({2: 8.0, 4: 4.0, 8: 3.0, 16: 2.99, 32: 2.98, 64: 2.97}, 8),  # a hundredth is not worth the memory
        ({2: 8.0, 4: 4.0}, 4),  # more does not fit
        ({}, None),
    ],
)
def test_calibration_takes_the_fastest_micro_batch_that_fits_a_gpu(
    seconds: dict[int, float], chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gpu:
        """Stands for a predictor on a GPU, which this test must not need."""

        def __init__(self, *_: object, batch: int, **__: object) -> None:
            self.batch, self.path = batch, "shared"

    def trial(predictor: Gpu, windows: tuple[int, ...], turns: int) -> tuple[float, np.ndarray]:
        assert (windows[0], turns) == (fast.GPU_RUN, 2)
        if predictor.batch not in seconds:
            raise torch.OutOfMemoryError
        return seconds[predictor.batch], np.zeros(1, np.float32)

    monkeypatch.setattr(calibration, "Predictor", Gpu)
    monkeypatch.setattr(calibration, "_trial", trial)
    monkeypatch.setattr(calibration, "hardware", lambda device: device)
    if chosen is None:
        with pytest.raises(torch.OutOfMemoryError):
            calibrate(small_model(), SPEC, device="cuda")
    else:
        assert calibrate(small_model(), SPEC, device="cuda").batch == chosen


LAYOUTS = [
    pytest.param(WindowSpec(20, CONTEXT, 5), 64, id="features-cropped"),
    pytest.param(WindowSpec(20, CONTEXT), 128, id="crop-inside-the-reach"),
    pytest.param(WindowSpec(33, CONTEXT, 32), 128, id="odd-core-dense-windows"),
    pytest.param(WindowSpec(1, CONTEXT), 120, id="one-base-core"),
    pytest.param(WindowSpec(20, CONTEXT, 1), 192, id="features-padded"),
    pytest.param(WindowSpec(7, CONTEXT), 128, id="odd-padding"),
    pytest.param(WindowSpec(64, CONTEXT), 64, id="everything-kept"),
    pytest.param(WindowSpec(8, CONTEXT), 8, id="one-bucket"),
    pytest.param(WindowSpec(8, CONTEXT), 16, id="two-buckets"),
]


@pytest.mark.parametrize(("spec", "max_seq_len"), LAYOUTS)
@pytest.mark.parametrize("windows", [1, 2, 30])
@pytest.mark.parametrize("batch", [None, 4])
@torch.inference_mode()
def test_shared_path_equals_the_network_in_float64(
    spec: WindowSpec, max_seq_len: int, windows: int, batch: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "CPU_ROWS", 24)  # pieces of three buckets, which leave a shorter one
    model = small_model(max_seq_len).double()
    (stretch,) = stretches(spec, [windows])
    shared = torch.cat(list(SharedPath(model, spec, torch.float64, batch).logits([[stretch]])))
    rows = torch.from_numpy(cut(stretch, spec).copy())
    torch.testing.assert_close(shared, model(rows, flanked=True).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_shared_path_predicts_each_stretch(precision: str) -> None:
    model = small_model(128)
    given = stretches(SPEC, [1, 4, 2])
    predicted = Predictor(model, SPEC, batch=1, path="shared", precision=precision).predict(given)
    for stretch, scores in zip(given, predicted, strict=True):
        np.testing.assert_allclose(
            scores, direct(model, SPEC, stretch), rtol=0, atol=2e-6 if precision == "float32" else 0.02
        )


def test_windows_narrower_than_their_ends_take_the_plain_path() -> None:
    model, spec = small_model(context=10), WindowSpec(core=20, context=10)
    assert not fits(model, spec)
    assert Predictor(model, spec, batch=1).path == "reference"
    for settings in ({"path": "shared"}, {"precision": "bfloat16"}):
        with pytest.raises(InputError, match="engine path"):
            Predictor(model, spec, batch=1, **settings)


@torch.inference_mode()
def test_fast_path_gives_the_golden_logits(
    golden_checkpoint: Path, golden_cases: tuple[tuple[np.ndarray, np.ndarray], ...]
) -> None:
    model = SpTransformerModel.from_pretrained(golden_checkpoint)
    for case in (1, 3, 5):
        codes, expected = golden_cases[case]
        spec = WindowSpec(core=len(expected))
        logits = next(SharedPath(model, spec, torch.float32).logits([[codes]]))[0].numpy()
        assert np.abs(logits - expected).max() < 2e-5


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_real_sequence_gives_what_the_network_gives_in_float64(
    shared: Path, golden_checkpoint: Path, device: str
) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    runs = [f"shared:{precision}" for precision in PRECISIONS]
    if device == "cpu":
        runs += [f"native:{name}" for name, dtype in PRECISIONS.items() if library.usable(dtype)]
    elif not gpu.missing(SpTransformerConfig(), device):
        runs += [f"triton:{precision}" for precision in PRECISIONS]
    script = Path(__file__).parents[2] / "benchmarks" / "against_float64.py"
    settings = ["--device", device, "--runs", ",".join(runs), "--stretches", "2", "--windows", "2"]
    genome = shared / "data" / "GRCh38.chr9_1Mb.fa.gz"
    found = subprocess.run(
        [sys.executable, script, genome, golden_checkpoint, *settings], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert found.stdout.count("4 windows") == len(runs)


@pytest.mark.parametrize("local_heads", [0, 4])
@torch.inference_mode()
def test_heads_of_one_kind_alone(local_heads: int) -> None:
    model = small_model(local_heads=local_heads).double()
    (stretch,) = stretches(SPEC, [3])
    shared = torch.cat(list(SharedPath(model, SPEC, torch.float64).logits([[stretch]])))
    rows = torch.from_numpy(cut(stretch, SPEC).copy())
    torch.testing.assert_close(shared, model(rows, flanked=True).logits, rtol=0, atol=1e-12)


def test_threads_that_encode_ahead_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fast, "CPU_RUN", 2)
    predictor = Predictor(small_model(128), SPEC, batch=1, path="shared")
    given = stretches(SPEC, [5, 1, 4])
    alone = predictor.predict(given)
    torch.set_num_threads(2)
    together, again = predictor.predict(given), predictor.predict(given)
    assert torch.get_num_threads() == 2
    for one, two, three in zip(alone, together, again, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=2e-6)
        assert two.tobytes() == three.tobytes()


@pytest.mark.parametrize("path", ["reference", "shared"])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_stream_of_jobs_gives_the_scores_of_each_alone(
    path: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast, "CPU_RUN", 2)
    predictor = Predictor(small_model(128), SPEC, batch=1, path=path)
    torch.set_num_threads(threads)
    one, two, three, four = stretches(SPEC, [5, 1, 4, 2])
    jobs = [[one, two], [], [three], [four]]
    expected = [predictor.predict(job) for job in jobs]
    events: list[str] = []

    def given() -> Iterator[list[Codes] | None]:
        yield None
        for number, job in enumerate(jobs):
            events.append(f"begin {number}")
            yield job
        yield None

    found = []
    for scores in predictor.stream(given()):
        events.append(f"end {len(found)}")
        found.append(scores)
    assert [[scores.tobytes() for scores in job] for job in found] == [
        [scores.tobytes() for scores in job] for job in expected
    ]
    assert events == [f"{what} {number}" for number in range(4) for what in ("begin", "end")]
    assert [list(predictor.stream(empty)) for empty in ([], [None], [[]])] == [[], [], [[]]]


@pytest.mark.parametrize(
    ("queued", "expected_events"),
    [
        (0, ["asked 0", "end 0", "asked 1", "end 1", "asked 2", "asked 3", "end 2"]),
        (2, ["asked 0", "asked 1", "end 0", "asked 2", "end 1", "asked 3", "end 2"]),
    ],
)
def test_micro_batches_of_jobs_queue_as_on_a_gpu(
    queued: int, expected_events: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was begun is delivered when so many more are, or when there is nothing else to begin."""
    monkeypatch.setattr(fast, "GPU_RUN", 2)
    predictor = Predictor(small_model(128), SPEC, batch=1, path="shared")
    predictor._path, predictor._queued = SharedPath(small_model(128), SPEC, torch.float32, 3), queued
    one, two, three, four = stretches(SPEC, [5, 2, 4, 2])
    jobs: list[list[Codes] | None] = [[one, two], [three], None, [four]]  # of 3, 2 and 1 micro-batches
    expected = [predictor.predict(job) for job in jobs if job is not None]
    events: list[str] = []

    def given() -> Iterator[list[Codes] | None]:
        for number, job in enumerate(jobs):
            events.append(f"asked {number}")
            yield job

    found = []
    for scores in predictor.stream(given()):
        events.append(f"end {len(found)}")
        found.append(scores)
    assert [[scores.tobytes() for scores in job] for job in found] == [
        [scores.tobytes() for scores in job] for job in expected
    ]
    assert events == expected_events


def test_a_job_whose_scores_are_not_finite_fails_alone() -> None:
    class Broken:
        """A path of one window a job, the second of which gives NaN."""

        ahead = True

        def logits(self, given: Iterator[list[Codes]]) -> Iterator[torch.Tensor]:
            for number, _ in enumerate(codes for job in list(given) for codes in job):
                yield torch.full((1, SPEC.core, 18), torch.nan if number == 1 else 0.0)

    predictor = Predictor(small_model(), SPEC, batch=1)
    predictor._path = Broken()
    first, second, third = predictor.stream([[codes] for codes in stretches(SPEC, [1, 1, 1])])
    assert isinstance(second, ArithmeticError)
    assert np.isfinite(first[0]).all()
    assert np.array_equal(first[0], third[0])
    with pytest.raises(ArithmeticError, match="not finite"):
        predictor.predict(stretches(SPEC, [1, 1]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("path", ["reference", "shared"])
def test_a_gpu_gives_the_scores_of_a_cpu(precision: str, tolerance: float, path: str) -> None:
    if (path, precision) == ("reference", "bfloat16"):
        pytest.skip("the reference computes in float32 alone")
    model, given = small_model(128), stretches(SPEC, [5, 1, 4])
    expected = Predictor(model, SPEC, batch=1, path="reference").predict(given)
    predictor = Predictor(model, SPEC, batch=4, path=path, precision=precision, device="cuda")
    found, again = predictor.predict(given), predictor.predict(given)
    for one, two, three in zip(expected, found, again, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=tolerance)
        assert two.tobytes() == three.tobytes()
