"""Every input that does not fit: one clear sentence that says what is wrong and where, exit code 2, no table."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from Bio import bgzf
from material import genomes
from material.genomes import Transcript, gff3_line, gtf_line, write_gtf

from pipeline.tracks.job import TracksJob
from pipeline.tracks.prepare import prepare
from pipeline.tracks.settings import RunConfig


@pytest.fixture
def refused(example: Any, tmp_path: Path, sptx_here: Callable[..., Any]) -> Callable[..., str]:
    """Call `sptx run` with the example's inputs, some replaced, and return the sentence that it is refused with."""

    def call(*extra: object, **replaced: object) -> str:
        inputs = {"fasta": example.genome, "gtf": example.annotation, "checkpoint": example.checkpoint}
        inputs |= {"output": tmp_path / "table", **replaced}
        done = sptx_here(
            "run", *(part for name, value in inputs.items() for part in (f"--{name}", value)), *extra, code=None
        )
        assert done.code == 2
        assert not list(tmp_path.glob("table/**/*.parquet"))
        return done.err

    return call


def gtf_with(example: Any, folder: Path, change: Callable[[list[str]], list[str]]) -> Path:
    lines = gzip.decompress(example.annotation.read_bytes()).decode().splitlines()
    path = folder / "changed.gtf"
    path.write_text("\n".join(change(lines)) + "\n")
    return path


def test_contigs_that_match_nothing_list_both_sides(refused: Any, example: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line.replace("chr", "scaffold_") for line in lines])
    message = refused(gtf=gtf)
    assert "scaffold_1" in message
    assert "chr1" in message


@pytest.mark.slow
def test_contigs_in_the_other_style_are_reconciled(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line.removeprefix("chr") for line in lines])
    plan = sptx_here("plan", *example.inputs[:2], "--gtf", gtf, *example.inputs[4:])
    assert "2 by alias (1 -> chr1, 2 -> chr2)" in plan.err
    assert "34,740 bases" in plan.out


def test_a_transcript_beyond_its_contig(refused: Any, example: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line.replace("\t41900\t", "\t61900\t") for line in lines])
    message = refused(gtf=gtf)
    assert "61900" in message
    assert "60000 bases" in message
    assert "line" in message


def exon(strand: str, first: int, gene: str, transcript: str) -> str:
    return gtf_line("chr1", "exon", first, first + 99, strand, gene_id=gene, transcript_id=transcript, gene_name=gene)


ODD = [
    exon("+", 50_001, "TRANS", "TRANS.1"),
    exon("-", 51_001, "TRANS", "TRANS.1"),
    exon(".", 52_001, "ALPHA1", "LOST.1"),
]


def test_odd_transcripts_are_named_and_the_others_planned(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [*lines, *ODD])
    plan = sptx_here("plan", *example.inputs[:2], "--gtf", gtf, *example.inputs[4:])
    assert f"left out of {gtf}: 1 transcript with exons on several contigs or strands (TRANS.1)" in plan.err
    assert f"left out of {gtf}: 1 transcript without a strand (LOST.1)" in plan.err
    assert "34,740 bases" in plan.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "name", "fault"),
    [
        ("--transcripts", "EXT00000011.1,TRANS.1", "the exons of transcript TRANS.1 lie on several contigs"),
        ("--genes", "TRANS", "gene TRANS: "),
        ("--transcripts", "LOST.1", "transcript LOST.1 of"),
    ],
)
def test_odd_transcripts_are_refused_when_they_are_asked_for(
    refused: Any, example: Any, tmp_path: Path, flag: str, name: str, fault: str
) -> None:
    assert fault in refused(flag, name, gtf=gtf_with(example, tmp_path, lambda lines: [*lines, *ODD]))


@pytest.mark.slow
def test_a_transcript_across_the_origin_of_a_circular_contig(example: Any, sptx_here: Any, tmp_path: Path) -> None:
    gff3 = tmp_path / "a.gff3"
    lines = [
        gff3_line("2", "region", 1, 24_000, ID="2", Is_circular="true"),
        gff3_line("2", "mRNA", 23_901, 24_100, ID="across", Parent="g1"),
        gff3_line("2", "mRNA", 1_001, 1_100, ID="inside", Parent="g2"),
    ]
    gff3.write_text("\n".join(lines) + "\n")
    plan = sptx_here("plan", *example.inputs[:2], "--gtf", gff3, *example.inputs[4:])
    assert f"left out of {gff3}: 1 transcript beyond the end of a circular contig (across)" in plan.err
    assert "100 bases" in plan.out


