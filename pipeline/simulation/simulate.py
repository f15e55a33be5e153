"""`sptx simulate`: a generated genome, its annotation, and the true usage of its splice sites. SYNTHETIC.

In: a folder that does not exist or is empty, a seed, the number of contigs and their length. Out, in that folder:

    genome.fa.gz (.fai, .gzi)  bgzip FASTA, 60 bases a line, with runs of N; soft-masked stretches in lower case
    annotation.gtf.gz          GTF in GENCODE's style: lines of genes, transcripts and exons
    usage.parquet              the known answer, one row a splice site: contig, position (1-based, of the exon's base
                               beside the junction), strand, kind (acceptor or donor), and the usage in each tissue as
                               float32 from 0 to 1 in the order of `sptx_core.channels`, null where the gene is silent
    README.txt                 what this is and how it was made

`usage.parquet` holds the sites of every annotated intron and no others, sorted by contig, position and strand. The
rules of sites and usage are in `pipeline.simulation.signals`, the places of genes in `pipeline.simulation.layout`. The
same arguments give the same bytes with the same versions of NumPy, pyarrow and zlib. A contig does not depend on how
many others there are. `simulate_annotation` writes an annotation alone, as large as a real one
(`pipeline.simulation.annotation_only`).

Files are written to a hidden folder beside the target, which is renamed when all are complete.

Errors: `InputError` for arguments out of range and for a folder that is in use or cannot be written.
"""

from __future__ import annotations

import gzip
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from Bio.bgzf import BgzfWriter

from pipeline.inputs.genome import Genome
from pipeline.simulation.annotation_only import EXONS, GENES, TRANSCRIPTS, write_annotation
from pipeline.simulation.layout import MIN_CONTIG_BASES, Gene
from pipeline.simulation.sequence import Contig, make_contig
from pipeline.simulation.signals import CLUSTERED, SCATTERED
from sptx_core.alphabet import BASES
from sptx_core.channels import TISSUES
from sptx_core.errors import InputError
from sptx_core.files import writing
from sptx_core.words import counted

GENOME, ANNOTATION, USAGE, README = "genome.fa.gz", "annotation.gtf.gz", "usage.parquet", "README.txt"
_LINE_BASES = 60
_USAGE_DIGITS = 4  # so that exp(), which differs in its last bits between machines, gives the same files
_LETTERS = np.frombuffer((BASES + BASES.lower()).encode(), dtype=np.uint8)
_GTF_HEADER = (
    "##description: synthetic genes on a generated genome, not of any organism\n##provider: sptx\n##format: gtf\n"
)
USAGE_SCHEMA = pa.schema(
    [
        ("contig", pa.string()),
        ("position", pa.int64()),
        ("strand", pa.string()),
        ("kind", pa.string()),
        *((tissue, pa.float32()) for tissue in TISSUES),
    ],
    metadata={
        "description": "synthetic: splice sites of a generated genome and their usage by tissue, not of any organism",
        "position": "1-based; acceptor: first base of the exon, donor: last base of the exon, on its strand",
        "usage": "fraction of the gene's transcripts in the tissue that use the site; null: the gene is silent",
    },
)
_README = """\
SYNTHETIC DATA: a generated genome, not of any organism.

Made by: sptx simulate FOLDER --seed {seed} --contigs {contigs} --bases {bases}{clusters}
Holds: {genes}, {transcripts}, {sites}.

{genome}: sequence. {annotation}: genes. {usage}: the known answer, for each splice site the fraction of
its gene's transcripts that use it, by tissue; empty where the gene is silent. Positions count from 1: an acceptor's is
the first base of its exon, a donor's the last.

Sites are drawn from made-up matrices, sharper than any organism's, and usage follows a made-up formula. Scores of a
network on these files say that it can learn such rules, and nothing about real genomes. Rules: docs/simulate.md.
"""


