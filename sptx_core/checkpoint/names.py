"""The names of a network's tensors in the three layouts that checkpoints come in: one table, and renaming by it.

Works on mappings from names to anything (tensors, shapes); it opens no file and does not need PyTorch. A layout is who
named the tensors: this package, the authors of SpTransformer, or MultiMolecule. The names of the other two are facts
of their checkpoints: those of the published `SpTransformer_pytorch.ckpt` and of MultiMolecule's safetensors files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from functools import cache
from typing import TypeVar

Value = TypeVar("Value")

NETWORK = "model"
"""Module that holds the network in files of a network with a head on top of it, ours and MultiMolecule's."""
HEAD = "token_head"
"""Module that holds the head in such files."""
MEMBER = "member"
"""Module that holds the networks of an ensemble, by their numbers, in our layout; the others have no ensembles."""


class Layout(IntEnum):
    """Who named the tensors; the value is the column of `NAMES`."""

    OURS = 0
    OFFICIAL = 1
    MULTIMOLECULE = 2


NAMES = (
    ("encoders.#.input", "encoder.#.conv1", "feature_encoders.#.conv1"),
    ("encoders.#.first_skip", "encoder.#.skip", "feature_encoders.#.skip"),
    ("encoders.#.blocks.#.norm1", "encoder.#.resblocks.#.bn1", "feature_encoders.#.resblocks.#.norm1"),
    ("encoders.#.blocks.#.conv1", "encoder.#.resblocks.#.conv1", "feature_encoders.#.resblocks.#.conv1"),
    ("encoders.#.blocks.#.norm2", "encoder.#.resblocks.#.bn2", "feature_encoders.#.resblocks.#.norm2"),
    ("encoders.#.blocks.#.conv2", "encoder.#.resblocks.#.conv2", "feature_encoders.#.resblocks.#.conv2"),
    ("encoders.#.skips.#", "encoder.#.convs.#", "feature_encoders.#.convs.#"),
    ("input_path.0", "conv1.0", "projection.conv1"),
    ("input_path.1", "conv1.1", "projection.conv2"),
    ("fusion", "conv2", "projection.conv"),
    ("position.bucket", "attn.pos_emb.weights.0", "encoder.position_embeddings.weights.0"),
    ("position.place", "attn.pos_emb.weights.1", "encoder.position_embeddings.weights.1"),
    ("layers.#.attention_norm", "attn.attn.layers.layers.#.0.norm", "encoder.layer.#.attention.layer_norm"),
    ("layers.#.attention.query", "attn.attn.layers.layers.#.0.fn.to_q", "encoder.layer.#.attention.self.query"),
    (
        "layers.#.attention.key_value",
        "attn.attn.layers.layers.#.0.fn.to_kv",
        "encoder.layer.#.attention.self.key_value",
    ),
    ("layers.#.attention.output", "attn.attn.layers.layers.#.0.fn.to_out", "encoder.layer.#.attention.output.dense"),
    ("layers.#.feed_forward_norm", "attn.attn.layers.layers.#.1.norm", "encoder.layer.#.intermediate.layer_norm"),
    ("layers.#.expand", "attn.attn.layers.layers.#.1.fn.fn.w1", "encoder.layer.#.intermediate.dense"),
    ("layers.#.contract", "attn.attn.layers.layers.#.1.fn.fn.w2", "encoder.layer.#.output.dense"),
    ("norm", "attn.norm", "encoder.layer_norm"),
    ("splice_head", "splice", "prediction.splice"),
    ("usage_head", "usage", "prediction.usage"),
)
"""Modules and bare parameters; a column for each layout.

"#" stands for a number, which is the same in all three columns. What follows the name of a module (".weight", ".bias",
".running_mean" and so on) is the same in all three as well.
"""

# Official files spell two names in another way, and hold output layers of the encoders from their pre-training, which
# the network does not use.
OLDER_NAMES = {f"attn.pos_emb.weights_{axis}": f"attn.pos_emb.weights.{axis}" for axis in (0, 1)}
_OF_MEMBER = re.compile(rf"({MEMBER}\.\d+\.)((?!{MEMBER}\.).+)")
UNUSED = re.compile(r"encoder\.\d+\.(splice|tissue)_output\.")


def network_part(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors of the network alone, by their names in its layout.

    Parameters
    ----------
    tensors
        All tensors of a file, by their names in it.

    Returns
    -------
    dict
        Without a head on top of the network, without the `model.` before the names that such a head brings with it, and
        without the unused output layers of official encoders. The older spelling of official names is replaced.
    """
    prefix = f"{NETWORK}."
    if any(name.startswith(prefix) for name in tensors):
        tensors = below(prefix, tensors)
    return {OLDER_NAMES.get(name, name): value for name, value in tensors.items() if not UNUSED.match(name)}


def head_part(tensors: Mapping[str, Value]) -> dict[str, Value]:
    """The tensors of the head on top of the network, by their names in the head; empty if a file has no head."""
    return below(f"{HEAD}.", tensors)


def with_head(network: Mapping[str, Value], head: Mapping[str, Value]) -> dict[str, Value]:
    """The names that a file with a head has: the inverse of `network_part` and `head_part` together."""
    return {f"{NETWORK}.{name}": value for name, value in network.items()} | {
        f"{HEAD}.{name}": value for name, value in head.items()
    }


def is_counter(name: str) -> bool:
    """Whether a tensor counts training steps: predictions do not depend on it, and many files leave it out."""
    return name.endswith(".num_batches_tracked")


def layout_of(names: Iterable[str]) -> Layout | None:
    """The layout that knows most of the names, or None if no layout knows any."""
    given = dict.fromkeys(names)
    known = {layout: len(renamed(given, layout, Layout.OURS)) for layout in Layout}
    layout = max(Layout, key=lambda layout: known[layout])
    return layout if known[layout] else None


def renamed(tensors: Mapping[str, Value], origin: Layout, target: Layout) -> dict[str, Value]:
    """Rename tensors from one layout to another.

    Parameters
    ----------
    tensors
        Values by their names in the layout `origin`.
    origin
        The layout of the names given.
    target
        The layout of the names wanted.

    Returns
    -------
    dict
        The same values, in the same order. Names that the table does not know are left out.
    """
    named = ((_translate(name, origin, target), value) for name, value in tensors.items())
    return {name: value for name, value in named if name is not None}


def below(prefix: str, tensors: Mapping[str, Value]) -> dict[str, Value]:
    """Those whose names begin with a prefix, by what follows it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _translate(name: str, origin: Layout, target: Layout) -> str | None:
    if origin is target is Layout.OURS and (member := _OF_MEMBER.fullmatch(name)):
        found = _translate(member[2], origin, target)
        return None if found is None else member[1] + found
    for pattern, row in _patterns(origin):
        if match := pattern.fullmatch(name):
            *numbers, attribute = match.groups(default="")
            pieces = row[target].split("#")
            return "".join(piece + number for piece, number in zip(pieces, [*numbers, attribute], strict=True))
    return None


@cache
def _patterns(layout: Layout) -> Sequence[tuple[re.Pattern[str], tuple[str, str, str]]]:
    return [(re.compile(r"(\d+)".join(map(re.escape, row[layout].split("#"))) + r"(\.\w+)?"), row) for row in NAMES]
