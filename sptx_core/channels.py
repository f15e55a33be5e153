"""The network's output channels in their one order, and the step from logits to scores.

Channels 0..2 are the splice classes, which exclude each other; the rest is the usage of the site in each of the 15
GTEx tissues, in the order of the published checkpoint. `SPLICE`, `TISSUES` and `CHANNELS` need no PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SPLICE = ("no_splice", "acceptor", "donor")

TISSUES = (
    "adipose_tissue",
    "blood",
    "blood_vessel",
    "brain",
    "colon",
    "heart",
    "kidney",
    "liver",
    "lung",
    "muscle",
    "nerve",
    "small_intestine",
    "skin",
    "spleen",
    "stomach",
)

CHANNELS = SPLICE + TISSUES


def scores(logits: Tensor) -> Tensor:
    """Probabilities of logits [..., 3 + tissues], same shape: softmax over the splice classes, a sigmoid per tissue.

    float32, also for logits of lower precision, which are widened first; float64 stays float64.
    """
    import torch  # late: readers of tables use the names above without loading PyTorch

    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.cat((wide[..., : len(SPLICE)].softmax(-1), wide[..., len(SPLICE) :].sigmoid()), -1)


def postprocessed(logits: Tensor) -> Tensor:
    """Logits [..., 3 + tissues] with a softmax over the splice classes; usage stays in the network's own scale."""
    import torch

    return torch.cat((logits[..., : len(SPLICE)].softmax(-1), logits[..., len(SPLICE) :]), -1)
