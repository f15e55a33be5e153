"""What training minimises: the cross-entropy of the splice classes and of usage.

    site_loss  = sum of w[y] * -log p[y]  over labelled bases  /  sum of w[y] over sites
    usage_loss = sum of -u log q - (1 - u) log(1 - q)  over known pairs of a site and a tissue  /  number of pairs

with y the class of a base, p the softmax of its splice logits, q the sigmoid of a usage logit, and u the measured usage
in [0, 1]. About one base in a thousand is a splice site. Their classes therefore have the weight w = `site_weight`
against 1, and site_loss is divided by the weight of the sites alone, so that it is about as large as usage_loss however
rare they are. The cross-entropy of usage is smallest where q = u, like the squared error, but keeps its gradient where
q is far from u.

The loss of a batch is returned as the sums above, not as means, so that the sums of its parts on several devices add up
to those of the whole.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from sptx_core.channels import SPLICE

UNLABELLED = -100
"""Class of a base that is left out of the loss (PyTorch's default for `ignore_index`)."""


class Loss(NamedTuple):
    """Two sums and what each is divided by, all scalars in float32."""

    site: Tensor
    """Sum over labelled bases; site_loss = site / site_weight."""
    site_weight: Tensor
    """Sum of the weights of the sites."""
    usage: Tensor
    """Sum over known pairs of a site and a tissue; usage_loss = usage / usage_weight."""
    usage_weight: Tensor
    """Number of these pairs."""


def splice_loss(logits: Tensor, classes: Tensor, sites: Tensor, usage: Tensor, *, site_weight: float) -> Loss:
    """Compute the loss of a batch.

    Parameters
    ----------
    logits
        [B, L, 3 + tissues], before softmax and sigmoid; widened to float32 here.
    classes
        int64 [B, L]: index of the class in `sptx_core.channels.SPLICE`, or `UNLABELLED`.
    sites
        int64 [n]: the sites whose usage is measured, each as row * L + position.
    usage
        float32 [n, tissues] in [0, 1], NaN where unknown.
    site_weight
        Weight of a base that is a site; that of any other base is 1.

    Returns
    -------
    Loss
        Sums over the batch, with gradients.
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
