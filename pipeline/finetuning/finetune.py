"""`sptx finetune`: settings in, a trained network out. `prepare` checks everything before any work; `run` does it.

Below the output:

    training.json     what defines the training: settings and digests of the inputs; another one is refused here
    states/           saved states, the newest two (`pipeline.finetuning.states`)
    history.json      figures of every validation so far
    model/            the network of the best validation: model.safetensors and config.json, a checkpoint like any other
    report.json       how it ended: figures of the best validation and of the test contigs; written last

The same command again goes on after the newest state; a finished training is only reported.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import torch

from pipeline.batch import cluster
from pipeline.batch.storage import Store
from pipeline.batch.training import train
from pipeline.coordinates import ContigMap, reconcile_contigs, shortened
from pipeline.finetuning.examples import Examples, Line, make_genes, make_sites
from pipeline.finetuning.loop import Place, Training, TrainingOrder, whole_batches
from pipeline.finetuning.network import starting_network
from pipeline.finetuning.settings import FinetuneConfig
from pipeline.finetuning.validation import Figures, in_words
from pipeline.inputs.annotation import Annotation, check_spans, read_annotation
from pipeline.inputs.genome import Genome
from pipeline.inputs.junctions import files_by_tissue, measure_usage
from pipeline.inputs.selection import Selection, select
from pipeline.inputs.uris import local_checkpoint
from pipeline.inputs.usage import KEYS, read_usage
from pipeline.settings import ray_address
from sptx_core.channels import SPLICE
from sptx_core.checkpoint import CONFIG_FILE, TENSOR_FILE, checkpoint_digest
from sptx_core.errors import InputError
from sptx_core.losses import UNLABELLED
from sptx_core.model import SpTransformerModel

TRAINING_FILE, REPORT_FILE, MODEL_FOLDER = "training.json", "report.json", "model"
_NOT_TISSUES = ("chrom", "contig", "strand", "kind", "pos")

Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Job:
    """A checked training."""

    order: TrainingOrder
    fields: dict[str, Any]
    """What defines it."""
    parameters: int


def prepare(config: FinetuneConfig, say: Say) -> Job:
    """Read and check the inputs; `say` hears what a person should know."""
    if config.output is None:
        raise InputError("setting `output` is required (--output): where to put the training")
    annotation, genome = read_annotation(config.gtf), Genome(config.fasta)
    contigs = reconcile_contigs(annotation.transcripts["contig"].unique(maintain_order=True), genome.lengths)
    say(f"contigs: {contigs.rule}")
    parts = _split(config, genome)
    named = pl.col("contig").replace(contigs.mapping)
    annotated = annotation.transcripts.filter(pl.col("contig").is_in(list(contigs.mapping))).with_columns(chrom=named)
    check_spans(annotated, contigs, genome.lengths, config.gtf)
    selected = _selected(config, annotation, contigs)
    usage = _usage(config, genome, say)
    given = () if usage is None else tuple(name for name in usage.columns if name not in _NOT_TISSUES)
    network = starting_network(config.checkpoint, config.network, given, config.seed).model
    if config.core > network.config.max_seq_len:
        raise InputError(
            f"core = {config.core} exceeds the {network.config.max_seq_len} bases that the network predicts at once"
        )
    tissues = network.config.output_channels[len(SPLICE) :]
    line = Line(genome.lengths)
    sites = make_sites(annotated, selected, usage, tissues, line)

    def examples(part: str) -> Examples | None:
        here = selected.filter(pl.col("chrom").is_in(parts[part]))
        if here.is_empty():
            if part == "test" and not parts[part]:
                return None
            raise InputError(f"no selected transcript lies on the {part} contigs ({shortened(parts[part])})")
        genes = make_genes(here, line)
        core, context = config.core, network.config.context
        return Examples(genome, genes, sites.within(genes), core, context, config.flanks)

    train, validation, test = examples("train"), examples("validation"), examples("test")
    assert train is not None
    assert validation is not None
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        if part is not None:
            say(f"{name}: {_described(part, parts[name])}")
            _check_taught(part, name, config)
    whole_batches(train.epoch(config.seed, 0, config.empty_windows), config.batch)
    used = sorted({contig for part in (train, validation, test) if part is not None for contig in part.genes.contig})
    fields = {
        "settings": config.lasting(),
        "genome": genome.digest(used),
        "examples": _digest(train, validation, test),
        "checkpoint": None if config.checkpoint is None else checkpoint_digest(local_checkpoint(config.checkpoint)),
        "tissues": list(tissues),
    }
    order = TrainingOrder(config, given, train, validation, test, config.output)
    return Job(order, fields, sum(x.numel() for x in network.parameters()))


def run(job: Job, say: Say) -> dict[str, Any]:
    """Train, or go on training, and return the report."""
    store = Store(job.order.root)
    _adopt(store, job.fields)
    if store.exists(REPORT_FILE):
        say(f"done before: {store.uri(REPORT_FILE)}; another --output begins anew")
    else:
        _train(job, store, say)
    report: dict[str, Any] = json.loads(store.read_bytes(REPORT_FILE))
    return report


def _train(job: Job, store: Store, say: Say) -> None:
    """Have the training done by the workers of a Ray Train group."""
    order = job.order
    config = order.config
    address, use_gpus = ray_address(config.address), config.gpus_per_worker != 0
    with cluster.session(address, object_store_mb=config.object_store_mb, use_gpus=use_gpus) as joined:
        pool = cluster.choose_pool(joined, config.workers, config.threads, config.gpus_per_worker)
        room = int(joined.gpus / pool.gpus) if pool.gpus else int(joined.cpus)
        if pool.workers > room:  # they would wait for each other for ever
            raise InputError(f"--workers {pool.workers} do not fit: there is room for {room}")
        if joined.nodes > 1 and store.is_local:
            raise InputError(
                f"a cluster of {joined.nodes} nodes needs an --output that all of them reach, such as s3://; "
                f"{config.output} is a folder of one"
            )
        device = "GPU" if pool.gpus else f"CPU, {pool.threads} threads"
        say(f"{job.parameters:,} parameters, {pool.workers} x {device}, {config.precision.value}")
        say(f"Ray's own messages go to {joined.log}")
        train(partial(_work, order), pool, max_failures=config.max_failures, say=say)


def _work(order: TrainingOrder, rank: int, world: int, device: torch.device, say: Say) -> None:
    """What one worker does; the first of them writes the result."""
    training = Training(order, Place(rank, world, device), say)
    best, test = training.run()
    if rank == 0:
        _finish(training, best, test)


def _finish(training: Training, best: dict[str, torch.Tensor], test: Figures | None) -> None:
    """Write model/ and, last of all, the report."""
    store, state = training.store, training.state
    model = SpTransformerModel(training.network.config)
    model.load_state_dict(best)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name in (TENSOR_FILE, CONFIG_FILE):  # a checkpoint only once its config.json is there
            store.write_atomic(f"{MODEL_FOLDER}/{name}", (Path(folder) / name).read_bytes())
    judged = [found for found in state.history if found["loss"] is not None]
    report = {
        "steps": state.step,
        "best": min(judged, key=lambda found: found["loss"] or 0.0) if judged else None,
        "test": test,
        "model": store.uri(MODEL_FOLDER),
    }
    store.write_atomic(REPORT_FILE, _json(report))


def report_text(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    lines = [f"{report['steps']:,} steps; the network is in {report['model']}"]
    if report["best"]:
        lines.append(f"validation, step {report['best']['step']:,.0f}: {in_words(_figures(report['best']))}")
    if report["test"]:
        lines.append(f"test: {in_words(report['test'])}")
    return "\n".join(lines)


def _figures(found: dict[str, Any]) -> Figures:
    return {name: value for name, value in found.items() if name not in ("step", "epoch")}


def _split(config: FinetuneConfig, genome: Genome) -> dict[str, list[str]]:
    """FASTA names of the contigs of each part."""
    parts: dict[str, list[str]] = {}
    for part, names in (("validation", config.validation), ("test", config.test), ("train", config.contigs)):
        found = reconcile_contigs(names, genome.lengths)
        if found.unmatched:
            flag = "contigs" if part == "train" else part
            raise InputError(
                f"{genome.uri} has no contig {found.unmatched[0]} (--{flag}); it has {shortened(list(genome.lengths))}"
            )
        parts[part] = list(found.mapping.values())
    held = {*parts["validation"], *parts["test"]}
    if not parts["train"]:
        parts["train"] = [name for name in genome.lengths if name not in held]
    both = sorted((set(parts["validation"]) & set(parts["test"])) | (set(parts["train"]) & held))
    if both:
        raise InputError(f"contig {both[0]} is in two parts of the split, under two names: a contig has one part")
    return parts


def _selected(config: FinetuneConfig, annotation: Annotation, contigs: ContigMap) -> pl.DataFrame:
    """The selected transcripts that lie on contigs of the FASTA, with chrom."""
    selection = Selection(genes=config.genes, biotypes=config.biotypes, tags=config.tags)
    selected = select(annotation, selection).filter(pl.col("contig").is_in(list(contigs.mapping)))
    return selected.with_columns(chrom=pl.col("contig").replace(contigs.mapping))


def _usage(config: FinetuneConfig, genome: Genome, say: Say) -> pl.DataFrame | None:
    """The measured usage, if any, with contigs named as in the FASTA, in `chrom`."""
    if config.usage is not None:
        source, table = config.usage, read_usage(config.usage)
    elif config.junctions:
        source, table = "--junctions", measure_usage(files_by_tissue(config.junctions), say=say)
    else:
        return None
    contigs = reconcile_contigs(table["contig"].unique(maintain_order=True), genome.lengths)
    if not contigs.mapping:
        raise InputError(f"{source} and {genome.uri} have no contig in common: one of them is of another genome")
    known = table.filter(pl.col("contig").is_in(list(contigs.mapping)))
    return known.with_columns(chrom=pl.col("contig").replace(contigs.mapping)).drop("contig")


def _described(part: Examples, contigs: list[str]) -> str:
    sites = int((part.sites.label != UNLABELLED).sum())
    known = int((~torch.from_numpy(part.sites.usage).isnan()).any(1).sum())
    return (
        f"{len(part.genes):,} genes ({part.genes.bases:,} bases) on {shortened(contigs)}, {sites:,} splice sites, "
        f"{known:,} of them with usage"
    )


def _check_taught(part: Examples, name: str, config: FinetuneConfig) -> None:
    if not (part.sites.label != UNLABELLED).any():
        raise InputError(f"the selected transcripts of the {name} contigs have no splice site: nothing to learn there")
    source = config.usage or ("--junctions" if config.junctions else None)
    if source is not None and bool(torch.from_numpy(part.sites.usage).isnan().all()):
        raise InputError(
            f"{source} has no usage of a splice site on the {name} contigs; do its positions "
            f"({', '.join(KEYS)}, 1-based) belong to {config.gtf}?"
        )


def _digest(*parts: Examples | None) -> str:
    """SHA-256 of all genes, sites and usage."""
    sha = hashlib.sha256()
    for part in parts:
        if part is None:
            continue
        genes, sites = part.genes, part.sites
        sha.update("\t".join(genes.contig).encode())
        for array in (genes.minus, genes.start, genes.end, sites.place, sites.label, sites.usage):
            sha.update(array.tobytes())
    return sha.hexdigest()


def _adopt(store: Store, fields: dict[str, Any]) -> None:
    """Write what defines the training, or refuse a place that holds another."""
    store.ensure_writable()
    if not store.exists(TRAINING_FILE):
        held = next(iter(store.list()), None)
        if held is not None:
            raise InputError(f"{store.root} holds other files ({held}): choose an empty folder for --output")
        store.write_atomic(TRAINING_FILE, _json(fields))
        return
    before = json.loads(store.read_bytes(TRAINING_FILE))
    now = json.loads(_json(fields))
    changed = [name for name in now["settings"] if now["settings"][name] != before.get("settings", {}).get(name)]
    changed += [name for name in now if name != "settings" and now[name] != before.get(name)]
    if changed:
        raise InputError(
            f"{store.root} holds another training, which differs in {', '.join(changed)}: "
            "give its settings to go on with it, or another --output"
        )


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()
