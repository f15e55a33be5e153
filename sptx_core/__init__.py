"""SpTransformer in PyTorch: the network, its checkpoints, its windows and its engine. No Ray and no genome files.

The names below are loaded when they are first used (`__init__.pyi` says from where).

    >>> import torch
    >>> from sptx_core import DnaTokenizer, SpTransformerConfig, SpTransformerModel
    >>> config = SpTransformerConfig(context=40, max_seq_len=256, layers=1, tissue_names=("brain", "heart"), tissues=2)
    >>> network = SpTransformerModel(config).eval()  # random weights; `from_pretrained` loads trained ones
    >>> ids = DnaTokenizer.of_network()(["ACGTN" * 20], return_tensors="pt")["input_ids"]
    >>> with torch.inference_mode():
    ...     scores = network(ids).scores()
    >>> scores.shape  # windows, bases, channels
    torch.Size([1, 100, 5])
    >>> network.output_channels
    ('no_splice', 'acceptor', 'donor', 'brain', 'heart')

The engine gives the same scores faster, for stretches of consecutive windows with their flanks:

    >>> from sptx_core import Predictor, WindowSpec
    >>> spec = WindowSpec(core=100, context=40)
    >>> predictor = Predictor(network, spec, batch=1)
    >>> first, end = spec.input_span(0, 2)
    >>> (scores,) = predictor.predict([torch.randint(4, (end - first,), dtype=torch.uint8).numpy()])
    >>> scores.shape  # windows, bases, channels
    (3, 100, 5)
"""

import lazy_loader

from sptx_core.version import __version__  # noqa: F401  # named in __init__.pyi

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
