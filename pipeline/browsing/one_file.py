"""One self-contained HTML file of a locus: the page with the answers to what it asks (being written)."""

from __future__ import annotations

from pathlib import Path

from pipeline.browsing.session import Session
from pipeline.coordinates import Interval


def write_page(session: Session, locus: Interval, path: Path) -> None:
    """Write the page of a locus to `path`, whole or not at all."""
    raise NotImplementedError(session, locus, path)
