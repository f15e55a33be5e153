"""The files of the page: each is of a kind that browsers take, and none calls another host."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

from pipeline.browsing.assets import KINDS, read_assets
from pipeline.browsing.bundle import INDEX


def test_every_file_has_a_kind_and_the_page_is_there() -> None:
    assets = read_assets()
    assert INDEX in assets
    assert not [name for name in assets if Path(name).suffix not in KINDS]


def test_a_file_is_known_by_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.js").write_bytes(b"export const a = 1\n" * 50)
    (tmp_path / ".hidden").write_bytes(b"secret")
    (found,) = read_assets(tmp_path).values()
    assert (found.name, found.kind) == ("deep/a.js", "text/javascript; charset=utf-8")
    assert found.tag == f'"{hashlib.sha256(found.content).hexdigest()[:32]}"'
    assert gzip.decompress(found.zipped) == found.content
    assert found.zipped == read_assets(tmp_path)["deep/a.js"].zipped
