"""Plots of a variant: scores, changes and bars lie where the view says, labels lie apart and within the picture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from material import gene, gene_variants, variant_tables
from material.gene_variants import BRAIN, DELETION, INSERTION, LIVER, SNV, kind_at_ends
from material.genomes import write_gtf
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.inputs.annotation import Annotation, read_annotation
from pipeline.variants.reader import Variants
from pipeline.views.pictures import COLOURS, MUTED
from pipeline.views.variant_plot import CALLED, VARIANT, draw_variant
from pipeline.views.variant_view import variant_view
from sptx_core.channels import TISSUES


@pytest.fixture
def annotation(tmp_path: Path, strand: str) -> Annotation:
    return read_annotation(write_gtf(tmp_path / "genes.gtf", gene.transcripts(strand)))


def stems(axes: Axes) -> dict[str, dict[float, float]]:
    """Kind -> column -> height of the lines."""
    return {
        str(lines.get_label()): {low[0]: high[1] for low, high in lines.get_segments()}
        for lines in axes.collections
        if isinstance(lines, LineCollection)
    }


def bands(axes: Axes, colour: str) -> list[tuple[float, float]]:
    """Left and right edge of the bands of a colour."""
    found = [box for box in axes.patches if isinstance(box, Rectangle) and to_hex(box.get_facecolor()) == colour]
    return [(box.get_x(), box.get_x() + box.get_width()) for box in found]


def hatched(axes: Axes) -> list[tuple[float, float]]:
    return [(box.get_x(), box.get_x() + box.get_width()) for box in axes.patches if box.get_hatch()]


def dots(axes: Axes) -> dict[tuple[float, float], str]:
    """Place of a dot -> its fill."""
    return {
        (int(line.get_xdata()[0]), round(float(line.get_ydata()[0]), 6)): to_hex(line.get_markerfacecolor())
        for line in axes.lines
        if line.get_marker() == "o"
    }


@pytest.mark.slow
def test_there_are_no_bars_for_a_network_without_tissues(variants: Variants, annotation: Annotation) -> None:
    view = variant_view(variants, SNV, annotation=annotation)
    figure = draw_variant(dataclasses.replace(view, tissues=()))
    assert len(figure.axes) == len(draw_variant(view).axes) - 1
    bare = draw_variant(dataclasses.replace(view, tissues=(), models=None))
    assert len(bare.axes) == len(figure.axes) - 1


@pytest.mark.slow
def test_scores_before_and_after(variants: Variants, annotation: Annotation, strand: str) -> None:
    figure = draw_variant(variant_view(variants, SNV, annotation=annotation))
    transcripts, reference, _, alternative, _ = figure.axes
    kind, other = kind_at_ends(strand), "acceptor" if strand == "+" else "donor"
    assert stems(reference) == {kind: {99: pytest.approx(0.8)}, other: {}}
    assert stems(alternative) == {kind: {89: pytest.approx(0.4), 99: pytest.approx(0.1)}, other: {}}
    assert dots(reference) == {(99, 0.8): COLOURS[kind]}
    assert dots(alternative) == {(99, 0.1): COLOURS[kind], (89, 0.4): "#ffffff"}  # which is not annotated
    for axes in (transcripts, reference, alternative):
        assert bands(axes, VARIANT) == [(99.5, 100.5)]
        assert axes.get_xlim() == (-0.5, 200.5)
    assert reference.get_ylim() == alternative.get_ylim() == (0, 1.04)
    boxes = [(box.get_x(), box.get_width()) for box in transcripts.patches if to_hex(box.get_facecolor()) == "#404040"]
    assert boxes[0] == (-0.5, 100)  # 1,001 to 1,100


def test_gains_and_losses_have_labels_that_lead_to_them(variants: Variants, strand: str) -> None:
    _, strip, alternative, _ = draw_variant(variant_view(variants, SNV)).axes
    kind = kind_at_ends(strand)
    assert [text.get_text() for text in strip.texts] == [
        f"{kind} gain 0.40\n1,090 (\N{MINUS SIGN}11)",
        f"{kind} loss 0.70\n1,100 (\N{MINUS SIGN}1)",
    ]
    ends = [(line.get_xdata()[0], line.get_ydata()[0]) for line in strip.lines]
    assert ends == [(89, 0.0), (89, 1.0), (99, 0.0), (99, 1.0)]
    gone = [list(line.get_ydata()) for line in alternative.lines if line.get_linestyle() == ":"]
    assert gone == [[pytest.approx(0.1), pytest.approx(0.8)]]


@pytest.mark.slow
def test_bases_that_a_sequence_lacks_are_hatched(variants: Variants) -> None:
    reference, _, alternative, _ = draw_variant(variant_view(variants, DELETION)).axes
    assert (hatched(reference), hatched(alternative)) == ([], [(100.5, 106.5)])
    figure = draw_variant(variant_view(variants, INSERTION))
    reference, _, alternative, _ = figure.axes
    assert (hatched(reference), hatched(alternative)) == ([(100.5, 104.5)], [])
    labels = {label.get_text(): label.get_position()[0] for label in alternative.get_xticklabels()}
    assert labels["1,080"] == 60
    assert labels["1,160"] == 144  # four columns further
    assert "no such base" in [
        text.get_text() for text in draw_variant(variant_view(variants, INSERTION)).legends[0].texts
    ]


def test_bars_are_the_changes_of_usage(variants: Variants) -> None:
    usage = draw_variant(variant_view(variants, SNV)).axes[-1]
    bars = {box.get_y() + box.get_height() / 2: (box.get_width(), to_hex(box.get_facecolor())) for box in usage.patches}
    widths = [bars[place][0] for place in range(len(TISSUES))]
    expected = [{"brain": BRAIN, "liver": LIVER}.get(tissue, 0.0) for tissue in TISSUES]
    np.testing.assert_allclose(widths, expected)
    colours = [bars[place][1] for place in range(len(TISSUES))]
    assert [tissue for tissue, colour in zip(TISSUES, colours, strict=True) if colour == CALLED] == ["brain"]
    assert colours.count(MUTED) == len(TISSUES) - 1
    texts = {TISSUES[round(text.get_position()[1])]: text for text in usage.texts}
    assert texts["brain"].get_text() == "\N{MINUS SIGN}0.50  called, z 3.5"
    assert texts["liver"].get_text() == "+0.25"
    assert texts["brain"].get_position()[0] > 0 > texts["liver"].get_position()[0]  # beside the bar, not on it
    assert texts["skin"].get_text() == "0.00"
    assert [label.get_text() for label in usage.get_yticklabels() if label.get_fontweight() == "bold"] == ["brain"]
    assert usage.get_xlim() == (-1.05, 1.05)


@pytest.mark.slow
def test_what_must_be_known_of_calls_is_said(variants: Variants, tmp_path: Path) -> None:
    def told(table: Variants, variant: str) -> str:
        return str(draw_variant(variant_view(table, variant)).axes[-1].get_xlabel())

    assert told(variants, SNV).endswith("reference")
    assert told(variants, DELETION).endswith("(z is not calibrated for this run)")
    rows, sites = gene_variants.rows("+")
    weak = variant_tables.write(tmp_path / "weak", [rows[0] | {"d_splice": 0.26, "tissues": []}], sites)
    assert told(weak, SNV).endswith("(no tissue is called: d_splice is below 0.27)")
    few = variant_tables.write(tmp_path / "few", rows, sites, tissues=("brain", "liver"))
    assert told(few, SNV).endswith("reference")


def test_titles_say_what_and_how_much(variants: Variants, strand: str) -> None:
    figure = draw_variant(variant_view(variants, SNV))
    title, summary = (text.get_text() for text in figure.texts)
    sign = strand.replace("-", "\N{MINUS SIGN}")
    assert title == f"chr1:1,101 G>C   GENE ({sign})"
    ends, other = ("gain 0.40, loss 0.70", "gain 0.00, loss 0.00")
    acceptor, donor = (other, ends) if strand == "+" else (ends, other)
    assert summary == f"d_splice 0.70   acceptor {acceptor}   donor {donor}"


def test_positions_before_the_contig_have_no_label(tmp_path: Path) -> None:
    rows, _ = gene_variants.rows("+")
    near = rows[0] | {"pos": 50, "norm_pos": 50, "ds_dl": 0.0, "dl_pos": None, "ds_dg": 0.0, "dg_pos": None}
    table = variant_tables.write(tmp_path / "table", [near], variant_tables.around(near, {}, {}))
    axes = draw_variant(variant_view(table, "chr1-50-G-C")).axes[2]
    labels = {label.get_text(): label.get_position()[0] for label in axes.get_xticklabels()}
    assert labels
    assert all(int(text) >= 1 and column == int(text) + 50 for text, column in labels.items())


@pytest.mark.slow
@pytest.mark.parametrize("first", [1_001, 1_198])
def test_four_labels_at_an_edge_are_set_apart(tmp_path: Path, first: int) -> None:
    rows, sites = gene_variants.rows("+")
    for pos, event in enumerate(("ag", "al", "dg", "dl"), first):
        rows[0] |= {f"ds_{event}": 0.5, f"{event}_pos": pos, f"dp_{event}": pos - 1_101}
    figure = draw_variant(variant_view(variant_tables.write(tmp_path / "table", rows, sites), SNV))
    figure.draw_without_rendering()
    strip = figure.axes[1]
    boxes = [label.get_window_extent() for label in strip.texts]
    assert len(boxes) == 4
    assert all(strip.bbox.x0 <= box.x0 and box.x1 <= strip.bbox.x1 for box in boxes)
    assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])


@pytest.mark.slow
@pytest.mark.parametrize("variant", [SNV, INSERTION])
def test_labels_lie_inside_the_figure_and_apart(variants: Variants, annotation: Annotation, variant: str) -> None:
    figure: Figure = draw_variant(variant_view(variants, variant, annotation=annotation))
    figure.draw_without_rendering()
    transcripts, _, strip, alternative, usage = figure.axes
    beside = [*transcripts.get_yticklabels(), *usage.get_yticklabels()]
    below = [*alternative.get_xticklabels(), alternative.xaxis.label, *usage.get_xticklabels(), usage.xaxis.label]
    for labels in (strip.texts, beside, below, usage.texts, figure.texts, [usage.xaxis.label, figure.legends[0]]):
        boxes = [label.get_window_extent() for label in labels]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 for box in boxes)
        assert not any(one.overlaps(other) for at, one in enumerate(boxes) for other in boxes[:at])
