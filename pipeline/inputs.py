"""Input files that a person names: a local path or any fsspec URI (`s3://`, `gs://`, `az://`, `https://`).

Whatever keeps a file from being read (missing, no permission, no driver for the protocol, no credentials) is an
`InputError` that names the URI. Credentials and endpoints come from fsspec's own configuration and environment.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import fsspec
from fsspec.core import split_protocol
from fsspec.implementations.local import LocalFileSystem

from sptx_core.errors import InputError


def local_path(uri: str) -> Path | None:
    """Absolute path of a local URI (`x.gtf`, `file:///x.gtf`), None for anything on a server."""
    protocol, path = split_protocol(uri)
    if protocol in (None, "file", "local"):
        return Path(LocalFileSystem._strip_protocol(path)).absolute()
    return None


@contextmanager
def open_input(uri: str) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes; raises `InputError` naming it when it can't be opened or read."""
    path = local_path(uri)
    if path is not None and path.is_dir():
        raise InputError(f"{uri} is a folder, not a file")
    try:
        with fsspec.open(uri, "rb") as raw, io.BufferedReader(raw) as stream:
            yield stream
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise InputError(f"{uri} does not exist") from error
    except Exception as error:
        # Drivers of object stores raise families of their own; on a disk anything but an OSError is a bug.
        if path is not None and not isinstance(error, OSError):
            raise
        raise InputError(f"{uri} cannot be read: {error or type(error).__name__}") from error
