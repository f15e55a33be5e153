"""What training minimises: cross-entropy of the splice classes and of usage, as sums with their weights.

Sums and not means, so that the parts of a batch that lie on several devices add up to the loss of the whole:

    site_loss  = sum of w[y] * -log p[y]  over labelled bases  /  sum of w[y] over sites
    usage_loss = sum of -u log q - (1 - u) log(1 - q)  over known pairs of a site and a tissue  /  number of pairs

with p the softmax of the splice logits, q the sigmoid of a usage logit, u the given usage in [0, 1]. Splice sites are
rare (about one base in a thousand is one), so their classes weigh w = `site_weight` against 1, and the loss is told per
site, which makes it as large as that of usage however rare they are. The cross-entropy of usage is least where q = u,
as the squared error is, and keeps its gradient where q is far off.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from sptx_core.channels import SPLICE

UNLABELLED = -100  # class of a base that is left out of the loss


class Loss(NamedTuple):
    """Two sums and their weights, scalars in float32; the losses are `site / site_weight`, `usage / usage_weight`."""

    site: Tensor
    site_weight: Tensor
    usage: Tensor
    usage_weight: Tensor


def splice_loss(logits: Tensor, classes: Tensor, sites: Tensor, usage: Tensor, *, site_weight: float) -> Loss:
    """The loss of a batch.

    Args:
        logits: [B, L, 3 + tissues], before softmax and sigmoid; widened to float32 here.
        classes: int64 [B, L]: 0 no splice site, 1 acceptor, 2 donor, `UNLABELLED` where unknown.
        sites: int64 [n]: places of the sites whose usage is given, as row * L + position.
        usage: float32 [n, tissues] in [0, 1], NaN where unknown.
        site_weight: weight of a base that is a site, against 1 of another.

    """
    flat = logits.float().flatten(0, 1)
    weights = flat.new_tensor([1.0, site_weight, site_weight])
    labels = classes.flatten()
    site = F.cross_entropy(flat[:, : len(SPLICE)], labels, weights, ignore_index=UNLABELLED, reduction="sum")
    weight = site_weight * (labels > 0).sum().float()
    given = flat[sites, len(SPLICE) :]
    known = ~usage.isnan()
    each = F.binary_cross_entropy_with_logits(given, usage.nan_to_num(), known.float(), reduction="sum")
    return Loss(site, weight, each, known.sum().float())
