"""The examples in docstrings, and MultiMolecule's names of settings."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from sptx_core import multimolecule
from sptx_core.config import HeadConfig, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError


@pytest.mark.parametrize(("name", "examples"), [("multimolecule", 20), ("tokenizer", 6), ("token_prediction", 5)])
def test_examples_in_docstrings_run(name: str, examples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # one saves a network
    result = doctest.testmod(importlib.import_module(f"sptx_core.{name}"))
    assert result.failed == 0
    assert result.attempted >= examples


def test_settings_by_their_multimolecule_names() -> None:
    assert multimolecule.SpTransformerConfig() == SpTransformerConfig()
    config = multimolecule.SpTransformerConfig(
        hidden_size=6,
        attention_hidden_size=32,
        encoders=[multimolecule.SpTransformerFeatureEncoderConfig(hidden_size=4)],
        num_tissues=2,
        tissue_names=["brain", "liver"],
        num_labels=3,
        head={"problem_type": "multilabel", "transform": "nonlinear"},
    )
    assert config == SpTransformerConfig(
        input_path_channels=6,
        hidden_size=32,
        encoders=(SpTransformerFeatureEncoderConfig(4),),
        tissues=2,
        tissue_names=("brain", "liver"),
        head=HeadConfig(3, "multilabel", "nonlinear"),
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 3}, "this network has no setting depth"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu', but this network can only have 'relu'"),
        ({"head": {"act": "sigmoid"}}, "act of the head is 'sigmoid', but this head can only have None"),
    ],
)
def test_settings_that_it_cannot_have_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        multimolecule.SpTransformerConfig(**settings)
