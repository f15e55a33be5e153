"""The flags of `sptx run` and `sptx plan`: a setting each, with its help. `pipeline.settings` validates them.

`What` is what `sptx query` and `sptx plot` look at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.settings import Flanks, Precision

INPUTS, SELECTION, TABLE, EXECUTION, ESTIMATE = "Inputs", "Selection", "What is computed", "Execution", "Estimate"


def flag(text: str, panel: str, *names: str) -> Any:
    """A flag with its help `text`, in a `panel` of the help; `names` where they do not follow from the setting's."""
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False)


Config = Annotated[str | None, flag("YAML file of settings (names as the flags'); flags win.", INPUTS)]
Fasta = Annotated[str | None, flag("Genome FASTA, plain or bgzip; path or URI.", INPUTS)]
Gtf = Annotated[str | None, flag("GENCODE or Ensembl GTF or GFF3, plain or gzip; path or URI.", INPUTS)]
Checkpoint = Annotated[str | None, flag("Official .ckpt, safetensors file or folder, or hub id.", INPUTS)]
Output = Annotated[str | None, flag("Root of the table: a folder or an s3://, gs://, az:// URI.", INPUTS)]
Genes = Annotated[list[str] | None, flag("Gene names or ids, separated by commas.", SELECTION)]
Transcripts = Annotated[list[str] | None, flag("Transcript ids.", SELECTION)]
Regions = Annotated[
    list[str] | None,
    flag("Regions, 1-based inclusive (chr9:200,000-500,000): transcripts that overlap, clipped to them.", SELECTION),
]
Contigs = Annotated[list[str] | None, flag("Contigs.", SELECTION)]
Biotypes = Annotated[list[str] | None, flag("Transcript types, such as protein_coding,lncRNA.", SELECTION)]
Tags = Annotated[list[str] | None, flag("Transcripts with any of these tags: basic,MANE_Select.", SELECTION)]
FlanksFlag = Annotated[
    Flanks | None,
    flag("Beyond a transcript's ends: the genome [default], or N as in training (rows by transcript).", TABLE),
]
PrecisionFlag = Annotated[Precision | None, flag("Arithmetic of the network [float32].", TABLE)]
Core = Annotated[int | None, flag("Predicted bases a window [1000, as trained].", TABLE)]
Overlap = Annotated[int | None, flag("Core bases that neighbouring windows share [0].", TABLE)]
PerShard = Annotated[
    int | None, flag("Windows in a shard, the unit of work, retry and file [64; 2,000 suits a GPU].", TABLE)
]
Exact = Annotated[bool | None, flag("Store unrounded float32 (about nine times larger).", TABLE, "--exact")]
Threshold = Annotated[float | None, flag("Least max(acceptor, donor) of a row of the sites table [0.01].", TABLE)]
Workers = Annotated[int | None, flag("Actors [one a GPU, else the cores once over].", EXECUTION)]
Threads = Annotated[int | None, flag("CPU threads an actor computes with.", EXECUTION)]
Gpus = Annotated[float | None, flag("Share of a GPU an actor holds; 0 computes on CPUs.", EXECUTION)]
Batch = Annotated[int | None, flag("Windows in a micro-batch [chosen once, before the first commit].", EXECUTION)]
Engine = Annotated[str | None, flag("Engine path [auto]; see `sptx bench`.", EXECUTION)]
Address = Annotated[str | None, flag("Ray cluster to join (auto, host:port); RAY_ADDRESS works too.", EXECUTION)]
Shared = Annotated[
    bool | None, flag("A local --output is one file system on every node.", EXECUTION, "--shared-output")
]
Rate = Annotated[Path | None, flag("Report of `sptx bench --save`: say how long it takes.", ESTIMATE)]
Devices = Annotated[
    list[str] | None, flag("Numbers of such devices to say it for, separated by commas: 8,64.", ESTIMATE)
]
What = Annotated[str, typer.Argument(help="chr9:214,854-220,000 (1-based inclusive), a gene or a transcript id.")]
