"""Where a table is published: a folder or bucket (`StoreDestination`), or a dataset on the Hugging Face hub.

Both say what they hold already, take files whole, and show those of one `flush` before those of the next. On the hub a
flush is a commit, and a large table takes several: `MAX_COMMIT_BYTES` of parts each, since the hub rebuilds its listing
with every one. Errors: `InputError`; a `StorageError` where the place does not answer.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from pipeline.batch.storage import StorageError, Store
from pipeline.publishing.contents import File
from sptx_core.errors import InputError
from sptx_core.words import counted

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, HfApi

MAX_COMMIT_BYTES = 500 << 20
_HUB = re.compile(r"hf://datasets/(?P<id>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<folder>.+))?")


class Destination(Protocol):
    """What `publish` needs of a place."""

    def begin(self, tables: Sequence[str]) -> dict[str, int]:
        """Make sure that it can be written, these tables' folders above all; name -> bytes of what it holds."""

    def holds(self, file: File) -> bool:
        """Whether it holds this very file."""

    def read(self, name: str) -> bytes:
        """A file that it holds."""

    def put(self, name: str, content: bytes) -> None:
        """Take a file, in place of what had its name; from several threads."""

    def flush(self) -> None:
        """Show all that was put."""


class StoreDestination:
    """A folder, or a place in an object store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._held: dict[str, int] = {}

    def begin(self, tables: Sequence[str]) -> dict[str, int]:
        """As `Destination`; where it holds a table, hidden files that killed writers left are removed."""
        self.store.ensure_writable()
        self._held = self.store.list()
        if any(name.startswith(tuple(f"{table}/" for table in tables)) for name in self._held):
            self.store.sweep()
        return self._held

    def holds(self, file: File) -> bool:
        """As `Destination`: it is read."""
        if self._held.get(file.name) != file.bytes:
            return False
        return hashlib.sha256(self.store.read_bytes(file.name)).hexdigest() == file.sha256

    def read(self, name: str) -> bytes:
        """As `Destination`."""
        return self.store.read_bytes(name)

    def put(self, name: str, content: bytes) -> None:
        """As `Destination`."""
        self.store.write_atomic(name, content)

    def flush(self) -> None:
        """All is there already."""


class HubDestination:
    """A dataset on the hub, `hf://datasets/OWNER/NAME[@BRANCH][/FOLDER]`; a new one is made, for its owner alone."""

    def __init__(self, uri: str) -> None:
        match = _HUB.fullmatch(uri.rstrip("/"))
        if match is None:
            raise InputError(f"{uri} is no place on the hub: give hf://datasets/OWNER/NAME")
        self.uri, self.repository, self.branch = uri.rstrip("/"), match["id"], match["revision"]
        self._prefix = f"{match['folder']}/" if match["folder"] else ""
        self._digests: dict[str, str] = {}
        self._waiting: list[CommitOperationAdd] = []
        self._bytes, self._lock = 0, threading.Lock()
        self.is_new = False

    def begin(self, tables: Sequence[str]) -> dict[str, int]:  # noqa: ARG002  # a repository has no hidden files
        """As `Destination`."""
        held = {}
        with self._told():
            from huggingface_hub.hf_api import RepoFile

            hub = self._hub()
            if not hub.repo_exists(self.repository, repo_type="dataset"):
                hub.create_repo(self.repository, repo_type="dataset", private=True, exist_ok=True)
                self.is_new = True
            for entry in hub.list_repo_tree(self.repository, recursive=True, revision=self.branch, repo_type="dataset"):
                if isinstance(entry, RepoFile) and entry.path.startswith(self._prefix):
                    name = entry.path.removeprefix(self._prefix)
                    held[name] = entry.size
                    if entry.lfs:
                        self._digests[name] = entry.lfs.sha256
        return held

    def holds(self, file: File) -> bool:
        """As `Destination`: the hub knows the SHA-256 of large files, among them all Parquet."""
        return self._digests.get(file.name) == file.sha256

    def read(self, name: str) -> bytes:
        """As `Destination`."""
        return Store(self.uri).read_bytes(name)

    def put(self, name: str, content: bytes) -> None:
        """As `Destination`."""
        from huggingface_hub import CommitOperationAdd

        with self._lock:
            self._waiting.append(CommitOperationAdd(f"{self._prefix}{name}", content))
            self._bytes += len(content)
            if self._bytes >= MAX_COMMIT_BYTES:
                self._commit()

    def flush(self) -> None:
        """As `Destination`: one commit."""
        with self._lock:
            self._commit()

    def _commit(self) -> None:
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if waiting:
            with self._told():
                self._hub().create_commit(
                    self.repository,
                    waiting,
                    commit_message=f"{counted(len(waiting), 'file')} of a table of sptx",
                    repo_type="dataset",
                    revision=self.branch,
                )

    def _hub(self) -> HfApi:
        from huggingface_hub import HfApi  # late: takes a while

        return HfApi()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn the hub's faults into a `StorageError`."""
        from sptx_core.checkpoint.hub import faults_named  # late: loads PyTorch

        try:
            with faults_named(f"{self.uri} cannot be written: "):
                yield
        except InputError as error:
            raise StorageError(str(error)) from error.__cause__
