"""Where a run's files live: one folder, on a disk or in an object store, behind fsspec.

A `Store` is a root URI (`/data/tracks`, `file://...`, `s3://bucket/tracks`, `gs://`, `az://`, `memory://`) and
what is done below it. Names are relative, with `/` between their parts. Credentials, end points and other options
are fsspec's own: its configuration files, `FSSPEC_*` and the client's variables (`AWS_ENDPOINT_URL`, ...).

`write_atomic` is what makes an object a receipt: a name appears with all of its bytes or not at all. On a disk the
bytes go to a hidden file in the same folder, are synced and renamed; an object store gets one PUT (of bytes past
the client's limit, 100 MB for s3fs, a multi-part upload, which shows nothing before it is completed either). A
killed writer can leave a hidden file behind: no listing shows it and `sweep` removes it.

Errors: a root that cannot be written, a protocol that cannot commit atomically and a missing client package are
`InputError`, what a store answers instead of bytes is its subclass `StorageError`; a name that does not exist is
`FileNotFoundError`.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pyarrow import PythonFile, fs

from sptx_core.errors import InputError
from sptx_core.files import reason, write_atomic

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
STALE_SECONDS = 600.0  # no writer holds a hidden file that long: a part is written in seconds


class StorageError(InputError):
    """Storage did not do what it was asked; `transient` tells an error that may pass by itself."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class Store:
    """The files below `root` (a local path, `~` allowed, or a URI); pickles as its root."""

    def __init__(self, root: str | Path) -> None:
        text = str(root)
        self.root = text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())
        try:
            # Listings must show what other processes committed since, so none is ever cached.
            if self.is_local:  # a path is taken as it is, whatever `::` it may hold
                self._fs, self._base = LocalFileSystem(use_listings_cache=False), _path_of(self.root)
            else:
                self._fs, self._base = url_to_fs(self.root, use_listings_cache=False)
        except ImportError as error:
            extra = EXTRAS.get(self.protocol)
            remedy = f"install sptx[{extra}]" if extra else "install its fsspec package"
            raise InputError(f"{self.root}: {error}; {remedy}") from None
        except ValueError as error:
            raise InputError(f"{self.root}: {error}") from None

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.root,)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    @property
    def protocol(self) -> str:
        """The URI's protocol, `file` for a path."""
        return self.root.split("://", 1)[0] if "://" in self.root else "file"

    @property
    def is_local(self) -> bool:
        """Whether the files lie on a disk of this machine (or one mounted there)."""
        return self.protocol in ("file", "local")

    def uri(self, name: str = "") -> str:
        """The address of `name` as a person or another program would write it."""
        return f"{self.root}/{name}" if name else self.root

    def path(self, name: str = "") -> str:
        """The address of `name` inside its file system: an absolute path, or bucket and key."""
        return f"{self._base.rstrip('/')}/{name}" if name else self._base

    def exists(self, name: str) -> bool:
        """Whether `name` is there; `InputError` when the store cannot be asked."""
        try:
            self._fs.invalidate_cache()
            return bool(self._fs.exists(self.path(name)))
        except Exception as error:  # each store's client raises errors of its own
            raise InputError(f"{self.root} cannot be reached: {error or type(error).__name__}") from error

    def read_bytes(self, name: str) -> bytes:
        """All bytes of `name`."""
        try:
            content: bytes = self._fs.cat_file(self.path(name))
        except (FileNotFoundError, IsADirectoryError):
            raise
        except Exception as error:  # each store's client raises errors of its own
            raise StorageError(f"{self.uri(name)} cannot be read: {reason(error)}", transient=True) from error
        return content

    def list(self, prefix: str = "") -> dict[str, int]:
        """Name -> bytes of every file whose name starts with `prefix`, sorted by name; hidden files are not listed."""
        folder = prefix.rpartition("/")[0]
        sizes = self._list_disk(folder) if self.is_local else self._list_objects(folder)
        return {name: size for name, size in sorted(sizes) if name.startswith(prefix) and not _is_hidden(name)}

    def write_atomic(self, name: str, content: bytes) -> None:
        """Write `name` with `content`, whole or not at all; what stood there before is replaced."""
        if self.is_local:
            path = Path(self.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
        else:
            self._require_atomic_put()
            self._fs.pipe_file(self.path(name), content)

    def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when it is not there."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(self.path(name))

    def sweep(self, prefix: str = "", *, older_than: float = STALE_SECONDS) -> tuple[str, ...]:
        """Remove hidden files that killed writers left below the folder `prefix` more than `older_than` seconds ago.

        Returns their names. An object store keeps no such leftovers.
        """
        if not self.is_local:
            return ()
        before = time.time() - older_than
        stale = []
        for path in Path(self.path(prefix)).rglob(".*.tmp"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime <= before:
                    path.unlink()
                    stale.append(path.relative_to(self._base).as_posix())
        return tuple(sorted(stale))

    def ensure_writable(self) -> None:
        """Write and remove a small hidden file; `InputError` with the reason when that fails."""
        probe = f".sptx-{uuid.uuid4().hex}.tmp"
        try:
            self.write_atomic(probe, b"")
            self.delete(probe)
        except InputError:
            raise
        except Exception as error:  # each store's client raises errors of its own
            raise InputError(f"output {self.root} cannot be written: {error or type(error).__name__}") from error

    def arrow_filesystem(self) -> fs.FileSystem:
        """The same files for pyarrow; takes the addresses of `path`."""
        return fs.LocalFileSystem() if self.is_local else fs.PyFileSystem(_RangeReads(self._fs))

    def _require_atomic_put(self) -> None:
        if self.protocol not in OBJECT_STORES:
            raise InputError(
                f"output {self.root} cannot be committed atomically over {self.protocol}://; "
                "write to a local folder, s3://, gs:// or az://"
            )

    def _list_disk(self, folder: str) -> Iterator[tuple[str, int]]:
        for parent, _, files in os.walk(self.path(folder)):
            for file in files:
                path = Path(parent, file)
                with suppress(FileNotFoundError):  # renamed or removed since the folder was read
                    yield path.relative_to(self._base).as_posix(), path.stat().st_size

    def _list_objects(self, folder: str) -> Iterator[tuple[str, int]]:
        self._fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = self._fs.find(self.path(folder), detail=True)
        for path, details in found.items():
            if details["type"] != "file":  # s3fs names the folder itself when its first object comes as it is listed
                continue
            yield path[len(self._base) :].lstrip("/"), int(details["size"])


class _RangeReads(fs.FSSpecHandler):  # type: ignore[misc]  # pyarrow is not typed
    """fsspec files for pyarrow, which asks for the ranges it needs: reading ahead would fetch many times as much."""

    def open_input_file(self, path: str) -> PythonFile:
        return PythonFile(self.fs.open(path, mode="rb", cache_type="none"), mode="r")


def _path_of(root: str) -> str:
    """The absolute path that a local root names."""
    return str(Path(root.partition("://")[2] or root).absolute())


def _is_hidden(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith(".")