class Simulated(NamedTuple):
    """Paths of the files of a generated genome, and how many genes, transcripts and splice sites it has."""

    genome: Path
    annotation: Path
    usage: Path
    genes: int
    transcripts: int
    sites: int


def simulate(
    folder: Path, *, seed: int = 1, contigs: int = 4, bases: int = 250_000, clusters: bool = False
) -> Simulated:
    """Write a generated genome.

    Parameters
    ----------
    folder : Path
        A folder that does not exist or is empty.
    seed : int
        0 or more.
    contigs : int
        Number of contigs, 1 or more.
    bases : int
        Length of each contig, `MIN_CONTIG_BASES` or more.
    clusters : bool
        Whether cassette exons hold regulators in clusters, whose effects cancel on the mean over exons.

    Returns
    -------
    Simulated

    Raises
    ------
    InputError
        For arguments out of range and for a folder that is in use or cannot be made.
    """
    if contigs < 1:
        raise InputError(f"--contigs {contigs}: a genome needs at least one")
    if bases < MIN_CONTIG_BASES:
        raise InputError(f"--bases {bases}: a contig needs at least {MIN_CONTIG_BASES:,} to be sure to hold a gene")
    _check_seed(seed)
    genes = transcripts = sites = 0
    with _atomic_folder(folder) as aside:
        with (
            BgzfWriter(str(aside / GENOME)) as fasta,  # type: ignore[no-untyped-call]
            _gzip_text(aside / ANNOTATION) as gtf,
            pq.ParquetWriter(aside / USAGE, USAGE_SCHEMA, compression="zstd") as truth,
        ):
            gtf.write(_GTF_HEADER.encode())
            for number in range(1, contigs + 1):
                contig = make_contig(seed, number, bases, CLUSTERED if clusters else SCATTERED)
                fasta.write(_fasta(contig))
                gtf.write("".join(line for gene in contig.layout.genes for line in _gtf_lines(gene)).encode())
                table = usage_table(contig)
                truth.write_table(table)
                genes += len(contig.layout.genes)
                transcripts += sum(len(gene.transcripts) for gene in contig.layout.genes)
                sites += len(table)
        Genome(str(aside / GENOME))  # builds the indexes beside it
        about = {"seed": seed, "contigs": contigs, "bases": bases, "genes": counted(genes, "gene")}
        about |= {"transcripts": counted(transcripts, "transcript"), "sites": counted(sites, "splice site")}
        files = {"genome": GENOME, "annotation": ANNOTATION, "usage": USAGE}
        flag = " --clusters" if clusters else ""
        (aside / README).write_text(_README.format(**about, **files, clusters=flag))
    return Simulated(folder / GENOME, folder / ANNOTATION, folder / USAGE, genes, transcripts, sites)


def simulate_annotation(
    folder: Path, *, seed: int = 1, genes: int = GENES, transcripts: int = TRANSCRIPTS, exons: int = EXONS
) -> Path:
    """Write an annotation of whole-genome size, without sequence or usage.

    Parameters
    ----------
    folder : Path
        A folder that does not exist or is empty.
    seed : int
        0 or more.
    genes, transcripts, exons : int
        How many the annotation holds.

    Returns
    -------
    Path
        The GTF.

    Raises
    ------
    InputError
        As `simulate`, and for numbers that contradict each other.
    """
    _check_seed(seed)
    with _atomic_folder(folder) as aside:
        write_annotation(aside / ANNOTATION, seed=seed, genes=genes, transcripts=transcripts, exons=exons)
        (aside / README).write_text(
            "SYNTHETIC DATA: an annotation of no organism and no sequence, to measure how long planning takes.\n\n"
            f"Made by: sptx simulate FOLDER --annotation-only --seed {seed} --genes {genes} "
            f"--transcripts {transcripts} --exons {exons}\n"
        )
    return folder / ANNOTATION


