"""Where a run's files live: one folder, on a disk or in an object store, behind fsspec.

A `Store` is a root URI (`/data/tracks`, `file://...`, `s3://bucket/tracks`, `gs://`, `az://`, `memory://`, and to be
read only `https://`, `http://`, `hf://`) and what is done below it. Names are relative, with `/` between their parts.
Credentials, end points and other options are fsspec's own: its configuration files, `FSSPEC_*` and the client's
variables (`AWS_ENDPOINT_URL`, ...). How web servers are read: `pipeline.batch.web`.

`write_atomic` is what makes an object a receipt: a name appears with all of its bytes or not at all. On a disk the
bytes go to a hidden file in the same folder, are synced and renamed; an object store gets one PUT (of bytes past
the client's limit, 100 MB for s3fs, a multi-part upload, which shows nothing before it is completed either). A killed
writer can leave a hidden file behind: no listing shows it and `sweep` removes it. S3 and Google's store are told of
pages and texts what they are (`TYPES`).

Errors: whatever keeps a store from being read or written is a `StorageError`, an `InputError` that tells what may pass
by itself from what does not; so is asking a web server for a listing, which it does not give. Reading a name that does
not exist is a `FileNotFoundError`, a folder an `IsADirectoryError`. A protocol that is not known or cannot commit
atomically and a missing client package are plain `InputError`.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from pyarrow import PythonFile, fs

from pipeline.batch import web
from sptx_core.errors import InputError
from sptx_core.files import is_abandoned, reason, replacing, tells_of_a_file, write_atomic
from sptx_core.redaction import without_secrets

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"})
EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
TYPES = {".html": "text/html", ".txt": "text/plain", ".xml": "text/xml", ".json": "application/json"}
"""What browsers are told that a file is, by the ending of its name: one without a type is downloaded, not shown."""
STALE_SECONDS = 600.0  # no writer holds a hidden file that long: a part is written in seconds
PROBE = ".sptx-probe.tmp"  # written and removed to see whether a store can be written

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})
# Of a disk: what one mounted over a network answers while the way to it is cut.
_PASSING = frozenset(
    (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENOTCONN, errno.ECONNRESET)
)
# Object stores whose client takes the type of a file, and what it calls it.
_TYPE_OPTIONS = {"s3": "ContentType", "s3a": "ContentType", "gs": "content_type", "gcs": "content_type"}
# Of an object store: what no later try changes.
_LASTING = frozenset((errno.ENOSYS, errno.ENAMETOOLONG, errno.EMSGSIZE, errno.EREMCHG))


class StorageError(InputError):
    """A store cannot be read or written; the message says which, why, and what to do.

    Parameters
    ----------
    message
        The sentence.
    transient
        Whether it may pass by itself (a refusal, an overload, a lost connection): nothing is known of the file then.
    total
        Whether it concerns the whole store and lasts until somebody acts: a full or read-only disk, a missing bucket.

    """

    def __init__(self, message: object = "", *, transient: bool = False, total: bool = False) -> None:
        super().__init__(message)
        self.transient, self.total = transient, total


class Store:
    """The files below `root` (a local path, `~` allowed, or a URI); pickles as its root."""

    def __init__(self, root: str | Path) -> None:
        text = str(root)
        self.root = text.rstrip("/") if "://" in text else str(Path(text).expanduser().absolute())
        try:
            # Listings must show what other processes committed since, so none is ever cached.
            if self.is_local:  # a path is taken as it is, whatever `::` it may hold
                self._fs, self._base = LocalFileSystem(use_listings_cache=False), _path_of(self.root)
            elif self.protocol in web.WEB:
                self._fs, self._base = web.file_system(), web.address(self.root)
            else:
                self._fs, self._base = url_to_fs(self.root, use_listings_cache=False)
        except ImportError as error:
            extra = EXTRAS.get(self.protocol)
            remedy = f"install sptx[{extra}]" if extra else "install its fsspec package"
            raise InputError(f"{self.root}: {error}; {remedy}") from None
        except ValueError as error:
            raise InputError(f"{self.root}: {error}") from None
        except OSError as error:  # of a protocol whose client connects at once
            raise StorageError(f"{self.root} cannot be reached: {reason(error)}", transient=True) from error
        # s3fs would ask for the size first, to read what is large by several requests at once.
        self._whole = {"max_concurrency": 1} if self.protocol in ("s3", "s3a") else {}

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return Store, (self.root,)

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    @property
    def protocol(self) -> str:
        """The URI's protocol, `file` for a path."""
        return self.root.split("://", 1)[0].lower() if "://" in self.root else "file"

    @property
    def is_local(self) -> bool:
        """Whether the files lie on a disk of this machine (or one mounted there)."""
        return self.protocol in ("file", "local")

    def uri(self, name: str = "") -> str:
        """The address of `name` as it may be shown: without the secrets of the root."""
        folder, mark, query = self.root.partition("?") if self.protocol in web.WEB else (self.root, "", "")
        return without_secrets(f"{folder.rstrip('/') if mark else folder}/{name}{mark}{query}" if name else self.root)

    def path(self, name: str = "") -> str:
        """The address of `name` inside its file system: an absolute path, bucket and key, or a URL."""
        if self.protocol in web.WEB:
            return web.address(self.root, name)
        return f"{self._base.rstrip('/')}/{name}" if name else self._base

    def exists(self, name: str) -> bool:
        """Whether `name` is a file that is there: one request."""
        if self.protocol in OBJECT_STORES:
            return name in self.list(name)  # asked for a name that is missing, clients send two requests
        if self.protocol in web.READ_ONLY:
            return self._is_read(name)
        with self._told("read", name):
            if not self.is_local:
                self._fs.invalidate_cache()
                return bool(self._fs.exists(self.path(name)))
            try:
                return stat.S_ISREG(Path(self.path(name)).stat().st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return False

    def read_bytes(self, name: str) -> bytes:
        """All bytes of `name`; `FileNotFoundError` where there is none, `IsADirectoryError` where it is a folder."""
        try:
            with self._told("read", name):
                if self.protocol in web.READ_ONLY:
                    return web.read_whole(self._fs, self.path(name))
                content: bytes = self._fs.cat_file(self.path(name), **self._whole)
                return content
        except StorageError as error:
            if isinstance(error.__cause__, FileNotFoundError | IsADirectoryError):
                raise error.__cause__ from None
            raise

    def list(self, prefix: str = "") -> dict[str, int]:
        """Name -> bytes of every file whose name starts with `prefix`, sorted by name; hidden files are not listed."""
        folder, _, beginning = prefix.rpartition("/")
        if self.protocol in web.NEVER_LISTED:
            raise StorageError(f"{self.uri(folder)} cannot be listed: web servers give no listing of files")
        with self._told("listed", folder):
            sizes = list(self._list_disk(folder) if self.is_local else self._list_objects(folder, beginning))
        return {name: size for name, size in sorted(sizes) if name.startswith(prefix) and not _is_hidden(name)}

    def write_atomic(self, name: str, content: bytes) -> None:
        """Write `name` with `content`, whole or not at all; what stood there before is replaced."""
        with self._told("written", name):
            self._write(name, content)

    @contextmanager
    def replacing(self, name: str) -> Iterator[Path]:
        """As `write_atomic`, for what is too large for memory: a local path that is to be written within the `with`.

        On a disk it lies beside `name`; for an object store it is a temporary file, which is put at the end. What the
        system raises inside becomes a `StorageError`.
        """
        if self.is_local:
            with self._told("written", name):
                target = Path(self.path(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as temporary:
                    yield temporary
            return
        self._require_atomic_put()
        with TemporaryDirectory(prefix="sptx-") as folder:
            temporary = Path(folder, "file")
            try:
                yield temporary
            except OSError as error:
                raise StorageError(
                    f"{self.uri(name)} cannot be written: {reason(error)} in {folder}, where it lies until it is "
                    "whole; make room there, or set TMPDIR to a folder with more",
                    total=True,
                ) from error
            with self._told("written", name):
                self._fs.put_file(str(temporary), self.path(name))

    def upload(self, name: str, path: Path) -> None:
        """As `write_atomic`, with the content of a file of this machine, which is not held in memory."""
        with self._told("written", name):
            if self.is_local:
                target = Path(self.path(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                with replacing(target) as temporary:
                    shutil.copyfile(path, temporary)
            else:
                self._require_atomic_put()
                self._fs.put_file(str(path), self.path(name))

    def delete(self, name: str) -> None:
        """Remove `name`; nothing happens when it is not there."""
        with self._told("removed", name), suppress(FileNotFoundError):
            self._fs.rm_file(self.path(name))

    def delete_folder(self, folder: str) -> None:
        """Remove all that lies below `folder`, hidden files too, and the folder; nothing happens when there is none."""
        with self._told("removed", folder):
            path = self.path(folder)
            if not self.is_local:
                self._fs.invalidate_cache()
                with suppress(FileNotFoundError):
                    self._fs.rm(path, recursive=True)
                return
            while Path(path).exists():  # a file that another process removes meanwhile ends `rmtree` midway
                with suppress(FileNotFoundError):
                    shutil.rmtree(path)

    def sweep(self, prefix: str = "", *, older_than: float = STALE_SECONDS) -> tuple[str, ...]:
        """Remove hidden files that killed writers left below the folder `prefix`.

        Those of which it is known that their writer has ended go at once, others when they are `older_than` seconds
        old. Returns their names. An object store keeps no such leftovers.
        """
        if not self.is_local:
            return ()
        before = time.time() - older_than
        stale = []
        with self._told("swept", prefix):
            for path in Path(self.path(prefix)).rglob(".*.tmp"):
                with suppress(OSError):  # gone meanwhile, or another user's
                    if is_abandoned(path.name) or path.stat().st_mtime <= before:
                        path.unlink()
                        stale.append(path.relative_to(self._base).as_posix())
        return tuple(sorted(stale))

    def ensure_writable(self) -> None:
        """Write and remove a small hidden file; `StorageError` with the reason when that fails."""
        with self._told("written"):
            self._write(PROBE, b"")
            with suppress(FileNotFoundError):  # another process asked at the same time
                self._fs.rm_file(self.path(PROBE))

    def arrow_filesystem(self) -> fs.FileSystem:
        """The same files for pyarrow; takes the addresses of `path`."""
        if self.protocol in web.READ_ONLY:
            return fs.PyFileSystem(_CheckedRanges(self._fs, {self.path(name): n for name, n in self._sizes().items()}))
        return fs.LocalFileSystem() if self.is_local else fs.PyFileSystem(_RangeReads(self._fs))

    def _sizes(self) -> Mapping[str, int]:
        """Bytes of files, as far as they are known: a server need not be asked for them."""
        return {}

    def _is_read(self, name: str) -> bool:
        """Whether `name` is a file that can be read: clients of servers call missing what they may not ask for."""
        try:
            self.read_bytes(name)
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def _write(self, name: str, content: bytes) -> None:
        if self.is_local:
            path = Path(self.path(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
        else:
            self._require_atomic_put()
            self._fs.pipe_file(self.path(name), content, **self._typed(name))

    def _typed(self, name: str) -> dict[str, str]:
        """Options of the client that tell browsers what `name` is."""
        option, kind = _TYPE_OPTIONS.get(self.protocol), TYPES.get(Path(name).suffix.lower())
        return {option: f"{kind}; charset=utf-8"} if option and kind else {}

    @contextmanager
    def _told(self, done: str, name: str = "") -> Iterator[None]:
        """Turn what the system or a store's client raises into a `StorageError`: `name` cannot be `done`."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # each store's client raises errors of its own
            if self.is_local and not isinstance(error, OSError):
                raise
            transient, total, remedy = self._judged(error, done)
            told = web.said(error) or reason(error).rstrip(".")
            sentence = f"{self.uri(name)} cannot be {done}: {told}{remedy and f'; {remedy}'}"
            raise StorageError(sentence, transient=transient, total=total) from error

    def _judged(self, error: Exception, done: str) -> tuple[bool, bool, str]:
        """Whether an error may pass by itself, whether it concerns the whole store, and what to do."""
        code = error.errno if isinstance(error, OSError) else None
        if code in _FULL:
            return False, True, "make room there"
        if self.is_local:
            if code in _FORBIDDEN:
                return False, True, f"see to it that it can be {done}"
            passes = code in _PASSING
            return passes, False, "try again when the disk answers" if passes else ""
        if isinstance(error, FileNotFoundError):
            return False, True, "make the bucket, or correct its name"
        if code in _LASTING or isinstance(error, NotImplementedError) or not tells_of_a_file(error):
            return False, False, ""
        if self.protocol in web.READ_ONLY:
            return web.may_pass(error), False, web.remedy(error)
        if type(error).__name__ == "NoCredentialsError":  # of boto
            return True, False, "check the credentials; a public bucket is read without any by FSSPEC_S3_ANON=true"
        if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
            return True, False, "check the credentials and what they permit"
        return True, False, "try again when the store answers"

    def _require_atomic_put(self) -> None:
        if self.protocol not in OBJECT_STORES:
            raise InputError(
                f"output {self.root} cannot be committed atomically over {self.protocol}://; "
                "write to a local folder, s3://, gs:// or az://"
            )

    def _list_disk(self, folder: str) -> Iterator[tuple[str, int]]:
        for parent, _, files in os.walk(self.path(folder), onerror=_raise_unless_gone):
            for file in files:
                path = Path(parent, file)
                with suppress(FileNotFoundError):  # renamed or removed since the folder was read
                    yield path.relative_to(self._base).as_posix(), path.stat().st_size

    def _list_objects(self, folder: str, beginning: str) -> Iterator[tuple[str, int]]:
        """Files below `folder` whose names within it start with `beginning`, where the store can tell, or all."""
        self._fs.invalidate_cache()
        options = {"prefix": beginning} if beginning else {}
        found: dict[str, dict[str, Any]] = self._fs.find(self.path(folder), detail=True, **options)
        for path, details in found.items():
            if details["type"] != "file":  # s3fs names the folder itself when its first object comes as it is listed
                continue
            yield path[len(self._base) :].lstrip("/"), int(details["size"])


class _RangeReads(fs.FSSpecHandler):  # type: ignore[misc]  # pyarrow is not typed
    """fsspec files for pyarrow, which asks for the ranges it needs: reading ahead would fetch many times as much."""

    def open_input_file(self, path: str) -> PythonFile:
        return PythonFile(self.fs.open(path, mode="rb", cache_type="none"), mode="r")


class _CheckedRanges(fs.FSSpecHandler):  # type: ignore[misc]  # pyarrow is not typed
    """Files of a server for pyarrow, of which ranges are read and checked; `sizes` are those that are known."""

    def __init__(self, files: Any, sizes: Mapping[str, int]) -> None:
        super().__init__(files)
        self._sizes = sizes

    def open_input_file(self, path: str) -> PythonFile:
        return PythonFile(web.RangeFile(self.fs, path, self._sizes.get(path)), mode="r")


def _path_of(root: str) -> str:
    """The absolute path that a local root names."""
    return str(Path(root.partition("://")[2] or root).absolute())


def _is_hidden(name: str) -> bool:
    return name.rsplit("/", 1)[-1].startswith(".")


def _raise_unless_gone(error: OSError) -> None:
    """What keeps a folder from being listed is told, unless it is not there (any more)."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
