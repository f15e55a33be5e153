"""Write the report of a table: `write_report(tracks, to)`.

The page appears whole or not at all, on a disk and in an object store. The same table gives the same bytes, wherever it
lies and the page is written, as long as its own name is the same.

Errors: `InputError` where the page cannot be written, before the table is read, and what `pipeline.reporting.gather`
raises.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pipeline.batch.storage import Store
from pipeline.inputs.annotation import Annotation
from pipeline.reporting.gather import gather
from pipeline.reporting.page import page
from pipeline.tracks.reader import Tracks
from sptx_core.errors import InputError
from sptx_core.files import replacing, require_writable, writing


class Written(NamedTuple):
    """Where a report is, its bytes, and what is missing of the table (empty when nothing is)."""

    uri: str
    bytes: int
    unfinished: str


def write_report(
    tracks: Tracks, to: str, *, annotation: Annotation | None = None, threshold: float | None = None
) -> Written:
    """Write the report of a table.

    Parameters
    ----------
    tracks : Tracks
        The table; may be unfinished, which the report says.
    to : str
        The file: a path, or a URI of an object store such as s3://bucket/report.html.
    annotation : Annotation, optional
        Decides which sites are annotated; without one the table's own transcripts do.
    threshold : float, optional
        Least score of a called site; 0.1 when None.

    Returns
    -------
    Written

    Raises
    ------
    InputError
        The page cannot be written, or the table cannot be read.
    UnfinishedError
        The table has no rows yet.
    """
    folder, _, name = to.rpartition("/")
    if not name.strip():
        raise InputError(f"--to {to or 'is empty'}: give the name of a file, such as report.html")
    place = Store(folder) if "://" in to else None
    if place is not None and not place.is_local:
        place.ensure_writable()
        found = gather(tracks, annotation, threshold)
        content = page(found).encode()
        place.write_atomic(name, content)
        return Written(place.uri(name), len(content), found.unfinished)
    path = Path(to) if place is None else Path(place.path(name))
    require_writable(path)
    found = gather(tracks, annotation, threshold)
    content = page(found).encode()
    with writing(path), replacing(path) as target:
        target.write_bytes(content)
    return Written(to, len(content), found.unfinished)
