"""Digests of a genome's contigs, kept in a small file, so that the genome is read whole once and not at each run.

Format: one JSON object on one line, `NAME.digests.json` for a file NAME, beside its index:

    {"version": 2, "file": [path, inode, bytes, mtime_ns, ctime_ns], "digests": {contig: SHA-256, ...}, "sha256": ...}

`file` says of what the digests are. They count only while the file has that absolute path, inode, size and those times
of its last change (of content and of the inode, in nanoseconds): another file, also one that has been given the old
one's time, has others. `sha256` is that of the same object without it, as `json.dumps` writes it with sorted keys. A
file of digests that is damaged, of another version or of another genome counts as none, and so does one that cannot be
read or written: the digests are then computed. There are no errors.

Digests of a file that changed within the last `SETTLED_SECONDS` are not kept, because a further change might leave its
times as they are (file systems count in steps of up to two seconds).
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sptx_core.files import write_atomic

VERSION = 2
ENDING = ".digests.json"
SETTLED_SECONDS = 3.0
_SHA256 = re.compile(r"[0-9a-f]{64}")

Identity = tuple[str, int, int, int, int]
"""Absolute path, number of the inode, bytes, and times of change of content and of inode in nanoseconds."""


def identity_of(path: Path) -> Identity:
    """What tells one content of a file from another; `OSError` as the file system raises it."""
    found = path.stat()
    return str(path.absolute()), found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read_digests(places: Sequence[Path], identity: Identity) -> dict[str, str]:
    """Read the digests that are kept of a file.

    Parameters
    ----------
    places : sequence of Path
        Where they may be, each without `ENDING`.
    identity : Identity
        Of the file as it is now.

    Returns
    -------
    dict
        Name of a contig -> SHA-256, from the first place that has any; empty where none has.
    """
    for place in places:
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            body = json.loads(Path(f"{place}{ENDING}").read_bytes())
            stored = body.pop("sha256")
            digests: dict[str, str] = body["digests"]
            known = (body["version"], *body["file"]) == (VERSION, *identity)
            if known and stored == _checksum(body) and all(map(_SHA256.fullmatch, digests.values())):
                return digests
    return {}


def keep_digests(places: Sequence[Path], identity: Identity, digests: Mapping[str, str]) -> None:
    """Write the digests of a file to the first place that can be written.

    Parameters
    ----------
    places : sequence of Path
        Where they may be, each without `ENDING`. A folder that is missing is made.
    identity : Identity
        Of the file before and after it was read.
    digests : mapping
        Name of a contig -> SHA-256.
    """
    if time.time() - max(identity[3:]) / 1e9 < SETTLED_SECONDS:
        return
    body: dict[str, Any] = {"version": VERSION, "file": identity, "digests": dict(digests)}
    content = json.dumps({**body, "sha256": _checksum(body)}) + "\n"
    for place in places:
        with suppress(OSError):
            place.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(Path(f"{place}{ENDING}"), content.encode())
            return


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
