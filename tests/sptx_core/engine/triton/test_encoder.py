"""The whole path `triton`: encoder and layers as kernels."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from material.engine_networks import (
    TRITON,
    family_logits,
    family_windows,
    make_path,
    network_logits,
    path_logits,
    random_stretches,
    triton_network,
)
from material.operands import DEVICE

pytest.importorskip("triton", reason="Triton is not installed")

from sptx_core import channels
from sptx_core.engine import Alternative, Family, Predictor
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.engine.paths import ENGINE_PATHS, PathRequest
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]
CONTEXT = TRITON.context
needs_gpu = pytest.mark.skipif(DEVICE == "cpu", reason="no GPU here")


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float16, 2e-2)])
@pytest.mark.parametrize(
    ("spec", "max_seq_len", "changed"),
    [
        pytest.param(WindowSpec(20, CONTEXT, 5), 96, {}, id="features-cropped"),
        pytest.param(WindowSpec(20, CONTEXT), 160, {"heads": 1, "local_heads": 0}, id="features-padded-no-local-head"),
        pytest.param(WindowSpec(17, CONTEXT), 64, {"local_heads": 2}, id="local-heads-alone"),
    ],
)
def test_the_path_equals_the_network(
    dtype: torch.dtype, tolerance: float, spec: WindowSpec, max_seq_len: int, changed: dict[str, int]
) -> None:
    model = triton_network(max_seq_len=max_seq_len, **changed).to(DEVICE)
    (stretch,) = random_stretches(spec, [3])
    found = path_logits(make_path("triton", model, spec, dtype, batch=2), stretch)
    assert (found - network_logits(model.double(), spec, stretch)).abs().max() < tolerance


@torch.inference_mode()
def test_changed_windows_are_those_of_the_network() -> None:
    """Two windows beside one another, and changes inside and at an end of them."""
    model, spec = triton_network().to(DEVICE), WindowSpec(20, CONTEXT, 5)
    codes = random_stretches(spec, [2])[0]
    places = [(0, 60, 1), (3, 100, 4)]
    family = Family(codes, [0], [Alternative(at, start, (codes[:size] + 1) % 5) for at, start, size in places])
    found = family_logits(make_path("triton", model, spec, torch.float32, batch=4), family)
    expected = model.double()(family_windows(family, spec).to(DEVICE), flanked=True).logits
    assert (found - expected).abs().max() < 2e-5


def skip_where_it_cannot_run(request: PathRequest) -> None:
    if reasons := ENGINE_PATHS["triton"].reasons_against(request):
        pytest.skip(f"engine path triton {'; it '.join(reasons)}")


@needs_gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_gpu_gives_the_scores_of_a_cpu(precision: str, tolerance: float, batch: int) -> None:
    model, spec = triton_network(), WindowSpec(20, CONTEXT)
    skip_where_it_cannot_run(PathRequest(TRITON, spec, "cuda", precision))
    given = random_stretches(spec, [6])
    (expected,) = Predictor(model, spec, batch=1, path="reference").predict(given)
    predictor = Predictor(model, spec, batch=batch, path="triton", precision=precision, device="cuda")
    (found,), (again,) = predictor.predict(given), predictor.predict(given)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    assert found.tobytes() == again.tobytes()


@needs_gpu
@pytest.mark.parametrize("path", ["shared", "triton"])
@torch.inference_mode()
def test_a_gpu_gives_the_golden_logits(
    path: str, golden_outputs: list[tuple[np.ndarray, np.ndarray]], golden_model: SpTransformerModel
) -> None:
    if path == "triton":
        skip_where_it_cannot_run(PathRequest(golden_model.config, WindowSpec(), "cuda", "float32"))
    model = copy.deepcopy(golden_model).cuda()
    for codes, values in golden_outputs:
        expected, spec = torch.from_numpy(values), WindowSpec(core=len(values))
        with exact_arithmetic("cuda"):
            exact, rounded = (
                path_logits(make_path(path, model, spec, dtype, batch=1), codes)[0].cpu()
                for dtype in (torch.float32, torch.bfloat16)
            )
        assert (exact - expected).abs().max() < 1e-4
        difference = (channels.scores(rounded) - channels.scores(expected)).abs()
        assert difference.max() < 0.02
        assert difference.median() < 0.003
