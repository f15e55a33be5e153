from __future__ import annotations

import numpy as np
import pytest
import torch
from material.engine_networks import SMALL_SPEC, small_network

from sptx_core.engine import Predictor, calibrate, calibration, hardware
from sptx_core.engine.calibration import (
    CPU_BATCH,
    GPU_BATCHES,
    GPU_TRIAL,
    Trial,
    choose_on_gpu,
    random_stretches,
    time_prediction,
)
from sptx_core.engine.native import library
from sptx_core.engine.scheduling import GPU_RUN
from sptx_core.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_cpu_takes_the_first_path_and_the_smallest_batch() -> None:
    model = small_network()
    chosen = calibrate(model, SMALL_SPEC)
    assert chosen == calibration.Calibration(hardware("cpu"), Predictor(model, SMALL_SPEC, batch=1).path, CPU_BATCH)
    assert calibrate(model, SMALL_SPEC, path="reference", batch=3).batch == 3
    assert calibrate(model, SMALL_SPEC, path=chosen.path, batch=chosen.batch) == chosen


def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(InputError, match="float32 only"):
        calibrate(small_network(), SMALL_SPEC, path="reference", precision="bfloat16")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            calibrate(small_network(), SMALL_SPEC, device="cuda")


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({2: 8.0, 4: 4.0, 8: 3.0, 16: 2.99, 32: 2.98, 64: 2.97}, 8),  # a hundredth is not worth the memory
        ({2: 8.0, 4: 4.0}, 4),  # more does not fit
        ({}, None),
    ],
)
def test_a_gpu_takes_the_fastest_micro_batch_that_fits(seconds: dict[int, float], chosen: int | None) -> None:
    def measure(path: str, precision: str, batch: int) -> Trial:
        if batch not in seconds:
            raise torch.OutOfMemoryError
        return Trial(seconds[batch], "shared", np.zeros(1, np.float32))

    settings = {"path": "auto", "precision": "float32", "has_triton": False, "device": "cpu"}
    if chosen is None:
        with pytest.raises(torch.OutOfMemoryError):
            choose_on_gpu(measure, batches=GPU_BATCHES, **settings)
    else:
        assert choose_on_gpu(measure, batches=GPU_BATCHES, **settings) == ("shared", chosen, "")


@pytest.mark.parametrize(
    ("precision", "seconds", "difference", "path", "note"),
    [
        ("float32", 0.5, 0.0, "triton", ""),
        ("float32", 1.0, 0.0, "shared", ""),
        ("float32", 0.5, 1e-4, "shared", "quantile 0.99 of its differences from the exact scores is 1.0e-04"),
        ("float32", None, 0.0, "shared", "left out: RuntimeError: no ptxas"),
        ("bfloat16", 0.5, 0.014, "triton", ""),  # beside 0.01 of `shared`
        ("bfloat16", 0.5, 0.016, "shared", "is 1.6e-02, that of shared 1.0e-02"),
    ],
)
def test_auto_takes_triton_where_it_is_faster_and_gives_the_same_scores(
    precision: str, seconds: float | None, difference: float, path: str, note: str
) -> None:
    def measure(path: str, precision: str, batch: int) -> Trial:
        if batch > 8:
            raise torch.OutOfMemoryError
        scores = np.zeros(40, np.float32)
        if path != "triton":
            scores[:9] = 0.01 if precision == "bfloat16" else 0.0
            return Trial(8.0 / batch, "shared", scores)
        if seconds is None:
            raise RuntimeError("no ptxas")
        scores[:9] = difference
        return Trial(seconds * 8 / batch, "triton", scores)

    settings = {"precision": precision, "has_triton": True, "device": "cpu"}
    chosen = choose_on_gpu(measure, path="auto", batches=GPU_BATCHES, **settings)
    assert (chosen.path, chosen.batch) == (path, 8)
    assert note in chosen.note
    assert bool(note) == bool(chosen.note)
    assert choose_on_gpu(measure, path="shared", batches=[4], **settings) == ("shared", 4, "")
    without = {**settings, "has_triton": False}
    assert choose_on_gpu(measure, path="auto", batches=[4], **without) == ("shared", 4, "")
    with pytest.raises(torch.OutOfMemoryError):
        choose_on_gpu(measure, path="auto", batches=[16], **settings)


def test_a_gpu_that_is_lost_while_it_is_tried_stops_calibration() -> None:
    def measure(path: str, precision: str, batch: int) -> Trial:
        if path == "triton":
            raise RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered")
        return Trial(1.0, "shared", np.zeros(1, np.float32))

    with pytest.raises(RuntimeError, match="illegal memory access"):
        choose_on_gpu(measure, path="auto", precision="float32", batches=[2], has_triton=True, device="cpu")


def test_a_trial_predicts_the_longest_run_and_a_few_windows_more() -> None:
    assert GPU_TRIAL[0] == GPU_RUN
    assert [SMALL_SPEC.count(len(stretch)) for stretch in random_stretches(SMALL_SPEC, (4, 2))] == [4, 2]
    first, again = (random_stretches(SMALL_SPEC, [3])[0].tobytes() for _ in range(2))
    assert first == again


def test_the_last_turn_is_timed_after_the_others_have_warmed_up() -> None:
    class Counting:
        turns = 0

        def predict(self, stretches: list[np.ndarray]) -> list[np.ndarray]:
            self.turns += 1
            return [np.full((1, 2, 3), self.turns, np.float32) for _ in stretches]

    predictor = Counting()
    seconds, scores = time_prediction(predictor, random_stretches(SMALL_SPEC, (1, 1)), turns=2)
    assert predictor.turns == 2
    assert seconds >= 0
    assert scores.shape == (2, 2, 3)
    assert (scores == 2).all()


@pytest.mark.skipif(library.library() is None, reason="the compiled library is not there")
def test_processors_that_round_differently_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """By which a resumed run knows that it does not get the bytes that it began with."""
    vectors = library.FLOAT32 | library.BFLOAT16
    names = []
    for features in (0, library.FLOAT32, vectors, vectors | library.MATRIX_UNITS):
        monkeypatch.setattr(library, "features", lambda features=features: features)
        names.append(hardware("cpu"))
    assert len(set(names)) == 4
