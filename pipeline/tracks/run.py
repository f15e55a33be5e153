"""The main job: settings in, a table out. `prepare` checks everything before any work; `run` does the work.

`prepare` reads annotation, genome and checkpoint together and refuses what does not fit (contig names, ends beyond
contigs, tensors, channels), so that nothing is computed for a run that cannot end well. `run` settles the output
(fingerprint, execution), asks storage which shards are missing, has them computed, and at the end compares plan and
storage again: what is done is what storage holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from pipeline.batch import cluster as topology
from pipeline.batch.progress import Progress
from pipeline.batch.record import Execution, RunRecord, adopt, read_record, refuse_other
from pipeline.batch.storage import Store
from pipeline.coordinates import ContigMap, Interval, parse_region, reconcile_contigs, require_contigs
from pipeline.inputs.annotation import check_spans, read_annotation
from pipeline.inputs.genome import Genome
from pipeline.inputs.selection import Selection, select
from pipeline.inputs.uris import local_checkpoint, local_path
from pipeline.settings import RunConfig, ray_address
from pipeline.tracks.parts import MANIFEST, committed, sweep, write_manifest
from pipeline.tracks.plan import Plan, fingerprint, loci_digest, make_plan, transcripts_digest
from pipeline.tracks.schema import FORMAT_VERSION, TrackSchema
from pipeline.tracks.worker import WorkOrder
from sptx_core.channels import SPLICE, TISSUES
from sptx_core.checkpoint import checkpoint_digest
from sptx_core.config import SpTransformerConfig
from sptx_core.engine import Calibration, calibrate, hardware
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """A checked run: what to compute, from what."""

    config: RunConfig
    plan: Plan
    model: SpTransformerModel
    contigs: ContigMap
    channels: tuple[str, ...]
    lengths: dict[str, int]


@dataclass(frozen=True)
class Outcome:
    """How a run ended; `failed` maps a shard to its error, `missing` counts shards neither done nor failed."""

    shards: int
    done: int
    computed: int
    failed: dict[int, str]
    missing: int
    rows: int
    bytes: int

    @property
    def complete(self) -> bool:
        """Whether storage holds every shard of the plan."""
        return self.done == self.shards


def prepare(config: RunConfig, say: Say) -> Job:
    """Read and check the inputs, and plan; `say` hears what a person should know."""
    annotation = read_annotation(config.gtf)
    genome = Genome(config.fasta)
    contigs = reconcile_contigs(annotation.transcripts["contig"].unique(maintain_order=True), genome.lengths)
    regions = [parse_region(text) for text in config.regions]
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
    model = load_model(config.checkpoint)
    spec = WindowSpec(core=config.core, context=model.config.context, overlap=config.overlap)
    if config.core > model.config.max_seq_len:
        raise InputError(
            f"core = {config.core} exceeds the {model.config.max_seq_len} bases that the network of "
            f"{config.checkpoint} predicts at once"
        )
    plan = make_plan(
        selected.with_columns(selected["contig"].replace_strict(own.mapping).alias("contig")),
        genome.lengths,
        spec=spec,
        flanks=config.flanks,
        windows_per_shard=config.windows_per_shard,
        regions=[_in_genome(region, own, genome.lengths) for region in regions],
        annotation_names={held: name for name, held in own.mapping.items()},
    )
    lengths = dict(zip(plan.contigs["chrom"], plan.contigs["length"], strict=True))
    return Job(config, plan, model, own, channel_names(model.config), lengths)


def load_model(checkpoint: str) -> SpTransformerModel:
    """The network of a checkpoint, ready for inference."""
    return SpTransformerModel.from_pretrained(local_checkpoint(checkpoint))


def channel_names(config: SpTransformerConfig) -> tuple[str, ...]:
    """Column names of a network's channels; 15 tissues without names are taken to be the official ones."""
    if config.tissue_names is None and config.tissues == len(TISSUES):
        return (*SPLICE, *TISSUES)
    return config.output_channels


