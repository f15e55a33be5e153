"""The C++ sources of the compiled library and their checksum, for `setup.py` and `library.py`.

`setup.py` compiles the checksum into the library and `library.py` compares it with the sources beside it, so that a
library compiled from other sources is not used. `setup.py` runs this file by its path, before the package can be
imported: it imports the standard library alone.
"""

from __future__ import annotations

import zlib
from pathlib import Path

SUFFIXES = (".cpp", ".h")


def sources(folder: Path) -> list[Path]:
    """Return every C++ source and header below a folder, sorted by path.

    Parameters
    ----------
    folder : Path
        The folder of the sources, `sptx_core/engine/native/cpp`; it may be missing.

    """
    return sorted(path for path in folder.rglob("*") if path.suffix in SUFFIXES)


def checksum(folder: Path) -> int:
    """Return the CRC-32 of the relative paths and contents of all sources below a folder.

    Parameters
    ----------
    folder : Path
        As for `sources`.

    """
    crc = 0
    for path in sources(folder):
        content = path.read_bytes()
        header = f"{path.relative_to(folder).as_posix()} {len(content)}\n"
        crc = zlib.crc32(content, zlib.crc32(header.encode(), crc))
    return crc
