"""The network by MultiMolecule's names: its scripts for SpTransformer run with this import in place of its own.

The two packages call settings differently, and one name means two things: MultiMolecule's `hidden_size` is the width of
the path around the encoders, ours that of the attention layers (its `attention_hidden_size`). The classes here have
MultiMolecule's names and hold ours; docs/network.md lists what runs, and what differs on purpose.

    >>> import torch
    >>> from sptx_core.multimolecule import SpTransformerConfig, SpTransformerFeatureEncoderConfig
    >>> from sptx_core.multimolecule import SpTransformerForTokenPrediction, SpTransformerModel
    >>> config = SpTransformerConfig(
    ...     context=10, hidden_size=6, encoders=[SpTransformerFeatureEncoderConfig(hidden_size=4)],
    ...     attention_hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_local_attention_heads=1,
    ...     intermediate_size=64, bucket_size=8, max_seq_len=40, num_tissues=2, num_labels=4,
    ... )
    >>> model = SpTransformerModel(config).eval()
    >>> model.config.hidden_size, model.config.attention_hidden_size, model.sizes.hidden_size
    (6, 32, 32)
    >>> input_ids = torch.randint(config.vocab_size, (2, 30))
    >>> output = model(input_ids, output_attentions=True, output_hidden_states=True)
    >>> output["logits"].shape, output["last_hidden_state"].shape, len(output["hidden_states"])
    (torch.Size([2, 30, 5]), torch.Size([2, 30, 32]), 4)
    >>> scores, channels = model.postprocess(output)
    >>> channels
    ['no_splice', 'acceptor', 'donor', 'tissue_0', 'tissue_1']

There is one `SpTransformerAttentionMap` a layer. Here it has 40 / 8 = 5 buckets of 8 positions; local heads come first.

    >>> first = output["attentions"][0]
    >>> first.local_attentions.shape, first.local_key_positions.shape
    (torch.Size([2, 1, 5, 8, 24]), torch.Size([5, 24]))
    >>> first["sinkhorn_attentions"].shape, first["sinkhorn_reorder"].shape
    (torch.Size([2, 3, 5, 8, 16]), torch.Size([2, 3, 5, 5]))
    >>> first.num_local_heads, first.num_sinkhorn_heads, first.sequence_length
    (1, 3, 40)

A head for other labels:

    >>> predictor = SpTransformerForTokenPrediction(config)
    >>> output = predictor(input_ids, labels=torch.rand(2, 30, 4))
    >>> output["logits"].shape
    torch.Size([2, 30, 4])
    >>> output["loss"]  # doctest: +ELLIPSIS
    tensor(..., grad_fn=<MseLossBackward0>)

A saved network, loaded again, and its tokenizer, which numbers A C G T (or U) N from 0 to 4:

    >>> from sptx_core.multimolecule import DnaTokenizer
    >>> model.save_pretrained("lab/sptransformer")
    >>> tokenizer = DnaTokenizer.from_pretrained("lab/sptransformer")
    >>> model = SpTransformerModel.from_pretrained("lab/sptransformer")
    >>> output = model(tokenizer("GGUAAGUNNCAG", return_tensors="pt")["input_ids"])
    >>> output.keys()
    odict_keys(['last_hidden_state', 'logits'])

A setting that this network does not have, or a value that it cannot have, is an `InputError`.
"""

from sptx_core.attention import SpTransformerAttentionMap
from sptx_core.multimolecule.config import SpTransformerConfig
from sptx_core.multimolecule.models import (
    SpTransformerForTokenPrediction,
    SpTransformerModel,
    SpTransformerPreTrainedModel,
)
from sptx_core.multimolecule.parts import HeadConfig, SpTransformerFeatureEncoderConfig
from sptx_core.output_base import Output as ModelOutput
from sptx_core.outputs import SpTransformerModelOutput, SpTransformerTokenPredictorOutput
from sptx_core.tokenizer import DnaTokenizer

PreTrainedModel = SpTransformerPreTrainedModel
"""What both networks are; of Transformers' class of this name it has the calls that docs/network.md lists."""
PredictorOutput = SpTransformerTokenPredictorOutput
"""What a network with a head returns; there is one kind."""

__all__ = [
    "DnaTokenizer",
    "HeadConfig",
    "ModelOutput",
    "PreTrainedModel",
    "PredictorOutput",
    "SpTransformerAttentionMap",
    "SpTransformerConfig",
    "SpTransformerFeatureEncoderConfig",
    "SpTransformerForTokenPrediction",
    "SpTransformerModel",
    "SpTransformerModelOutput",
    "SpTransformerPreTrainedModel",
    "SpTransformerTokenPredictorOutput",
]
