"""The settings of `sptx finetune`: one validated model behind its flags and YAML files (`pipeline.settings`).

A training starts either from a `checkpoint`, or from random weights of a new network with the sizes in `network`
(fields of `SpTransformerConfig`; only in a YAML file). Lengths are in bases.

The settings fall into three classes. Those in `EXECUTION_SETTINGS` say how the training is executed and may change when
it is resumed. Those in `INPUT_SETTINGS` say where inputs lie; they may change too, but the content may not, of which
`training.json` holds digests. All others define what is learned (`FinetuneConfig.defining`) and are recorded.

Errors: `InputError` that names the setting, from `FinetuneConfig.load`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from pipeline.settings import Location, Names, Precision, Settings, checkpoint_location

EXECUTION_SETTINGS = frozenset(
    {
        *("output", "workers", "threads", "gpus_per_worker", "address", "object_store_mb", "max_failures"),
        *("gradient_checkpointing", "checkpoint_every"),
    }
)
INPUT_SETTINGS = frozenset({"fasta", "gtf", "usage", "junctions", "checkpoint"})


class TrainingFlanks(StrEnum):
    """What windows show beyond the ends of a gene."""

    TRANSCRIPT = "transcript"
    """N, as the published network was trained."""
    GENOMIC = "genomic"
    """The genome."""
    BOTH = "both"
    """N or the genome, by chance for each window of an epoch."""


class Freeze(StrEnum):
    """Parts of the network that are not trained."""

    NOTHING = "nothing"
    ENCODERS = "encoders"
    """The convolutional encoders and the input path."""
    BODY = "body"
    """Everything but the two heads."""


class FinetuneConfig(Settings):
    """Settings of `sptx finetune`: each field is a flag or a key of the YAML file, and has a description."""

    # Inputs and output
    fasta: Location = Field(description="genome FASTA, plain or bgzip, path or URI")
    gtf: Location = Field(description="annotation: GTF or GFF3, plain or gzip, path or URI")
    usage: Location | None = Field(None, description="measured usage of splice sites by tissue: Parquet or TSV")
    junctions: tuple[str, ...] = Field(
        (), description="instead of usage: TISSUE=FILE[,FILE...], SJ.out.tab files of STAR"
    )
    checkpoint: Annotated[str | None, BeforeValidator(checkpoint_location)] = Field(
        None, description="network to start from: official .ckpt, safetensors file or folder, or a hub id"
    )
    network: dict[str, Any] | None = Field(None, description="sizes of a new network, instead of a checkpoint")
    output: Location | None = Field(None, description="folder or URI of the training")

    # Training data
    validation: Names = Field((), description="contigs held back to choose the best network")
    test: Names = Field((), description="contigs held back for the metrics at the end")
    contigs: Names = Field((), description="contigs to train on (default: all others)")
    genes: Names = Field((), description="gene names or ids")
    biotypes: Names = Field((), description="transcript types")
    tags: Names = Field((), description="annotation tags, any of which suffices")
    flanks: TrainingFlanks = Field(
        TrainingFlanks.TRANSCRIPT, description="beyond a gene's ends: N, the genome, or either by chance"
    )
    core: int = Field(1000, ge=1, description="predicted bases of a training window")
    empty_windows: float = Field(1.0, ge=0, description="windows without a site in an epoch for each window with one")

    # Optimization
    freeze: Freeze = Field(
        Freeze.NOTHING, description="parts that are not trained: nothing, encoders, or body (all but the heads)"
    )
    epochs: float = Field(10, gt=0, description="passes over the windows that have a site")
    batch: int = Field(16, ge=1, description="windows in a step, over all workers")
    learning_rate: float = Field(1e-4, gt=0, description="highest learning rate, reached after the warm-up")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the training during which the learning rate rises")
    weight_decay: float = Field(
        0.01, ge=0, description="weight decay of AdamW; biases, norms and the usage head have none"
    )
    clip: float = Field(1.0, gt=0, description="norm to which a longer gradient is clipped")
    site_weight: float = Field(
        10.0, gt=0, description="weight of a base that is a splice site, where another base has 1"
    )
    usage_weight: float = Field(1.0, ge=0, description="weight of the usage loss, where the site loss has 1")
    precision: Precision = Field(
        Precision.FLOAT32, description="float32, or bfloat16: mixed precision with float32 weights"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute attention layers in the backward pass to save memory"
    )
    seed: int = Field(1, ge=0, description="seed of random weights and of the order of windows")
    validate_every: int | None = Field(None, ge=1, description="steps between validations (default: an epoch)")
    validation_windows: int = Field(5000, ge=1, description="most windows in a validation")
    checkpoint_every: int = Field(
        500, ge=1, description="steps between saved states; one is also saved at each validation"
    )
    patience: int | None = Field(
        None, ge=1, description="validations without a lower loss after which the training stops early"
    )

    # Execution
    workers: int = Field(1, ge=1, description="processes that share each batch")
    threads: int | None = Field(None, ge=1, description="CPU threads a worker (default: cores / workers)")
    gpus_per_worker: float | None = Field(None, ge=0, le=1, description="GPUs (or share of one) a worker; 0: use CPUs")
    address: str | None = Field(None, description="Ray cluster to join; without it an embedded Ray is started")
    object_store_mb: int = Field(200, ge=80, description="memory of the embedded Ray's object store")
    max_failures: int = Field(3, ge=0, description="times that failed workers are started again")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.checkpoint is None) == (self.network is None):
            raise ValueError("give either a checkpoint to start from (--checkpoint) or `network` in a settings file")
        if self.usage is not None and self.junctions:
            raise ValueError("usage is given twice: give either --usage or --junctions")
        if not self.validation:
            raise ValueError("name the contigs that are held back for validation (--validation chr10)")
        for one, other in (("validation", "test"), ("contigs", "validation"), ("contigs", "test")):
            shared = sorted(set(getattr(self, one)) & set(getattr(self, other)))
            if shared:
                raise ValueError(
                    f"contig {shared[0]} is both in --{one} and in --{other}: a contig belongs to one part"
                )
        if self.batch % self.workers:
            raise ValueError(f"batch ({self.batch}) must be a multiple of workers ({self.workers}), which share it")
        if self.freeze is not Freeze.NOTHING and self.checkpoint is None:
            raise ValueError("a new network has nothing to freeze: its weights are random")
        return self

    def defining(self) -> dict[str, Any]:
        """Settings that define what is learned, by name, as JSON values; they must not change when it is resumed."""
        others = EXECUTION_SETTINGS | INPUT_SETTINGS
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in others}
