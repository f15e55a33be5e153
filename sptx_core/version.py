"""The version of sptx, of which the installed package's metadata is the one source; and which of two copies is used."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

try:
    __version__ = version("sptx")
except PackageNotFoundError:  # the sources are on the path and were never installed
    __version__ = "0+unknown"


def shadowed() -> str | None:
    """Say that sptx is installed and Python has taken it from another folder, such as the working folder of a Ray job.

    Returns
    -------
    str or None
        A sentence; None where the installed package is used, an editable one included, or none is installed.

    """
    used = Path(__file__).resolve().parents[1]
    for installed in distributions(name="sptx"):
        if installed.read_text("RECORD") is None:  # what a build has left in a checkout is no installation
            continue
        folder = Path(str(installed.locate_file(""))).resolve()
        if folder != used and (folder / "sptx_core" / "version.py").is_file():
            compiled = any((used / "sptx_core" / "engine" / "native").glob("_native*.so"))
            return (
                f"sptx is taken from {used}{'' if compiled else ', without its compiled engine'}, not from {folder}, "
                f"where {installed.version} is installed: start it without that folder on Python's path (of a Ray job: "
                "without --working-dir)"
            )
    return None
