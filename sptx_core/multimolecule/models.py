"""The networks by MultiMolecule's names: ours, with a configuration, outputs and calls as that package has them.

Each is the network of `sptx_core` of the same name, and can stand in its place: `sizes` are by our names, `config` by
MultiMolecule's. What a call returns besides may be set in `config`; with `return_dict=False` it is a tuple.

    >>> import torch
    >>> from sptx_core.multimolecule import SpTransformerConfig, SpTransformerModel
    >>> config = SpTransformerConfig(bucket_size=4, max_seq_len=16, context=2, num_hidden_layers=2)
    >>> model = SpTransformerModel(config).eval()
    >>> output = model(torch.randint(config.vocab_size, (1, 16)), output_attentions=True)
    >>> layer0 = output.attentions[0]
    >>> layer0.local_attentions.shape, layer0.sinkhorn_attentions.shape, layer0.sinkhorn_reorder.shape
    (torch.Size([1, 2, 4, 4, 12]), torch.Size([1, 6, 4, 4, 8]), torch.Size([1, 6, 4, 4]))

Impossible input is an `InputError`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from sptx_core import config as own
from sptx_core.checkpoint.checkpoint import Checkpoint, load_checkpoint
from sptx_core.checkpoint.multimolecule_settings import BESIDE, OF_HEAD, beside_of
from sptx_core.checkpoint.pretrained import PretrainedNetwork
from sptx_core.checkpoint.sources import Source
from sptx_core.errors import InputError
from sptx_core.inputs import Sequences
from sptx_core.model import SpTransformerModel as OwnModel
from sptx_core.multimolecule.config import DOCUMENTED, INHERITED, LOADING, SpTransformerConfig
from sptx_core.outputs import SpTransformerModelOutput, SpTransformerTokenPredictorOutput
from sptx_core.token_prediction import SpTransformerForTokenPrediction as OwnPredictor

Config = SpTransformerConfig | own.SpTransformerConfig


class SpTransformerPreTrainedModel(PretrainedNetwork):
    """What both networks share."""

    config_class = SpTransformerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    has_head = False
    """Whether there is a head on top."""
    config: SpTransformerConfig  # type: ignore[assignment]  # by MultiMolecule's names; `sizes` is by ours

    @classmethod
    def from_pretrained(cls, source: Source, **options: Any) -> Self:
        """Load the network of a checkpoint, ready to predict.

        Parameters
        ----------
        source
            A file, a folder or a hub id.
        **options
            As in `from_pretrained` of the network in `sptx_core` and in `from_checkpoint` here.

        Raises
        ------
        InputError
            The checkpoint cannot be read or does not fit.
        """
        of_file = {name: options.pop(name) for name in LOADING & options.keys()}
        return cls.from_checkpoint(load_checkpoint(source, **of_file), **options)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, *, config: Config | None = None, **options: Any) -> Self:
        """Build the network of a checkpoint that is already loaded, ready to predict.

        Parameters
        ----------
        checkpoint
            From `load_checkpoint`.
        config
            Settings in place of those of the checkpoint, by MultiMolecule's names or by ours; the sizes of the network
            must be the same. What one leaves open, such as a head, is that of the checkpoint.
        **options
            Settings to replace, by their names in `SpTransformerConfig`, except sizes of the network. `head` makes a
            new head with random weights; `num_labels` and `problem_type` keep those of the checkpoint, which must fit.
            Others are as in `from_checkpoint` of the network in `sptx_core`.

        Raises
        ------
        InputError
            The checkpoint does not fit the settings, or `config` is no configuration.
        """
        settings = {name: options.pop(name) for name in (*DOCUMENTED, *INHERITED) if name in options}
        if fixed := sorted(settings.keys() - {*BESIDE, *OF_HEAD}):
            raise InputError(f"{', '.join(fixed)} cannot be replaced: the checkpoint was trained with its own")
        found = SpTransformerConfig.of(checkpoint.config, checkpoint.beside)
        if config is not None:
            silent = isinstance(config, own.SpTransformerConfig)  # ours has no place for settings beside the sizes
            config = _by_their_names(config)
            if dataclasses.replace(config.network, head=None) != dataclasses.replace(found.network, head=None):
                raise InputError(f"config has other sizes than {checkpoint.source}")
            network = dataclasses.replace(config.network, head=config.network.head or found.network.head)
            found = SpTransformerConfig.of(network, found.beside if silent else config.beside)
        found.update(settings)
        if settings.get("head") is not None and cls.has_head:
            options["head"] = found.network.head
        loaded = super().from_checkpoint(dataclasses.replace(checkpoint, config=found.network), **options)
        loaded._configure(SpTransformerConfig.of(loaded.sizes, found.beside))
        return loaded

    def to_checkpoint(self) -> Checkpoint:
        """The network as a checkpoint, with the settings that only this package has."""
        return dataclasses.replace(super().to_checkpoint(), beside=beside_of(self.config.beside))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the parameters."""
        return next(self.parameters()).dtype

    def num_parameters(self, only_trainable: bool = False) -> int:
        """Count the parameters."""
        return sum(x.numel() for x in self.parameters() if x.requires_grad or not only_trainable)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # of PyTorch
        self.config.keep_for_network()

    def _configure(self, config: SpTransformerConfig) -> None:
        """Go by this configuration from now on; its sizes are those of the network."""
        config.keep_for_network()
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = config.beside["batch_norm_momentum"]
            if isinstance(module, SpTransformerPreTrainedModel):
                module.config = config


