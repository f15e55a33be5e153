"""Picture files: PNG and SVG, the same for the same figure, whole or not at all; and places that are refused."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from matplotlib import rcParams
from matplotlib.figure import Figure

from pipeline.views.pictures import picture_path, write_picture
from sptx_core.errors import InputError


def figure() -> Figure:
    drawn = Figure(figsize=(2, 1))
    drawn.subplots().plot([1, 2], [3, 5], label="line")
    return drawn


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a.svg"])
def test_the_same_figure_gives_the_same_file_over_what_is_there(tmp_path: Path, name: str) -> None:
    before = dict(rcParams)
    contents = []
    for _ in range(2):
        write_picture(figure(), picture_path(tmp_path / name))
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    if name == "a.svg":
        assert ElementTree.fromstring(contents[0]).tag.endswith("svg")
    else:
        assert contents[0].startswith(b"\x89PNG\r\n")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert dict(rcParams) == before


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gene.pdf", "is not the name of a picture: it must end in .png or .svg"),
        ("gene", "it must end in .png or .svg"),
        ("no/gene.png", "cannot be written: there is no folder"),
        ("folder.png", "is a folder"),
    ],
)
def test_places_that_are_refused(tmp_path: Path, target: str, message: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=message):
        picture_path(tmp_path / target)


def test_a_place_that_cannot_be_written() -> None:
    with pytest.raises(InputError, match=r"/proc/gene\.png cannot be written: "):
        write_picture(figure(), Path("/proc/gene.png"))


def test_the_module_needs_no_matplotlib() -> None:
    program = "import sys, pipeline.views.pictures; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
