"""Bases around called sites in transcription order on both strands, and the heights of letters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from material import tables

from pipeline.evaluation.logo import LETTERS, WINDOWS, Logo, Window, count_bases

Part = tables.Part
WIDTHS = {kind: window.before + 1 + window.after for kind, window in WINDOWS.items()}
COMPLEMENT = str.maketrans("ACGT", "TGCA")


def around(kind: str) -> str:
    """A window with no symmetry to hide a wrong turn in: GT after the donor, AG before the acceptor."""
    before, after = WINDOWS[kind]
    text = "".join("ACGTTCA"[at % 7] for at in range(before + 1 + after))
    if kind == "donor":
        return f"{text[: before + 1]}GT{text[before + 3 :]}"
    return f"{text[: before - 2]}AG{text[before:]}"


def consensus(logo: Logo) -> str:
    return "".join(LETTERS[at] for at in logo.counts.argmax(axis=1))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("strand", ["+", "-"])
@pytest.mark.parametrize("kind", ["acceptor", "donor"])
def test_a_called_site_is_read_in_transcription_order(tmp_path: Path, kind: str, strand: str, exact: bool) -> None:
    window = around(kind)
    plus = window if strand == "+" else window[::-1].translate(COMPLEMENT)
    site = WINDOWS[kind].before if strand == "+" else WINDOWS[kind].after
    bases = "CC" + plus + "GGG"
    score = {"acceptor": {}, "donor": {}} | {kind: {1_000 + 2 + site: 0.8}}
    tracks = tables.write(
        tmp_path, [Part("chr1", strand, range(1_000, 1_000 + len(bases)), bases=bases, **score)], exact=exact
    )
    logo = count_bases(tracks, {kind: 0.8})[kind]
    assert (logo.called, logo.partial, logo.counts.sum()) == (1, 0, WIDTHS[kind])
    assert consensus(logo) == window
    at = list(logo.offsets())
    two = slice(at.index(1), at.index(3)) if kind == "donor" else slice(at.index(-2), at.index(0))
    assert consensus(logo)[two] == ("GT" if kind == "donor" else "AG")


def test_windows_over_an_end_or_a_gap_are_left_out_and_the_threshold_is_kept(tmp_path: Path) -> None:
    pos = [*range(1, 61), *range(101, 161)]
    donor = {3: 0.9, 58: 0.9, 103: 0.9, 30: 0.9, 130: 0.5, 131: 0.4999}
    tracks = tables.write(tmp_path, [Part("chr1", "+", pos, donor=donor)])
    logo = count_bases(tracks, {"donor": 0.5})["donor"]
    assert (logo.called, logo.partial) == (5, 3)
    assert (logo.counts.sum(axis=1) == 2).all()


def test_windows_do_not_run_from_one_transcript_into_the_next(tmp_path: Path) -> None:
    part = Part(
        "chr1", "+", [*range(1, 31), *range(31, 61)], donor={29: 0.9, 45: 0.9}, transcripts=["A"] * 30 + ["B"] * 30
    )
    logo = count_bases(tables.write(tmp_path, [part]), {"donor": 0.5})["donor"]
    assert (logo.called, logo.partial) == (2, 1)


def test_n_does_not_count(tmp_path: Path) -> None:
    for strand in "+-":
        part = Part("chr1", strand, range(1, 42), donor={21: 0.9}, bases="A" * 20 + "N" + "A" * 20)
        logo = count_bases(tables.write(tmp_path / strand, [part]), {"donor": 0.5})["donor"]
        assert logo.counts.sum(axis=1).tolist() == [1] * 5 + [0] + [1] * 12
        assert logo.counts[0].argmax() == LETTERS.index("A" if strand == "+" else "T")
        assert np.isfinite(logo.heights()).all()


def test_heights_are_the_formula_of_schneider_and_stephens() -> None:
    counts = np.array([[100, 0, 0, 0], [25, 25, 25, 25], [50, 50, 0, 0], [0, 0, 0, 0], [80, 10, 5, 5]])
    heights = Logo("donor", Window(2, 2), counts, 100, 0).heights()
    correction = 3 / (2 * np.log(2) * 100)
    np.testing.assert_allclose(heights[0], [2 - correction, 0, 0, 0])
    np.testing.assert_allclose(heights[1], 0)
    np.testing.assert_allclose(heights[2], [0.5 * (1 - correction)] * 2 + [0, 0])
    np.testing.assert_allclose(heights[3], 0)
    bits = 2 + 0.8 * np.log2(0.8) + 0.1 * np.log2(0.1) + 0.1 * np.log2(0.05) - correction
    np.testing.assert_allclose(heights[4], bits * counts[4] / 100)
