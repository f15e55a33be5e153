"""Where the files of a checkpoint are, and their tensors, read without running code.

A source is a file of tensors, a folder that holds `model.safetensors` and `config.json`, or the id "owner/name" of such
a folder on the Hugging Face hub. In place of `model.safetensors` there may be several such files and the index that
says which tensor is in which (`model.safetensors.index.json`: `{"weight_map": {tensor: file}}`, as transformers writes
it). Files are told apart by their content, never by their name: safetensors, an index, or what `torch.save` writes. Of
a pickle only tensors and plain containers are loaded; whatever would run code is refused. Faults are an `InputError`
that names the file, except those of the file system, which stay an `OSError`.
"""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from sptx_core.checkpoint.hub import Token, download
from sptx_core.errors import InputError
from sptx_core.files import reading

Source = str | os.PathLike[str]
"""A file, a folder, or a hub id (which must be a string)."""

CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
"""Stands in for `TENSOR_FILE` where the tensors lie in several files."""

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
NEWEST = (None, "main")  # revisions that a folder on this machine may be asked for: scripts pass the default along
ZIP_ARCHIVE = b"PK\x03\x04"  # first bytes of what torch.save writes
KERAS_FILE, KERAS_SUFFIXES = b"\x89HDF", (".h5", ".hdf5")  # the same of HDF5 files, and how their names end
LEGACY_ARCHIVE = b"\x80\x02\x8a\x0a"  # the same before PyTorch 1.6: a pickled number


class Files(NamedTuple):
    """Paths of a checkpoint's files."""

    tensors: Path
    """Of the one file, or of the index of several."""
    config: Path | None
    """None if the file of tensors has no config.json that belongs to it."""


def locate(source: Source, *, revision: str | None = None, token: Token = None) -> Files:
    """Find the files of a checkpoint; a hub id is downloaded.

    Parameters
    ----------
    source
        A file, a folder, or a hub id.
    revision, token
        For a hub id, as in `sptx_core.checkpoint.hub.download`.

    Returns
    -------
    Files
        A folder has both files. A safetensors file or an index has the config.json beside it, if there is one; files of
        `torch.save` have none.

    Raises
    ------
    InputError
        There is nothing of that name, the folder lacks a file, or a revision is asked of a file or folder.
    """
    path = _on_this_machine(source, revision)
    if path is None:
        path = _downloaded(str(source), revision, token)
    if path.is_dir():
        several = (path / INDEX_FILE).is_file() and not (path / TENSOR_FILE).is_file()
        tensors = path / (INDEX_FILE if several else TENSOR_FILE)
        lacking = [file.name for file in (tensors, path / CONFIG_FILE) if not file.is_file()]
        if lacking:
            raise InputError(
                f"{path} is no checkpoint folder: it lacks {' and '.join(lacking)} "
                "(to load an official .ckpt, give the path of the file itself)"
            )
        return Files(tensors, path / CONFIG_FILE)
    beside = path.with_name(CONFIG_FILE)
    return Files(path, beside if beside.is_file() and (_is_safetensors(path) or _is_index(path)) else None)


def commit_of(source: Source, files: Files) -> str | None:
    """The commit that a hub id led to, after which the folder of its files is named; None for a file or folder."""
    return None if Path(source).exists() else files.tensors.parent.name


def locate_config(source: Source, *, revision: str | None = None, token: Token = None) -> Path | None:
    """Find the config.json of a checkpoint; of a hub id nothing else is downloaded.

    Parameters
    ----------
    source, revision, token
        As in `locate`.

    Returns
    -------
    Path or None
        None for a file of tensors that has no config.json.

    Raises
    ------
    InputError
        As `locate` does.
    """
    path = locate_some(source, [CONFIG_FILE], revision=revision, token=token)
    if path.is_file():
        return locate(path).config
    if not (path / CONFIG_FILE).is_file():
        raise InputError(f"{source} is no checkpoint folder: it lacks {CONFIG_FILE}")
    return path / CONFIG_FILE


def locate_some(source: Source, names: Sequence[str], *, revision: str | None = None, token: Token = None) -> Path:
    """Find a file or folder, or download some files of a hub id into one.

    Parameters
    ----------
    source, revision, token
        As in `locate`.
    names
        The files that are downloaded of a hub id, as far as it has them.

    Returns
    -------
    Path
        The file, or the folder, which may lack any of them.

    Raises
    ------
    InputError
        There is nothing of that name, or a revision is asked of a file or folder.
    """
    path = _on_this_machine(source, revision)
    return path or download(str(source), names, revision=revision, token=token)


def _on_this_machine(source: Source, revision: str | None) -> Path | None:
    """The path of a file or folder; None for a hub id."""
    path = Path(source)
    with reading(source):  # a folder on the way may be closed to this person
        is_here = path.exists()
    if not is_here:
        if isinstance(source, str) and HUB_ID.fullmatch(source):
            return None
        raise InputError(f"there is no checkpoint {source}: no such file or folder")
    if revision not in NEWEST:
        raise InputError(f"{source} is on this machine and has no revision {revision}: leave the revision out")
    return path


