"""Outputs: attributes, the mapping of those that are there, and scores."""

from __future__ import annotations

import pytest
import torch

from sptx_core.channels import scores
from sptx_core.outputs import SpTransformerModelOutput, SpTransformerTokenPredictorOutput

HIDDEN = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
LOGITS = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def output() -> SpTransformerModelOutput:
    return SpTransformerModelOutput(HIDDEN, LOGITS)


def test_output_is_a_mapping_with_attributes_and_without_empty_entries(output: SpTransformerModelOutput) -> None:
    assert list(output) == list(output.keys()) == ["last_hidden_state", "logits"]
    assert len(output) == 2
    assert output["logits"] is output.logits
    assert dict(output)["last_hidden_state"] is output.last_hidden_state
    assert str(output.keys()) == "odict_keys(['last_hidden_state', 'logits'])"
    assert output.attentions is None
    for name in ("attentions", "scores", "nothing"):
        assert name not in output
        with pytest.raises(KeyError):
            output[name]


def test_entries_are_there_once_they_are_given() -> None:
    assert list(SpTransformerModelOutput(HIDDEN, LOGITS, contexts=(HIDDEN,)))[-1] == "contexts"
    assert list(SpTransformerTokenPredictorOutput(None, LOGITS)) == ["logits"]
    assert list(SpTransformerTokenPredictorOutput(LOGITS.mean(), LOGITS)) == ["loss", "logits"]


def test_scores_of_an_output_are_those_of_its_logits(output: SpTransformerModelOutput) -> None:
    assert torch.equal(output.scores(), scores(LOGITS))
    assert torch.allclose(output.scores()[..., :3].sum(-1), torch.ones(2, 8))
