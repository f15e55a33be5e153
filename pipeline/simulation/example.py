"""A small generated genome with a known answer, and a trained network for it: a whole run takes a minute. SYNTHETIC.

`write_example` writes what `pipeline.simulation.simulate` makes from one fixed seed (genome, annotation, usage of the
splice sites, README.txt) and `checkpoint/`, a copy of the network in `sptx_core.demo`, which was not trained on this
genome. The files are always the same. Existing files of these names are replaced, others are left alone.

Errors: `InputError` for a folder that cannot be written.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from pipeline.simulation.simulate import simulate
from sptx_core.demo import demo_checkpoint
from sptx_core.files import writing

_SEED = 9_010  # the network was trained on genomes of other seeds
_CONTIGS, _BASES = 1, 200_000
_CLUSTERS = True  # as in the genome that the network was trained on
GENE = "SYN1-40"
"""A gene worth a look, on the minus strand: four of its exons are skipped, each in other tissues."""


class Example(NamedTuple):
    """Paths of the example's files; `checkpoint` is a folder."""

    genome: Path
    annotation: Path
    usage: Path
    checkpoint: Path


def write_example(folder: Path) -> Example:
    """Write the example.

    Parameters
    ----------
    folder : Path
        Where to write; it is created if necessary.

    Returns
    -------
    Example

    Raises
    ------
    InputError
        If the folder cannot be written, or this installation holds no network.
    """
    trained = demo_checkpoint()
    checkpoint = folder / "checkpoint"
    with writing(f"the example in {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            made = simulate(Path(aside) / "genome", seed=_SEED, contigs=_CONTIGS, bases=_BASES, clusters=_CLUSTERS)
            for file in made.genome.parent.iterdir():
                file.replace(folder / file.name)
        shutil.copytree(trained, checkpoint, dirs_exist_ok=True)
    return Example(folder / made.genome.name, folder / made.annotation.name, folder / made.usage.name, checkpoint)
