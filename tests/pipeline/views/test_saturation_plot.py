"""Maps of changes: cells have the colours of gain and loss, lines follow one another, and nothing overlaps."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from material import gene, saturated, variant_tables
from material.genomes import write_gtf
from material.saturated import FIRST, LAST
from material.variant_tables import scored
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.inputs.annotation import Annotation, read_annotation
from pipeline.variants.reader import Variants
from pipeline.views.pictures import COLOURS
from pipeline.views.saturation_plot import BOTH, LINE_BASES, draw_saturation
from pipeline.views.saturation_view import BASES, saturation_view


@pytest.fixture
def annotation(tmp_path: Path, strand: str) -> Annotation:
    return read_annotation(write_gtf(tmp_path / "genes.gtf", gene.transcripts(strand)))


def lines(figure: Figure) -> list[Axes]:
    """The axes of the lines, without the colour bar."""
    return [axes for axes in figure.axes if axes.get_yticklabels() and axes.get_yticklabels()[0].get_text() == "A"]


def test_cells_have_the_larger_of_gain_and_loss(saturation: Variants) -> None:
    (axes,) = lines(draw_saturation(saturation_view(saturation, "GENE")))
    mesh = next(found for found in axes.collections if isinstance(found, QuadMesh))
    values = np.ma.filled(mesh.get_array(), np.nan)
    for column, pos in enumerate(range(FIRST, LAST + 1)):
        for row, base in enumerate(BASES):
            gain, loss = (pos % 10) / 10, row / 10
            expected = gain if gain > loss else -loss
            if base == saturated.reference(pos):
                expected = 0.0
            elif (pos, base) == (1_100, "C"):
                expected = np.nan
            np.testing.assert_allclose(values[row, column], expected, atol=1e-6)
    assert mesh.get_clim() == (-1, 1)
    assert axes.get_xlim() == (FIRST - 0.5, LAST + 0.5)
    assert axes.yaxis_inverted()
    dots = next(line for line in axes.lines if line.get_marker() == ".")
    marked = {(int(x), BASES[int(y)]) for x, y in zip(*dots.get_data(), strict=True)}
    assert marked == {(pos, saturated.reference(pos)) for pos in range(FIRST, LAST + 1)}
    letters = {round(text.get_position()[0]): text.get_text() for text in axes.texts}
    assert letters == {pos: saturated.reference(pos) for pos in range(FIRST, LAST + 1)}


def test_cells_with_both_are_split(saturation: Variants) -> None:
    (axes,) = lines(draw_saturation(saturation_view(saturation, "GENE")))
    split = next(found for found in axes.collections if isinstance(found, PolyCollection) and found.get_label())
    found = {
        (int(path.vertices[:, 0].max() - 0.5), BASES[int(path.vertices[:, 1].min())]): value
        for path, value in zip(split.get_paths(), split.get_array(), strict=True)
    }
    expected = {}
    for pos in range(FIRST, LAST + 1):
        for row, base in enumerate(BASES):
            gain, loss = (pos % 10) / 10, row / 10
            if base != saturated.reference(pos) and gain >= BOTH and loss >= BOTH:
                expected[pos, base] = pytest.approx(-loss if gain > loss else gain)
    assert found == expected
    assert split.get_clim() == (-1, 1)


def test_exons_and_sites_lie_at_their_bases(saturation: Variants, annotation: Annotation, strand: str) -> None:
    (axes,) = lines(draw_saturation(saturation_view(saturation, "GENE", annotation=annotation)))
    boxes = [
        (to_hex(box.get_facecolor()), box.get_x(), box.get_width()) for box in axes.patches if type(box) is Rectangle
    ]
    site = COLOURS["donor" if strand == "+" else "acceptor"]
    assert set(boxes) == {("#404040", FIRST - 0.5, 10), (site, 1_099.5, 1)}


def test_a_long_stretch_is_set_in_even_lines(tmp_path: Path) -> None:
    last = 1_000 + 2 * LINE_BASES + 4
    rows = [scored("chr1", pos, "A", "C", record=pos, ds_ag=0.5) for pos in range(1_001, last + 1)]
    figure = draw_saturation(saturation_view(variant_tables.write(tmp_path / "table", rows), "chr1"))
    limits = [axes.get_xlim() for axes in lines(figure)]
    assert limits == [(1_000.5, 1_070.5), (1_070.5, 1_140.5), (1_140.5, last + 0.5)]
    widths = [axes.get_position().width for axes in lines(figure)]
    assert widths[0] == widths[1]
    assert widths[2] == pytest.approx(widths[0] * (last - 1_140) / 70)  # bases are equally wide
    tops = [axes.get_position().y1 for axes in lines(figure)]
    assert tops == sorted(tops, reverse=True)
    assert "not in the table" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_titles_say_what(saturation: Variants, strand: str) -> None:
    title, told = (text.get_text() for text in draw_saturation(saturation_view(saturation, "GENE")).texts)
    assert title == "GENE   chr1:1,091–1,110"
    assert told.startswith("59 single-base changes, bases of the plus strand")
    assert told.endswith("left to right" if strand == "+" else "right to left")


@pytest.mark.slow
@pytest.mark.parametrize("bases", [1, 230])
def test_labels_lie_inside_the_figure_and_apart(tmp_path: Path, bases: int) -> None:
    rows = [scored("chr1", pos, "A", "C", record=pos, ds_ag=0.5, ds_dl=0.4) for pos in range(99_960, 99_960 + bases)]
    annotation = read_annotation(write_gtf(tmp_path / "genes.gtf", gene.transcripts("+")))
    figure = draw_saturation(
        saturation_view(variant_tables.write(tmp_path / "table", rows), "chr1", annotation=annotation)
    )
    figure.draw_without_rendering()
    below = [label for axes in lines(figure) for label in axes.get_xticklabels() if label.get_text()]
    bar = [axes for axes in figure.axes if axes not in lines(figure)]
    words = [*below, *figure.texts, figure.legends[0], bar[0].xaxis.label, *bar[0].get_xticklabels()]
    boxes = [label.get_window_extent() for label in words]
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])
    for axes in lines(figure):
        letters = [text.get_window_extent() for text in axes.texts]
        assert not any(one.overlaps(other) for one, other in pairwise(letters))
