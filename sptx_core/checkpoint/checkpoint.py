"""A checkpoint in memory: read from any of three layouts, written in our own, identified by a digest.

Read:

- official `.ckpt` files: a state dict, bare or under "state_dict";
- MultiMolecule's safetensors, with or without a head on top of the network, and its port of OpenSpliceAI
  (`sptx_core.checkpoint.family` reads the files of SpliceAI's family as they were published);
- our own folders: `model.safetensors` and `config.json`.

A folder, a hub id or a single file may be given, and safetensors may lie in several files with an index
(`sptx_core.checkpoint.sources`). Sizes come from the `config.json`
that a folder must hold and that a safetensors file may have beside it. Without it they are read off the tensors, and
context, heads and dilations, which leave no trace there, are taken to be those of the published network. An official
checkpoint of 15 tissues has the names of the published ones.

Tensors become float32. Those that are missing, unexpected, misshapen or not finite are listed by the names that they
have in the file. Every fault of a checkpoint is an `InputError`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.channels import TISSUES
from sptx_core.checkpoint import multimolecule_settings
from sptx_core.checkpoint.family import ports
from sptx_core.checkpoint.family.network import ensemble
from sptx_core.checkpoint.family.state_dicts import is_openspliceai, is_pangolin
from sptx_core.checkpoint.hub import Token
from sptx_core.checkpoint.names import (
    MEMBER,
    Layout,
    below,
    head_part,
    is_counter,
    layout_of,
    network_part,
    renamed,
    with_head,
)
from sptx_core.checkpoint.shapes import config_from_shapes, misfits, network_shapes
from sptx_core.checkpoint.sources import (
    CONFIG_FILE,
    TENSOR_FILE,
    Source,
    commit_of,
    locate,
    locate_config,
    read_tensors,
)
from sptx_core.config import HeadConfig, SpTransformerConfig
from sptx_core.errors import InputError
from sptx_core.files import write_atomic
from sptx_core.words import counted

MODEL_TYPE = "sptx"
"""`model_type` in our config.json."""
BESIDE = "multimolecule"
"""Entry of our config.json with the settings that only `sptx_core.multimolecule` has."""

READS_INPUT = re.compile(
    r"(member\.\d+\.)?(encoders\.\d+\.input|input_path\.0)\.weight"
)  # weights [C, input channels, 1]


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A configuration and the tensors that fit it exactly.

    Networks that are built from a checkpoint on the CPU hold these very tensors and no copies
    (`PretrainedNetwork.from_checkpoint`): training such a network changes the checkpoint too.
    """

    config: SpTransformerConfig
    tensors: dict[str, Tensor]
    """The network, by our names: on the CPU, float32, counters of training steps int64."""
    beside: dict[str, Any] = field(default_factory=dict, kw_only=True)
    """What its config.json says besides, by MultiMolecule's names (`multimolecule_settings.beside_of`)."""
    head: dict[str, Tensor] = field(default_factory=dict)
    """A head on top of the network, by the names in the head, on the CPU, float32; empty if there is none.

    Whether it fits `config.head` is checked only by the network that uses it.
    """
    source: str = "the checkpoint"
    """What messages call it: the file or folder that it was read from."""
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)
    """The type that the network's floating-point tensors had in the file; of the first, if they differed."""
    revision: str | None = field(default=None, kw_only=True)
    """The commit of the hub that it was read from; None for a file or folder of this machine."""

    def digest(self) -> str:
        """Identify the network: the same digest means the same predictions, whatever file held it.

        Returns
        -------
        str
            sha256 of sizes, names and tensors, in hexadecimal. Four input channels count as five with zero weights for
            N. Counters of training steps, names of tissues, a head on top and settings beside the sizes do not count,
            nor without attention do its settings.
        """
        sizes = self.config.of_predictions.to_dict()
        digest = hashlib.sha256(json.dumps(sizes, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            if is_counter(name):
                continue
            if READS_INPUT.fullmatch(name):
                tensor = F.pad(tensor, (0, 0, 0, 5 - tensor.shape[1]))
            digest.update(f"\n{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().astype("<f4").tobytes())
        return digest.hexdigest()

    def of_member(self, number: int) -> Checkpoint:
        """One of several members as a checkpoint of its own, its tensors shared.

        Raises
        ------
        InputError
            There is no such member.
        """
        members = self.config.members
        if not 0 <= number < members:
            raise InputError(f"{self.source} has members 0 to {members - 1}, none is {number}")
        if members == 1:
            return self
        return dataclasses.replace(
            self, config=self.config.member, tensors=below(f"{MEMBER}.{number}.", self.tensors), beside={}
        )

    def with_new_head(self, head: HeadConfig) -> Checkpoint:
        """The same network, its tensors shared, with a head of other sizes that has no weights yet."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, head=head), head={})


def checkpoint_digest(source: Source) -> str:
    """Read a checkpoint for its `Checkpoint.digest` alone."""
    return load_checkpoint(source).digest()


def load_checkpoint(source: Source, *, revision: str | None = None, token: Token = None) -> Checkpoint:
    """Read a checkpoint, once, and check that every tensor fits.

    Parameters
    ----------
    source
        A file, a folder or a hub id.
    revision
        For a hub id: a branch, a tag or a commit; by default the newest commit of `main`.
    token
        For a hub id: a token of the hub; by default that of the login or of `HF_TOKEN`, if there is one.

    Returns
    -------
    Checkpoint
        Its tensors are copies, independent of the file and of each other.

    Raises
    ------
    InputError
        The checkpoint cannot be read, is none of this network, or does not fit its sizes.
    """
    try:
        files = locate(source, revision=revision, token=token)
        found = read_tensors(files.tensors)
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {source}: {error}") from error
    if files.config is not None and (port := _port(found, files.config)) is not None:
        return dataclasses.replace(port, source=str(source), revision=commit_of(source, files))
    tensors = network_part(found)
    layout = layout_of(tensors)
    if is_openspliceai(tensors) or is_pangolin(tensors):
        raise InputError(
            f"{files.tensors} is a file of OpenSpliceAI or Pangolin: sptx convert makes a checkpoint of it"
        )
    if layout is None:
        raise InputError(
            f"{files.tensors} holds no SpTransformer network: of its {counted(len(tensors), 'tensor')} none is known"
        )
    if files.config is not None:
        config = _read_config(files.config)
    elif layout is Layout.OURS:
        raise InputError(f"{files.tensors} needs the {CONFIG_FILE} that was saved beside it")
    else:
        config = _infer_config(tensors, layout, files.tensors)
    head = {name: _copied(tensor, torch.float32) for name, tensor in head_part(found).items()}
    beside = {} if files.config is None else read_beside(files.config)
    fitted = _fitted(tensors, layout, config, files.tensors)
    revision = commit_of(source, files)
    return Checkpoint(config, fitted, head, str(source), dtype=_dtype(tensors), beside=beside, revision=revision)


def load_config(source: Source, *, revision: str | None = None, token: Token = None) -> SpTransformerConfig:
    """Read the sizes of a checkpoint alone, from its `config.json`; see `load_settings`."""
    return load_settings(source, revision=revision, token=token)[0]


def load_settings(
    source: Source, *, revision: str | None = None, token: Token = None
) -> tuple[SpTransformerConfig, dict[str, Any]]:
    """Read what the `config.json` of a checkpoint says.

    Parameters
    ----------
    source, revision, token
        As in `load_checkpoint`.

    Returns
    -------
    SpTransformerConfig
        The sizes, as in `Checkpoint.config`. Tensors are neither downloaded nor read, except those of a file that has
        no `config.json` beside it.
    dict
        `Checkpoint.beside`.

    Raises
    ------
    InputError
        There is no such checkpoint, or its configuration cannot be read.
    """
    try:
        path = locate_config(source, revision=revision, token=token)
    except OSError as error:
        raise InputError(f"cannot read the checkpoint {source}: {error}") from error
    if path is None:
        checkpoint = load_checkpoint(source, revision=revision, token=token)
        return checkpoint.config, checkpoint.beside
    return _read_config(path), read_beside(path)


def save_checkpoint(checkpoint: Checkpoint, directory: Source) -> None:
    """Write a folder in our own layout.

    The folder is a checkpoint only once its `config.json`, which is written last, is there: an interrupted call leaves
    no folder that can be loaded.

    Parameters
    ----------
    checkpoint
        What to write, with its head if it has one.
    directory
        The folder; it is made if need be, and a checkpoint in it is replaced.

    Raises
    ------
    InputError
        The folder cannot be written.
    """
    folder = Path(directory)
    tensors = with_head(checkpoint.tensors, checkpoint.head) if checkpoint.head else checkpoint.tensors
    content = safetensors.torch.save({name: x.contiguous() for name, x in tensors.items()}, {"format": "pt"})
    config = {"model_type": MODEL_TYPE, "config": checkpoint.config.to_dict()}
    if checkpoint.beside:
        config[BESIDE] = checkpoint.beside
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        write_atomic(folder / TENSOR_FILE, content)
        write_atomic(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())
    except OSError as error:
        raise InputError(f"cannot save a checkpoint to {folder}: {error}") from error


def read_beside(path: Path) -> dict[str, Any]:
    """What a config.json says besides the sizes of the network: `Checkpoint.beside`.

    Raises
    ------
    InputError
        The file cannot be read.
    """
    model_type, content = _read_json(path)
    if model_type == multimolecule_settings.MODEL_TYPE:
        return multimolecule_settings.beside_of(content)
    beside = content.get(BESIDE, {})
    if not isinstance(beside, dict):
        raise InputError(f"{path}: {BESIDE} must hold settings by name, not {beside!r}")
    try:
        return multimolecule_settings.beside_of(beside)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _read_config(path: Path) -> SpTransformerConfig:
    """The configuration in our config.json or in MultiMolecule's."""
    model_type, content = _read_json(path)
    try:
        if model_type == MODEL_TYPE:
            sizes: Any = content.get("config")
            return SpTransformerConfig.from_dict(sizes)
        if model_type == multimolecule_settings.MODEL_TYPE:
            return multimolecule_settings.config_of(content)
        if model_type in ports.PORTS:
            return ports.splice_config(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    raise InputError(f"{path} describes no SpTransformer network: model_type is {model_type!r}")


def _port(tensors: Mapping[str, Tensor], path: Path) -> Checkpoint | None:
    """The network of one of MultiMolecule's ports of SpliceAI's family; None if a config.json is of no port."""
    model_type, settings = _read_json(path)
    if model_type not in ports.PORTS:
        return None
    network = ports.read_splice_port(tensors, settings, str(path.parent))
    return Checkpoint(*ensemble([[network]]), dtype=_dtype(tensors))


def _dtype(tensors: Mapping[str, Tensor]) -> torch.dtype:
    """The type of the floating-point tensors, of the first if they differ."""
    return next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), torch.float32)


def _read_json(path: Path) -> tuple[Any, dict[str, Any]]:
    """The model_type in a config.json, and all that the file holds."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # the last of JSON that is nested without end
        raise InputError(f"{path}: {error}") from error
    return (content.get("model_type"), content) if isinstance(content, dict) else (None, {})


def _infer_config(tensors: Mapping[str, Tensor], layout: Layout, path: Path) -> SpTransformerConfig:
    """The configuration of a file without a config.json."""
    try:
        config = config_from_shapes(renamed(tensors, layout, Layout.OURS))
    except InputError as error:
        raise InputError(f"the tensors of {path} have impossible shapes: {error}") from error
    if layout is Layout.OFFICIAL and config.tissues == len(TISSUES):
        return dataclasses.replace(config, tissue_names=TISSUES)
    return config


def _fitted(
    tensors: Mapping[str, Tensor], layout: Layout, config: SpTransformerConfig, path: Path
) -> dict[str, Tensor]:
    """Copies of the tensors by our names: all that the configuration needs, and no others."""
    shapes = network_shapes(config)
    if faults := misfits(tensors, renamed(shapes, Layout.OURS, layout)):
        raise InputError(f"the tensors of {path} do not fit the network ({faults})")
    zeros = {name: torch.zeros(like.shape, dtype=like.dtype) for name, like in shapes.items() if is_counter(name)}
    ours = renamed(tensors, layout, Layout.OURS)
    return zeros | {name: _copied(tensor, shapes[name].dtype) for name, tensor in ours.items()}


def _copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy of its own memory: tensors of a file may be views of each other or of the file."""
    return tensor.to(dtype, copy=True)