def run(job: Job, say: Say) -> Outcome:
    """Compute what storage lacks of the job's table."""
    config = job.config
    if config.output is None:
        raise InputError("setting `output` is required (--output): where to put the table")
    store = Store(config.output)
    fields = table_fields(job)
    digest, shards = fingerprint(fields), job.plan.shards["shard"].to_list()
    found = refuse_other(store, fields)
    store.ensure_writable()
    before = committed(store, digest)
    failed: dict[int, str] = {}
    if found is None or len(before) < len(shards):
        missing = [index for index in shards if index not in before]
        failed = _compute(job, store, fields, missing, say)
    parts = committed(store, digest)
    complete = len(parts) == len(shards)
    if complete and (len(before) < len(parts) or not store.exists(MANIFEST)):
        write_manifest(store, digest)
        _forget(store, "strikes/")
    failed = {shard: error for shard, error in failed.items() if shard not in parts}
    return Outcome(
        shards=len(shards),
        done=len(parts),
        computed=len(parts) - len(before),
        failed=failed,
        missing=len(shards) - len(parts) - len(failed),
        rows=job.plan.bases,
        bytes=sum(part.bytes for part in parts.values()),
    )


def _compute(job: Job, store: Store, fields: dict[str, Any], missing: list[int], say: Say) -> dict[int, str]:
    """Have the `missing` shards computed; returns the errors of those that failed."""
    config, plan = job.config, job.plan
    use_gpus = config.gpus_per_worker != 0
    address = ray_address(config.address)
    with topology.session(address, object_store_mb=config.object_store_mb, use_gpus=use_gpus) as cluster:
        _check_nodes(job, store, cluster)
        choose_pool = partial(topology.choose_pool, cluster, config.workers, gpus_per_worker=config.gpus_per_worker)
        pool = choose_pool(threads=config.threads)
        record = _make_record(job, fields, _settle_execution(job, store, pool, say))
        record, note = adopt(store, record, plan, config.to_yaml())
        execution = record.execution
        if note:
            say(note)
        if execution.threads != pool.threads:
            pool = choose_pool(threads=execution.threads)
        for name, wanted in (("batch", config.batch), ("threads", config.threads)):
            if wanted not in (None, getattr(execution, name)):
                say(f"--{name} {wanted} is not used: the run began with {getattr(execution, name)}")
        sweep(store)
        _forget(store, "strikes/", "failures/")  # a new run tries everything that is missing afresh
        shards = list(plan.iter_shards(missing))
        left = sum(shard.rows for shard in shards)
        say(
            f"{plan.bases:,} bases in {len(plan.loci):,} loci, {record.shards:,} shards "
            f"({record.shards - len(missing):,} done, {len(missing):,} to do) on "
            f"{pool.workers} x {execution.hardware}, {execution.engine} engine, "
            f"{execution.precision}, batch {execution.batch}, {execution.threads} threads"
        )
        say(f"Ray's own messages go to {cluster.log}")
        failed: dict[int, str] = {}
        others: set[str] = {execution.hardware}
        with Progress(plan.bases, plan.bases - left) as progress:
            order = _work_order(job, store, record)
            for receipt in topology.execute(shards, order, pool, embedded=cluster.embedded):
                if receipt.error:
                    failed[receipt.shard] = receipt.error
                if receipt.hardware not in others:
                    others.add(receipt.hardware)
                    say(f"some shards run on {receipt.hardware}: equal within a storage step, not byte for byte")
                progress.advance(receipt.rows, failures=len(failed))
    return failed


def table_fields(job: Job) -> dict[str, Any]:
    """All that defines the table, and nothing of how it is executed: what the fingerprint covers."""
    config, plan = job.config, job.plan
    return {
        "checkpoint": checkpoint_digest(local_checkpoint(config.checkpoint)),
        "precision": config.precision.value,
        "core": plan.spec.core,
        "context": plan.spec.context,
        "overlap": plan.spec.overlap,
        "flanks": config.flanks.value,
        "genome": Genome(config.fasta).digest(list(job.lengths)),
        "transcripts": transcripts_digest(plan.transcripts),
        "loci": loci_digest(plan.loci),
        "windows_per_shard": config.windows_per_shard,
        "exact": config.exact,
        "sites_threshold": config.sites_threshold,
        "channels": ",".join(job.channels),
        "encoding": TrackSchema.make(job.channels, flanks=config.flanks.value, exact=config.exact).digest,
        "format_version": FORMAT_VERSION,
    }


