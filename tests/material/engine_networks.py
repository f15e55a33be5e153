"""Small networks for each engine path, stretches for them, and what the network itself says of a stretch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from material.networks import NATIVE
from torch import Tensor

from sptx_core import channels
from sptx_core.alphabet import Codes
from sptx_core.config import ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.engine import Alternative, Family
from sptx_core.engine.bench import seeded_model
from sptx_core.engine.paths import ENGINE_PATHS
from sptx_core.engine.scheduling import StretchPath
from sptx_core.engine.streaming import Scores
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

_STAGES = (ResidualStage(2, 3, 1), ResidualStage(1, 5, 2), ResidualStage(1, 3, 5))
SMALL = SpTransformerConfig(
    context=60,
    max_seq_len=64,
    encoders=(SpTransformerFeatureEncoderConfig(16, _STAGES), SpTransformerFeatureEncoderConfig(8, _STAGES)),
    input_path_channels=8,
    hidden_size=32,
    layers=3,
    heads=4,
    local_heads=2,
    bucket_size=8,
    feed_forward_size=48,
)
"""Of every kind of layer."""
SMALL_SPEC = WindowSpec(core=20, context=60, overlap=5)

# Sizes that the Triton kernels take.
TRITON = SpTransformerConfig(
    context=48,
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


def leaking(encoders: Sequence[SpTransformerFeatureEncoderConfig]) -> tuple[SpTransformerFeatureEncoderConfig, ...]:
    """The same encoders, whose activations leak."""
    return tuple(dataclasses.replace(encoder, leak=0.1) for encoder in encoders)


def small_network(**changed: Any) -> SpTransformerModel:
    """A network of `SMALL` sizes, some of them changed, as it is before training but for its norms, which do something.

    Its logits are small, so that bfloat16 changes scores little.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SpTransformerModel(dataclasses.replace(SMALL, **changed)).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.data.normal_(1, 0.5, generator=generator)
            module.bias.data.normal_(0, 0.3, generator=generator)
    return model


def native_network(**changed: Any) -> SpTransformerModel:
    """A network of `NATIVE` sizes, some of them changed."""
    return seeded_model(dataclasses.replace(NATIVE, **changed), 1)


def triton_network(**changed: Any) -> SpTransformerModel:
    """A network of `TRITON` sizes, some of them changed."""
    return seeded_model(dataclasses.replace(TRITON, **changed), 0)


def random_stretches(spec: WindowSpec, counts: Sequence[int]) -> list[Codes]:
    """Stretches of so many windows each, of random codes, N among them."""
    rng = np.random.default_rng(0)
    spans = [spec.input_span(0, count - 1) for count in counts]
    return [rng.integers(0, 5, end - first, dtype=np.uint8) for first, end in spans]


@torch.inference_mode()
def make_path(
    name: str, model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype, batch: int | None = None, run: int = 0
) -> StretchPath:
    """An engine path by its entry in the table, but perhaps with shorter runs of windows."""
    path = ENGINE_PATHS[name].make(model, spec, dtype, batch)
    assert isinstance(path, StretchPath)
    return StretchPath(path.encoder, path.transformer, spec, batch=batch, run=run or path.run, attends=path.attends)


@torch.inference_mode()
def path_logits(path: StretchPath, stretch: Codes) -> Tensor:
    """Logits of a stretch's windows by an engine path."""
    return torch.cat([logits for logits in path.logits([[stretch]]) if logits is not None])


@torch.inference_mode()
def network_logits(model: SpTransformerModel, spec: WindowSpec, stretch: Codes) -> Tensor:
    """Logits of a stretch's windows by the network itself, in its precision."""
    rows = torch.from_numpy(cut(stretch, spec).copy()).to(next(model.parameters()).device)
    return model(rows, flanked=True).logits


def network_scores(model: SpTransformerModel, spec: WindowSpec, stretch: Codes) -> Scores:
    """Scores of a stretch's windows by the network itself."""
    return channels.scores(network_logits(model, spec, stretch)).numpy()


def random_family(spec: WindowSpec, seed: int = 0) -> Family:
    """Windows at uneven offsets, and SNVs, short and whole replacements of them, at their ends and anywhere."""
    rng = np.random.default_rng(seed)
    width = spec.width
    codes = rng.integers(0, 5, width + 50, dtype=np.uint8)
    alternatives = [
        Alternative(offset, start, rng.integers(0, 5, min(size, width - start), dtype=np.uint8))
        for offset, size in ((7, 1), (3, width), (8, 4), (50, 1))
        for start in (0, width // 2 + offset, width - 1)
    ]
    return Family(codes, [0, 7, 8, 50, 7], alternatives)


def family_windows(family: Family, spec: WindowSpec) -> Tensor:
    """Each window wanted, references first, as a tool that knows of no families would build it: uint8 [n, width]."""
    rows = [family.codes[offset : offset + spec.width] for offset in family.references]
    for offset, start, bases in family.alternatives:
        row = family.codes[offset : offset + spec.width]
        rows.append(np.concatenate((row[:start], bases, row[start + len(bases) :])))
    return torch.from_numpy(np.stack(rows))


@torch.inference_mode()
def family_logits(path: StretchPath, family: Family) -> Tensor:
    """Logits of each window wanted, references first, by an engine path."""
    planned = path.plan(family)
    found = torch.cat([item.logits for item in path.family_logits([planned]) if item is not None])
    return found[torch.from_numpy(np.concatenate((planned.references, planned.alternatives)))]
