"""Where a report is written: whole or not at all, the same from anywhere, on a disk and in an object store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from material import reported

from pipeline.reporting.report import write_report
from pipeline.tracks.reader import Tracks, open_tracks
from sptx_core.errors import InputError


def test_a_copy_in_another_folder_gives_the_same_bytes(tracks: Tracks, tmp_path: Path) -> None:
    first = write_report(tracks, str(tmp_path / "first.html"))
    shutil.copytree(tracks.store.path(), tmp_path / "elsewhere" / "table")
    copied = open_tracks(tmp_path / "elsewhere" / "table")
    write_report(copied, str(tmp_path / "second.html"))
    content = (tmp_path / "first.html").read_bytes()
    assert content == (tmp_path / "second.html").read_bytes()
    assert first == (str(tmp_path / "first.html"), len(content), "")
    assert str(tmp_path).encode() not in content
    assert b"<h1>table</h1>" in content


def test_an_object_store_gets_the_same(tracks: Tracks, tmp_path: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    write_report(tracks, str(tmp_path / "report.html"))
    done = write_report(tracks, "memory://reports/of/table.html")
    assert done.uri == "memory://reports/of/table.html"
    store = MemoryFileSystem()
    assert store.cat_file("/reports/of/table.html") == (tmp_path / "report.html").read_bytes()
    assert store.find("/reports") == ["/reports/of/table.html"]
    store.rm("/reports", recursive=True)


def test_a_uri_of_a_disk(tracks: Tracks, tmp_path: Path) -> None:
    assert write_report(tracks, f"file://{tmp_path}/report.html").bytes == (tmp_path / "report.html").stat().st_size


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ("", "give the name of a file"),
        ("folder/", "give the name of a file"),
        ("none/report.html", "there is no folder"),
        (".", "it is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused_before_the_table_is_read(
    to: str, told: str, tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.reporting.report.gather", None)
    with pytest.raises(InputError, match=told):
        write_report(tracks, to)
    assert not list(tmp_path.iterdir())


def test_a_table_that_cannot_be_read_leaves_what_was_there(tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table")
    next((tmp_path / "table" / "sites").rglob("*.parquet")).write_bytes(b"no Parquet")
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(InputError, match="cannot be read"):
        write_report(tracks, str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "table"]


def test_what_is_missing_of_the_table_is_returned(tmp_path: Path) -> None:
    tracks = reported.write(tmp_path / "table", shards=9)
    assert write_report(tracks, str(tmp_path / "report.html")).unfinished == "unfinished: 4 of 9 shards"
