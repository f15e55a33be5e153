"""Checkpoints made of the files that SpliceAI's family was published in, and of MultiMolecule's ports.

Networks of splice sites (each a member of the ensemble):

- SpliceAI: Keras files (`spliceai1.h5` to `spliceai5.h5`);
- CI-SpliceAI: a frozen graph of five networks (`CI-SpliceAI.pb`);
- OpenSpliceAI: state dicts (`model_10000nt_rs10.pt` and its like), or a hub id or folder of MultiMolecule's port.

Networks of usage, which stand beside them, one channel each: Pangolin's state dicts by their published names
(`final.FOLD.OUTPUT.3.v2`; of a folder the usage outputs of the second version, if it has them), one fold a member; or
MultiMolecule's port of Pangolin.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sptx_core.checkpoint.checkpoint import Checkpoint
from sptx_core.checkpoint.family.files import File, files_of
from sptx_core.checkpoint.family.frozen_graph import read_frozen_graph
from sptx_core.checkpoint.family.keras_file import read_keras
from sptx_core.checkpoint.family.network import ResidualNetwork, copies, ensemble
from sptx_core.checkpoint.family.ports import OPENSPLICEAI, PANGOLIN, PORTS, read_splice_port, read_usage_port
from sptx_core.checkpoint.family.state_dicts import (
    PangolinName,
    is_openspliceai,
    is_pangolin,
    pangolin_name,
    read_openspliceai,
    read_pangolin,
)
from sptx_core.checkpoint.names import network_part
from sptx_core.checkpoint.sources import HUB_ID, KERAS_SUFFIXES, Source, locate, no_keras_file, read_tensors
from sptx_core.errors import InputError
from sptx_core.files import reading

Member = list[ResidualNetwork]
"""Networks that stand side by side."""


def is_of_family(source: Source) -> bool:
    """Whether a source is of the family rather than a checkpoint: a port, or files as they were published.

    Raises
    ------
    InputError
        It cannot be read.
    """
    path = Path(source)
    with reading(source):
        if not path.exists():
            return False  # a hub id: whoever loads it knows the ports as well
        if path.is_dir() and (path / "config.json").is_file():
            return False
    return any(_is_published(file) for file in files_of(path))


def read_family(sources: Sequence[Source], usage: Sequence[Source] = ()) -> tuple[Checkpoint, list[str]]:
    """Read published files as one checkpoint.

    Parameters
    ----------
    sources
        Networks of splice sites: files, folders, wheels or hub ids. Several networks are members of an ensemble.
    usage
        Networks of usage to stand beside them, with as many members.

    Returns
    -------
    Checkpoint
        Without attention (`layers` 0).
    list of str
        What is odd, a sentence each: networks that are there twice.

    Raises
    ------
    InputError
        Files cannot be read, hold other networks, or do not go together.
    """
    splice = [network for source in sources for network in splice_networks(source)]
    beside = usage_networks(usage) if usage else [[] for _ in splice]
    if len(splice) != len(beside):
        raise InputError(
            f"networks of splice sites: {len(splice)}, members of usage ({', '.join(map(str, usage))}): {len(beside)}; "
            "give as many of each, since a member of the checkpoint holds both"
        )
    members = [[network, *others] for network, others in zip(splice, beside, strict=True)]
    config, tensors = ensemble(members)
    notes = [
        f"{again.source} holds the same weights as {first.source}: it counts twice in the mean"
        for first, again in copies(network for member in members for network in member)
    ]
    return Checkpoint(config, tensors, source=", ".join(map(str, [*sources, *usage]))), notes


def splice_networks(source: Source) -> list[ResidualNetwork]:
    """Read all networks of splice sites of a source.

    Raises
    ------
    InputError
        It cannot be read, or holds no such networks.
    """
    if (port := _port(source)) is not None:
        model_type, settings, tensors, name = port
        if model_type != OPENSPLICEAI:
            raise InputError(
                f"{source} is a port of Pangolin, which tells no acceptor from a donor: give it as --usage"
            )
        return [read_splice_port(tensors, settings, name)]
    networks = [network for file in files_of(Path(source)) for network in _of_file(file)]
    if not networks:
        raise InputError(f"{source} holds no files of networks")
    return networks


def usage_networks(sources: Sequence[Source]) -> list[Member]:
    """Read networks of usage: of each member those of all channels, in Pangolin's order.

    Raises
    ------
    InputError
        They cannot be read, are no such networks, or members lack channels that others have.
    """
    ports = [port for source in sources if (port := _port(source)) is not None]
    if ports:
        (model_type, settings, tensors, name), *further = ports
        if model_type != PANGOLIN or further or len(sources) > 1:
            raise InputError(f"{name} cannot give usage together with others: give one port of Pangolin, or its files")
        return read_usage_port(network_part(tensors), settings, name)
    found: dict[PangolinName, ResidualNetwork] = {}
    for source in sources:
        for said, file in _pangolin_files(Path(source)):
            if said in found:
                raise InputError(f"{file.name} and {found[said].source} are the same network: give it once")
            found[said] = read_pangolin(file.state_dict(), said.output, said.channel, file.name)
    outputs, folds = sorted({name.output for name in found}), sorted({(n.is_v2, n.fold) for n in found})
    members = [[found.get(PangolinName(output, fold, is_v2)) for output in outputs] for is_v2, fold in folds]
    for (is_v2, fold), member in zip(folds, members, strict=True):
        for output, network in zip(outputs, member, strict=True):
            if network is None:
                lacking = f"final.{fold}.{output}.3{'.v2' if is_v2 else ''}"
                raise InputError(f"{lacking} is missing: every fold needs the same outputs, here {outputs}")
    return [[network for network in member if network is not None] for member in members]


def _is_published(file: File) -> bool:
    if file.is_keras or file.is_frozen_graph or pangolin_name(file.plain_name):
        return True
    if not file.is_state_dict:
        return False
    names = file.state_dict()
    return is_openspliceai(names) or is_pangolin(names)


def _of_file(file: File) -> list[ResidualNetwork]:
    if file.is_keras:
        return [read_keras(io.BytesIO(file.content), file.name)]
    if file.is_state_dict:
        tensors = file.state_dict()
        if is_openspliceai(tensors):
            return [read_openspliceai(tensors, file.name)]
        if is_pangolin(tensors):
            raise InputError(
                f"{file.name} is a network of Pangolin, which tells no acceptor from a donor: give it as --usage"
            )
        raise InputError(
            f"{file.name} holds no network of SpliceAI's family: its tensors have the names of no such program"
        )
    if file.is_frozen_graph:
        return read_frozen_graph(file.content, file.name)
    if file.plain_name.lower().endswith(KERAS_SUFFIXES):
        raise no_keras_file(file.name, file.content)
    raise InputError(f"{file.name} is neither a Keras file, a frozen graph of TensorFlow nor a PyTorch checkpoint")


def _pangolin_files(source: Path) -> list[tuple[PangolinName, File]]:
    """Files with what their names say; of a folder the usage outputs of the newest version."""
    files = files_of(source)
    named = [(name, file) for file in files if (name := pangolin_name(file.plain_name)) is not None]
    with reading(source):
        several = source.is_dir() or source.suffix == ".whl"
    if several:
        newest = any(name.is_v2 for name, _ in named)
        named = [(name, file) for name, file in named if name.is_v2 == newest and name.output % 2]
    if not named:
        raise InputError(
            f"{source} holds no usage: expected a file with one of Pangolin's names, final.FOLD.OUTPUT.3.v2, which "
            "tell its fold and its output (1, 3, 5, 7: usage in heart, liver, brain, testis)"
        )
    return named


def _port(source: Source) -> tuple[str, dict[str, Any], dict[str, Any], str] | None:
    """Kind, settings, tensors and name of one of MultiMolecule's ports; None for other files and folders."""
    path = Path(source)
    with reading(source):
        exists = path.exists()
        if exists and not (path / "config.json").is_file():
            return None
        if not exists and not HUB_ID.fullmatch(str(source)):
            raise InputError(f"{source} does not exist")
        files = locate(source)
        assert files.config is not None  # of a folder
        settings = json.loads(files.config.read_bytes())
        model_type = settings.get("model_type") if isinstance(settings, dict) else None
        if model_type not in PORTS:
            raise InputError(
                f"{files.config}: model_type is {model_type!r}, and only MultiMolecule's ports of OpenSpliceAI and "
                "Pangolin can stand beside other networks"
            )
        return model_type, settings, read_tensors(files.tensors), str(source)
