"""Which transcripts a picture of variants shows, and where their splice sites lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from material import gene
from material.genomes import Transcript, write_gtf

from pipeline.inputs.annotation import Annotation, read_annotation
from pipeline.views import gene_models
from pipeline.views.gene_models import Models, models_of
from sptx_core.errors import InputError

ALIKE = Transcript("T3", "chr1", "+", [(1_050, 1_100), (1_401, 1_500)], gene="GENE")
OTHER = Transcript("X1", "chr1", "+", [(1_020, 1_090), (2_001, 2_100)], gene="OTHER")
FAR = Transcript("F1", "chr1", "+", [(5_001, 5_090), (6_001, 6_100)], gene="GENE")


def annotation(folder: Path, *, strand: str = "+", contig: str = "chr1") -> Annotation:
    own = [*gene.transcripts(strand), ALIKE, OTHER, FAR]
    return read_annotation(write_gtf(folder / "genes.gtf", [one._replace(contig=contig) for one in own]))


def seen(read: Annotation, strand: str = "+", gene_id: str | None = "G_GENE", first: int = 1_060) -> Models:
    found = models_of(read, "chr1", strand, gene_id, first, 1_450)
    assert found is not None
    return found


def test_transcripts_that_look_alike_share_a_row(tmp_path: Path) -> None:
    found = seen(annotation(tmp_path))
    assert found.labels == ["T1 (+1)", "T2"]  # the representative one first; T3 differs beyond the view alone
    assert found.transcripts["exon_starts"].to_list() == [[1_059, 1_401], [1_059, 1_451]]
    assert found.transcripts["exon_ends"].to_list() == [[1_100, 1_451], [1_100, 1_451]]
    assert seen(annotation(tmp_path), first=1_040).labels == ["T1", "T2", "T3"]


@pytest.mark.parametrize(("strand", "kinds"), [("+", ("donor", "acceptor")), ("-", ("acceptor", "donor"))])
def test_annotated_sites_are_those_in_the_view(tmp_path: Path, strand: str, kinds: tuple[str, str]) -> None:
    found = seen(annotation(tmp_path, strand=strand), strand)
    assert found.sites.rows() == [(1_100, kinds[0]), (1_401, kinds[1])]


def test_a_gene_goes_by_name_or_id_with_or_without_version(tmp_path: Path) -> None:
    versioned = [one._replace(own_gene_id="ENSG00000000001.7") for one in gene.transcripts("+")]
    read = read_annotation(write_gtf(tmp_path / "genes.gtf", versioned))
    for name in ("GENE", "ENSG00000000001", "ENSG00000000001.7", "ENSG00000000001.8"):
        assert seen(read, gene_id=name).labels == ["T1", "T2"], name


def test_a_gene_without_transcripts_here_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    read = annotation(tmp_path)
    assert models_of(read, "chr1", "+", "NONE", 1_060, 1_450, said.append) is None
    assert models_of(read, "chr1", "-", None, 1_060, 1_450, said.append) is None
    assert said == [
        f"{read.uri} has no transcript of NONE on chr1:1,060-1,450 (+)",
        f"{read.uri} has no transcript of any gene on chr1:1,060-1,450 (-)",
    ]


def test_without_a_gene_all_of_the_strand_are_shown(tmp_path: Path) -> None:
    assert seen(annotation(tmp_path), gene_id=None).labels == ["T1 (+1)", "T2", "X1"]


def test_contigs_match_by_the_rule_of_all_readers(tmp_path: Path) -> None:
    assert seen(annotation(tmp_path, contig="1")).labels
    with pytest.raises(InputError, match="has no contig chr7"):
        models_of(annotation(tmp_path), "chr7", "+", None, 1, 100)


def test_rows_that_are_not_drawn_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gene_models, "MAX_TRANSCRIPTS", 1)
    found = seen(annotation(tmp_path))
    assert (len(found.transcripts), found.labels) == (1, ["T1 (+1)", "and 1 more"])
