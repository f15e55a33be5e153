"""A stretch of the human genome, its genes and a trained network: what `sptx example` writes.

`data/` holds the files; NOTICE.txt there says whose they are, under which terms, and what was changed:

    genome.fa.gz (.fai, .gzi)   GRCh38 chr9:1-500,000 under the name chr9, so that positions are those of the genome
    annotation.gtf.gz           the genes that lie in it as a whole, GENCODE 27
    variants.vcf                changes of one base of `GENE`
    checkpoint/                 the first network of CI-SpliceAI: sites, no usage by tissue

`workflows/example_data.py` made them from their sources. Files of these names are replaced, others are left alone.

Errors: `InputError` for a folder that cannot be written and for an installation that lacks the files.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

from sptx_core.errors import InputError
from sptx_core.files import writing

DATA = Path(__file__).parent / "data"
GENOME, ANNOTATION, VARIANTS, CHECKPOINT, NOTICE = (
    "genome.fa.gz",
    "annotation.gtf.gz",
    "variants.vcf",
    "checkpoint",
    "NOTICE.txt",
)
GENES = ("DOCK8", "CBWD1")
"""A gene on the plus strand with 48 exons, and one on the minus strand with 15."""
GENE = "CBWD1"
"""The gene of the pictures."""


class HumanExample(NamedTuple):
    """Paths of the example's files; `checkpoint` is a folder."""

    genome: Path
    annotation: Path
    variants: Path
    checkpoint: Path
    notice: Path


def write_human_example(folder: Path) -> HumanExample:
    """Write the example.

    Parameters
    ----------
    folder : Path
        Where to write; it is created if necessary.

    Returns
    -------
    HumanExample

    Raises
    ------
    InputError
        The folder cannot be written, or this installation lacks the files.
    """
    made = HumanExample(*(folder / name for name in (GENOME, ANNOTATION, VARIANTS, CHECKPOINT, NOTICE)))
    missing = [path.name for path in made if not (DATA / path.name).exists()]
    if missing:
        raise InputError(f"{DATA} lacks {', '.join(missing)}: install sptx again")
    with writing(f"the example in {folder}"):
        shutil.copytree(DATA, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    return made