def usage_table(contig: Contig) -> pa.Table:
    """List the splice sites of a contig and their usage.

    Parameters
    ----------
    contig : Contig
        A generated contig.

    Returns
    -------
    pyarrow.Table
        One row a site, with the schema `USAGE_SCHEMA`, sorted by position and strand.
    """
    places: list[tuple[str, int, str, str]] = []
    rows: list[np.ndarray] = []
    for gene, usage in zip(contig.layout.genes, contig.usage, strict=True):
        for exon, of_tissue in zip(gene.exons, usage, strict=True):
            five, three = (exon.start + 1, exon.end) if gene.strand == "+" else (exon.end, exon.start + 1)
            for kind, position, lacking in (("acceptor", five, "first"), ("donor", three, "last")):
                if exon.role != lacking:
                    places.append((gene.contig, position, gene.strand, kind))
                    rows.append(of_tissue)
    values = np.round(np.stack(rows), _USAGE_DIGITS).astype(np.float32)
    columns = {tissue: pa.array(column, from_pandas=True) for tissue, column in zip(TISSUES, values.T, strict=True)}
    names = ("contig", "position", "strand", "kind")
    described = {name: list(column) for name, column in zip(names, zip(*places, strict=True), strict=True)}
    table = pa.table({**described, **columns}, schema=USAGE_SCHEMA)
    return table.sort_by([("position", "ascending"), ("strand", "ascending")])


def _fasta(contig: Contig) -> str:
    """The contig as text of a FASTA."""
    letters = _LETTERS[contig.codes + len(BASES) * contig.masked.astype(np.uint8)]
    text = letters.tobytes().decode()
    lines = (text[at : at + _LINE_BASES] for at in range(0, len(text), _LINE_BASES))
    return f">{contig.layout.contig} synthetic\n" + "\n".join(lines) + "\n"


def _gtf_lines(gene: Gene) -> Iterator[str]:
    """The line of the gene, then for each transcript its line and its exons' lines, numbered in transcription order."""
    place = f"{gene.contig}\tsptx_synthetic"
    of_gene = f'gene_id "{gene.id}"; '
    named = f'gene_type "{gene.type}"; gene_name "{gene.name}"; '

    def line(feature: str, start: int, end: int, attributes: str) -> str:
        return f"{place}\t{feature}\t{start + 1}\t{end}\t.\t{gene.strand}\t.\t{attributes}\n"

    yield line("gene", gene.start, gene.end, f"{of_gene}{named}level 3;")
    for order, transcript in enumerate(gene.transcripts, 201):  # GENCODE numbers transcripts from 201
        about = (
            f'{of_gene}transcript_id "{transcript.id}"; {named}transcript_type "{transcript.type}"; '
            f'transcript_name "{gene.name}-{order}"; '
        )
        tags = "".join(f' tag "{tag}";' for tag in transcript.tags)
        start, end = transcript.exons[0][0], transcript.exons[-1][1]
        yield line("transcript", start, end, f"{about}level 3;{tags}")
        in_order = transcript.exons if gene.strand == "+" else transcript.exons[::-1]
        for rank, (first, last) in enumerate(in_order, 1):
            exon_id = f"{gene.id.replace('SYNG', 'SYNE').partition('.')[0]}-{first + 1}-{last}"
            yield line("exon", first, last, f'{about}exon_number {rank}; exon_id "{exon_id}"; level 3;{tags}')


@contextmanager
def _gzip_text(path: Path) -> Iterator[gzip.GzipFile]:
    """Open a gzip file for writing; its header holds no time and no name, so equal texts give equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as stream:
        yield stream


@contextmanager
def _atomic_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write to; it is renamed to `folder` at the end, or removed after an error."""
    folder = folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir()) or folder == Path.cwd()):
        raise InputError(f"{folder} exists and is no empty folder, or is the working folder; name a new one")
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror}") from error
    try:
        with writing(folder):
            yield aside
            for path in aside.iterdir():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            aside.replace(folder)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _check_seed(seed: int) -> None:
    """NumPy takes no negative seeds."""
    if seed < 0:
        raise InputError(f"--seed {seed}: give 0 or more")
