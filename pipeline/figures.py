"""What all pictures share: the colours of the sites, and files that appear whole. matplotlib is the extra `plots`.

`picture_path` checks where a picture goes before any work is done for it; `write_figure` writes PNG or SVG, by the
path's ending. The same figure gives the same file. Errors: `InputError` for another ending and for a place that cannot
be written.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sptx_core.errors import InputError
from sptx_core.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_MATPLOTLIB = "plots need matplotlib: install sptx[plots]"
FORMS = ("png", "svg")
DPI = 150
COLOURS = {"acceptor": "#0072b2", "donor": "#d55e00"}  # told apart by the colour-blind (Okabe & Ito)
MUTED = "#7f7f7f"


def picture_path(path: Path) -> Path:
    """`path`, if a picture can be written there."""
    if path.suffix.lower().removeprefix(".") not in FORMS:
        raise InputError(f"{path} is no name of a picture: it must end in .png or .svg")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'lies in a folder that does not exist'}")
    return path


def write_figure(figure: Figure, path: Path) -> None:
    """Write the figure to a path that ends in .png or .svg, over what may be there."""
    from matplotlib import rc_context  # late: `picture_path` and the colours need no matplotlib

    form = path.suffix.lower().removeprefix(".")
    content = io.BytesIO()
    with rc_context({"svg.hashsalt": path.stem}):  # with no date, the same figure gives the same file
        figure.savefig(content, format=form, dpi=DPI, metadata={"Date": None} if form == "svg" else {})
    try:
        write_atomic(path, content.getvalue())
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror})") from None
