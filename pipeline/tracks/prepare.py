"""Settings in, a checked job out: annotation, genome and checkpoint are read together before any work.

What does not fit (contig names, ends beyond contigs, tensors, channels) is refused here, so that nothing is computed
for a run that cannot end well. Transcripts that the annotation leaves out are counted and named.
"""

from __future__ import annotations

from pipeline.batch.job import Say
from pipeline.coordinates import (
    ContigMap,
    Interval,
    mitochondrion_note,
    parse_region,
    reconcile_contigs,
    require_contigs,
)
from pipeline.inputs.annotation import check_spans, read_on_genome
from pipeline.inputs.genome import Genome
from pipeline.inputs.network import load_network
from pipeline.inputs.selection import Selection, select
from pipeline.tracks.job import TracksJob
from pipeline.tracks.plan import make_plan
from pipeline.tracks.settings import RunConfig, TableSpec
from sptx_core.errors import InputError


def prepare(config: RunConfig, say: Say) -> TracksJob:
    """Read and check the inputs, and plan.

    Parameters
    ----------
    config
        The settings.
    say
        Hears what a person should know, a sentence at a time.

    Raises
    ------
    InputError
        An input cannot be read, or the inputs do not fit each other.

    """
    genome = Genome(config.fasta)
    annotation, contigs = read_on_genome(config.gtf, genome.lengths, say)
    regions = [parse_region(text, [*contigs.mapping, *contigs.unmatched, *genome.lengths]) for text in config.regions]
    selection = Selection(
        genes=config.genes,
        transcripts=config.transcripts,
        regions=tuple(regions),
        contigs=config.contigs,
        biotypes=config.biotypes,
        tags=config.tags,
    )
    selected = select(annotation, selection)
    used = selected["contig"].unique(maintain_order=True).to_list()
    own = ContigMap(
        {name: contigs.mapping[name] for name in used if name in contigs.mapping},
        tuple(name for name in used if name not in contigs.mapping),
        contigs.rule,
    )
    require_contigs(own, genome.lengths)
    check_spans(selected, own, genome.lengths, config.gtf)
    say(f"contigs: {own.rule}")
    note = mitochondrion_note(own.mapping, genome.lengths)
    if note:
        say(note)
    network = load_network(config.checkpoint)
    sizes = network.model.config
    if config.core > sizes.max_seq_len:
        raise InputError(
            f"core = {config.core} exceeds the {sizes.max_seq_len} bases that the network of "
            f"{config.checkpoint} predicts at once"
        )
    spec = TableSpec.of(config, network.channels, sizes.context)
    plan = make_plan(
        selected.with_columns(selected["contig"].replace_strict(own.mapping).alias("contig")),
        genome.lengths,
        spec=spec.windows,
        flanks=spec.flanks,
        windows_per_shard=config.windows_per_shard,
        regions=[_in_genome(region, own, genome.lengths) for region in regions],
        annotation_names={held: name for name, held in own.mapping.items()},
    )
    return TracksJob(config, plan, spec, network, genome, own)


def _in_genome(region: Interval, contigs: ContigMap, lengths: dict[str, int]) -> Interval:
    """`region` with the FASTA's contig name and a definite end."""
    renamed = reconcile_contigs([region.contig], lengths).mapping
    name = contigs.mapping.get(region.contig) or renamed.get(region.contig)
    if name is None:
        raise InputError(f"region {region}: the FASTA has no contig {region.contig}")
    end = lengths[name] if region.end is None else min(region.end, lengths[name])
    return Interval(name, region.start, end)
