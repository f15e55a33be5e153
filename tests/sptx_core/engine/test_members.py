"""Networks without attention and several side by side: each path gives what the network itself gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from material.engine_networks import (
    SMALL,
    SMALL_SPEC,
    TRITON,
    family_logits,
    family_windows,
    leaking,
    make_path,
    native_network,
    network_logits,
    network_scores,
    path_logits,
    random_family,
    random_stretches,
    small_network,
    triton_network,
)
from material.networks import NATIVE
from material.operands import DEVICE

from sptx_core.engine import Family, Predictor, calibrate
from sptx_core.engine.native import library
from sptx_core.engine.paths import ENGINE_PATHS, PathRequest
from sptx_core.engine.scheduling import UNATTENDED_RUN
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")
needs_native = pytest.mark.skipif(not library.usable(torch.float32), reason="the native library cannot be used here")

KINDS: dict[str, dict[str, Any]] = {
    "bare": {"layers": 0},
    "bare-no-path-no-usage": {"layers": 0, "input_path_channels": 0, "hidden_size": 7, "tissues": 0},
    "leaking": {"encoders": leaking(SMALL.encoders)},
    "members-leaking": {"layers": 0, "members": 3, "encoders": leaking(SMALL.encoders)},
    "members-attention": {"members": 2},
}
FAR = (dataclasses.replace(SMALL.encoders[0], stages=SMALL.encoders[0].stages * 4),)
"""Reaches farther than the context: even a window of a network without attention has ends of its own."""


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_shared_windows_and_changes_are_those_of_the_network(kind: str, batch: int | None) -> None:
    model = small_network(**KINDS[kind]).double()
    path = make_path("shared", model, SMALL_SPEC, torch.float64, batch=batch, run=3)
    (stretch,) = random_stretches(SMALL_SPEC, [5])
    assert (path_logits(path, stretch) - network_logits(model, SMALL_SPEC, stretch)).abs().max() < 1e-12
    family = random_family(SMALL_SPEC)
    expected = model(family_windows(family, SMALL_SPEC), flanked=True).logits
    assert (family_logits(path, family) - expected).abs().max() < 1e-12


@pytest.mark.parametrize("core", [20, 64])
def test_encoders_that_reach_beyond_the_context(core: int) -> None:
    spec = WindowSpec(core, 60, 5)
    model = small_network(layers=0, encoders=FAR).double()
    (stretch,) = random_stretches(spec, [4])
    if core == 20:
        request = PathRequest(model.sizes, spec, "cpu", "float32")
        assert "wider than twice" in ENGINE_PATHS["shared"].reasons_against(request)[0]
        return
    found = path_logits(make_path("shared", model, spec, torch.float64, run=3), stretch)
    assert (found - network_logits(model, spec, stretch)).abs().max() < 1e-12


@pytest.mark.slow
@needs_native
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "changed",
    [
        {"layers": 0, "hidden_size": 7, "tissues": 0, "input_path_channels": 0},
        {"layers": 0, "members": 2, "encoders": leaking(NATIVE.encoders)},
        {"members": 2, "encoders": leaking(NATIVE.encoders), "layers": 1},
    ],
    ids=["bare", "members-leaking", "members-attention"],
)
def test_native_windows_and_changes_are_those_of_the_network(changed: dict[str, Any], threads: int) -> None:
    torch.set_num_threads(threads)
    spec, model = WindowSpec(40, NATIVE.context, 5), native_network(**changed)
    path = make_path("native", model, spec, torch.float32, run=3)
    (stretch,) = random_stretches(spec, [5])
    exact = model.double()
    assert (path_logits(path, stretch) - network_logits(exact, spec, stretch)).abs().max() < 2e-5
    family = random_family(spec)
    with torch.inference_mode():
        expected = exact(family_windows(family, spec), flanked=True).logits
    assert (family_logits(path, family) - expected).abs().max() < 2e-5


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"layers": 0, "tissues": 2}, {"layers": 0, "members": 2}])
def test_triton_windows_are_those_of_the_network(changed: dict[str, Any]) -> None:
    pytest.importorskip("triton", reason="Triton is not installed")
    spec, model = WindowSpec(20, TRITON.context, 5), triton_network(**changed).to(DEVICE)
    (stretch,) = random_stretches(spec, [3])
    found = path_logits(make_path("triton", model, spec, torch.float32, batch=2), stretch)
    assert (found - network_logits(model.double(), spec, stretch)).abs().max() < 2e-5


def test_what_a_path_cannot_do_is_said() -> None:
    bare = dataclasses.replace(SMALL, layers=0, encoders=leaking(SMALL.encoders))
    request = PathRequest(bare, SMALL_SPEC, "cpu", "float32")
    assert "needs encoders of channels in multiples of 32" in ENGINE_PATHS["native"].reasons_against(request)
    assert "has no activation that leaks" in ENGINE_PATHS["triton"].reasons_against(request)
    assert not ENGINE_PATHS["shared"].reasons_against(request)
    assert not ENGINE_PATHS["reference"].reasons_against(request)


@pytest.mark.slow
@pytest.mark.parametrize("path", ["reference", "shared"])
@pytest.mark.parametrize("kind", ["bare-no-path-no-usage", "members-leaking"])
def test_scores_of_a_predictor(kind: str, path: str) -> None:
    model = small_network(**KINDS[kind])
    stretches = random_stretches(SMALL_SPEC, [4, 1])
    predictor = Predictor(model, SMALL_SPEC, batch=2, path=path)
    assert predictor.channels == len(model.output_channels)
    for found, stretch in zip(predictor.predict(stretches), stretches, strict=True):
        np.testing.assert_allclose(found, network_scores(model, SMALL_SPEC, stretch), rtol=0, atol=2e-6)
    (scores,) = predictor.stream_families([random_family(SMALL_SPEC)])
    assert np.isinf(scores.reference_gaps).all()
    assert np.isinf(scores.alternative_gaps).all()


def test_nothing_but_the_core_is_computed_without_attention() -> None:
    """What reaches the heads is the core alone, and all windows of a run share all of it."""
    model = small_network(layers=0)
    path = make_path("shared", model, SMALL_SPEC, torch.float32)
    assert path.run == UNATTENDED_RUN // SMALL_SPEC.stride
    encoded = path.encoder(torch.from_numpy(random_stretches(SMALL_SPEC, [4])[0]))
    assert encoded.fused.left.shape[1] == encoded.fused.right.shape[1] == 0
    assert encoded.windows().shape == (4, SMALL_SPEC.core, 18)


@torch.inference_mode()
def test_without_attention_the_windows_of_a_run_leave_it_together() -> None:
    torch.set_num_threads(2)
    path = make_path("shared", small_network(layers=0, members=2), SMALL_SPEC, torch.float32, run=3)
    assert not path.overlaps_jobs
    jobs = [[stretch] for stretch in random_stretches(SMALL_SPEC, [5, 1])]
    assert [len(logits) for logits in path.logits(jobs) if logits is not None] == [3, 2, 1]


def test_a_family_without_windows() -> None:
    path = make_path("shared", small_network(layers=0), SMALL_SPEC, torch.float32)
    codes = np.zeros(SMALL_SPEC.width, dtype=np.uint8)
    assert list(path.family_logits([path.plan(Family(codes))])) == []


def test_bare_networks_are_calibrated() -> None:
    assert calibrate(small_network(layers=0, members=2), SMALL_SPEC).path == "shared"
