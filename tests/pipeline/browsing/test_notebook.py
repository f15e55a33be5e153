"""The page in a cell: a frame of a server that answers, until it is closed."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

import pipeline
from pipeline.browsing.notebook import open_tracks
from sptx_core.errors import InputError


def test_a_cell_shows_the_page_until_it_is_closed(root: Path) -> None:
    tracks = pipeline.open_tracks(root)
    with tracks.browse("chr1:1,101-3,050", height=432) as page:
        shown = page._repr_html_()
        assert 'height="432"' in shown
        (source,) = re.findall('src="([^"]+)"', shown)
        assert source == f"{page.url}#chr1:1101-3050"
        with urlopen(source) as reply:
            assert "frame-ancestors 'self' http://localhost:*" in reply.headers["Content-Security-Policy"]
        assert repr(page) == f"Page({page.url})"
    assert repr(page).endswith(", closed)")
    page.close()  # once more does nothing
    with pytest.raises(URLError):
        urlopen(page.url)


@pytest.mark.slow
def test_a_page_that_nobody_holds_is_closed(root: Path) -> None:
    page = open_tracks(root).browse()
    url = page.url
    del page
    gc.collect()
    with pytest.raises(URLError):
        urlopen(url)


def test_it_is_a_table_as_any_other(root: Path) -> None:
    tracks = pipeline.open_tracks(root, verify=False)
    assert isinstance(tracks, pipeline.Tracks)
    assert tracks.gene("DOCK8").height == 1_950
    with pytest.raises(InputError, match="the nearest is DOCK8"):
        tracks.browse("DOCK9")
