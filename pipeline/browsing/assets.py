"""The files of the page, as they lie in `static/`: their bytes, kinds and digests, read once.

A page is served from these and nothing else, so no address can lead out of the folder.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.browsing.bundle import STATIC

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
    ".json": "application/json",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page; `name` is its path below `static/`."""

    name: str
    content: bytes

    @property
    def kind(self) -> str:
        """Its media type."""
        return KINDS.get(Path(self.name).suffix, "application/octet-stream")

    @cached_property
    def tag(self) -> str:
        """The beginning of its SHA-256, as an ETag has it."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'

    @cached_property
    def zipped(self) -> bytes:
        """Its bytes by gzip; the same each time."""
        return gzip.compress(self.content, 6, mtime=0)


def read_assets(folder: Path = STATIC) -> dict[str, Asset]:
    """Name -> file, of every file of the page."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {(name := path.relative_to(folder).as_posix()): Asset(name, path.read_bytes()) for path in found}
