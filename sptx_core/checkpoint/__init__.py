"""Checkpoints in and out: three layouts, one table of names, no network needed to read them.

The modules, each of which uses those before it:

- `names`: the one table of tensor names, and renaming between layouts;
- `multimolecule_settings`: MultiMolecule's names of settings;
- `shapes`: the shape of every tensor from the sizes of a network, and the sizes from the shapes;
- `hub`: folders from and to the Hugging Face hub;
- `sources`: where the files are, and their tensors, read without running code;
- `family`: networks of SpliceAI's family as they were published;
- `checkpoint`: `Checkpoint` with its digest, load and save;
- `pretrained`: what networks inherit to be built from a checkpoint, saved and pushed.

`sptx_core.model` uses this package; this package never imports a network.
"""

from sptx_core.checkpoint.checkpoint import Checkpoint, checkpoint_digest, load_checkpoint, load_config, save_checkpoint
from sptx_core.checkpoint.names import Layout, renamed
from sptx_core.checkpoint.pretrained import PretrainedNetwork
from sptx_core.checkpoint.sources import CONFIG_FILE, TENSOR_FILE, Source, locate, locate_some

__all__ = [
    "CONFIG_FILE",
    "TENSOR_FILE",
    "Checkpoint",
    "Layout",
    "PretrainedNetwork",
    "Source",
    "checkpoint_digest",
    "load_checkpoint",
    "load_config",
    "locate",
    "locate_some",
    "renamed",
    "save_checkpoint",
]
