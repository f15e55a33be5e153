"""What every network with a configuration can do: be built from a checkpoint, saved to a folder, pushed to the hub.

`SpTransformerModel` and `SpTransformerForTokenPrediction` inherit these four calls. A subclass takes its configuration
as the one argument of its constructor, keeps it as `config` and `sizes`, and says how its tensors lie in a `Checkpoint`
(`load_tensors`, `to_checkpoint`) where they are more than the network's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn

from sptx_core.checkpoint import hub
from sptx_core.checkpoint.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sptx_core.checkpoint.sources import Source
from sptx_core.config import SpTransformerConfig
from sptx_core.errors import InputError

PRECISIONS = {
    str(dtype).removeprefix("torch."): dtype for dtype in (torch.float32, torch.float64, torch.float16, torch.bfloat16)
}
"""The types that a network may compute in, by their names."""
AUTO = "auto"
"""Stands for the type that the floating-point tensors have in their file."""


class PretrainedNetwork(nn.Module):
    """A network that checkpoints can hold."""

    config: SpTransformerConfig
    sizes: SpTransformerConfig
    """The sizes that the network was built with: `config`, but for classes whose `config` has other names for them."""
    beside: Mapping[str, Any] = MappingProxyType({})
    """`Checkpoint.beside` of the checkpoint that the network came from, kept for the one that it becomes."""

    @classmethod
    def from_pretrained(
        cls,
        source: Source,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str | None = None,
        revision: str | None = None,
        token: hub.Token = None,
    ) -> Self:
        """Load the network of a checkpoint, ready to predict.

        Parameters
        ----------
        source
            A file, a folder or a hub id; `sptx_core.checkpoint.checkpoint` says which are read.
        device
            Where the network goes.
        dtype
            The type to compute in, or its name: float32 (the default), float64, float16 or bfloat16; "auto" for the
            type in the file.
        revision
            For a hub id: a branch, a tag or a commit; by default the newest commit of `main`.
        token
            For a hub id: a token of the hub; by default that of the login or of `HF_TOKEN`, if there is one.

        Returns
        -------
        PretrainedNetwork
            In evaluation mode. Loading draws no random numbers.

        Raises
        ------
        InputError
            The checkpoint cannot be read or does not fit, or `dtype` is none of those above.
        """
        checkpoint = load_checkpoint(source, revision=revision, token=token)
        return cls.from_checkpoint(checkpoint, device=device, dtype=dtype)

    @classmethod
    def from_checkpoint(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | str | None = None,
    ) -> Self:
        """Build the network of a checkpoint that is already loaded, ready to predict.

        On the CPU nothing is copied: the network's parameters and running statistics share their memory with the
        tensors of the checkpoint, which stays usable. Training the network, or writing to its parameters, therefore
        changes the checkpoint, its digest and every other network that was built from it. On another device, or after
        a change of precision, the network has memory of its own.

        Parameters
        ----------
        checkpoint
            From `load_checkpoint`, or from the `to_checkpoint` of a network.
        device
            Where the network goes.
        dtype
            As in `from_pretrained`.

        Returns
        -------
        PretrainedNetwork
            In evaluation mode.

        Raises
        ------
        InputError
            `dtype` is none of those that `from_pretrained` takes.
        """
        precision = _precision(dtype, checkpoint)
        with torch.device("meta"):  # no memory and no random numbers for tensors that the checkpoint has
            network = cls(checkpoint.config)
        network.load_tensors(checkpoint)
        network.beside = dict(checkpoint.beside)
        return network.eval().to(device, precision)

    def load_tensors(self, checkpoint: Checkpoint) -> None:
        """Put the tensors of a checkpoint in place of the network's own, without a copy."""
        self.load_state_dict(checkpoint.tensors, assign=True)

    def to_checkpoint(self) -> Checkpoint:
        """The network as a checkpoint; on the CPU in float32 the two share their memory."""
        return Checkpoint(self.sizes, in_float32(self), beside=dict(self.beside))

    def save_pretrained(self, directory: Source) -> None:
        """Write `model.safetensors` (float32) and `config.json`.

        Parameters
        ----------
        directory
            The folder, which `from_pretrained` then reads; it is made if need be.

        Raises
        ------
        InputError
            The folder cannot be written.
        """
        save_checkpoint(self.to_checkpoint(), directory)

    def push_to_hub(self, repository: str, *, private: bool = False, token: hub.Token = None) -> str:
        """Save the network to a repository of the Hugging Face hub, which is made if there is none.

        Parameters
        ----------
        repository
            Id "owner/name".
        private
            Whether a new repository is private.
        token
            A token of the hub that may write there; by default that of the login or of `HF_TOKEN`.

        Returns
        -------
        str
            The address of the commit.

        Raises
        ------
        InputError
            The id is not valid, the hub refuses it (what it says is in the message), or it cannot be reached.
        """
        return hub.upload(self.save_pretrained, repository, private=private, token=token)


def in_float32(module: nn.Module) -> dict[str, Tensor]:
    """The state of a module on the CPU, floating-point tensors in float32; what is there in float32 is not copied."""
    state = module.state_dict()
    return {name: (x.float() if x.is_floating_point() else x).cpu() for name, x in state.items()}


def _precision(dtype: torch.dtype | str | None, checkpoint: Checkpoint) -> torch.dtype:
    if dtype == AUTO:
        dtype = checkpoint.dtype
    elif isinstance(dtype, str):
        dtype = PRECISIONS.get(dtype.removeprefix("torch."), dtype)
    if dtype is None:
        return torch.float32
    if isinstance(dtype, str) or dtype not in PRECISIONS.values():
        raise InputError(f"dtype must be one of {', '.join(PRECISIONS)} or {AUTO!r}, not {dtype}")
    return dtype
