"""Every form of input: ids, columns, masks and ragged batches; and what is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from material.networks import tiny_network
from torch import Tensor

from sptx_core.errors import InputError
from sptx_core.inputs import one_hot
from sptx_core.model import SpTransformerModel

IDS = torch.randint(5, (2, 10), generator=torch.Generator().manual_seed(0))
EMBEDS = F.one_hot(IDS, 5).float()


@pytest.fixture(scope="module")
def model() -> SpTransformerModel:
    return tiny_network().requires_grad_(False)


def cut_off(length: int) -> Tensor:
    """A mask that leaves so many positions of the second sequence."""
    mask = torch.ones(2, 10, dtype=torch.long)
    mask[1, length:] = 0
    return mask


def test_one_hot_columns() -> None:
    codes = torch.tensor([[0, 3, 4]])
    assert one_hot(codes, 4, torch.float32).tolist() == [[[1, 0, 0], [0, 0, 0], [0, 0, 0], [0, 1, 0]]]
    assert one_hot(codes, 5, torch.float64)[0, 4].tolist() == [0, 0, 1]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.int64])
def test_codes_of_any_integer_type_are_taken(dtype: torch.dtype, model: SpTransformerModel) -> None:
    assert torch.equal(model(IDS.to(dtype)).logits, model(IDS).logits)


def test_one_hot_columns_are_what_ids_stand_for(model: SpTransformerModel) -> None:
    assert torch.equal(model(inputs_embeds=EMBEDS).logits, model(IDS).logits)


def test_gradients_reach_the_columns(model: SpTransformerModel) -> None:
    embeds = EMBEDS.clone().requires_grad_()
    model(inputs_embeds=embeds).logits[0, 0, 0].backward()
    assert embeds.grad is not None
    assert embeds.grad[0].abs().sum() > 0
    assert embeds.grad[1].abs().sum() == 0


@pytest.mark.parametrize("flanked", [False, True])
def test_a_masked_position_is_an_empty_column(flanked: bool, model: SpTransformerModel) -> None:
    ids = F.pad(IDS, (6, 6), value=2) if flanked else IDS
    mask = torch.ones_like(ids)
    mask[0, 3] = mask[1, 7:] = 0
    embeds = F.one_hot(ids, 5).float()
    expected = model(inputs_embeds=embeds * mask[..., None], flanked=flanked).logits
    assert torch.equal(model(ids, mask, flanked=flanked).logits, expected)
    assert torch.equal(
        model(inputs_embeds=F.one_hot(ids, 5).float(), attention_mask=mask.bool(), flanked=flanked).logits, expected
    )
    assert not torch.allclose(model(ids, flanked=flanked).logits, expected, atol=1e-4)


def test_a_full_mask_changes_nothing(model: SpTransformerModel) -> None:
    assert torch.equal(model(IDS, attention_mask=cut_off(10)).logits, model(IDS).logits)


@pytest.mark.parametrize("flanked", [False, True])
def test_a_share_multiplies_a_column(flanked: bool, model: SpTransformerModel) -> None:
    ids = F.pad(IDS, (6, 6), value=2) if flanked else IDS
    share = torch.rand(ids.shape, generator=torch.Generator().manual_seed(1))
    expected = model(inputs_embeds=F.one_hot(ids, 5) * share[..., None], flanked=flanked).logits
    assert torch.equal(model(ids, share, flanked=flanked).logits, expected)
    assert torch.equal(model(ids, torch.ones(ids.shape), flanked=flanked).logits, model(ids, flanked=flanked).logits)


@pytest.mark.parametrize(
    "kind", ["tensors", "lists", "nested", "danling", "columns", "nested columns", "danling columns"]
)
def test_a_ragged_batch_is_filled_up_with_empty_columns(kind: str, model: SpTransformerModel) -> None:
    rows = [EMBEDS[0], EMBEDS[1, :6]] if "columns" in kind else [IDS[0], IDS[1, :6]]
    ragged: Any = [row.tolist() for row in rows] if kind == "lists" else rows
    if "nested" in kind:
        ragged = torch.nested.nested_tensor(rows, layout=torch.jagged)
    if "danling" in kind:
        ragged = pytest.importorskip("danling").NestedTensor(rows)
    given = {"inputs_embeds": ragged} if "columns" in kind else {"input_ids": ragged}
    assert torch.equal(model(**given).logits, model(IDS, cut_off(6)).logits)


def test_a_nested_mask_is_refused(model: SpTransformerModel) -> None:
    nested = pytest.importorskip("danling").NestedTensor([IDS[0] > 0, IDS[1] > 0])
    with pytest.raises(InputError, match=re.escape("a plain tensor of shape [2, 10], not a NestedTensor")):
        model(IDS, attention_mask=nested)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either input_ids or inputs_embeds, not neither"),
        ({"input_ids": IDS, "inputs_embeds": EMBEDS}, "either input_ids or inputs_embeds, not both"),
        ({"inputs_embeds": EMBEDS.mT}, "must be floating-point of shape [batch, length, 5], not torch.float32"),
        ({"inputs_embeds": IDS}, "inputs_embeds must be floating-point"),
        ({"inputs_embeds": EMBEDS[:, :0]}, "nothing to predict"),
        ({"input_ids": IDS, "attention_mask": IDS[:, :4]}, "attention_mask must have shape [2, 10], not [2, 4]"),
        ({"input_ids": IDS, "attention_mask": [[1] * 10] * 2}, "a plain tensor of shape [2, 10], not a list"),
        ({"input_ids": IDS, "attention_mask": torch.full((2, 10), 1.5)}, "0, 1, or shares between them"),
        ({"input_ids": IDS, "attention_mask": torch.full((2, 10), -1.0)}, "0, 1, or shares between them"),
        ({"input_ids": IDS, "attention_mask": torch.full((2, 10), torch.nan)}, "0, 1, or shares between them"),
        ({"input_ids": [IDS[0]], "attention_mask": IDS[:1]}, "ragged batch has its own attention_mask"),
        ({"input_ids": [IDS[0]], "flanked": True}, "and no flanks"),
        ({"input_ids": []}, "one or more sequences"),
        ({"input_ids": [IDS[0], EMBEDS[0]]}, "all of one kind"),
        ({"input_ids": [1, 2]}, "all of one kind"),
        ({"input_ids": ["ACGT"]}, "must be numbers"),
    ],
)
def test_impossible_input_is_refused_with_the_reason(
    given: dict[str, Any], message: str, model: SpTransformerModel
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        model(**given)


@pytest.mark.parametrize(
    ("ids", "flanked", "message"),
    [
        (torch.zeros(1, 17, dtype=torch.long), False, r"17 bases to predict are more than the 16 .*max_seq_len"),
        (torch.zeros(1, 29, dtype=torch.long), True, r"17 bases to predict are more than the 16 .*max_seq_len"),
        (torch.zeros(1, 0, dtype=torch.long), False, "nothing to predict"),
        (torch.zeros(1, 12, dtype=torch.long), True, "nothing to predict: 12 of them are flank"),
        (torch.zeros(8, dtype=torch.long), False, r"of shape \[batch, length\], not torch.int64 of shape \[8\]"),
        (torch.zeros(1, 8), False, "must be integers .* not torch.float32"),
        (torch.zeros(1, 8, dtype=torch.bool), False, "must be integers .* not torch.bool"),
        (torch.full((1, 8), 5), False, "must be 0..4"),
        (torch.full((1, 8), -1), False, "must be 0..4"),
    ],
)
def test_impossible_ids_are_refused_with_the_reason(
    ids: Tensor, flanked: bool, message: str, model: SpTransformerModel
) -> None:
    with pytest.raises(InputError, match=message):
        model(ids, flanked=flanked)


def test_a_network_without_attention_has_no_position_embedding_to_blame() -> None:
    with pytest.raises(InputError, match=r"than the 16 that the network predicts at once \(max_seq_len\)"):
        tiny_network(layers=0)(torch.zeros(1, 17, dtype=torch.long))
