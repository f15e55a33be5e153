"""A small generated genome with a known answer, and a network for such genomes: the whole job in a minute. SYNTHETIC.

`write_example` writes to a folder, always the same: what `pipeline.simulation.simulate` makes (genome, annotation,
usage of the splice sites, README.txt) and `checkpoint/`, a copy of `sptx_core.demo`'s. Files of these names are
replaced, others are left alone. The network was not trained on a genome of this seed. Errors: `InputError` for a folder
that cannot be written.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from pipeline.simulation.simulate import simulate
from sptx_core.demo import demo_checkpoint
from sptx_core.errors import InputError

SEED = 9_010  # never trained with
CONTIGS, BASES = 1, 200_000
GENE = "SYN1-16"  # on the minus strand; of its exons brain and nerve skip one and prefer two


class Example(NamedTuple):
    """Paths of the example."""

    genome: Path
    annotation: Path
    usage: Path
    checkpoint: Path


def write_example(folder: Path) -> Example:
    """Write the example; see the module's contract."""
    trained = demo_checkpoint()
    checkpoint = folder / "checkpoint"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            made = simulate(Path(aside) / "genome", seed=SEED, contigs=CONTIGS, bases=BASES)
            for file in made.genome.parent.iterdir():
                file.replace(folder / file.name)
        shutil.copytree(trained, checkpoint, dirs_exist_ok=True)
    except OSError as error:
        raise InputError(f"the example cannot be written to {folder} ({error.strerror or error})") from None
    return Example(folder / made.genome.name, folder / made.annotation.name, folder / made.usage.name, checkpoint)
