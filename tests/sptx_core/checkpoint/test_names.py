"""Names of tensors: every one is translated there and back, and official ones are those of an official checkpoint."""

from __future__ import annotations

import json

import pytest
from material.checkpoints import MULTIMOLECULE, OFFICIAL
from material.golden_weights import GOLDEN

from sptx_core.checkpoint.names import (
    NAMES,
    Layout,
    head_part,
    is_counter,
    layout_of,
    network_part,
    renamed,
    with_head,
)
from sptx_core.checkpoint.shapes import network_shapes
from sptx_core.config import SpTransformerConfig

OURS = [*network_shapes(OFFICIAL), *network_shapes(MULTIMOLECULE)]


def numbered(names: list[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


@pytest.mark.parametrize("layout", Layout)
def test_every_name_is_translated_there_and_back(layout: Layout) -> None:
    given = numbered(OURS)
    there = renamed(given, Layout.OURS, layout)
    assert len(there) == len(given)
    assert list(there.values()) == list(given.values())
    assert renamed(there, layout, Layout.OURS) == given


@pytest.mark.parametrize("layout", Layout)
def test_every_row_of_the_table_is_used(layout: Layout) -> None:
    modules = {row[layout].replace("#", "0") for row in NAMES}
    names = renamed(numbered(OURS), Layout.OURS, layout)
    assert modules <= {name.rpartition(".")[0] for name in names} | names.keys()


def test_official_names_and_shapes_are_those_of_an_official_checkpoint() -> None:
    official = json.loads((GOLDEN / "official_state_dict.json").read_text())
    network = network_part(official)
    assert len(official) - len(network) == 4  # the unused output layers of the first encoder
    shapes = renamed(network_shapes(SpTransformerConfig(input_channels=4)), Layout.OURS, Layout.OFFICIAL)
    assert {name: list(like.shape) for name, like in shapes.items()} == network


def test_some_names_of_multimolecule() -> None:
    names = renamed(numbered(OURS), Layout.OURS, Layout.MULTIMOLECULE)
    assert "feature_encoders.1.resblocks.15.norm2.running_var" in names
    assert "encoder.layer.1.attention.self.key_value.weight" in names


def test_unknown_names_are_left_out() -> None:
    given = {"norm.bias": 1, "norm": 2, "norm.bias.more": 3, "bert.weight": 4, "layers.x.expand.weight": 5}
    assert renamed(given, Layout.OURS, Layout.OFFICIAL) == {"attn.norm.bias": 1, "attn.norm": 2}


def test_members_of_an_ensemble_have_names_in_our_layout_alone() -> None:
    given = {
        "member.0.norm.bias": 1,
        "member.12.layers.1.expand.weight": 2,
        "member.0.member.1.norm.bias": 3,
        "member": 4,
    }
    known = {"member.0.norm.bias": 1, "member.12.layers.1.expand.weight": 2}
    assert renamed(given, Layout.OURS, Layout.OURS) == known
    assert renamed(known, Layout.OURS, Layout.OFFICIAL) == {}
    assert layout_of(given) is Layout.OURS


@pytest.mark.parametrize("layout", Layout)
def test_the_layout_is_the_one_that_knows_most_names(layout: Layout) -> None:
    names = [*renamed(numbered(OURS), Layout.OURS, layout), "norm.weight", "something.else"]
    assert layout_of(names) is layout


def test_names_of_another_network_have_no_layout() -> None:
    assert layout_of(["bert.weight", "gpt.bias"]) is None
    assert layout_of([]) is None


def test_network_and_head_of_a_file_come_apart_and_together() -> None:
    network, head = {"norm.bias": 1, "fusion.weight": 2}, {"decoder.weight": 3}
    together = with_head(network, head)
    assert together == {"model.norm.bias": 1, "model.fusion.weight": 2, "token_head.decoder.weight": 3}
    assert network_part(together) == network
    assert head_part(together) == head
    assert network_part(network) == network
    assert head_part(network) == {}


def test_unused_layers_of_official_encoders_and_older_spellings() -> None:
    given = {"encoder.0.splice_output.weight": 1, "encoder.1.tissue_output.bias": 2, "encoder.0.skip.bias": 3}
    assert network_part(given) == {"encoder.0.skip.bias": 3}
    older = {"attn.pos_emb.weights_0": 1, "attn.pos_emb.weights_1": 2}
    assert network_part(older) == {"attn.pos_emb.weights.0": 1, "attn.pos_emb.weights.1": 2}


def test_counters_of_training_steps() -> None:
    assert is_counter("encoders.0.blocks.0.norm1.num_batches_tracked")
    assert not is_counter("encoders.0.blocks.0.norm1.running_mean")
