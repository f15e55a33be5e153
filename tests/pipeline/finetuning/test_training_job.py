"""`prepare`: names are reconciled, and every bad input is refused in one sentence before Ray is started."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipeline.batch import cluster as topology
from pipeline.cli import main as cli
from pipeline.finetuning.loop import TrainingOrder
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


def assert_same_lessons(one: TrainingOrder, other: TrainingOrder) -> None:
    for name in ("train", "validation", "test"):
        mine, theirs = getattr(one, name), getattr(other, name)
        assert mine.genes.contig == theirs.genes.contig
        for part in ("place", "label", "usage"):
            np.testing.assert_array_equal(getattr(mine.sites, part), getattr(theirs.sites, part))


def test_contigs_by_other_names_are_the_same_lessons(order: Order, simulated: Simulated, tmp_path: Path) -> None:
    gtf = gtf_with(simulated, tmp_path, lambda text: text.replace("chr", ""))
    usage = usage_with(simulated, tmp_path, lambda frame: frame.with_columns(pl.col("contig").str.strip_prefix("chr")))
    renamed = order(tmp_path / "a", gtf=gtf, usage=usage, validation="2", test="3", contigs="1")
    assert_same_lessons(order(tmp_path / "b"), renamed)
    assert not np.isnan(renamed.train.sites.usage).all()


def test_each_contig_teaches_one_part(order: Order, tmp_path: Path) -> None:
    made = order(tmp_path)
    assert made.test is not None
    assert [set(part.genes.contig) for part in (made.train, made.validation, made.test)] == [
        {"chr1"},
        {"chr2"},
        {"chr3"},
    ]
    assert order(tmp_path, test=(), contigs="chr3").train.genes.contig == made.test.genes.contig


def test_sites_of_transcripts_that_are_not_selected_are_left_out_not_taught_as_none(
    order: Order, tmp_path: Path
) -> None:
    coding = order(tmp_path, tags="MANE_Select", test=()).train
    whole = order(tmp_path, test=()).train
    inside = np.isin(whole.sites.place, coding.sites.place)
    assert np.array_equal(coding.sites.place, whole.sites.place[inside])
    assert 0 < (coding.sites.label > 0).sum() < (whole.sites.label[inside] > 0).sum()


def test_transcripts_beyond_the_contig_are_refused_selected_or_not(
    order: Order, simulated: Simulated, tmp_path: Path
) -> None:
    exons = [f'exon_number {n}; gene_id "G"; transcript_id "BEYOND"; transcript_type "x";' for n in (1, 2)]
    spans = ["100\t200", "39990\t40010"]
    lines = [f"chr1\tx\texon\t{span}\t.\t+\t.\t{exon}\n" for span, exon in zip(spans, exons, strict=True)]
    gtf = gtf_with(simulated, tmp_path, lambda text: text + "".join(lines))
    with pytest.raises(InputError, match=r"transcript BEYOND ends at chr1:40010, but contig chr1 .* has 40000 bases"):
        order(tmp_path, gtf=gtf, biotypes="protein_coding")


@pytest.fixture
def refused(
    lesson_file: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., str]:
    """Call `sptx finetune` with some settings changed; the sentence that it is refused with."""

    def no_ray(*_: Any, **__: Any) -> None:
        raise AssertionError("Ray is started")

    monkeypatch.setattr(topology, "session", no_ray)

    def call(*flags: object, **changed: Any) -> str:
        settings = lesson_file(**{"output": str(tmp_path / "training"), **changed})
        monkeypatch.setattr("sys.argv", ["sptx", "finetune", "--config", str(settings), *map(str, flags)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said
        return said.partition("sptx: ")[2]

    return call


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"output": None}, "setting `output` is required (--output)"),
        ({"validation": None}, "name the contigs that are held back for validation"),
        ({"test": "chr2"}, "contig chr2 is both in --validation and in --test"),
        ({"contigs": "chr3"}, "contig chr3 is both in --contigs and in --test"),
        ({"test": "2"}, "contig chr2 is in two parts of the split, under two names"),
        ({"contigs": ["chr1", "3"]}, "contig chr3 is in two parts of the split, under two names"),
        ({"validation": "chr9"}, "has no contig chr9 (--validation); it has chr1, chr2, chr3"),
        ({"test": ["chr3", "chrX"]}, "has no contig chrX (--test)"),
        ({"contigs": "chr7"}, "has no contig chr7 (--contigs)"),
        ({"validation": "chr1,chr2,chr3", "test": None}, "no selected transcript lies on the train contigs"),
        ({"checkpoint": "some"}, "give a checkpoint to start from (--checkpoint), or `network`"),
        ({"network": None}, "give a checkpoint to start from (--checkpoint), or `network`"),
        ({"network": {"heads": 3}}, "must be a multiple of heads"),
        ({"network": {"depth": 3}}, "has no setting depth"),
        ({"usage": None}, "a new network learns tissues from a usage table"),
        ({"core": 129}, "core = 129 exceeds the 128 bases"),
        ({"core": 0}, "setting `core` = 0"),
        ({"batch": 7, "workers": 2}, "batch (7) must be a multiple of workers (2)"),
        ({"batch": 400}, "windows to train on are less than a batch (400)"),
        ({"freeze": "body"}, "nothing of a new network can be frozen"),
        ({"genes": "NO_SUCH"}, "has no gene NO_SUCH"),
        ({"fasta": "/no/such.fa"}, "/no/such.fa does not exist"),
        ({"usage": "/no/such.tsv"}, "/no/such.tsv does not exist"),
        ({"usage_weigth": 2}, "unknown setting `usage_weigth`"),
        ({"learning_rate": 0}, "setting `learning_rate` = 0"),
        ({"epochs": -1}, "setting `epochs` = -1"),
    ],
)
def test_bad_settings(refused: Callable[..., str], tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    said = refused(**changed)
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "training").exists()


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


def test_a_folder_with_other_files_is_left_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "thesis.txt").write_text("mine")
    assert "holds other files (thesis.txt): choose an empty folder" in refused()
    assert [path.name for path in (tmp_path / "training").iterdir()] == ["thesis.txt"]


def test_an_output_that_cannot_be_written(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert "cannot be written" in refused(output=str(tmp_path / "file" / "training"))


@pytest.mark.parametrize(
    ("gpus", "flags", "room"),
    [
        (0, ["--workers", 4], 2),
        (1, ["--workers", 2], 1),
        (1, ["--workers", 16, "--batch", 16, "--gpus-per-worker", 0.1], 10),
    ],
)
def test_more_workers_than_fit_are_refused_not_waited_for(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, gpus: int, flags: list[Any], room: int
) -> None:
    cluster = topology.Cluster(embedded=True, nodes=1, cpus=2, cpus_per_node=2, gpus=gpus, log=Path("log"))
    monkeypatch.setattr(topology, "session", lambda *_, **__: nullcontext(cluster))
    said = refused(*flags)
    assert f"--workers {flags[1]} do not fit: there is room for {room}" in said
