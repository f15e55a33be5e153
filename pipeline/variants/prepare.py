"""Settings in, a checked job out: alleles, annotation, genome and checkpoint are read together before any work.

What does not fit (contig names, tensors, windows) is refused here. Alleles that cannot be scored are counted, and each
keeps its row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from pipeline.batch.job import Say
from pipeline.coordinates import ContigMap, mitochondrion_note, reconcile_contigs, require_contigs, shortened
from pipeline.inputs.annotation import check_spans, read_on_genome
from pipeline.inputs.genome import Genome
from pipeline.inputs.network import Network, load_network
from pipeline.inputs.selection import Selection, select
from pipeline.inputs.vcf import Vcf, VcfRecord, open_vcf
from pipeline.variants.alleles import Status
from pipeline.variants.entries import Annotator, Written
from pipeline.variants.genes import GeneIndex, gene_table
from pipeline.variants.geometry import Geometry
from pipeline.variants.haplotypes import joint_alleles
from pipeline.variants.job import VariantsJob
from pipeline.variants.plan import Plan, make_plan
from pipeline.variants.saturation import every_change, stretches
from pipeline.variants.settings import MAX_DELETION, Outside, SaturateConfig, ScoringConfig, VariantsConfig, Windows
from sptx_core.errors import InputError
from sptx_core.words import counted


def prepare_variants(config: VariantsConfig, say: Say) -> VariantsJob:
    """Read and check the inputs of `sptx variants`, and plan.

    Raises
    ------
    InputError
        An input cannot be read, or the inputs do not fit each other.

    """
    genome, genes = _genome_and_genes(config, say)
    annotator = Annotator(genome, {}, GeneIndex(genes), config.outside_genes, config.max_length)
    with open_vcf(config.vcf) as vcf:
        column = None if config.sample is None else vcf.header.sample(config.sample)
        frames = list(annotator.frames(_written(vcf, column, config.sample, annotator)))
    if not frames:
        raise InputError(f"{config.vcf} holds no records: there is nothing to score")
    _require_some_contig(annotator, genome, config.vcf)
    entries = pl.concat(frames)
    if config.haplotypes:
        joint = joint_alleles(entries, genome, config.distance)
        entries = pl.concat([entries, *annotator.frames(joint)])
        added = len(entries) - sum(map(len, frames))
        say(f"{counted(added, 'joint allele')} on haplotypes of {config.sample}")
    plan = make_plan(entries, genes, list(genome.lengths), config.alleles_per_shard)
    say(_told(plan))
    return _job(config, plan, genome)


def prepare_saturation(config: SaturateConfig, say: Say) -> VariantsJob:
    """Read and check the inputs of `sptx saturate`, and plan.

    Raises
    ------
    InputError
        As of `prepare_variants`.

    """
    genome, genes = _genome_and_genes(config, say)
    where = stretches(config, genes, genome)
    contigs: dict[str, str | None] = {one.contig: one.contig for one in where}
    annotator = Annotator(genome, contigs, GeneIndex(genes), Outside.SKIP, MAX_DELETION)
    written = every_change(where, genome, config.deletion_lengths(), config.insertions)
    frames = list(annotator.frames(written))
    if not frames:
        raise InputError(f"there is nothing to change: every base of {shortened(list(map(str, where)))} is N")
    entries = pl.concat(frames)
    plan = make_plan(entries, genes, list(genome.lengths), config.alleles_per_shard)
    say(_told(plan))
    return _job(config, plan, genome)


def _genome_and_genes(config: ScoringConfig, say: Say) -> tuple[Genome, pl.DataFrame]:
    """The genome and the selected genes, with the FASTA's names of contigs."""
    genome = Genome(config.fasta)
    annotation, contigs = read_on_genome(config.gtf, genome.lengths, say)
    selected = select(annotation, Selection(genes=config.genes, biotypes=config.biotypes))
    held = selected.filter(pl.col("contig").is_in(list(contigs.mapping)))
    lacking = [name for name in selected["contig"].unique(maintain_order=True) if name not in contigs.mapping]
    own = ContigMap({name: contigs.mapping[name] for name in held["contig"].unique(maintain_order=True)}, (), "")
    if held.is_empty():
        require_contigs(ContigMap({}, tuple(lacking), ""), genome.lengths)
    if lacking:
        say(f"genes on contigs that the FASTA lacks are left out: {shortened(lacking)}")
    check_spans(held, own, genome.lengths, config.gtf)
    note = mitochondrion_note(own.mapping, genome.lengths)
    if note:
        say(note)
    return genome, gene_table(held.with_columns(held["contig"].replace_strict(own.mapping).alias("contig")))