class SpTransformerModel(SpTransformerPreTrainedModel, OwnModel):
    """The network with its splice and usage heads.

    Parameters
    ----------
    config
        By MultiMolecule's names or by ours; by default that of the published network.
    """

    def __init__(self, config: Config | None = None) -> None:
        config = _by_their_names(config)
        super().__init__(config.network)
        self._configure(config)

    @property
    def output_channels(self) -> list[str]:  # type: ignore[override]  # as in MultiMolecule's package
        """Names of the channels of `logits`: the splice classes, then the tissues."""
        return list(super().output_channels)

    def postprocess(  # type: ignore[override]  # as above
        self, outputs: Mapping[str, Any] | Tensor
    ) -> tuple[Tensor, list[str]]:
        """Splice probabilities and usage before the sigmoid [..., 3 + tissues], and the names of these channels."""
        scores, _ = super().postprocess(outputs if isinstance(outputs, Tensor) else outputs["logits"])
        return scores, self.output_channels

    def forward(  # type: ignore[override]  # as above
        self,
        input_ids: Sequences | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Sequences | None = None,
        *,
        return_dict: bool | None = None,
        flanked: bool = False,
        **outputs: bool | None,
    ) -> SpTransformerModelOutput | tuple[Any, ...]:
        """Predict every base that is not flank.

        Parameters
        ----------
        input_ids, attention_mask, inputs_embeds, flanked
            As in `sptx_core.model.SpTransformerModel.forward`.
        return_dict
            False for a tuple of the entries; by default as in `config`.
        **outputs
            `output_attentions`, `output_hidden_states`, `output_contexts`; by default, or if None, as in `config`.
        """
        wanted = self.config.outputs(outputs)
        found = super().forward(input_ids, attention_mask, inputs_embeds, flanked=flanked, **wanted)
        return found if self.config.returns_dict(return_dict) else found.to_tuple()


class SpTransformerForTokenPrediction(SpTransformerPreTrainedModel, OwnPredictor):
    """The network with a head on top.

    Parameters
    ----------
    config
        By MultiMolecule's names or by ours, with the settings of the head; by default those of the published network.
    """

    network_class = SpTransformerModel
    has_head = True

    def __init__(self, config: Config | None = None) -> None:
        config = _by_their_names(config)
        super().__init__(config.network_with_head())
        self._configure(config)

    def forward(  # type: ignore[override]  # as above
        self,
        input_ids: Sequences | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Sequences | None = None,
        labels: Sequences | None = None,
        *,
        return_dict: bool | None = None,
        flanked: bool = False,
        **outputs: bool | None,
    ) -> SpTransformerTokenPredictorOutput | tuple[Any, ...]:
        """Predict the labels of every base that is not flank.

        Parameters
        ----------
        input_ids, attention_mask, inputs_embeds, flanked, return_dict
            As in `SpTransformerModel.forward`.
        labels
            What to compute the loss against; `sptx_core.token_prediction` has shapes and types.
        **outputs
            As in `SpTransformerModel.forward`.
        """
        wanted = self.config.outputs(outputs)
        found = super().forward(input_ids, attention_mask, inputs_embeds, labels, flanked=flanked, **wanted)
        return found if self.config.returns_dict(return_dict) else found.to_tuple()


def _by_their_names(config: Config | None) -> SpTransformerConfig:
    if config is None or isinstance(config, own.SpTransformerConfig):
        return SpTransformerConfig() if config is None else SpTransformerConfig.of(config)
    if not isinstance(config, SpTransformerConfig):
        raise InputError(f"config must be a SpTransformerConfig, not {config!r}")
    return config
