"""Picture files (PNG, SVG) and what all plots share: colours, and the message for a missing matplotlib.

matplotlib is the extra `plots`; this module can be imported without it. The same matplotlib `Figure` gives the same
file.

Errors: `InputError` for a file name with another ending and for a file that cannot be written.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sptx_core.errors import InputError
from sptx_core.files import require_writable, write_atomic, writing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_MATPLOTLIB = "plots need matplotlib: install sptx[plots]"
COLOURS = {"acceptor": "#0072b2", "donor": "#d55e00"}
"""Colour of each kind of splice site; colour-blind people can tell them apart (Okabe & Ito 2008)."""
MUTED = "#7f7f7f"
"""Grey for what is not data."""
UNKNOWN = "#d9d9d9"
"""Light grey for what the table does not hold."""
_FORMATS = ("png", "svg")
_DPI = 150


def picture_path(path: Path) -> Path:
    """Check, before any work is done, that a picture can be written to a path.

    Parameters
    ----------
    path : Path
        The file to write.

    Returns
    -------
    Path
        `path` itself.

    Raises
    ------
    InputError
        If the name ends neither in .png nor in .svg, the path is a folder, or its folder
        does not exist or may not be written.
    """
    if _format(path) not in _FORMATS:
        raise InputError(f"{path} is not the name of a picture: it must end in .png or .svg")
    require_writable(path)
    return path


def write_picture(figure: Figure, path: Path) -> None:
    """Write a matplotlib figure as PNG or SVG, whole or not at all; an existing file is replaced.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    path : Path
        The file; its ending, .png or .svg, chooses the format.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    from matplotlib import rc_context  # late, because this module is imported without matplotlib too

    chosen = _format(path)
    content = io.BytesIO()
    # SVG would hold random ids and the date; both would make two files of one figure differ.
    with rc_context({"svg.hashsalt": path.stem}):
        figure.savefig(content, format=chosen, dpi=_DPI, metadata={"Date": None} if chosen == "svg" else {})
    with writing(path):
        write_atomic(path, content.getvalue())


def _format(path: Path) -> str:
    """The ending of the name in lower case, without its dot."""
    return path.suffix.lower().removeprefix(".")