def _written(vcf: Vcf, column: int | None, sample: str | None, annotator: Annotator) -> Iterator[Written]:
    """Every ALT of every record; contigs are matched as they come, which fills the annotator's."""
    lengths = annotator.genome.lengths
    found: dict[str, str | None] = {}
    annotator.contigs = found
    for record in vcf.records():
        if record.chrom not in found:
            # Each by itself: two names of one contig (9, chr9) both stand for it, in whatever order they come.
            found[record.chrom] = record.chrom if record.chrom in lengths else _alias(record.chrom, lengths)
        fault = Status.MALFORMED if record.problem else None
        yield from _of_record(record, fault, column, sample)


def _alias(name: str, lengths: Mapping[str, int]) -> str | None:
    """The FASTA's name of a contig that it has by another name, None where it has none."""
    return reconcile_contigs([name], lengths).mapping.get(name)


def _of_record(record: VcfRecord, fault: Status | None, column: int | None, sample: str | None) -> Iterator[Written]:
    phased = {} if column is None or fault else _phased(record, column)
    for index, alt in enumerate(record.alts or ("",), 1):
        haplotype, phase_set = phased.get(index, (None, None))
        yield Written(
            *(record.number, index, record.chrom, record.pos, record.id, record.ref, alt, fault),
            *(sample, haplotype, phase_set),
        )


def _phased(record: VcfRecord, column: int) -> dict[int, tuple[int, str | None]]:
    """ALT -> haplotype (1 or 2; 0 for both) and phase set, of the ALTs whose haplotype is known."""
    genotype = record.genotype(column)
    found: dict[int, tuple[int, str | None]] = {}
    if genotype.problem or not genotype.alleles:
        return found
    if len(genotype.alleles) == 2 and genotype.alleles[0] == genotype.alleles[1]:
        if genotype.alleles[0]:
            found[genotype.alleles[0]] = (0, None)
        return found
    if not genotype.phased:
        return found
    for haplotype, allele in enumerate(genotype.alleles, 1):
        if allele:
            found[allele] = (haplotype, genotype.phase_set)
    return found


def _require_some_contig(annotator: Annotator, genome: Genome, vcf: str) -> None:
    """Refuse a file none of whose contigs the FASTA holds."""
    met = sorted(annotator.contigs)
    if not any(annotator.contigs.values()):
        raise InputError(
            f"no contig of {vcf} is in the FASTA: the VCF has {shortened(met)}, {genome.uri} holds "
            f"{shortened(list(genome.lengths))}; give the FASTA that the variants were called on"
        )


def _told(plan: Plan) -> str:
    """How many alleles there are, and what becomes of them."""
    listed = ", ".join(f"{count:,} {status}" for status, count in plan.statuses.items())
    return f"{counted(len(plan.entries), 'allele')}: {listed}"


def _job(config: ScoringConfig, plan: Plan, genome: Genome) -> VariantsJob:
    network = load_network(config.checkpoint)
    return VariantsJob(config, plan, _geometry(config, network), network, genome)


def _geometry(config: ScoringConfig, network: Network) -> Geometry:
    sizes = network.model.config
    if config.windows is Windows.CENTRED:
        return Geometry.of(config.distance, sizes.context, sizes.max_seq_len)
    if config.core > sizes.max_seq_len:
        raise InputError(
            f"core = {config.core} exceeds the {sizes.max_seq_len} bases that the network of "
            f"{config.checkpoint} predicts at once"
        )
    return Geometry.of(config.distance, sizes.context, sizes.max_seq_len, grid_core=config.core)
