"""The human example: real genes at their true positions, whole or refused, and commands that its files fit."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.example import human
from pipeline.example.human import DATA, GENES, HumanExample, write_human_example
from pipeline.inputs.annotation import read_annotation
from pipeline.inputs.genome import Genome
from sptx_core.alphabet import decode, reverse_complement
from sptx_core.checkpoint import load_checkpoint
from sptx_core.engine.predictor import Predictor
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

MAX_SEQUENCE_BYTES = 300_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> HumanExample:
    """The written example; tests leave its files as they are."""
    return write_human_example(tmp_path_factory.mktemp("human"))


@pytest.fixture(scope="module")
def transcripts(made: HumanExample) -> pl.DataFrame:
    return read_annotation(str(made.annotation)).transcripts


@pytest.mark.slow
def test_the_genes_lie_on_both_strands_and_their_introns_begin_with_gt_and_end_with_ag(
    made: HumanExample, transcripts: pl.DataFrame
) -> None:
    genome = Genome(str(made.genome))
    assert genome.lengths == {"chr9": 500_000}
    genes = transcripts.filter(pl.col("gene_name").is_in(GENES))
    assert dict(genes.select("gene_name", "strand").unique().iter_rows()) == {"DOCK8": "+", "CBWD1": "-"}
    motifs = []
    for strand, starts, ends in genes.select("strand", "exon_starts", "exon_ends").iter_rows():
        for start, end in zip(ends[:-1], starts[1:], strict=True):
            codes = genome.fetch("chr9", start, end)
            intron = decode(codes if strand == "+" else reverse_complement(codes))
            motifs.append(intron[:2] + intron[-2:])
    assert len(motifs) > 300
    assert motifs.count("GTAG") / len(motifs) > 0.97


def test_genes_that_the_stretch_cuts_are_left_out(transcripts: pl.DataFrame) -> None:
    assert transcripts["gene_name"].n_unique() == 16
    assert "KANK1" not in transcripts["gene_name"]  # which begins in the stretch and ends behind it
    assert transcripts["end"].max() <= 500_000


def test_what_is_shipped_is_small_and_says_whose_it_is() -> None:
    assert (DATA / human.GENOME).stat().st_size < MAX_SEQUENCE_BYTES
    notice = (DATA / human.NOTICE).read_text()
    for words in ("GRCh38", "GENCODE", "CI-SpliceAI", "Creative Commons Attribution 4.0", "Changed"):
        assert words in notice
    card = (DATA / human.CHECKPOINT / "README.md").read_text()
    assert "creativecommons.org/licenses/by/4.0" in card


def test_changes_of_the_example_have_the_genomes_bases(made: HumanExample) -> None:
    genome = Genome(str(made.genome))
    changes = [line.split("\t") for line in made.variants.read_text().splitlines() if not line.startswith("#")]
    assert len(changes) == 3
    for contig, pos, _, ref, *_ in changes:
        assert decode(genome.fetch(contig, int(pos) - 1, int(pos))) == ref


def test_the_network_predicts_sites_alone(made: HumanExample) -> None:
    config = load_checkpoint(made.checkpoint).config
    assert (config.layers, config.tissues, config.context) == (0, 0, 5000)


def test_other_files_are_left_alone_and_the_same_again(made: HumanExample) -> None:
    folder = made.genome.parent
    (folder / "mine").write_text("mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert write_human_example(folder) == made
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"the example in .*file cannot be written: "):
        write_human_example(tmp_path / "file")
    (tmp_path / "folder" / human.GENOME).mkdir(parents=True)
    with pytest.raises(InputError, match=r"the example in .*folder cannot be written: [^()]*[Ii]s a directory"):
        write_human_example(tmp_path / "folder")


def test_an_installation_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(human, "DATA", tmp_path)
    with pytest.raises(InputError, match=r"lacks genome\.fa\.gz, .*install sptx again"):
        write_human_example(tmp_path / "example")
    assert not (tmp_path / "example").exists()


@pytest.mark.slow
def test_the_command_says_what_to_try(tmp_path: Path, sptx_here: Callable[..., Any]) -> None:
    done = sptx_here("example", tmp_path)
    assert "CI-SpliceAI" in done.err
    lines = [shlex.split(line) for line in done.out.splitlines()]
    assert [words[:2] for words in lines] == [["sptx", name] for name in ("run", "plot", "evaluate", "variants")]
    named = {word for words in lines for word in words if word.startswith(str(tmp_path))}
    written = {path.name for path in map(Path, named) if path.exists()}
    assert written == {human.GENOME, human.ANNOTATION, human.CHECKPOINT, human.VARIANTS}
    assert "308,505 bases" in sptx_here("plan", *lines[0][2:]).out


def test_the_networks_scores_are_those_of_a_forward_pass_written_apart(made: HumanExample, shared: Path) -> None:
    apart = shared / "real" / "ci-spliceai.npz"
    if not apart.exists():
        pytest.skip("shared/real is not beside the repository")
    model, spec = SpTransformerModel.from_pretrained(made.checkpoint), WindowSpec(core=200, context=5000)
    codes = Genome(str(made.genome)).fetch("chr9", 162_350 - spec.context, 162_550 + spec.context)
    (scores,) = Predictor(model, spec, batch=1, path="shared").predict([reverse_complement(codes)])
    expected = np.load(apart)["minus_120000_180000"][:3, 162_350 - 120_000 : 162_550 - 120_000]
    np.testing.assert_allclose(scores[0, ::-1].T, expected, atol=2e-5)
    assert (expected[1:] > 0.9).sum(1).tolist() == [1, 1]  # acceptor and donor of an exon
