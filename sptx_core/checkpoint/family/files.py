"""Files of networks as their authors publish them: found, told apart by content, read without running code.

A source is a file, a folder of such files, or a Python wheel that holds them (`pip download --no-deps spliceai`). Of a
folder or wheel the files whose names end in `SUFFIXES` are taken, or those named as Pangolin's are, in the order of
their names, numbers in them as numbers. What a file holds is told by its content.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from sptx_core.checkpoint.family import frozen_graph, keras_file
from sptx_core.checkpoint.family.state_dicts import pangolin_name
from sptx_core.checkpoint.sources import LEGACY_ARCHIVE, ZIP_ARCHIVE, read_state_dict
from sptx_core.errors import InputError
from sptx_core.files import reading

SUFFIXES = (".h5", ".hdf5", ".pb", ".pt", ".pth")
"""Of the files that are taken out of a folder or wheel."""
MAX_SIZE = 1 << 30  # bytes: some 300 times those of any of these networks


@dataclass(frozen=True)
class File:
    """One file of networks, read."""

    name: str
    """As messages call it."""
    content: bytes

    @property
    def plain_name(self) -> str:
        """Without its folders."""
        return PurePosixPath(self.name).name

    @property
    def is_keras(self) -> bool:
        """Whether it is an HDF5 file."""
        return self.content.startswith(keras_file.MAGIC)

    @property
    def is_frozen_graph(self) -> bool:
        """Whether it begins as a graph of TensorFlow."""
        return self.content.startswith(frozen_graph.FIRST_BYTE)

    @property
    def is_state_dict(self) -> bool:
        """Whether it begins as what `torch.save` writes."""
        return self.content.startswith((ZIP_ARCHIVE, LEGACY_ARCHIVE))

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors of a state dict by name; whatever would run code is refused."""
        return read_state_dict(io.BytesIO(self.content), self.name)


def files_of(source: Path) -> list[File]:
    """Read the files of a source.

    Parameters
    ----------
    source
        A file, a folder or a wheel.

    Returns
    -------
    list of File
        In order; none if a folder or wheel holds none.

    Raises
    ------
    InputError
        A file cannot be read.
    """
    with reading(source):
        if source.is_dir():
            paths = [path for path in source.iterdir() if path.is_file() and _is_taken(path.name)]
            return [_read(path) for path in sorted(paths, key=lambda path: _order(path.name))]
        if source.suffix == ".whl":
            return list(_in_wheel(source))
        return [_read(source)]


def _read(path: Path) -> File:
    with reading(path):
        if path.stat().st_size > MAX_SIZE:
            raise InputError(f"{path} is larger than 1 GiB: none of these networks is")
        return File(str(path), path.read_bytes())


def _in_wheel(wheel: Path) -> Iterator[File]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            entries = [entry for entry in archive.infolist() if _is_taken(PurePosixPath(entry.filename).name)]
            for entry in sorted(entries, key=lambda entry: _order(entry.filename)):
                if entry.file_size > MAX_SIZE:
                    raise InputError(f"{wheel}: {entry.filename} is larger than 1 GiB: none of these networks is")
                yield File(f"{wheel}/{entry.filename}", archive.read(entry))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{wheel} is damaged or no wheel: {error}") from error


def _is_taken(name: str) -> bool:
    return name.endswith(SUFFIXES) or pangolin_name(name) is not None


def _order(name: str) -> list[tuple[bool, int, str]]:
    """A key that sorts the numbers within names as numbers."""
    parts = re.findall(r"\d+|\D+", name)
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]
