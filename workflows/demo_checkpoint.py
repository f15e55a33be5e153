"""Make the network of the generated genome, trained on another one: `python workflows/demo_checkpoint.py FOLDER`.

Writes the genome to FOLDER/genome (regulators in clusters, docs/simulate.md), the training to FOLDER/training (where it
goes on when it is run again), and then measures the network on a genome that it has never seen: FOLDER/test. Look at
"Differences between tissues at alternative sites" in what `sptx evaluate` prints: the network should reach 0.5 there,
where the mean profile reaches 0.25 at most.

`--small` tries the whole in minutes; such a network has learned nothing. `--keep` puts the network where the package
ships it, for `sptx example --generated`: then look at the picture of its gene, and write the network's card.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from sptx_core.checkpoint import CONFIG_FILE, TENSOR_FILE

SEED, TEST_SEED = 11, 9_001
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "sptx_core" / "demo" / "network"


class Size(NamedTuple):
    """Contigs and bases of the genomes to train and to test on, and settings that replace those of the YAML file."""

    contigs: int
    bases: int
    test_contigs: int
    settings: tuple[str, ...]


WHOLE = Size(36, 1_000_000, 2, ())
SMALL = Size(4, 60_000, 1, ("--epochs", "0.2", "--batch", "4", "--validation", "chr3", "--test", "chr4"))


def main() -> None:
    """Simulate, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="put the network where the package ships it")
    parser.add_argument("--small", action="store_true", help="try it: a small genome and a short training")
    given = parser.parse_args()
    if given.keep and given.small:
        parser.error("--small trains a network that is not worth keeping")
    size = SMALL if given.small else WHOLE
    genome, test, training = given.folder / "genome", given.folder / "test", given.folder / "training"
    simulate(genome, SEED, size.contigs, size.bases)
    config = ("--config", ROOT / "configs" / "demo-network.yaml")
    usage = ("--usage", genome / "usage.parquet")
    sptx("finetune", *config, *inputs(genome), *usage, *size.settings, "--output", training)

    simulate(test, TEST_SEED, size.test_contigs, size.bases)
    tracks = given.folder / "tracks"
    sptx("run", *inputs(test), "--checkpoint", training / "model", "--output", tracks, "--quiet")
    known = ("--gtf", test / "annotation.gtf.gz", "--usage", test / "usage.parquet")
    sptx("evaluate", tracks, *known, "--to", given.folder / "evaluation")
    if given.keep:
        for name in (TENSOR_FILE, CONFIG_FILE):
            shutil.copy(training / "model" / name, SHIPPED / name)


def simulate(folder: Path, seed: int, contigs: int, bases: int) -> None:
    """Generate a genome with regulators in clusters, unless it is there."""
    if not folder.exists():
        sptx("simulate", folder, "--seed", seed, "--contigs", contigs, "--bases", bases, "--clusters")


def inputs(folder: Path) -> tuple[object, ...]:
    """Genome and genes of a generated genome, as flags."""
    return ("--fasta", folder / "genome.fa.gz", "--gtf", folder / "annotation.gtf.gz")


def sptx(*arguments: object) -> None:
    """Show and run a command of `sptx`; what fails there has said why."""
    command = ["sptx", *map(str, arguments)]
    print("$", *command, flush=True)
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
