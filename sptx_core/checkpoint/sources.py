"""Where the files of a checkpoint are, and their tensors, read without running code.

A source is a file of tensors, a folder that holds `model.safetensors` and `config.json`, or the id "owner/name" of such
a folder on the Hugging Face hub. Files are told apart by their content, never by their name: safetensors, or what
`torch.save` writes. Of a pickle only tensors and plain containers are loaded; whatever would run code is refused.
Faults are an `InputError` that names the file, except those of the file system, which stay an `OSError`.
"""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import safetensors.torch
import torch
from torch import Tensor

from sptx_core.checkpoint.hub import download
from sptx_core.errors import InputError

Source = str | os.PathLike[str]
"""A file, a folder, or a hub id (which must be a string)."""

CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"

HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
ZIP_ARCHIVE = b"PK\x03\x04"  # first bytes of what torch.save writes
LEGACY_ARCHIVE = b"\x80\x02\x8a\x0a"  # the same before PyTorch 1.6: a pickled number


class Files(NamedTuple):
    """Paths of a checkpoint's files."""

    tensors: Path
    config: Path | None
    """None if the file of tensors has no config.json that belongs to it."""


def locate(source: Source) -> Files:
    """Find the files of a checkpoint; a hub id is downloaded.

    Parameters
    ----------
    source
        A file, a folder, or a hub id.

    Returns
    -------
    Files
        A folder has both files. A safetensors file has the config.json beside it, if there is one; files of
        `torch.save` have none.

    Raises
    ------
    InputError
        There is nothing of that name, or the folder lacks a file.
    """
    path = Path(source)
    if not path.exists():
        if not (isinstance(source, str) and HUB_ID.fullmatch(source)):
            raise InputError(f"there is no checkpoint {source}: no such file or folder")
        path = download(source, [CONFIG_FILE, TENSOR_FILE])
    if path.is_dir():
        lacking = [name for name in (TENSOR_FILE, CONFIG_FILE) if not (path / name).is_file()]
        if lacking:
            raise InputError(
                f"{path} is no checkpoint folder: it lacks {' and '.join(lacking)} "
                "(to load an official .ckpt, give the path of the file itself)"
            )
        return Files(path / TENSOR_FILE, path / CONFIG_FILE)
    beside = path.with_name(CONFIG_FILE)
    return Files(path, beside if _is_safetensors(path) and beside.is_file() else None)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a file.

    Parameters
    ----------
    path
        A safetensors file, or a state dict that `torch.save` wrote, bare or under the key "state_dict".

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
    if not _is_safetensors(path):
        return _read_state_dict(path)
    try:
        return safetensors.torch.load_file(path)
    except safetensors.SafetensorError as error:
        raise InputError(f"cannot read the checkpoint {path}: {error}") from error


def _is_safetensors(path: Path) -> bool:
    """Whether a file begins with the length of a header in eight bytes, then the header's JSON."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as file:
        if file.read(4) not in (ZIP_ARCHIVE, LEGACY_ARCHIVE):
            raise InputError(f"{path} is neither a PyTorch checkpoint nor a safetensors file")
        file.seek(0)
        content = _unpickle(file, path)
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path} holds no state dict: expected names with tensors, bare or under 'state_dict'")
    return {str(name): tensor for name, tensor in state.items()}


def _unpickle(file: BinaryIO, path: Path) -> Any:
    """What `torch.save` wrote. The file comes open because PyTorch, given a path, also goes by the file's name."""
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL (\S+)", str(error))  # torch names what it would have to import
        raise InputError(
            f"{path} is refused: besides tensors it holds {culprit[1] if culprit else 'objects'}, and loading that "
            "would run code; if you trust the file, save its state dict alone with torch.save and use that"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(f"{path} is damaged or incomplete ({str(error).partition('. ')[0] or 'empty'})") from error
