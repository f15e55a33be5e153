"""A checkpoint by path, URI or hub id -> the network, its digest and the names of its output columns; read once.

A hub id is `owner/name`, which stands for the newest commit of `main`, or `owner/name@revision`, a branch, a tag or a
commit. The network says which commit that was (`Network.pinned`), so that others can load the same one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from pipeline.inputs.uris import local_checkpoint
from sptx_core.channels import SPLICE, TISSUES
from sptx_core.checkpoint import Checkpoint, load_checkpoint
from sptx_core.checkpoint.sources import HUB_ID
from sptx_core.config import SpTransformerConfig
from sptx_core.model import SpTransformerModel

_WITH_REVISION = re.compile(rf"({HUB_ID.pattern})@([\w./-]+)")


class Network(NamedTuple):
    """A network ready for inference, and the checkpoint that it was made from."""

    model: SpTransformerModel
    checkpoint: Checkpoint

    @property
    def channels(self) -> tuple[str, ...]:
        """Column names of its output channels, in the network's order."""
        return channel_names(self.model.config)

    @property
    def pinned(self) -> str | None:
        """The hub id that it came from with the commit, which `load_network` takes; None if it came from elsewhere."""
        commit = self.checkpoint.revision
        return None if commit is None else f"{self.checkpoint.source}@{commit}"

    def digest(self) -> str:
        """SHA-256 of configuration and tensors: the same for the same network in another format of file."""
        return self.checkpoint.digest()


def load_network(location: str) -> Network:
    """The network at a path, a URI or a hub id; `InputError` for whatever keeps it from being loaded."""
    match = _WITH_REVISION.fullmatch(location)
    if match and not Path(location).exists():
        checkpoint = load_checkpoint(match[1], revision=match[2])
    else:
        checkpoint = load_checkpoint(local_checkpoint(location))
    return Network(SpTransformerModel.from_checkpoint(checkpoint), checkpoint)


def channel_names(config: SpTransformerConfig) -> tuple[str, ...]:
    """Column names of a network's channels; 15 tissues without names are taken to be the official ones."""
    if config.tissue_names is None and config.tissues == len(TISSUES):
        return (*SPLICE, *TISSUES)
    return config.output_channels
