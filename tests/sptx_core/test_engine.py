"""Every path gives each stretch its windows' scores, equal to a direct call of the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sptx_core import channels
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine import Predictor, calibrate
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

CONTEXT = 60
SPEC = WindowSpec(core=20, context=CONTEXT, overlap=5)


def small_model(max_seq_len: int = 64, context: int = CONTEXT) -> SpTransformerModel:
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
            local_heads=2,
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
