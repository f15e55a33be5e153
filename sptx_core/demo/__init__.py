"""The checkpoint that comes with sptx: a small network for generated genomes (`sptx simulate`). SYNTHETIC.

It knows nothing about real genomes. `network/` holds it: model.safetensors, config.json, and README.md, which says how
it was trained and how well it predicts. The folder holds nothing else, so that it can be copied as a checkpoint.
"""

from __future__ import annotations

from pathlib import Path

from sptx_core.errors import InputError

FOLDER = Path(__file__).parent / "network"


def demo_checkpoint() -> Path:
    """Find the demo's checkpoint.

    Returns
    -------
    Path
        Its folder, as `SpTransformerModel.from_pretrained` and `--checkpoint` take it.

    Raises
    ------
    InputError
        This installation of sptx lacks it.
    """
    if not (FOLDER / "model.safetensors").is_file():
        raise InputError(f"{FOLDER} holds no checkpoint: install sptx again")
    return FOLDER
