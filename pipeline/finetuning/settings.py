"""The settings of `sptx finetune`: one validated model behind its flags and YAML files (`pipeline.settings`).

A training starts either from a `checkpoint`, or from random weights of a new network with the sizes in `network`
(fields of `SpTransformerConfig`; only in a YAML file). A new network may have the trained `encoders` of another one,
which then also give the sizes that `network` leaves out. Lengths are in bases.

The settings fall into three classes. Those in `EXECUTION_SETTINGS` say how the training is executed and may change when
it is resumed. Those in `INPUT_SETTINGS` say where inputs lie; they may change too, but the content may not, of which
`training.json` holds digests. All others define what is learned (`FinetuneConfig.defining`) and are recorded.

Errors: `InputError` that names the setting, from `FinetuneConfig.load`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, model_validator

from pipeline.settings import EXECUTION, INPUTS, Location, Names, Precision, Settings, checkpoint_location, setting

DATA, OPTIMIZATION = "Training data", "Optimization"  # panels of the help

EXECUTION_SETTINGS = frozenset(
    {
        *("output", "workers", "threads", "gpus_per_worker", "address", "object_store_mb", "max_failures"),
        *("gradient_checkpointing", "checkpoint_every"),
    }
)
INPUT_SETTINGS = frozenset({"fasta", "gtf", "usage", "junctions", "checkpoint", "encoders"})


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

    fasta: Location = setting(..., INPUTS, "genome FASTA, plain or bgzip, path or URI")
    gtf: Location = setting(..., INPUTS, "annotation: GTF or GFF3, plain or gzip, path or URI")
    usage: Location | None = setting(None, INPUTS, "measured usage of splice sites by tissue: Parquet or TSV")
    junctions: tuple[str, ...] = setting(
        (), INPUTS, "in place of --usage: SJ.out.tab files of STAR, as TISSUE=FILE[,FILE...]"
    )
    checkpoint: Annotated[str | None, BeforeValidator(checkpoint_location)] = setting(
        None, INPUTS, "network to start from: official .ckpt, safetensors file or folder, or a hub id"
    )
    encoders: Annotated[str | None, BeforeValidator(checkpoint_location)] = setting(
        None, INPUTS, "network whose trained encoders a new network starts with; given like --checkpoint"
    )
    network: dict[str, Any] | None = setting(None, None, "sizes of a new network, instead of a checkpoint")
    output: Location | None = setting(None, INPUTS, "folder or URI to write the training to")

    validation: Names = setting((), DATA, "contigs held back to choose the best network")
    test: Names = setting((), DATA, "contigs held back for the metrics at the end")
    contigs: Names = setting((), DATA, "contigs to train on (default: all others)")
    genes: Names = setting((), DATA, "gene names or ids")
    biotypes: Names = setting((), DATA, "transcript types")
    tags: Names = setting((), DATA, "only transcripts with any of these annotation tags")
    flanks: TrainingFlanks = setting(
        TrainingFlanks.TRANSCRIPT,
        DATA,
        "what windows hold beyond a gene's ends: N, the genome, or one of them at random",
    )
    core: int = setting(1000, DATA, "predicted bases of a training window", ge=1)
    empty_windows: float = setting(
        1.0, DATA, "windows without a site that an epoch uses for each window with one", ge=0
    )

    freeze: Freeze = setting(
        Freeze.NOTHING, OPTIMIZATION, "parts that are not trained; body is everything but the heads"
    )
    epochs: float = setting(10, OPTIMIZATION, "passes over the windows that have a site", gt=0)
    batch: int = setting(16, OPTIMIZATION, "windows in a step, over all workers", ge=1)
    learning_rate: float = setting(1e-4, OPTIMIZATION, "highest learning rate, reached after the warm-up", gt=0)
    warmup: float = setting(0.05, None, "share of the training during which the learning rate rises", ge=0, lt=1)
    weight_decay: float = setting(0.01, None, "weight decay of AdamW; biases, norms and the usage head have none", ge=0)
    clip: float = setting(1.0, None, "norm to which a longer gradient is clipped", gt=0)
    site_weight: float = setting(10.0, OPTIMIZATION, "weight of a splice site in the loss; other bases have 1", gt=0)
    usage_weight: float = setting(1.0, OPTIMIZATION, "weight of the usage loss; the site loss has 1", ge=0)
    precision: Precision = setting(
        Precision.FLOAT32, OPTIMIZATION, "precision of products; weights and sums are float32"
    )
    gradient_checkpointing: bool = setting(
        False, OPTIMIZATION, "recompute attention layers in the backward pass to save memory"
    )
    seed: int = setting(1, OPTIMIZATION, "seed of random weights and of the order of windows", ge=0)
    validate_every: int | None = setting(None, OPTIMIZATION, "steps between validations (default: an epoch)", ge=1)
    validation_windows: int = setting(5000, None, "largest number of windows in a validation", ge=1)
    checkpoint_every: int = setting(500, None, "steps between saved states; one is also saved at each validation", ge=1)
    patience: int | None = setting(None, OPTIMIZATION, "stop after this many validations without a lower loss", ge=1)

    workers: int = setting(1, EXECUTION, "processes that share each batch", ge=1)
    threads: int | None = setting(
        None,
        EXECUTION,
        "CPU threads of each worker (default: 2 with a GPU, otherwise its share of the cores, at most 8)",
        ge=1,
    )
    gpus_per_worker: float | None = setting(
        None, EXECUTION, "share of a GPU for each worker; 0 computes on CPUs (default: 1 if there are GPUs)", ge=0, le=1
    )
    address: str | None = setting(
        None,
        EXECUTION,
        "Ray cluster to join: auto or host:port; also set by RAY_ADDRESS (default: start a Ray on this machine)",
    )
    object_store_mb: int = setting(200, None, "memory in MiB for the object store of a Ray that is started here", ge=80)
    max_failures: int = setting(3, None, "how often failed workers are started again", ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.checkpoint is None) == (self.network is None and self.encoders is None):
            raise ValueError(
                "give either a checkpoint to start from (--checkpoint) or `network` in a settings file or --encoders, "
                "which make a new one"
            )
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
        if self.checkpoint is None and self.freeze not in self._trained_before():
            raise ValueError("a new network has nothing to freeze: its weights are random, but for those of --encoders")
        return self

    def _trained_before(self) -> tuple[Freeze, ...]:
        """What can be frozen in a new network."""
        return (Freeze.NOTHING,) if self.encoders is None else (Freeze.NOTHING, Freeze.ENCODERS)

    def defining(self) -> dict[str, Any]:
        """Settings that define what is learned, by name, as JSON values; they must not change when it is resumed."""
        others = EXECUTION_SETTINGS | INPUT_SETTINGS
        return {name: value for name, value in self.model_dump(mode="json").items() if name not in others}
