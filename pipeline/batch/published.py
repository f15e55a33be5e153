"""Tables as they are read: where storage gives no listing, the manifest of a finished table is the list of its parts.

Web servers list nothing, the hub does so slowly, and a public bucket often lets everybody read but not list. There the
parts of a run are known from its manifest alone, so only a finished one can be read. Elsewhere, and of a run that is
written, storage itself is asked (`Store`). `PublishedStore` is for readers: what is to be computed is never decided by
what a manifest says.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from pipeline.batch import web
from pipeline.batch.layout import MANIFEST
from pipeline.batch.manifest import Manifest, read_manifest
from pipeline.batch.storage import OBJECT_STORES, StorageError, Store
from sptx_core.errors import InputError


class PublishedStore(Store):
    """A `Store` that is read; see the module."""

    def __init__(self, root: str | Path) -> None:
        super().__init__(root)
        self._asked: dict[str, bytes] = {}  # what was read to see whether it is there, and is read next

    def __reduce__(self) -> tuple[type[Store], tuple[str]]:
        return PublishedStore, (self.root,)

    def read_bytes(self, name: str) -> bytes:
        """As `Store.read_bytes`."""
        return self._asked.pop(name) if name in self._asked else super().read_bytes(name)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest when it was first asked for; None where there was none."""
        return read_manifest(self)

    def list(self, prefix: str = "") -> dict[str, int]:
        """As `Store.list`, of storage that gives no listing the parts that the manifest has."""
        if self.protocol in web.READ_ONLY:
            return self._of_manifest(prefix)
        try:
            return super().list(prefix)
        except StorageError as error:
            if not (self.protocol in OBJECT_STORES and isinstance(error.__cause__, PermissionError)):
                raise
            return self._of_manifest(prefix, error)

    def exists(self, name: str) -> bool:
        """As `Store.exists`."""
        if self.protocol not in OBJECT_STORES:
            return super().exists(name)
        try:
            return name in super().list(name)
        except StorageError as error:
            if not isinstance(error.__cause__, PermissionError):
                raise
            try:
                return self._is_read(name)
            except StorageError:
                raise error from None

    def _is_read(self, name: str) -> bool:
        try:
            self._asked[name] = super().read_bytes(name)
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def _sizes(self) -> Mapping[str, int]:
        return self._of_manifest("")

    def _of_manifest(self, prefix: str, refusal: StorageError | None = None) -> dict[str, int]:
        """Name -> bytes of the parts in the manifest whose names start with `prefix`, sorted by name."""
        try:
            manifest = self.manifest
        except StorageError as error:
            raise refusal or error from None
        if manifest is None:
            raise refusal or InputError(
                f"{self.uri()} is unfinished, or was copied in part: there is no {MANIFEST}, the list of the parts of "
                "a table that cannot be listed; finish it, then copy it with `sptx publish`"
            )
        return {name: size for name, size in sorted(manifest.parts()) if name.startswith(prefix)}


def is_listed(store: Store) -> bool:
    """Whether storage itself tells which parts there are, rather than a manifest."""
    return store.protocol not in web.READ_ONLY
