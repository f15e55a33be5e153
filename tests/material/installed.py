"""An sptx that is installed in a folder, as far as Python's import system asks: its metadata, and one of its files."""

from __future__ import annotations

from pathlib import Path

VERSION = "9.8.7"


def install(folder: Path, record: str = "RECORD") -> None:
    """Write what an installer leaves in `folder`; `record` is its list of files, which a mere build does not write."""
    for name, content in (
        ("sptx_core/version.py", ""),
        (f"sptx-{VERSION}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: sptx\nVersion: {VERSION}\n"),
        (f"sptx-{VERSION}.dist-info/{record}", "sptx_core/version.py,,\n"),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