def _downloaded(repository: str, revision: str | None, token: Token) -> Path:
    """The folder of a repository's checkpoint, with all its files of tensors."""
    folder = download(repository, [CONFIG_FILE, TENSOR_FILE, INDEX_FILE], revision=revision, token=token)
    index = folder / INDEX_FILE
    if index.is_file() and not (folder / TENSOR_FILE).is_file():
        commit = folder.name  # the files of this very commit, whatever is pushed meanwhile
        download(repository, sorted(_shards(index)), revision=commit, token=token)
    return folder


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file.

    Parameters
    ----------
    path
        A safetensors file, the index of several, or a state dict that `torch.save` wrote, bare or under the key
        "state_dict".

    Returns
    -------
    dict
        Tensors on the CPU by their names in the file, in their own types. They may be views of each other or of the
        file.

    Raises
    ------
    InputError
        The file is of another kind, damaged, holds no state dict, or would run code.
    """
    if _is_safetensors(path):
        return _read_safetensors(path)
    if _is_index(path):
        return _read_shards(path)
    with path.open("rb") as file:
        return read_state_dict(file, path)


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a header in eight bytes, then the header's JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _is_index(path: Path) -> bool:
    """Whether a file that is no safetensors file begins as JSON does."""
    with path.open("rb") as file:
        return file.read(1) == b"{"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error}") from error


def _read_shards(index: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, expected in _shards(index).items():
        found = _read_safetensors(index.with_name(name))
        if lacking := [tensor for tensor in expected if tensor not in found]:
            raise InputError(f"{index.with_name(name)} lacks {lacking[0]}, which {index.name} says that it holds")
        tensors |= {tensor: found[tensor] for tensor in expected}
    return tensors


def _shards(index: Path) -> dict[str, list[str]]:
    """The tensors of each file that an index names; all files lie in the folder of the index."""
    try:
        content = json.loads(index.read_bytes())
    except (ValueError, RecursionError) as error:  # the latter of JSON that is nested without end
        raise InputError(f"{index} is damaged or incomplete: {error}") from error
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not (isinstance(files, dict) and files and all(_is_plain(name) for name in files.values())):
        raise InputError(f"{index} is no index of tensors: expected their files, in its folder, under 'weight_map'")
    shards: dict[str, list[str]] = {}
    for tensor, name in files.items():
        shards.setdefault(name, []).append(tensor)
    return shards


def _is_plain(name: Any) -> bool:
    """Whether a name leads to a file of the same folder."""
    return isinstance(name, str) and Path(name).name == name and bool(name.strip("."))


def read_state_dict(file: BinaryIO, name: Source) -> dict[str, Tensor]:
    """Read what `torch.save` wrote, without running code.

    Parameters
    ----------
    file
        Open for reading, from its beginning.
    name
        What messages call it.

    Returns
    -------
    dict
        Tensors on the CPU by their names in the file, in their own types.

    Raises
    ------
    InputError
        The file is of another kind, damaged, holds no state dict, or would run code.
    """
    begin = file.read(16)
    if begin.startswith(KERAS_FILE):
        raise InputError(f"{name} is a file of Keras: sptx convert makes a checkpoint of SpliceAI's networks")
    if not begin.startswith((ZIP_ARCHIVE, LEGACY_ARCHIVE)):
        if os.fspath(name).lower().endswith(KERAS_SUFFIXES):
            raise no_keras_file(name, begin)
        raise InputError(f"{name} is neither a PyTorch checkpoint nor a safetensors file")
    file.seek(0)
    content = _unpickle(file, name)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{name} holds no state dict: expected names with tensors, bare or under 'state_dict'")
    return {str(key): tensor for key, tensor in state.items()}


def no_keras_file(name: Source, content: bytes) -> InputError:
    """What is told of a file that is named as HDF5 files are, and is none."""
    found = f"begins with {content[:16]!r}" if content else "is empty"
    return InputError(
        f"{name} is no HDF5 file, as which Keras saves networks of SpliceAI (spliceai1.h5 to spliceai5.h5): it {found}"
    )


def _unpickle(file: BinaryIO, name: Source) -> Any:
    """What `torch.save` wrote. The file comes open because PyTorch, given a path, also goes by the file's name."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL (\S+)", str(error))  # torch names what it would have to import
        raise InputError(
            f"{name} is refused: besides tensors it holds {culprit[1] if culprit else 'objects'}, and loading that "
            "would run code; if you trust the file, save its state dict alone with torch.save and use that"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(f"{name} is damaged or incomplete ({str(error).partition('. ')[0] or 'empty'})") from error