def _make_record(job: Job, fields: dict[str, Any], execution: Execution) -> RunRecord:
    config, plan = job.config, job.plan
    return RunRecord(
        fields=fields,
        execution=execution,
        flanks=config.flanks.value,
        channels=job.channels,
        exact=config.exact,
        sites_threshold=config.sites_threshold,
        shards=int(plan.pieces["shard"].max()) + 1,  # type: ignore[arg-type]  # a column of integers
        rows=plan.bases,
    )


def _settle_execution(job: Job, store: Store, pool: topology.Pool, say: Say) -> Execution:
    """The stored execution where the run began on the same hardware, else one chosen where the work will be done."""
    config, device = job.config, "cuda" if pool.gpus else "cpu"
    name = topology.on_worker(partial(hardware, device), gpus=pool.gpus) if pool.gpus else hardware(device)
    present = read_record(store)
    if present is not None and (present.execution.device, present.execution.hardware) == (device, name):
        return present.execution
    choose = partial(
        calibrate,
        spec=job.plan.spec,
        precision=config.precision.value,
        device=device,
        path=config.engine,
        batch=config.batch,
    )
    if pool.gpus:
        settled = topology.on_worker(partial(_calibrate_loaded, config.checkpoint, choose), gpus=pool.gpus)
    else:
        torch.set_num_threads(pool.threads)
        settled = choose(job.model)
    if settled.note:
        say(settled.note)
    return Execution(device, name, settled.path, config.precision.value, settled.batch, pool.threads)


def _calibrate_loaded(checkpoint: str, choose: Callable[[SpTransformerModel], Calibration]) -> Calibration:
    return choose(load_model(checkpoint))


def _check_nodes(job: Job, store: Store, cluster: topology.Cluster) -> None:
    """On several nodes, refuse an output or inputs that each node would take for its own."""
    if cluster.nodes < 2:
        return
    if store.is_local and not job.config.shared_output:
        raise InputError(
            f"{store.root} is a local path and the cluster has {cluster.nodes} nodes, each of which would write its "
            "own disk; give an object-storage URI, or --shared-output when all nodes mount the same path"
        )
    paths = [local_path(uri) for uri in (job.config.fasta, job.config.checkpoint) if "://" in uri or os.path.isabs(uri)]  # noqa: PTH117
    sizes = {str(path): _size(str(path)) for path in paths if path is not None}
    for differing in topology.on_every_node(partial(_first_differing, sizes)):
        if differing:
            raise InputError(f"{differing} is not the same file on every node of the cluster; put it on shared storage")


def _first_differing(sizes: dict[str, int]) -> str:
    """The first path whose size here is not the one given; empty when all are."""
    return next((path for path, size in sizes.items() if _size(path) != size), "")


def _size(path: str) -> int:
    """Bytes of a readable file (0 for a folder), -1 where there is none."""
    if not os.access(path, os.R_OK):
        return -1
    return 0 if Path(path).is_dir() else Path(path).stat().st_size


def _forget(store: Store, *folders: str) -> None:
    for folder in folders:
        for name in store.list(folder):
            store.delete(name)


def _work_order(job: Job, store: Store, record: RunRecord) -> WorkOrder:
    return WorkOrder(
        fasta=job.config.fasta,
        checkpoint=job.config.checkpoint,
        checkpoint_digest=str(record.fields["checkpoint"]),
        root=store.root,
        fingerprint=record.fingerprint,
        spec=job.plan.spec,
        flanks=job.config.flanks,
        channels=job.channels,
        exact=job.config.exact,
        sites_threshold=job.config.sites_threshold,
        execution=record.execution,
        lengths=job.lengths,
        max_attempts=job.config.max_attempts,
    )


def _in_genome(region: Interval, contigs: ContigMap, lengths: dict[str, int]) -> Interval:
    """`region` with the FASTA's contig name and a definite end."""
    renamed = reconcile_contigs([region.contig], lengths).mapping
    name = contigs.mapping.get(region.contig) or renamed.get(region.contig)
    if name is None:
        raise InputError(f"region {region}: the FASTA has no contig {region.contig}")
    end = lengths[name] if region.end is None else min(region.end, lengths[name])
    return Interval(name, region.start, end)