def test_an_annotation_without_transcripts(refused: Any, example: Any, tmp_path: Path) -> None:
    gtf = gtf_with(example, tmp_path, lambda lines: [line for line in lines if "\tgene\t" in line or line[0] == "#"])
    assert "transcript" in refused(gtf=gtf)


def test_a_malformed_line_is_named_by_its_number(refused: Any, example: Any, tmp_path: Path) -> None:
    def spoil(lines: list[str]) -> list[str]:
        lines[4] = lines[4].replace("\t", " ", 1)
        return lines

    assert "line 5" in refused(gtf=gtf_with(example, tmp_path, spoil))


@pytest.mark.parametrize(
    ("flag", "value", "nearest"),
    [("--genes", "ALPHA2", "ALPHA1"), ("--tags", "MANE", "MANE_Select"), ("--transcripts", "EXT00000011.9", "EXT")],
)
def test_an_unknown_name_gets_the_nearest(refused: Any, flag: str, value: str, nearest: str) -> None:
    assert nearest in refused(flag, value)


def test_a_selection_that_leaves_nothing(refused: Any) -> None:
    assert "none, of 2 that pass genes ALPHA1, passes contigs chr2" in refused("--genes", "ALPHA1", "--contigs", "chr2")


def test_a_region_that_is_none(refused: Any) -> None:
    assert "chr1:200-100" in refused("--regions", "chr1:200-100")


def one_transcript(contig: str) -> Transcript:
    return Transcript("T", contig, "+", [(3_001, 3_150), (3_401, 3_600)], gene="GN")


LINE = b"ACGTTGCAAC" * 6 + b"\n"
ODD_BUT_SOUND = {
    "blank lines at the end": b">chr1\n" + 100 * LINE + b"\n\n",
    "blank lines between contigs": b">chr1\n" + 100 * LINE + b"\n\n>chr2\n" + LINE,
    "a short line, then blank ones": b">chr1\n" + 100 * LINE + b"ACGT\n\n\n>chr2\n" + LINE,
    "a byte order mark": b"\xef\xbb\xbf>chr1\n" + 100 * LINE,
}


@pytest.fixture
def prepared(example: Any, tmp_path: Path) -> Callable[..., tuple[TracksJob, str]]:
    """Plan one transcript of 600 bases from a FASTA: the job, and what was said on the way."""

    def call(content: bytes, contig: str, *, regions: str = "", index: bytes | None = None) -> tuple[TracksJob, str]:
        fasta, gtf = tmp_path / "g.fa", write_gtf(tmp_path / "a.gtf", [one_transcript(contig)])
        fasta.write_bytes(content)
        if index is not None:
            Path(f"{fasta}.fai").write_bytes(index)
        said: list[str] = []
        config = RunConfig(fasta=str(fasta), gtf=gtf, checkpoint=str(example.checkpoint), regions=regions)
        return prepare(config, said.append), "\n".join(said)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("kind", ODD_BUT_SOUND)
def test_odd_but_sound_genomes_are_planned(prepared: Any, kind: str) -> None:
    for index in (None, b"\xff\xfe\x00 no text"):
        job, _ = prepared(ODD_BUT_SOUND[kind], "chr1", index=index)
        assert job.size == 600


def test_a_genome_that_is_cut_short(refused: Any, tmp_path: Path) -> None:
    fasta = tmp_path / "g.fa.gz"
    with bgzf.BgzfWriter(str(fasta), "wb") as file:
        file.write(ODD_BUT_SOUND["blank lines at the end"])
    fasta.write_bytes(fasta.read_bytes()[:-40])
    gtf = write_gtf(tmp_path / "a.gtf", [one_transcript("chr1")])
    assert f"{fasta} is a damaged or cut bgzip file" in refused(fasta=fasta, gtf=gtf)


