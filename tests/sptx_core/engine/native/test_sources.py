"""The checksum changes with every source file."""

from pathlib import Path

import pytest

from sptx_core.engine.native import library
from sptx_core.engine.native.sources import checksum, sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sources."""
    (tmp_path / "ops").mkdir()
    (tmp_path / "a.cpp").write_text("one")
    (tmp_path / "ops" / "b.h").write_text("two")
    return tmp_path


def test_every_source_of_the_library_is_found() -> None:
    found = {path.relative_to(library.FOLDER / "cpp").as_posix() for path in sources(library.FOLDER / "cpp")}
    assert {"native.cpp", "float32.cpp", "modes.h", "ops/vectors.h", "convolutions/convolution.h"} <= found


def test_the_checksum_is_of_names_and_contents(folder: Path) -> None:
    before = checksum(folder)
    assert checksum(folder) == before
    found = {before}
    (folder / "ops" / "b.h").write_text("twO")
    found.add(checksum(folder))
    (folder / "ops" / "b.h").rename(folder / "ops" / "c.h")
    found.add(checksum(folder))
    (folder / "d.h").write_text("")
    found.add(checksum(folder))
    assert len(found) == 4


def test_other_files_do_not_count(folder: Path) -> None:
    before = checksum(folder)
    (folder / "a.o").write_text("compiled")
    (folder / "notes.md").write_text("notes")
    assert checksum(folder) == before


def test_without_sources_there_are_none(tmp_path: Path) -> None:
    assert sources(tmp_path / "missing") == []
