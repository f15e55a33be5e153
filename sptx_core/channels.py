"""The network's output channels in their order, and the step from logits to scores.

Channels 0 to 2 are the splice classes, of which a base has exactly one; the others are the usage of the site in each of
15 GTEx tissues, in the order of the published checkpoint. `SPLICE`, `TISSUES` and `CHANNELS` need no PyTorch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SPLICE = ("no_splice", "acceptor", "donor")
"""The splice classes in the order of the network; a table may order its columns otherwise."""

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
"""All channels of the published network."""


def scores(logits: Tensor) -> Tensor:
    """Turn logits into probabilities.

    Parameters
    ----------
    logits
        [..., 3 + tissues], of any floating-point type.

    Returns
    -------
    Tensor
        [..., 3 + tissues]: softmax over the splice classes, a sigmoid for each tissue. float32, computed from logits
        that are widened first where they have a lower precision; float64 stays float64.
    """
    import torch  # late: readers of tables use the names above without loading PyTorch

    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.cat((wide[..., : len(SPLICE)].softmax(-1), wide[..., len(SPLICE) :].sigmoid()), -1)


def mean_logits(members: Tensor) -> Tensor:
    """The logits of the mean probability of several networks.

    Sound where probabilities are 0 or 1: no probability is formed on the way.

    Parameters
    ----------
    members
        [members, ..., 3 + tissues], the logits of each network.

    Returns
    -------
    Tensor
        [..., 3 + tissues], in the type of `members`: for the splice classes the logarithm of the mean of the softmax,
        for each tissue the logit of the mean of the sigmoid; `scores` of it gives the means.
    """
    import torch  # late: as above
    import torch.nn.functional as F

    wide = members.to(torch.promote_types(members.dtype, torch.float32))
    splice, usage = wide[..., : len(SPLICE)], wide[..., len(SPLICE) :]
    mean = splice.log_softmax(-1).logsumexp(0) - math.log(len(members))
    odds = F.logsigmoid(usage).logsumexp(0) - F.logsigmoid(-usage).logsumexp(0)
    return torch.cat((mean, odds), -1).to(members.dtype)


def postprocessed(logits: Tensor) -> Tensor:
    """Turn the logits of the splice classes into probabilities and leave those of usage as they are.

    Parameters
    ----------
    logits
        [..., 3 + tissues].

    Returns
    -------
    Tensor
        [..., 3 + tissues], in the type of `logits`.
    """
    import torch  # late: as above

    return torch.cat((logits[..., : len(SPLICE)].softmax(-1), logits[..., len(SPLICE) :]), -1)
