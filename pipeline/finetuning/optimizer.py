"""How a training changes the weights: AdamW, and a learning rate that rises linearly and falls with a cosine.

In: a network whose frozen parameters require no gradient, and the settings of the training.
"""

from __future__ import annotations

import math

import torch

from pipeline.finetuning.settings import FinetuneConfig
from sptx_core.model import SpTransformerModel

BETAS = (0.9, 0.98)  # as Vaswani et al. 2017 trained the Transformer (arXiv:1706.03762)


def make_optimizer(network: SpTransformerModel, config: FinetuneConfig) -> torch.optim.AdamW:
    """Make the optimizer of a network.

    Parameters
    ----------
    network : SpTransformerModel
        The network; only parameters that require a gradient are optimized.
    config : FinetuneConfig
        Learning rate and weight decay.

    Returns
    -------
    torch.optim.AdamW
        With weight decay for weights, but not for biases, norms and the usage head.

    """
    trained = [x for x in network.parameters() if x.requires_grad]
    # Decay would change the usage head's rows of tissues whose usage is unknown everywhere: they must stay as they are.
    tissues = None if network.usage_head is None else network.usage_head.weight
    groups = [
        {"params": [x for x in trained if x.dim() > 1 and x is not tissues], "weight_decay": config.weight_decay},
        {"params": [x for x in trained if x.dim() <= 1 or x is tissues], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS)


def learning_rate_factor(progress: float, warmup: float) -> float:
    """Compute the factor of the learning rate: a linear rise to 1 during the warm-up, then half a cosine down to 0.

    Parameters
    ----------
    progress : float
        Share of the training that is done; past 1 the factor is 0.
    warmup : float
        Share of the training that the warm-up takes, in [0, 1).

    Returns
    -------
    float
        Factor in [0, 1].

    """
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))
