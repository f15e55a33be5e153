"""The checkpoint that comes with sptx: a small network for generated genomes (`sptx simulate`). SYNTHETIC.

`checkpoints/demo/` holds model.safetensors, config.json and README.md, which says how it was trained and how well it
does. It knows nothing about real genomes.
"""

from __future__ import annotations

from pathlib import Path

from sptx_core.errors import InputError

FOLDER = Path(__file__).parent / "checkpoints" / "demo"


def demo_checkpoint() -> Path:
    """Its folder, as `SpTransformerModel.from_pretrained` and `--checkpoint` take it."""
    if not (FOLDER / "model.safetensors").is_file():
        raise InputError(f"{FOLDER} holds no checkpoint: install sptx again")
    return FOLDER
