"""`prepare`: names are reconciled, and every bad input is refused in one sentence before Ray is started."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from material.genomes import gtf_line

from pipeline.batch.storage import Store
from pipeline.finetuning.finetune import create_or_resume
from pipeline.finetuning.loop import TrainingOrder
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.finetuning.training_job import TrainingJob, prepare
from pipeline.inputs.network import load_network
from pipeline.simulation.simulate import Simulated
from sptx_core.errors import InputError

Order = Callable[..., TrainingOrder]


def gtf_with(simulated: Simulated, folder: Path, change: Callable[[str], str]) -> str:
    path = folder / "changed.gtf"
    path.write_text(change(gzip.decompress(simulated.annotation.read_bytes()).decode()))
    return str(path)


def usage_with(simulated: Simulated, folder: Path, change: Callable[[pl.DataFrame], pl.DataFrame]) -> str:
    change(pl.read_parquet(simulated.usage)).write_parquet(folder / "usage.parquet")
    return str(folder / "usage.parquet")


def assert_same_examples(one: TrainingOrder, other: TrainingOrder) -> None:
    for name in ("train", "validation", "test"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.genes.contig == theirs.genes.contig
        for part in ("absolute", "label", "usage"):
            np.testing.assert_array_equal(getattr(mine.sites, part), getattr(theirs.sites, part))


def test_contigs_by_other_names_give_the_same_examples(order: Order, simulated: Simulated, tmp_path: Path) -> None:
    gtf = gtf_with(simulated, tmp_path, lambda text: text.replace("chr", ""))
    usage = usage_with(simulated, tmp_path, lambda frame: frame.with_columns(pl.col("contig").str.strip_prefix("chr")))
    renamed = order(tmp_path / "a", gtf=gtf, usage=usage, validation="2", test="3", contigs="1")
    assert_same_examples(order(tmp_path / "b"), renamed)
    assert not np.isnan(renamed.train.sites.usage).all()


def test_coding_sequence_stands_for_missing_exons(order: Order, simulated: Simulated, tmp_path: Path) -> None:
    def with_cds(text: str) -> str:
        genes = text.split("\tgene\t")
        return "\tgene\t".join(gene.replace("\texon\t", "\tCDS\t") if at % 2 else gene for at, gene in enumerate(genes))

    gtf = gtf_with(simulated, tmp_path, with_cds)
    assert Path(gtf).read_text().count("\tCDS\t") > 100
    assert_same_examples(order(tmp_path / "a", gtf=gtf), order(tmp_path / "b"))


def test_odd_transcripts_are_said_and_left_out(
    tiny_settings: dict[str, Any], order: Order, simulated: Simulated, tmp_path: Path
) -> None:
    odd = [gtf_line("chr1", "exon", at, at + 9, s, gene_id="O", transcript_id="ODD") for at, s in ((1, "+"), (99, "-"))]
    gtf = gtf_with(simulated, tmp_path, lambda text: "\n".join([text.rstrip("\n"), *odd, ""]))
    said: list[str] = []
    config = FinetuneConfig.load(None, {**tiny_settings, "gtf": gtf, "output": str(tmp_path / "a")})
    assert_same_examples(prepare(config, said.append).order, order(tmp_path / "b"))
    assert said[0] == f"left out of {gtf}: 1 transcript with exons on several contigs or strands (ODD)"
    assert said[1] == "contigs: 3 by the same name"


def test_each_contig_belongs_to_one_part(order: Order, tmp_path: Path) -> None:
    made = order(tmp_path)
    assert made.test is not None
    assert [set(part.genes.contig) for part in (made.train, made.validation, made.test)] == [
        {"chr1"},
        {"chr2"},
        {"chr3"},
    ]
    assert order(tmp_path, test=(), contigs="chr3").train.genes.contig == made.test.genes.contig


def test_sites_of_transcripts_that_are_not_selected_are_left_out_not_labelled_as_no_site(
    order: Order, tmp_path: Path
) -> None:
    coding = order(tmp_path, tags="MANE_Select", test=()).train
    whole = order(tmp_path, test=()).train
    inside = np.isin(whole.sites.absolute, coding.sites.absolute)
    assert np.array_equal(coding.sites.absolute, whole.sites.absolute[inside])
    assert 0 < (coding.sites.label > 0).sum() < (whole.sites.label[inside] > 0).sum()


def test_transcripts_beyond_the_contig_are_refused_selected_or_not(
    order: Order, simulated: Simulated, tmp_path: Path
) -> None:
    names = {"gene_id": "G", "transcript_id": "BEYOND", "transcript_type": "x"}
    lines = [gtf_line("chr1", "exon", *span, **names) for span in ((100, 200), (39_990, 40_010))]
    gtf = gtf_with(simulated, tmp_path, lambda text: "\n".join([text.rstrip("\n"), *lines, ""]))
    with pytest.raises(InputError, match=r"transcript BEYOND ends at chr1:40010, but contig chr1 .* has 40000 bases"):
        order(tmp_path, gtf=gtf, biotypes="protein_coding")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": None}, "setting `output` is required (--output)"),
        ({"test": "2"}, "contig chr2 is in two parts of the split, under two names"),
        ({"contigs": ["chr1", "3"]}, "contig chr3 is in two parts of the split, under two names"),
        ({"validation": "chr9"}, "has no contig chr9 (--validation); it has chr1, chr2, chr3"),
        ({"test": ["chr3", "chrX"]}, "has no contig chrX (--test)"),
        ({"contigs": "chr7"}, "has no contig chr7 (--contigs)"),
        ({"validation": "chr1,chr2,chr3", "test": None}, "no contig is left to train on: --validation and --test hold"),
        ({"network": {"heads": 3}}, "must be a multiple of heads"),
        ({"network": {"depth": 3}}, "has no setting depth"),
        ({"usage": None}, "a new network learns tissues from a usage table"),
        ({"core": 129}, "core = 129 exceeds the 128 bases"),
        ({"batch": 400}, "windows to train on are less than a batch (400)"),
        ({"genes": "NO_SUCH"}, "has no gene NO_SUCH"),
        ({"fasta": "/no/such.fa"}, "/no/such.fa does not exist"),
        ({"usage": "/no/such.tsv"}, "/no/such.tsv does not exist"),
        ({"usage_weigth": 2}, "unknown setting `usage_weigth`"),
    ],
)
def test_inputs_and_settings_that_do_not_belong_together(
    refused: Callable[..., str], tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    said = refused(**changed)
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "training").exists()


@pytest.mark.slow
def test_usage_of_no_site(refused: Callable[..., str], simulated: Simulated, tmp_path: Path) -> None:
    moved = usage_with(simulated, tmp_path, lambda frame: frame.with_columns(pl.col("position") + 1))
    assert "has no usage of a splice site on the train contigs" in refused(usage=moved)
    part = usage_with(simulated, tmp_path, lambda frame: frame.filter(pl.col("contig") != "chr2"))
    assert "has no usage of a splice site on the validation contigs" in refused(usage=part)
    other = usage_with(simulated, tmp_path, lambda frame: frame.with_columns(contig=pl.lit("scaffold")))
    assert "have no contig in common" in refused(usage=other)


def test_an_annotation_of_another_genome(refused: Callable[..., str], simulated: Simulated, tmp_path: Path) -> None:
    other = gtf_with(simulated, tmp_path, lambda text: text.replace("chr", "scaffold"))
    assert "no selected transcript lies on the train contigs" in refused(gtf=other)


def test_transcripts_without_an_intron(refused: Callable[..., str], simulated: Simulated, tmp_path: Path) -> None:
    def first_exons(text: str) -> str:
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if "\texon\t" not in line or "exon_number 1;" in line)

    said = refused(gtf=gtf_with(simulated, tmp_path, first_exons))
    assert "the selected transcripts of the train contigs have no splice site" in said


def test_workers_load_the_commit_of_the_hub_that_was_checked(
    tiny_settings: dict[str, Any], start: Path, hub: Any, tmp_path: Path
) -> None:
    commit = hub.put_folder("someone/network", start)
    changed = {"network": None, "checkpoint": "someone/network", "output": str(tmp_path / "training")}
    job = prepare(FinetuneConfig.load(None, {**tiny_settings, **changed}), lambda _: None)
    assert job.checkpoint_revision == job.order.config.checkpoint == f"someone/network@{commit}"
    here = prepare(FinetuneConfig.load(None, {**tiny_settings, **changed, "checkpoint": str(start)}), lambda _: None)
    assert here.checkpoint_revision is None
    assert here.order.config.checkpoint == str(start)
    assert here.fields == job.fields


@pytest.mark.slow
def test_encoders_are_recorded_and_pinned(tiny_settings: dict[str, Any], start: Path, hub: Any, tmp_path: Path) -> None:
    commit = hub.put_folder("someone/network", start)
    sizes = {"max_seq_len": 128, "hidden_size": 16, "heads": 4, "bucket_size": 16}
    changed = {"network": sizes, "output": str(tmp_path / "training"), "freeze": "encoders"}

    def job_with(place: str | None, **others: Any) -> TrainingJob:
        settings = {**tiny_settings, **changed, "encoders": place, **others}
        return prepare(FinetuneConfig.load(None, settings), lambda _: None)

    from_hub, here = job_with("someone/network"), job_with(str(start))
    assert from_hub.encoders_revision == from_hub.order.config.encoders == f"someone/network@{commit}"
    assert from_hub.checkpoint_revision is None
    assert here.encoders_revision is None
    assert here.fields == from_hub.fields
    assert here.fields["encoders"] == load_network(str(start)).digest()
    without = job_with(None, network={**tiny_settings["network"], **sizes}, freeze="nothing").fields
    assert without["encoders"] is None
    store = Store(str(tmp_path / "record"))
    create_or_resume(store, {name: x for name, x in without.items() if name != "encoders"})  # of an older version
    create_or_resume(store, without)
    with pytest.raises(InputError, match="differs in encoders"):
        create_or_resume(store, {**without, "encoders": here.fields["encoders"]})
