"""The whole path `native`: encoder and layers by the compiled library."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from material.engine_networks import (
    NATIVE,
    family_logits,
    family_windows,
    make_path,
    native_network,
    network_logits,
    path_logits,
    random_family,
    random_stretches,
)

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.engine import Family, Predictor
from sptx_core.engine.streaming import ScoreStream
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")
CONTEXT = NATIVE.context
LAYOUTS = [
    pytest.param(WindowSpec(20, CONTEXT, 5), 64, id="features-cropped"),
    pytest.param(WindowSpec(20, CONTEXT), 192, id="crop-inside-the-reach"),
    pytest.param(WindowSpec(33, CONTEXT, 32), 128, id="odd-core-dense-windows"),
    pytest.param(WindowSpec(1, CONTEXT), 192, id="one-base-core"),
    pytest.param(WindowSpec(90, CONTEXT, 1), 320, id="features-padded"),
    pytest.param(WindowSpec(64, CONTEXT), 64, id="everything-kept"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "max_seq_len"), LAYOUTS)
@pytest.mark.parametrize("windows", [1, 9])
def test_path_equals_the_network(dtype: torch.dtype, spec: WindowSpec, max_seq_len: int, windows: int) -> None:
    model = native_network(max_seq_len=max_seq_len)
    (stretch,) = random_stretches(spec, [windows])
    found = path_logits(make_path("native", model, spec, dtype), stretch)
    expected = network_logits(model.double(), spec, stretch)
    difference = (channels.scores(found) - channels.scores(expected)).abs()
    if dtype == torch.float32:
        assert (found - expected).abs().max() < 2e-5
    assert difference.max() < (1e-5 if dtype == torch.float32 else 0.05)
    assert difference.median() < (1e-6 if dtype == torch.float32 else 0.005)


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "max_seq_len"), LAYOUTS[1:5:3])
@torch.inference_mode()
def test_changed_windows_are_those_of_the_network(dtype: torch.dtype, spec: WindowSpec, max_seq_len: int) -> None:
    model, family = native_network(max_seq_len=max_seq_len), random_family(spec)
    found = family_logits(make_path("native", model, spec, dtype, run=7), family)
    expected = model.double()(family_windows(family, spec), flanked=True).logits
    difference = (channels.scores(found) - channels.scores(expected)).abs()
    if dtype == torch.float32:
        assert (found - expected).abs().max() < 2e-5
    assert difference.max() < (1e-5 if dtype == torch.float32 else 0.05)
    assert difference.median() < (1e-6 if dtype == torch.float32 else 0.005)


@pytest.mark.slow
@pytest.mark.usefixtures("by_hardware")
@torch.inference_mode()
def test_a_family_has_the_same_bytes_on_any_threads_and_beside_others(dtype: torch.dtype) -> None:
    spec = WindowSpec(20, CONTEXT)
    path = make_path("native", native_network(), spec, dtype, run=5)
    stream = ScoreStream(path, spec, channels=len(NATIVE.output_channels), device=torch.device("cpu"))
    families = [random_family(spec, seed) for seed in (0, 1)]
    families += [Family(families[0].codes, [at], families[0].alternatives[at : at + 1]) for at in range(4)]
    alone = [next(stream.families([family])) for family in families]
    torch.set_num_threads(4)
    order = [0, 2, 3, 4, 5, 1, 0, 5]
    together = stream.families([None, *(families[number] for number in order), None])
    for found, number in zip(together, order, strict=True):
        assert [part.tobytes() for part in found] == [part.tobytes() for part in alone[number]]


@pytest.mark.slow
@pytest.mark.parametrize("part", ["conv1", "conv2", "norm1"])
def test_what_is_not_a_number_stays_so(dtype: torch.dtype, part: str) -> None:
    """A ReLU that makes zeros of it would hide it."""
    model, spec = native_network(), WindowSpec(20, CONTEXT)
    getattr(model.encoders[0].blocks[1], part).bias.data[3] = torch.nan
    predictor = Predictor(model, spec, precision=str(dtype).removeprefix("torch."), batch=1, path="native")
    with pytest.raises(ArithmeticError, match="not finite"):
        predictor.predict(random_stretches(spec, [2]))


@pytest.mark.slow
@torch.inference_mode()
def test_any_number_of_threads_gives_the_same_bytes(dtype: torch.dtype) -> None:
    spec = WindowSpec(20, CONTEXT, 5)
    path = make_path("native", native_network(), spec, dtype, run=3)
    given = random_stretches(spec, (10, 1, 4))
    alone = torch.cat(list(path.logits([given])))
    assert not path.overlaps_jobs
    for threads in (2, 3):
        torch.set_num_threads(threads)
        assert path.overlaps_jobs
        together = torch.cat(list(path.logits([given])))
        assert torch.get_num_threads() == threads
        assert together.numpy().tobytes() == alone.numpy().tobytes()


@pytest.mark.slow
def test_jobs_are_begun_ahead_with_the_bytes_of_each_alone(dtype: torch.dtype) -> None:
    spec = WindowSpec(20, CONTEXT, 5)
    path = make_path("native", native_network(), spec, dtype, run=3)
    stream = ScoreStream(path, spec, channels=len(NATIVE.output_channels), device=torch.device("cpu"))
    torch.set_num_threads(2)
    jobs = [random_stretches(spec, counts) for counts in ((5, 1), (), (4,), (2,))]
    expected = [next(stream([job])) for job in jobs]
    events: list[str] = []

    def taken() -> Iterator[list[Codes] | None]:
        yield None
        for number, job in enumerate(jobs):
            events.append(f"take {number}")
            yield job
        yield None

    for number, found in enumerate(stream(taken())):
        events.append(f"give {number}")
        assert [scores.tobytes() for scores in found] == [scores.tobytes() for scores in expected[number]]
    assert events[-1] == "give 3"
    assert events.index("take 2") < events.index("give 0")
    assert events.index("take 3") < events.index("give 2")


@pytest.mark.slow
@pytest.mark.usefixtures("by_hardware")
def test_the_golden_logits(
    golden_outputs: list[tuple[np.ndarray, np.ndarray]], golden_model: SpTransformerModel, dtype: torch.dtype
) -> None:
    for codes, values in golden_outputs[1::2]:
        expected = torch.from_numpy(values)
        logits = path_logits(make_path("native", golden_model, WindowSpec(core=len(expected)), dtype), codes)[0]
        difference = (channels.scores(logits) - channels.scores(expected)).abs()
        if dtype == torch.float32:
            assert (logits - expected).abs().max() < 2e-5
        assert difference.max() < 0.02
        assert difference.median() < 0.002
