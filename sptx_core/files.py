"""Files on a local disk that appear under their name whole or not at all, and outlive a power cut."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file atomically: under a temporary name, flushed to the disk, then renamed.

    Parameters
    ----------
    path
        Where the file appears; a file that is there is replaced. Its folder must exist.
    content
        The whole content.

    Raises
    ------
    OSError
        As the file system raises it. Nothing is left behind then; what a killed process leaves is hidden and ends in
        `.tmp`.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
