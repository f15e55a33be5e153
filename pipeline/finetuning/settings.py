"""The settings of `sptx finetune`; see `pipeline.settings` for how flags and YAML files become them.

A training starts from a `checkpoint`, or from random weights in the sizes of `network` (settings of an
`SpTransformerConfig`, in a YAML file). When a training is resumed, settings of `EXECUTION` may change, and those of
`PLACES` as long as what lies there is the same, of which digests are kept.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.settings import Location, Names, Precision, Settings, checkpoint_location

EXECUTION = frozenset(
    {
        *("output", "workers", "threads", "gpus_per_worker", "address", "object_store_mb", "max_failures"),
        *("gradient_checkpointing", "checkpoint_every"),
    }
)
PLACES = frozenset({"fasta", "gtf", "usage", "junctions", "checkpoint"})


class Beyond(StrEnum):
    """What windows show beyond a gene's ends."""

    NOTHING = "transcript"
    GENOME = "genomic"
    BOTH = "both"


class Freeze(StrEnum):
    """What stays as it is in the checkpoint."""

    NOTHING = "nothing"
    ENCODERS = "encoders"
    BODY = "body"


class FinetuneConfig(Settings):
    """Everything that `sptx finetune` can be told. Lengths are in bases."""

    # Inputs and output
    fasta: Location = Field(description="genome FASTA, plain or bgzip, path or URI")
    gtf: Location = Field(description="annotation: GTF or GFF3, plain or gzip, path or URI")
    usage: Location | None = Field(None, description="usage of sites by tissue: Parquet or TSV")
    junctions: tuple[str, ...] = Field((), description="instead: TISSUE=FILE[,FILE...], SJ.out.tab files of STAR")
    checkpoint: Annotated[str | None, BeforeValidator(checkpoint_location)] = Field(
        None, description="where to start: official .ckpt, safetensors file or folder, or a hub id"
    )
    network: dict[str, Any] | None = Field(None, description="sizes of a new network, instead of a checkpoint")
    output: Location | None = Field(None, description="folder or URI of the training")

    # What is learned from
    validation: Names = Field((), description="contigs held back to choose the best state")
    test: Names = Field((), description="contigs held back for the figures at the end")
    contigs: Names = Field((), description="contigs to train on (default: all others)")
    genes: Names = Field((), description="gene names or ids")
    biotypes: Names = Field((), description="transcript types")
    tags: Names = Field((), description="annotation tags, any of which suffices")
    flanks: Beyond = Field(Beyond.NOTHING, description="beyond a gene's ends: N, the genome, or now this, now that")
    core: int = Field(1000, ge=1, description="predicted bases of a training window")
    empty_windows: float = Field(1.0, ge=0, description="windows without a site that an epoch sees for each with one")

    # How it is learned
    freeze: Freeze = Field(Freeze.NOTHING, description="what stays as it is: nothing, encoders, or all but the heads")
    epochs: float = Field(10, gt=0, description="passes over the windows with sites")
    batch: int = Field(16, ge=1, description="windows of a step, of all workers together")
    learning_rate: float = Field(1e-4, gt=0, description="largest rate, after the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the training in which the rate rises")
    weight_decay: float = Field(0.01, ge=0, description="AdamW's, but not of biases, norms and the usage head")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    site_weight: float = Field(10.0, gt=0, description="weight of a base that is a site, against 1")
    usage_weight: float = Field(1.0, ge=0, description="weight of the usage loss against the site loss")
    precision: Precision = Field(Precision.FLOAT32, description="bfloat16: mixed, weights stay float32")
    gradient_checkpointing: bool = Field(False, description="compute attention layers twice, to save memory")
    seed: int = Field(1, ge=0, description="of random weights and the order of windows")
    validate_every: int | None = Field(None, ge=1, description="steps between validations (default: an epoch)")
    validation_windows: int = Field(5000, ge=1, description="windows that a validation looks at, at most")
    checkpoint_every: int = Field(500, ge=1, description="steps between saved states, besides each validation")
    patience: int | None = Field(None, ge=1, description="validations without a better one before it stops early")

    # How it is executed
    workers: int = Field(1, ge=1, description="processes that share each batch")
    threads: int | None = Field(None, ge=1, description="CPU threads a worker (default: cores / workers)")
    gpus_per_worker: float | None = Field(None, ge=0, le=1, description="GPU of a worker; 0: use CPUs")
    address: str | None = Field(None, description="Ray cluster to join; without it an embedded Ray is started")
    object_store_mb: int = Field(200, ge=80, description="memory of the embedded Ray's object store")
    max_failures: int = Field(3, ge=0, description="times that dead workers are started again")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.checkpoint is None) == (self.network is None):
            raise ValueError("give a checkpoint to start from (--checkpoint), or `network` in a settings file: one")
        if self.usage is not None and self.junctions:
            raise ValueError("usage is given twice: give either --usage or --junctions")
        if not self.validation:
            raise ValueError("name the contigs that are held back for validation (--validation chr10)")
        for one, other in (("validation", "test"), ("contigs", "validation"), ("contigs", "test")):
            both = sorted(set(getattr(self, one)) & set(getattr(self, other)))
            if both:
                raise ValueError(f"contig {both[0]} is both in --{one} and in --{other}: a contig has one part")
        if self.batch % self.workers:
            raise ValueError(f"batch ({self.batch}) must be a multiple of workers ({self.workers}) who share it")
        if self.freeze is not Freeze.NOTHING and self.checkpoint is None:
            raise ValueError("nothing of a new network can be frozen: it has learned nothing yet")
        return self

    def lasting(self) -> dict[str, Any]:
        """The settings that define what is learned, ready for JSON; the others may change when it is resumed."""
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in EXECUTION | PLACES}
