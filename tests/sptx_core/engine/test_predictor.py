from __future__ import annotations

import numpy as np
import pytest
import torch
from material.engine_networks import (
    SMALL_SPEC,
    family_windows,
    native_network,
    network_scores,
    random_family,
    random_stretches,
    small_network,
)

from sptx_core import channels
from sptx_core.engine import PRECISIONS, Alternative, Family, FamilyScores, Predictor
from sptx_core.engine.native import library
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_reference_gathers_windows_across_stretches(batch: int) -> None:
    model = small_network()
    given = random_stretches(SMALL_SPEC, [1, 4, 2, 1])
    predicted = Predictor(model, SMALL_SPEC, batch=batch, path="reference").predict(given)
    assert [len(scores) for scores in predicted] == [1, 4, 2, 1]
    for stretch, scores in zip(given, predicted, strict=True):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, network_scores(model, SMALL_SPEC, stretch), rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_shared_predicts_each_stretch(precision: str) -> None:
    model = small_network(max_seq_len=128)
    given = random_stretches(SMALL_SPEC, [1, 4, 2])
    predicted = Predictor(model, SMALL_SPEC, batch=1, path="shared", precision=precision).predict(given)
    tolerance = 2e-6 if precision == "float32" else 0.02
    for stretch, scores in zip(given, predicted, strict=True):
        np.testing.assert_allclose(scores, network_scores(model, SMALL_SPEC, stretch), rtol=0, atol=tolerance)


def test_prediction_repeats_byte_for_byte() -> None:
    ready = Predictor(small_network(), SMALL_SPEC, batch=3)
    given = random_stretches(SMALL_SPEC, [4, 1])
    first, second = ready.predict(given), ready.predict(given)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def test_the_network_given_stays_as_it_is() -> None:
    model = small_network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    Predictor(model, SMALL_SPEC, batch=1).predict(random_stretches(SMALL_SPEC, [1]))
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_no_stretches_give_no_scores() -> None:
    assert Predictor(small_network(), SMALL_SPEC, batch=2).predict([]) == []


def test_a_stretch_of_no_whole_number_of_windows_is_refused() -> None:
    (stretch,) = random_stretches(SMALL_SPEC, [2])
    with pytest.raises(ValueError, match="no whole number of windows"):
        Predictor(small_network(), SMALL_SPEC, batch=2).predict([stretch[:-1]])


@pytest.mark.parametrize("path", ["reference", "shared"])
def test_output_that_is_not_finite_is_an_error(path: str) -> None:
    model = small_network()
    model.splice_head.bias.data[0] = torch.nan
    with pytest.raises(ArithmeticError, match="not finite"):
        Predictor(model, SMALL_SPEC, batch=2, path=path).predict(random_stretches(SMALL_SPEC, [2]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "precision"), [("reference", "float32"), ("shared", "float32"), ("shared", "bfloat16")]
)
def test_windows_of_a_family_get_the_scores_of_each_alone(path: str, precision: str) -> None:
    model, family = small_network(max_seq_len=128), random_family(SMALL_SPEC)
    (found,) = Predictor(model, SMALL_SPEC, batch=3, path=path, precision=precision).stream_families([family])
    assert isinstance(found, FamilyScores)
    with torch.inference_mode():
        logits = model.double()(family_windows(family, SMALL_SPEC), flanked=True).logits
    expected = channels.scores(logits).numpy()
    tolerance = 2e-6 if precision == "float32" else 0.02
    np.testing.assert_allclose(np.concatenate(found[:2]), expected, rtol=0, atol=tolerance)
    assert (len(found.references), found.alternatives.dtype) == (len(family.references), np.float32)
    gaps = np.concatenate(found[2:])
    assert gaps.shape == (len(expected),)
    assert (gaps > 0).all()


@pytest.mark.parametrize("path", ["reference", "shared"])
def test_equal_windows_of_a_family_have_equal_bytes(path: str) -> None:
    codes = random_family(SMALL_SPEC).codes
    one, other = codes[5 + 40] ^ 1, codes[5 + 40 : 5 + 43].copy()
    other[0] = one
    written = [Alternative(5, 40, codes[45:47]), Alternative(5, 40, codes[45:45]), Alternative(5, 40, other[:1])]
    family = Family(codes, [5], [*written, Alternative(5, 40, other)])
    (found,) = Predictor(small_network(), SMALL_SPEC, batch=1, path=path).stream_families([family])
    assert isinstance(found, FamilyScores)
    same, nothing, changed, longer = found.alternatives
    assert same.tobytes() == nothing.tobytes() == found.references[0].tobytes()
    assert changed.tobytes() == longer.tobytes() != same.tobytes()


