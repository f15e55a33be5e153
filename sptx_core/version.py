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
    # What a build has left in a checkout has no record, and is no installation.
    installed = next((one for one in distributions(name="sptx") if one.read_text("RECORD") is not None), None)
    if installed is None:
        return None
    folder = Path(str(installed.locate_file(""))).resolve()
    if folder == used or not (folder / "sptx_core" / "version.py").is_file():  # an editable one has its files elsewhere
        return None
    compiled = any((used / "sptx_core" / "engine" / "native").glob("_native*.so"))
    return (
        f"sptx is taken from {used}{'' if compiled else ', without its compiled engine'}; that folder hides sptx "
        f"{installed.version}, which is installed in {folder}: leave it out of Python's path (of a Ray job: leave out "
        "--working-dir)"
    )
