"""Input files that a person names: a local path or any fsspec URI (`s3://`, `gs://`, `az://`, `https://`).

Whatever keeps a file from being read (missing, no permission, no driver for the protocol, no credentials) is an
`InputError` that names the URI. Credentials and endpoints come from fsspec's own configuration and environment.

A file that is read at random places is copied whole to this machine first: into `$SPTX_CACHE`, or else
`$XDG_CACHE_HOME/sptx`, or else `~/.cache/sptx`, in a folder of its own named by URI, size and version (ETag or time
of change). The folder appears whole or not at all, processes of one machine wait for each other, and a copy is
made again only when the original changes. Nothing is ever deleted there: the person may.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import split_protocol, url_to_fs

from sptx_core.errors import InputError

_TENSORS, _CONFIG = "model.safetensors", "config.json"
_VERSIONS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created")


def local_path(uri: str) -> Path | None:
    """Absolute path of a local URI (`x.gtf`, `~/x.gtf`, `file:///x.gtf`), None for anything on a server."""
    protocol, path = split_protocol(uri)
    return Path(path).expanduser().absolute() if protocol in (None, "file", "local") else None


@contextmanager
def open_input(uri: str) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes."""
    with _reading(uri), fsspec.open(uri, "rb") as raw, io.BufferedReader(raw) as stream:
        yield stream


def local_checkpoint(location: str) -> str:
    """What `sptx_core.checkpoint` can load: `location` itself, or the local copy of a URI's file or folder."""
    if "://" not in location or local_path(location) is not None:
        return location
    name = location.rstrip("/").rpartition("/")[2]
    if "." in name:  # a file; a folder on an object store cannot be told apart but by its name
        return str(local_copy(location, siblings=(_CONFIG,)))
    return str(local_copy(f"{location.rstrip('/')}/{_TENSORS}", siblings=(_CONFIG,)).parent)


def local_copy(uri: str, siblings: Sequence[str] = ()) -> Path:
    """Path of the file on this machine: itself if it is local, else its copy in the cache.

    `siblings` are names of files beside it that are copied along if they exist.
    """
    with _reading(uri):
        path = local_path(uri)
        if path is not None:
            with path.open("rb"):
                return path
        files, remote = url_to_fs(uri)
        info = files.info(remote)
        name = str(remote).rpartition("/")[2]
        folder = _cache() / hashlib.sha256(_identity(uri, info).encode()).hexdigest()[:24]
        with _alone(folder):
            if not folder.exists():
                _copy(files, remote, folder, name, siblings)
        return folder / name


@contextmanager
def _reading(uri: str) -> Iterator[None]:
    """Turn whatever keeps a file from being read into an `InputError` that names it."""
    path = local_path(uri)
    if path is not None and path.is_dir():
        raise InputError(f"{uri} is a folder, not a file")
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{uri} does not exist") from error
    except Exception as error:
        # Drivers of object stores raise families of their own; on a disk anything but an OSError is a bug.
        if path is not None and not isinstance(error, OSError):
            raise
        raise InputError(f"{uri} cannot be read: {error or type(error).__name__}") from error


def _identity(uri: str, info: Mapping[str, Any]) -> str:
    version = next((info[name] for name in _VERSIONS if info.get(name)), "")
    return f"{uri}\n{info.get('size')}\n{version}"


def _cache() -> Path:
    chosen = os.environ.get("SPTX_CACHE")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sptx"
    folder = folder.expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no copies of remote files can be kept in {folder} ({error}); set SPTX_CACHE") from error
    return folder


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time for this folder; a process that dies lets go."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(files: fsspec.AbstractFileSystem, remote: str, folder: Path, name: str, siblings: Sequence[str]) -> None:
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        files.get_file(remote, str(partial / name))
        for sibling in siblings:
            with suppress(FileNotFoundError):
                files.get_file(f"{remote.removesuffix(name)}{sibling}", str(partial / sibling))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
