"""Sizes of the network: the published defaults, validation, the JSON form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sptx_core.config import HeadConfig, ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError

INTEGERS = [
    "input_channels",
    "context",
    "max_seq_len",
    "input_path_channels",
    "hidden_size",
    "layers",
    "heads",
    "local_heads",
    "bucket_size",
    "feed_forward_size",
    "tissues",
    "members",
]
ZERO_ALLOWED = {"context", "local_heads", "input_path_channels", "layers", "tissues"}


def test_defaults_are_the_published_sizes() -> None:
    config = SpTransformerConfig()
    assert [encoder.channels for encoder in config.encoders] == [128, 64]
    assert [(s.blocks, s.kernel_size, s.dilation) for s in config.encoders[1].stages] == [
        (4, 11, 1),
        (4, 11, 4),
        (4, 21, 10),
        (4, 21, 20),
    ]
    assert (config.context, config.max_seq_len, config.hidden_size, config.layers) == (4000, 8192, 256, 8)
    assert (config.heads, config.local_heads, config.bucket_size, config.feed_forward_size) == (8, 2, 64, 1024)
    assert (config.input_channels, config.input_path_channels, config.tissues) == (5, 128, 15)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [-1, 2.0, "8", None, True])
def test_sizes_that_are_no_positive_integers_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        SpTransformerConfig(**{name: value})


@pytest.mark.parametrize("name", sorted({*INTEGERS} - ZERO_ALLOWED))
def test_zero_is_refused_where_it_means_nothing(name: str) -> None:
    with pytest.raises(InputError, match=name):
        SpTransformerConfig(**{name: 0})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_channels": 3}, "input_channels must be 4 .* or 5"),
        ({"input_channels": 6}, "input_channels must be 4 .* or 5"),
        ({"hidden_size": 255}, r"hidden_size \(255\) must be a multiple of heads \(8\)"),
        ({"max_seq_len": 8191}, r"max_seq_len \(8191\) must be a multiple of bucket_size \(64\)"),
        ({"local_heads": 9}, r"local_heads \(9\) must be at most heads \(8\)"),
        ({"encoders": ()}, "encoders must be a tuple of one or more"),
        ({"encoders": [SpTransformerFeatureEncoderConfig()]}, "encoders must be a tuple"),
        ({"encoders": (128, 64)}, "encoders must be a tuple"),
        ({"members": 10**9}, "members of a SpTransformerConfig must be at most 1,000, not 1,000,000,000"),
        ({"layers": 10**9}, "layers of a SpTransformerConfig must be at most 1,000, not 1,000,000,000"),
        ({"members": 2, "head": HeadConfig()}, "a head reads one network, and members is 2"),
    ],
)
def test_sizes_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpTransformerConfig(**settings)


@pytest.mark.parametrize(
    ("stage", "message"),
    [((0, 11, 1), "blocks"), ((4, 10, 1), "kernel_size .* odd"), ((4, 0, 1), "kernel_size"), ((4, 11, 0), "dilation")],
)
def test_impossible_stages_are_refused(stage: tuple[int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ResidualStage(*stage)


def test_impossible_encoders_are_refused() -> None:
    with pytest.raises(InputError, match="channels of a SpTransformerFeatureEncoderConfig"):
        SpTransformerFeatureEncoderConfig(0)
    with pytest.raises(InputError, match="stages must be a tuple of one or more ResidualStage"):
        SpTransformerFeatureEncoderConfig(8, ())


def test_json_gives_the_configuration_back() -> None:
    encoder = SpTransformerFeatureEncoderConfig(6, (ResidualStage(1, 3, 2), ResidualStage(2, 5, 1)))
    config = SpTransformerConfig(input_channels=4, context=7, encoders=(encoder,), local_heads=0, tissues=2)
    assert SpTransformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("leak", [-0.1, 1, "0.1", True, float("nan")])
def test_impossible_leaks_are_refused(leak: Any) -> None:
    with pytest.raises(InputError, match="leak of an encoder must be at least 0 and less than 1"):
        SpTransformerFeatureEncoderConfig(leak=leak)


def test_settings_that_came_later_are_written_only_where_they_say_something() -> None:
    assert "members" not in SpTransformerConfig().to_dict()
    assert all("leak" not in encoder for encoder in SpTransformerConfig().to_dict()["encoders"])
    leaking = SpTransformerFeatureEncoderConfig(8, leak=0.1)
    config = SpTransformerConfig(encoders=(leaking, SpTransformerFeatureEncoderConfig(8)), layers=0, members=5)
    values = json.loads(json.dumps(config.to_dict()))
    assert (values["members"], [encoder.get("leak") for encoder in values["encoders"]]) == (5, [0.1, None])
    assert SpTransformerConfig.from_dict(values) == config


def test_without_attention_its_sizes_mean_nothing() -> None:
    config = SpTransformerConfig(layers=0, hidden_size=7, heads=2, local_heads=3, max_seq_len=100, bucket_size=64)
    assert config.of_predictions == SpTransformerConfig(layers=0, hidden_size=7)
    attending = SpTransformerConfig(heads=4, max_seq_len=640)
    assert attending.of_predictions == attending


def test_names_of_tissues_are_numbers_until_they_are_given() -> None:
    assert SpTransformerConfig(tissues=2).output_channels == ("no_splice", "acceptor", "donor", "tissue_0", "tissue_1")
    assert "tissue_names" not in SpTransformerConfig().to_dict()
    named = SpTransformerConfig(tissues=2, tissue_names=("brain", "liver"))
    assert named.output_channels[3:] == ("brain", "liver")
    assert SpTransformerConfig.from_dict(json.loads(json.dumps(named.to_dict()))) == named


@pytest.mark.parametrize(
    "names", [("brain",), ("brain", "brain"), ("brain", "donor"), ("brain", ""), ["brain", "liver"], ("brain", 2), ()]
)
def test_impossible_names_of_tissues_are_refused(names: Any) -> None:
    with pytest.raises(InputError, match="tissue_names must be"):
        SpTransformerConfig(tissues=2, tissue_names=names)


def test_settings_left_out_keep_their_defaults() -> None:
    assert SpTransformerConfig.from_dict({}) == SpTransformerConfig()
    config = SpTransformerConfig.from_dict({"encoders": [{"channels": 8}]})
    assert config.encoders == (SpTransformerFeatureEncoderConfig(8),)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 8, "width": 1}, "SpTransformerConfig has no setting depth, width"),
        ({"encoders": [{"size": 8}]}, "SpTransformerFeatureEncoderConfig has no setting size"),
        ({"encoders": [{"stages": [{"blocks": 1}]}]}, "ResidualStage lacks its setting kernel_size, dilation"),
        ({"encoders": 8}, "encoders must be a list"),
        ({"encoders": [{"stages": "x"}]}, "stages must be a list"),
        ({"encoders": [8]}, "expected the settings of a SpTransformerFeatureEncoderConfig"),
        (None, "expected the settings of a SpTransformerConfig"),
    ],
)
def test_malformed_settings_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpTransformerConfig.from_dict(settings)
