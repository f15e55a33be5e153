"""Plots: the files, their sizes, that something is drawn, and that letters and points lie where they should."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from material import genomes, tables
from matplotlib.image import imread

from pipeline.cli import main
from pipeline.evaluation.correlation import Correlation
from pipeline.evaluation.evaluate import Evaluation, evaluate
from pipeline.evaluation.logo import Logo, Window
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.usage import read_usage
from pipeline.tracks.reader import Tracks
from pipeline.views import evaluation_plots as plots
from sptx_core.channels import TISSUES

EXONS = [(101 + 40 * at, 120 + 40 * at) for at in range(8)]


@pytest.fixture
def evaluated(tmp_path: Path) -> tuple[Tracks, Evaluation]:
    dice = np.random.default_rng(6)
    bases = "".join(dice.choice(list("ACGT"), 40)) * 8  # every site has the same sequence around it
    usage = {at: dice.random(len(TISSUES)) for at in (120, 141)}
    scores = {
        "donor": {last: 0.9 - last / 1000 for _, last in EXONS[:-1]} | {200: 0.3},
        "acceptor": {first: 0.9 - first / 1000 for first, _ in EXONS[1:]} | {190: 0.95},
    }
    tracks = tables.write(
        tmp_path / "table", [tables.Part("chr1", "+", range(101, 421), **scores, usage=usage, bases=bases)]
    )
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [genomes.Transcript("A", "chr1", "+", EXONS)]))
    text = (
        "contig\tposition\tstrand\tkind\tbrain\tliver\nchr1\t120\t+\tdonor\t0.1\t0.2\nchr1\t141\t+\tacceptor\t0.5\t\n"
    )
    (tmp_path / "usage.tsv").write_text(text)
    return tracks, evaluate(tracks, annotation, read_usage(str(tmp_path / "usage.tsv")))


@pytest.mark.slow
def test_png_files_show_something(evaluated: tuple[Tracks, Evaluation], tmp_path: Path) -> None:
    paths = plots.draw_evaluation(*evaluated, tmp_path)
    assert [path.name for path in paths] == ["precision_recall.png", "calibration.png", "logo.png", "usage.png"]
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
        image = imread(path)
        assert min(image.shape[:2]) > 200
        coloured = np.ptp(image[..., :3], axis=2) > 0.2
        assert coloured.sum() > 100


@pytest.mark.slow
def test_svg_files_are_the_same_twice(evaluated: tuple[Tracks, Evaluation], tmp_path: Path) -> None:
    contents = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        contents.append([path.read_bytes() for path in plots.draw_evaluation(*evaluated, folder, "svg")])
    assert contents[0] == contents[1]
    for content in contents[0]:
        assert ElementTree.fromstring(content).tag.endswith("svg")


def test_the_point_of_top_k_lies_where_precision_is_recall(evaluated: tuple[Tracks, Evaluation]) -> None:
    axes = plots.precision_recall(evaluated[1]).axes[0]
    points = [tuple(float(values[0]) for values in line.get_data()) for line in axes.lines if line.get_marker() == "o"]
    assert points == [(pytest.approx(6 / 7), pytest.approx(6 / 7)), (1.0, 1.0)]  # 190 takes an acceptor's place


def test_a_correlation_that_is_not_defined_has_no_bar() -> None:
    lines = (Correlation("brain", 9, 0.5, -0.25, 0, None, None), Correlation("all", 9, None, None, 0, None, None))
    spearman, pearson = plots.usage(lines).axes
    assert [bar.get_width() for bar in spearman.patches] == [0.5]
    assert [bar.get_width() for bar in pearson.patches] == [-0.25]
    assert pearson.get_xlim()[0] < -0.25


def test_letters_fill_their_share_and_the_highest_is_on_top() -> None:
    counts = np.array([[0, 0, 1000, 0], [700, 100, 100, 100], [0, 0, 0, 1000]])
    axes = plots.logo({"donor": Logo("donor", Window(1, 1), counts, 1000, 0)}).axes[0]
    boxes = [patch.get_path().get_extents() for patch in axes.patches if type(patch).__name__ == "PathPatch"]
    assert len(boxes) == 1 + 4 + 1
    assert boxes[0].height == pytest.approx(2, abs=0.01)
    assert (boxes[0].x0, boxes[0].x1) == pytest.approx((-1.48, -0.52))
    stack = boxes[1:5]
    assert [box.y0 for box in stack] == pytest.approx([0, *np.cumsum([box.height for box in stack])[:-1]])
    assert stack[-1].height == max(box.height for box in stack)


@pytest.mark.slow
def test_a_table_in_which_nothing_is_true_is_drawn(tmp_path: Path) -> None:
    tracks = tables.write(tmp_path / "table", [tables.Part("chr1", "+", range(1, 50))])
    annotation = read_annotation(genomes.write_gtf(tmp_path / "x.gtf", [genomes.Transcript("A", "chr1", "+", EXONS)]))
    paths = plots.draw_evaluation(tracks, evaluate(tracks, annotation), tmp_path)
    assert [path.stem for path in paths] == ["precision_recall", "calibration"]


def test_a_missing_matplotlib_is_named_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("matplotlib", "matplotlib.axes", "pipeline.views.evaluation_plots"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["sptx", "evaluate", str(tmp_path / "no table"), "--gtf", "no.gtf", "--to", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert "install sptx[plots]" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()