@pytest.mark.slow
@pytest.mark.parametrize("region", ["HLA-A*01:01:01:01", "HLA-A*01:01:01:01:3001-", "HLA-A*01:01:01:01:-3,600"])
def test_a_contig_with_colons_is_a_region(prepared: Any, region: str) -> None:
    name = "HLA-A*01:01:01:01"
    job, _ = prepared(f">{name}\n".encode() + 100 * LINE, name, regions=region)
    assert job.size == 600


@pytest.mark.slow
@pytest.mark.parametrize(
    ("regions", "bases"), [("chr1:3101", 500), ("1:3101-", 500), ("chr1:-3,100", 100), ("chr1:-3100,chr1:3501", 200)]
)
def test_open_regions_are_clipped_as_samtools_reads_them(prepared: Any, regions: str, bases: int) -> None:
    job, _ = prepared(ODD_BUT_SOUND["blank lines at the end"], "chr1", regions=regions)
    assert job.size == bases


@pytest.mark.parametrize("region", ["chr1:x", "chr1:", "chr1:0-5"])
def test_a_region_that_cannot_be_read(refused: Any, region: str) -> None:
    assert f"region '{region}'" in refused("--regions", region)


@pytest.mark.parametrize("command", ["plan", "run"])
def test_positions_that_the_table_cannot_hold(example: Any, sptx_here: Any, tmp_path: Path, command: str) -> None:
    bases, fasta = 2_160_000_000, tmp_path / "g.fa"
    with fasta.open("wb") as file:  # one line, of which the disk holds the ends
        file.write(b">chr4\n")
        file.seek(6 + bases - 4)
        file.write(b"ACGT\n")
    Path(f"{fasta}.fai").write_text(f"chr4\t{bases}\t6\t{bases}\t{bases + 1}\n")
    far = Transcript("Pt1.1", "chr4", "+", [(2_150_000_000, 2_150_000_200), (2_150_000_400, 2_150_000_600)])
    gtf = write_gtf(tmp_path / "a.gtf", [far])
    output = ("--output", tmp_path / "table")
    done = sptx_here(command, "--fasta", fasta, "--gtf", gtf, "--checkpoint", example.checkpoint, *output, code=2)
    assert "transcript Pt1.1 ends at base 2,150,000,600 of contig chr4" in done.err
    assert "2,147,483,647" in done.err
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize(
    ("annotated", "held", "length", "told"),
    [
        ("chrM", "chrM", 16_571, "chrM of the FASTA has 16,571 bases"),
        ("chrM", "MT", 16_569, "chrM of the annotation is taken to be MT of the FASTA"),
        ("chrM", "chrM", 16_569, None),
    ],
)
def test_a_mitochondrion_that_may_be_another_sequence_is_told(
    prepared: Any, annotated: str, held: str, length: int, told: str | None
) -> None:
    _, said = prepared(genomes.fasta({held: ("ACGTTGCAAC" * 1_658)[:length]}).encode(), annotated)
    assert (told in said) if told else ("16,571" not in said)


def test_a_missing_fasta(refused: Any, tmp_path: Path) -> None:
    assert "none.fa" in refused(fasta=tmp_path / "none.fa")


def test_a_plain_gzip_fasta_says_to_use_bgzip(refused: Any, example: Any, tmp_path: Path) -> None:
    fasta = tmp_path / "genome.fa.gz"
    fasta.write_bytes(gzip.compress(example.genome.read_bytes()))
    assert "bgzip" in refused(fasta=fasta)


def test_a_checkpoint_of_the_wrong_shape_names_its_tensors(refused: Any, example: Any, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tensors = safetensors.torch.load_file(example.checkpoint / "model.safetensors")
    name = next(name for name in tensors if tensors[name].dim() == 3)
    tensors[name] = tensors[name][:, :1].contiguous()
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text((example.checkpoint / "config.json").read_text())
    assert name in refused(checkpoint=folder)


def test_a_missing_checkpoint(refused: Any, tmp_path: Path) -> None:
    assert "none.ckpt" in refused(checkpoint=tmp_path / "none.ckpt")
