"""Input files that a person names by a local path or an fsspec URI (`s3://`, `gs://`, `az://`, `https://`).

Streams are opened in place. A file that is read at random positions is first copied whole to this machine: into
`$SPTX_CACHE`, or else `$XDG_CACHE_HOME/sptx`, or else `~/.cache/sptx`. Each copy has a folder of its own, named by a
digest of URI, size and version (ETag or time of change), so a changed file is copied again and an unchanged one is not.
The folder appears when the copy is complete; processes of one machine that want the same file wait for each other.
Nothing is ever deleted from the cache; the user may delete it.

Credentials and endpoints come from fsspec's own configuration and environment.

Errors: `InputError` with the URI for whatever prevents reading: a missing file, no permission, no driver for the
protocol, no credentials.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.core import split_protocol, url_to_fs

from sptx_core.errors import InputError
from sptx_core.files import reading, reason

_TENSORS, _CONFIG = "model.safetensors", "config.json"
_VERSION_KEYS = (  # of fsspec's `info`, which differ between file systems; the first that is there counts
    *("ETag", "etag", "md5Hash", "LastModified", "last_modified", "updated", "mtime", "created"),
)
NOT_FOUND = 404  # of HTTP
_DIGEST_DIGITS = 24  # of SHA-256 in a folder's name: 96 bits


def local_path(uri: str) -> Path | None:
    """Return the absolute path of a local file.

    Parameters
    ----------
    uri : str
        A path (`x.gtf`, `~/x.gtf`) or URI (`file:///x.gtf`, `s3://bucket/x.gtf`).

    Returns
    -------
    Path or None
        None for a URI that is not on this machine.
    """
    protocol, path = split_protocol(uri)
    return Path(path).expanduser().absolute() if protocol in (None, "file", "local") else None


@contextmanager
def open_input(uri: str) -> Iterator[io.BufferedReader]:
    """Open a file for reading bytes, in a `with` statement.

    Parameters
    ----------
    uri : str
        Path or URI.

    Yields
    ------
    io.BufferedReader
        The bytes as they are stored; gzip is not decompressed.

    Raises
    ------
    InputError
        If the file cannot be opened, or reading fails within the `with` statement.
    """
    with _errors_named(uri), _opened(uri) as raw, io.BufferedReader(raw) as stream:
        yield stream


def local_checkpoint(location: str) -> str:
    """Make a checkpoint available on this machine.

    Parameters
    ----------
    location : str
        A path, a hub id (`owner/name` or `owner/name@revision`), or the URI of a file or of a folder with
        `model.safetensors`.

    Returns
    -------
    str
        What `sptx_core.checkpoint` can load: `location` itself, or the path of a local copy (`config.json` beside the
        weights included).

    Raises
    ------
    InputError
        If a URI cannot be read.
    """
    if "://" not in location or local_path(location) is not None:
        return location
    name = location.rstrip("/").rpartition("/")[2]
    if "." in name:  # a file: on an object store only the name tells it from a folder
        return str(local_copy(location, siblings=(_CONFIG,)))
    return str(local_copy(f"{location.rstrip('/')}/{_TENSORS}", siblings=(_CONFIG,)).parent)


def local_copy(uri: str, siblings: Sequence[str] = ()) -> Path:
    """Make a file available on this machine.

    Parameters
    ----------
    uri : str
        Path or URI.
    siblings : sequence of str
        Names of files in the same folder that are copied along if they exist.

    Returns
    -------
    Path
        The file itself if it is local, else its copy in the cache.

    Raises
    ------
    InputError
        If the file cannot be read, or the cache cannot be written.
    """
    with _errors_named(uri):
        path = local_path(uri)
        if path is not None:
            with path.open("rb"):
                return path
        with _any_error(uri):
            files, remote = url_to_fs(uri)
            info = files.info(remote)
        name = str(remote).rpartition("/")[2]
        place = cache_place(_identity(uri, info), name)
        _make_cache()
        with _locked(place.parent), _any_error(uri):
            if not place.parent.exists():
                _copy(files, remote, place.parent, name, siblings)
        return place


def cache_place(identity: str, name: str) -> Path:
    """Where this machine's cache keeps a file; nothing is made there.

    Parameters
    ----------
    identity : str
        What the file is made from, its version included: another identity has another folder.
    name : str
        Name of the file in that folder.

    Returns
    -------
    Path
    """
    return _cache_folder() / hashlib.sha256(identity.encode()).hexdigest()[:_DIGEST_DIGITS] / name


@contextmanager
def _opened(uri: str) -> Iterator[Any]:
    """The file, open for reading; a local path is taken as it is, whatever `::` or `*` it may hold."""
    path = local_path(uri)
    if path is not None:
        with path.open("rb") as file:
            yield file
        return
    with ExitStack() as stack:
        with _any_error(uri):
            file = stack.enter_context(fsspec.open(uri, "rb"))
        yield file


@contextmanager
def _errors_named(uri: str) -> Iterator[None]:
    """Turn a failure to read the file into an `InputError` that names it."""
    with reading(uri, parsed=False):  # the text is understood there, too
        path = local_path(uri)
        if path is not None and path.is_dir():
            raise IsADirectoryError(uri)
        yield


@contextmanager
def _any_error(uri: str) -> Iterator[None]:
    """Turn any failure on the way to a file on a server into an `InputError`: drivers raise errors of all kinds."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        cause = error.__cause__  # fsspec calls a file missing whose server cannot be reached
        if isinstance(error, FileNotFoundError):
            if cause is None or isinstance(cause, FileNotFoundError) or getattr(cause, "status", None) == NOT_FOUND:
                raise
            error = cause if isinstance(cause, Exception) else error
        raise InputError(f"{uri} cannot be read: {reason(error)}") from error


def _identity(uri: str, info: Mapping[str, Any]) -> str:
    """URI, size and version of a file as one text; `info` is fsspec's."""
    version = next((info[name] for name in _VERSION_KEYS if info.get(name)), "")
    return f"{uri}\n{info.get('size')}\n{version}"


def _cache_folder() -> Path:
    chosen = os.environ.get("SPTX_CACHE")
    folder = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "sptx"
    return folder.expanduser().absolute()


def _make_cache() -> None:
    folder = _cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"no copies of remote files can be kept in {folder} ({error}); set SPTX_CACHE") from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time work on this folder; the lock of a process that dies is released."""
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(files: fsspec.AbstractFileSystem, remote: str, folder: Path, name: str, siblings: Sequence[str]) -> None:
    """Copy a file and its siblings into a hidden folder, then rename that to `folder`."""
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        files.get_file(remote, str(partial / name))
        for sibling in siblings:
            with suppress(FileNotFoundError):
                files.get_file(f"{remote.removesuffix(name)}{sibling}", str(partial / sibling))
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
