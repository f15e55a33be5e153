"""Make the demo's checkpoint, a network trained on a generated genome: `python workflows/demo_checkpoint.py FOLDER`.

Writes the genome to FOLDER/genome, the training to FOLDER/training (where it goes on when it is run again) and prints
its report. `--keep` puts the network where the package ships it.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from pathlib import Path

from sptx_core.checkpoint import CONFIG_FILE, TENSOR_FILE

SEED, CONTIGS, BASES = 11, 36, 1_000_000
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "sptx_core" / "demo" / "network"


def main() -> None:
    """Simulate and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true")
    given = parser.parse_args()
    genome, training = given.folder / "genome", given.folder / "training"
    if not genome.exists():
        sptx("simulate", genome, "--seed", SEED, "--contigs", CONTIGS, "--bases", BASES)
    inputs = ["--fasta", genome / "genome.fa.gz", "--gtf", genome / "annotation.gtf.gz"]
    settings = ["--config", ROOT / "configs" / "demo-network.yaml", "--usage", genome / "usage.parquet"]
    sptx("finetune", *inputs, *settings, "--output", training)
    if given.keep:
        for name in (TENSOR_FILE, CONFIG_FILE):
            shutil.copy(training / "model" / name, SHIPPED / name)


def sptx(*arguments: object) -> None:
    """Run the command line and show its command."""
    command = ["sptx", *map(str, arguments)]
    print("$", *command, flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
