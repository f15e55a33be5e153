"""The page in a cell of a notebook: `open_tracks(...).browse()`.

The page is the same as that of `sptx browse`; a server in a thread of the notebook's process answers it, on loopback,
until the page is closed or the process ends. The browser must run on the same machine, or reach its ports.
"""

from __future__ import annotations

import weakref
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from pipeline.inputs.annotation import Annotation
from pipeline.tracks import reader

if TYPE_CHECKING:
    from pipeline.browsing.session import Session

FRAMES = ("http://localhost:*", "http://127.0.0.1:*", "http://[::1]:*", "vscode-webview:")
"""Whose pages may show this one in a frame: notebooks of this machine, in a browser and in VS Code."""
HEIGHT = 700


class Page:
    """A page of `sptx browse` with its server; as the last value of a notebook's cell it is shown there.

    Parameters
    ----------
    session : Session
        What is shown.
    height : int
        Of the frame, in pixels.
    """

    def __init__(self, session: Session, height: int = HEIGHT) -> None:
        from pipeline.browsing.server import serve  # late: who reads a table need not load what shows it

        self.session, self.height = session, height
        self._server = serve(session, frames=FRAMES)
        self._server.start()
        self._closing = weakref.finalize(self, self._server.stop)

    @property
    def url(self) -> str:
        """Address of the page; a browser on this machine can open it too."""
        return self._server.url

    def close(self) -> None:
        """Stop the server; may be called more than once."""
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Page({self.url}{'' if self._closing.alive else ', closed'})"

    def _repr_html_(self) -> str:
        source = escape(f"{self.url}#{quote(str(self.session.locus), safe=':-')}", quote=True)
        return f'<iframe src="{source}" width="100%" height="{int(self.height)}" style="border:0"></iframe>'


class Tracks(reader.Tracks):
    """A table of `sptx run` that a notebook can show; for the other methods see `pipeline.tracks.reader.Tracks`."""

    def browse(self, locus: str | None = None, *, height: int = HEIGHT, annotation: Annotation | None = None) -> Page:
        """Show the page of `sptx browse` in a cell.

        Parameters
        ----------
        locus : str, optional
            Where to begin: a region, gene or transcript.
        height : int
            Height of the cell's frame, in pixels.
        annotation : Annotation, optional
            Annotation that names genes and sites (default: the transcripts of the run).

        Returns
        -------
        Page
            Shown if it is the last value of a cell; `close()` stops it.

        Raises
        ------
        InputError
            `locus` names nothing in the table.
        """
        from pipeline.browsing.session import Session

        return Page(Session([self], annotation=annotation, locus=locus), height)


def open_tracks(uri: str | Path, *, verify: bool = False) -> Tracks:
    """Open a table.

    Parameters
    ----------
    uri : str or Path
        The table's folder, or an fsspec URI such as `s3://bucket/tracks`. A finished table may also be at
        `https://host/tracks` or `hf://datasets/OWNER/NAME[@REVISION]/tracks`; only what is asked for is downloaded.
    verify : bool
        Whether to check each part that is read: its bytes against the manifest of a finished table, page checksums,
        rows and values. Each part is then read as a whole, even for a few rows.

    Returns
    -------
    Tracks

    Raises
    ------
    InputError
        There is no table. With `verify`, also when rows are asked for and a part is damaged; the message names it.
    """
    return Tracks.open(uri, verify=verify)