def test_a_family_beyond_its_stretch_is_refused() -> None:
    family = Family(random_family(SMALL_SPEC).codes[:-1], [50])
    with pytest.raises(ValueError, match="is not within a stretch"):
        list(Predictor(small_network(), SMALL_SPEC, batch=1).stream_families([family]))


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        (WindowSpec(20, 61), {}, "flanking bases"),
        (WindowSpec(65, 60), {}, "64 bases at once"),
        (SMALL_SPEC, {"precision": "float8"}, "precision 'float8' is unknown"),
        (SMALL_SPEC, {"path": "warp"}, "engine path 'warp' is unknown"),
        (SMALL_SPEC, {"batch": 0}, "batch is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(spec: WindowSpec, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(small_network(), spec, **{"batch": 1, **settings})


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no CUDA device"):
        Predictor(small_network(), SMALL_SPEC, batch=1, device="cuda")


def test_native_is_refused_and_auto_is_shared_where_the_library_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "missing", lambda _: "is not compiled")
    model, spec = native_network(), WindowSpec(20, 100)
    with pytest.raises(InputError, match="engine path 'native' is not compiled: use 'shared'"):
        Predictor(model, spec, batch=1, path="native")
    assert Predictor(model, spec, batch=1).path == "shared"
    settings = {"precision": "float32", "device": "cpu", "batch": 1}
    assert Predictor.planned(model, spec, path="native", **settings).path == "shared"


@pytest.mark.skipif(not library.usable(torch.float32), reason="the compiled library is not there")
def test_auto_and_a_planned_native_are_native_where_it_can_be_used() -> None:
    model, spec = native_network(), WindowSpec(20, 100)
    assert Predictor(model, spec, batch=1).path == "native"
    settings = {"precision": "float32", "device": "cpu", "batch": 1}
    assert Predictor.planned(model, spec, path="native", **settings).path == "native"


def planned(path: str, **settings: object) -> Predictor:
    return Predictor.planned(
        small_network(), SMALL_SPEC, **{"path": path, "precision": "float32", "device": "cpu", "batch": 1, **settings}
    )


@pytest.mark.parametrize("path", ["reference", "shared"])
def test_a_planned_path_that_runs_everywhere_is_taken(path: str) -> None:
    assert planned(path).path == path


@pytest.mark.parametrize("path", ["native", "triton"])
def test_a_planned_path_that_cannot_run_here_becomes_shared(path: str) -> None:
    """The network's sizes fit neither the library nor the kernels."""
    ready = planned(path)
    assert ready.path == "shared"
    assert len(ready.predict(random_stretches(SMALL_SPEC, [1]))[0]) == 1


def test_planned_settings_that_cannot_work_are_refused() -> None:
    for path in ("shared", "native", "triton"):
        with pytest.raises(InputError, match="batch is 0"):
            planned(path, batch=0)
    with pytest.raises(InputError, match="float32 only"):
        planned("reference", precision="bfloat16")


class Gpu(Predictor):
    """Stands for a predictor on a GPU, whose kernels fail when they are first run."""

    error: Exception

    def __init__(self, model: object, spec: WindowSpec, *, path: str, **_: object) -> None:
        self.spec, self.path = spec, path

    def predict(self, stretches: object) -> list[np.ndarray]:
        if self.path == "triton":
            raise self.error
        return []


@pytest.mark.parametrize(
    "error", [RuntimeError("no ptxas"), torch.OutOfMemoryError("CUDA out of memory"), InputError("needs Triton")]
)
def test_planned_kernels_that_fail_give_way_to_shared(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gpu, "error", error, raising=False)
    settings = {"precision": "float32", "device": "cpu", "batch": 1}
    assert Gpu.planned(small_network(), SMALL_SPEC, path="triton", **settings).path == "shared"


def test_a_gpu_that_is_lost_is_not_planned_around(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = RuntimeError("CUDA error: an illegal memory access was encountered")
    monkeypatch.setattr(Gpu, "error", lost, raising=False)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Gpu.planned(small_network(), SMALL_SPEC, path="triton", precision="float32", device="cpu", batch=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("path", ["reference", "shared"])
def test_a_gpu_gives_the_scores_of_a_cpu(precision: str, tolerance: float, path: str) -> None:
    if (path, precision) == ("reference", "bfloat16"):
        pytest.skip("the reference computes in float32 only")
    model, given = small_network(max_seq_len=128), random_stretches(SMALL_SPEC, [5, 1, 4])
    expected = Predictor(model, SMALL_SPEC, batch=1, path="reference").predict(given)
    ready = Predictor(model, SMALL_SPEC, batch=4, path=path, precision=precision, device="cuda")
    found, again = ready.predict(given), ready.predict(given)
    for one, two, three in zip(expected, found, again, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=tolerance)
        assert two.tobytes() == three.tobytes()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("path", ["reference", "shared"])
def test_a_gpu_gives_the_scores_of_a_family(path: str) -> None:
    model, family = small_network(max_seq_len=128), random_family(SMALL_SPEC)
    (expected,) = Predictor(model, SMALL_SPEC, batch=1, path="reference").stream_families([family])
    ready = Predictor(model, SMALL_SPEC, batch=4, path=path, device="cuda")
    found, again = ready.stream_families([family, family])
    for one, two, three in zip(expected, found, again, strict=True):
        np.testing.assert_allclose(two, one, rtol=0, atol=1e-5)
        assert two.tobytes() == three.tobytes()
