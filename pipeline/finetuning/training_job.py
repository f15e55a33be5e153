"""Settings of a training -> its inputs, read and checked together before any work begins.

In: a `FinetuneConfig`. Out: a `TrainingJob` with the examples of the three parts of the split and the fields that
define the training. Contigs of annotation, usage table and settings are matched to those of the FASTA; transcripts on
contigs that the FASTA lacks are left out, and so are those that the annotation leaves out, which are named.

Errors: `InputError` for inputs that cannot be read or do not belong together, for a contig in two parts of the split,
and for a part without transcripts, splice sites or measured usage to learn from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from pipeline.coordinates import ContigMap, reconcile_contigs, shortened
from pipeline.finetuning.examples import Examples
from pipeline.finetuning.labelled_sites import StrandLayout, make_genes, make_sites
from pipeline.finetuning.loop import TrainingOrder, batches_per_epoch
from pipeline.finetuning.network import starting_network
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.inputs.annotation import Annotation, check_spans, read_on_genome
from pipeline.inputs.genome import Genome
from pipeline.inputs.junctions import files_by_tissue, measure_usage
from pipeline.inputs.selection import Selection, select
from pipeline.inputs.usage import KEYS, read_usage
from sptx_core.channels import SPLICE
from sptx_core.errors import InputError
from sptx_core.losses import UNLABELLED
from sptx_core.model import SpTransformerModel
from sptx_core.words import counted

PARTS = ("train", "validation", "test")
_KEY_COLUMNS = ("chrom", "contig", "strand", "kind", "pos")  # of a usage table; all others are tissues

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """A training whose inputs have been checked.

    Attributes
    ----------
    order : TrainingOrder
        What each worker gets.
    fields : dict
        What defines the training, as JSON values: settings, and digests of genome, examples and checkpoint.
    parameters : int
        Number of parameters of the network.
    checkpoint_revision, encoders_revision : str or None
        Hub id and commit of the checkpoint, or of the network of trained encoders, if it came from the hub: what the
        workers load.

    """

    order: TrainingOrder
    fields: dict[str, Any]
    parameters: int
    checkpoint_revision: str | None = None
    encoders_revision: str | None = None


def prepare(config: FinetuneConfig, say: Say) -> TrainingJob:
    """Read and check the inputs of a training.

    Parameters
    ----------
    config : FinetuneConfig
        The settings; `output` is required.
    say : callable
        Called with lines for a person: how contigs were matched, and what each part of the split holds.

    Returns
    -------
    TrainingJob
        The checked training.

    Raises
    ------
    InputError
        An input or a setting cannot be used; see the module.

    """
    if config.output is None:
        raise InputError("setting `output` is required (--output): where to put the training")
    genome = Genome(config.fasta)
    annotation, contigs = read_on_genome(config.gtf, genome.lengths, say)
    say(f"contigs: {contigs.rule}")
    split = _split_contigs(config, genome)
    annotated = _on_genome(annotation.transcripts, contigs)
    check_spans(annotated, contigs, genome.lengths, config.gtf)
    selected = _on_genome(_selected(config, annotation), contigs)
    usage = _measured_usage(config, genome, say)
    usage_tissues = () if usage is None else tuple(name for name in usage.columns if name not in _KEY_COLUMNS)
    start = starting_network(config.checkpoint, config.network, usage_tissues, config.seed, config.encoders)
    network = start.model
    if config.core > network.config.max_seq_len:
        raise InputError(
            f"core = {config.core} exceeds the {network.config.max_seq_len} bases that the network predicts at once"
        )
    examples = _make_examples(config, genome, split, annotated, selected, usage, network)
    for part, some in examples.items():
        say(f"{part}: {_described(some, split[part])}")
        _check_learnable(some, part, config)
    train, validation, test = examples["train"], examples["validation"], examples.get("test")
    batches_per_epoch(train.epoch(config.seed, 0, config.empty_windows), config.batch)
    used = sorted({contig for some in examples.values() for contig in some.genes.contig})
    fields = {
        "settings": config.defining(),
        "genome": genome.digest(used),
        "examples": _digest(examples),
        "checkpoint": None if start.checkpoint is None else start.checkpoint.digest(),
        "encoders": None if start.encoders is None else start.encoders.digest(),
        "tissues": list(network.config.output_channels[len(SPLICE) :]),
    }
    pinned = {} if start.pinned is None else {"encoders" if config.encoders else "checkpoint": start.pinned}
    order = TrainingOrder(config.model_copy(update=pinned), usage_tissues, train, validation, test, config.output)
    revisions = (pinned.get("checkpoint"), pinned.get("encoders"))
    return TrainingJob(order, fields, sum(x.numel() for x in network.parameters()), *revisions)


def _split_contigs(config: FinetuneConfig, genome: Genome) -> dict[str, list[str]]:
    """FASTA names of the contigs of each part."""
    split: dict[str, list[str]] = {}
    for part, names in (("validation", config.validation), ("test", config.test), ("train", config.contigs)):
        found = reconcile_contigs(names, genome.lengths)
        if found.unmatched:
            flag = "contigs" if part == "train" else part
            raise InputError(
                f"{genome.uri} has no contig {found.unmatched[0]} (--{flag}); it has {shortened(list(genome.lengths))}"
            )
        split[part] = list(found.mapping.values())
    held_back = {*split["validation"], *split["test"]}
    if not split["train"]:
        split["train"] = [name for name in genome.lengths if name not in held_back]
    shared = sorted((set(split["validation"]) & set(split["test"])) | (set(split["train"]) & held_back))
    if shared:
        raise InputError(f"contig {shared[0]} is in two parts of the split, under two names; it can be in one only")
    return split


def _on_genome(transcripts: pl.DataFrame, contigs: ContigMap) -> pl.DataFrame:
    """Transcripts on contigs of the FASTA, whose names are added as chrom."""
    known = transcripts.filter(pl.col("contig").is_in(list(contigs.mapping)))
    return known.with_columns(chrom=pl.col("contig").replace(contigs.mapping))


def _selected(config: FinetuneConfig, annotation: Annotation) -> pl.DataFrame:
    return select(annotation, Selection(genes=config.genes, biotypes=config.biotypes, tags=config.tags))


def _measured_usage(config: FinetuneConfig, genome: Genome, say: Say) -> pl.DataFrame | None:
    """Read or compute the measured usage, if there is any; its contigs become chrom, named as in the FASTA."""
    if config.usage is not None:
        source, table = config.usage, read_usage(config.usage)
    elif config.junctions:
        source, table = "--junctions", measure_usage(files_by_tissue(config.junctions), say=say)
    else:
        return None
    contigs = reconcile_contigs(table["contig"].unique(maintain_order=True), genome.lengths)
    if not contigs.mapping:
        raise InputError(f"{source} and {genome.uri} have no contig in common: one of them is of another genome")
    return _on_genome(table, contigs).drop("contig")


def _make_examples(
    config: FinetuneConfig,
    genome: Genome,
    split: Mapping[str, list[str]],
    annotated: pl.DataFrame,
    selected: pl.DataFrame,
    usage: pl.DataFrame | None,
    network: SpTransformerModel,
) -> dict[str, Examples]:
    """Examples of each part of the split; "test" is absent when no contig is held back for it."""
    layout = StrandLayout(genome.lengths)
    sites = make_sites(annotated, selected, usage, network.config.output_channels[len(SPLICE) :], layout)
    examples: dict[str, Examples] = {}
    for part in PARTS:
        transcripts = selected.filter(pl.col("chrom").is_in(split[part]))
        if not transcripts.is_empty():
            genes = make_genes(transcripts, layout)
            within = sites.within(genes)
            examples[part] = Examples(genome, genes, within, config.core, network.config.context, config.flanks)
        elif part == "train" and not split[part]:
            raise InputError("no contig is left to train on: --validation and --test hold all of them back")
        elif part != "test" or split[part]:
            raise InputError(f"no selected transcript lies on the {part} contigs ({shortened(split[part])})")
    return examples


def _described(examples: Examples, contigs: list[str]) -> str:
    sites = int((examples.sites.label != UNLABELLED).sum())
    with_usage = int((~np.isnan(examples.sites.usage)).any(1).sum())
    return (
        f"{counted(len(examples.genes), 'gene')} ({counted(examples.genes.bases, 'base')}) on {shortened(contigs)}, "
        f"{counted(sites, 'splice site')}, {with_usage:,} of them with usage"
    )


def _check_learnable(examples: Examples, part: str, config: FinetuneConfig) -> None:
    if not (examples.sites.label != UNLABELLED).any():
        raise InputError(f"the selected transcripts of the {part} contigs have no splice site: nothing to learn there")
    source = config.usage or ("--junctions" if config.junctions else None)
    if source is not None and bool(np.isnan(examples.sites.usage).all()):
        raise InputError(
            f"{source} has no usage of a splice site on the {part} contigs; do its positions "
            f"({', '.join(KEYS)}, 1-based) belong to {config.gtf}?"
        )


def _digest(examples: Mapping[str, Examples]) -> str:
    """SHA-256 of the genes, sites and usage of all parts, in the order of `PARTS`."""
    sha = hashlib.sha256()
    for part in PARTS:
        if part not in examples:
            continue
        genes, sites = examples[part].genes, examples[part].sites
        sha.update("\t".join(genes.contig).encode())
        for array in (genes.minus, genes.start, genes.end, sites.absolute, sites.label, sites.usage):
            sha.update(array.tobytes())
    return sha.hexdigest()
