"""Checkpoints in and out: three layouts, one table of names.

Read: an official `.ckpt` (a state dict, bare or under "state_dict"; the unused output layers of its encoders are
dropped), MultiMolecule safetensors (with or without the `model.` prefix; heads on top of the network are dropped) and
our own, as a file or as a folder of `model.safetensors` and `config.json`; or the id of such a folder on the Hugging
Face hub. Written: our own folder. What a file is shows in its content, never in its name.

The sizes of the network come from `config.json`, which a folder must hold and a safetensors file may have beside it.
Without it they are read off the tensors; context, heads and dilations leave no trace there and are taken to be those
of the published network. An official checkpoint of 15 tissues has their names; MultiMolecule's placeholders for names
(`tissue_0` ...) count as none.

Nothing but tensors is ever unpickled. Tensors become float32; those that are missing, unexpected, misshapen or not
finite are listed by the names they have in the file. Every fault of a checkpoint is an `InputError`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core.channels import SPLICE, TISSUES
from sptx_core.config import HeadConfig, ResidualStage, SpTransformerConfig, SpTransformerFeatureEncoderConfig
from sptx_core.errors import InputError
from sptx_core.files import write_atomic
from sptx_core.hub import download
from sptx_core.model import SpTransformerModel

Source = str | os.PathLike[str]

CONFIG_FILE = "config.json"
TENSOR_FILE = "model.safetensors"
MODEL_TYPE = "sptx"  # "model_type" in our config.json
MULTIMOLECULE_MODEL_TYPE = "sptransformer"
HEAD = "token_head"  # of `SpTransformerForTokenPrediction`, in our files and in MultiMolecule's
LISTED = 20  # tensors that a message names before it counts the rest


class Layout(IntEnum):
    """Who named the tensors: a column of NAMES."""

    OURS = 0
    OFFICIAL = 1
    MULTIMOLECULE = 2


# Modules and bare parameters. "#" is a number, the same in all three columns; so is what follows a module's name
# (".weight", ".bias", ".running_mean" ...).
NAMES = (
    ("encoders.#.input", "encoder.#.conv1", "feature_encoders.#.conv1"),
    ("encoders.#.first_skip", "encoder.#.skip", "feature_encoders.#.skip"),
    ("encoders.#.blocks.#.norm1", "encoder.#.resblocks.#.bn1", "feature_encoders.#.resblocks.#.norm1"),
    ("encoders.#.blocks.#.conv1", "encoder.#.resblocks.#.conv1", "feature_encoders.#.resblocks.#.conv1"),
    ("encoders.#.blocks.#.norm2", "encoder.#.resblocks.#.bn2", "feature_encoders.#.resblocks.#.norm2"),
    ("encoders.#.blocks.#.conv2", "encoder.#.resblocks.#.conv2", "feature_encoders.#.resblocks.#.conv2"),
    ("encoders.#.skips.#", "encoder.#.convs.#", "feature_encoders.#.convs.#"),
    ("input_path.0", "conv1.0", "projection.conv1"),
    ("input_path.1", "conv1.1", "projection.conv2"),
    ("fusion", "conv2", "projection.conv"),
    ("position.bucket", "attn.pos_emb.weights.0", "encoder.position_embeddings.weights.0"),
    ("position.place", "attn.pos_emb.weights.1", "encoder.position_embeddings.weights.1"),
    ("layers.#.attention_norm", "attn.attn.layers.layers.#.0.norm", "encoder.layer.#.attention.layer_norm"),
    ("layers.#.attention.query", "attn.attn.layers.layers.#.0.fn.to_q", "encoder.layer.#.attention.self.query"),
    (
        "layers.#.attention.key_value",
        "attn.attn.layers.layers.#.0.fn.to_kv",
        "encoder.layer.#.attention.self.key_value",
    ),
    ("layers.#.attention.output", "attn.attn.layers.layers.#.0.fn.to_out", "encoder.layer.#.attention.output.dense"),
    ("layers.#.feed_forward_norm", "attn.attn.layers.layers.#.1.norm", "encoder.layer.#.intermediate.layer_norm"),
    ("layers.#.expand", "attn.attn.layers.layers.#.1.fn.fn.w1", "encoder.layer.#.intermediate.dense"),
    ("layers.#.contract", "attn.attn.layers.layers.#.1.fn.fn.w2", "encoder.layer.#.output.dense"),
    ("norm", "attn.norm", "encoder.layer_norm"),
    ("splice_head", "splice", "prediction.splice"),
    ("usage_head", "usage", "prediction.usage"),
)

# Official files: another spelling of two names, and the encoders' own heads, left from their pre-training.
OLDER_NAMES = {f"attn.pos_emb.weights_{axis}": f"attn.pos_emb.weights.{axis}" for axis in (0, 1)}
UNUSED = re.compile(r"encoder\.\d+\.(splice|tissue)_output\.")

# Settings of a MultiMolecule config.json that size the network, and those that must be as the network has them.
MULTIMOLECULE_SETTINGS = {
    "vocab_size": "input_channels",
    "context": "context",
    "max_seq_len": "max_seq_len",
    "hidden_size": "input_path_channels",
    "attention_hidden_size": "hidden_size",
    "num_hidden_layers": "layers",
    "num_attention_heads": "heads",
    "num_local_attention_heads": "local_heads",
    "bucket_size": "bucket_size",
    "intermediate_size": "feed_forward_size",
    "num_tissues": "tissues",
}
MULTIMOLECULE_FIXED = {
    "hidden_act": "relu",
    "intermediate_act": "gelu",
    "batch_norm_eps": 1e-5,
    "num_splice_labels": len(SPLICE),
}
MULTIMOLECULE_FIXED_HEAD = {"transform_act": "gelu", "act": None, "layer_norm_eps": 1e-12, "loss_weight": None}


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A configuration and the tensors that fit it exactly, by our names, on the CPU, in float32."""

    config: SpTransformerConfig
    tensors: dict[str, Tensor]

    def digest(self) -> str:
        """sha256 (hex) of sizes, names and tensors: networks that predict the same share it, in any container.

        Four input channels count as five with zero weights for N. Counters of training steps, names of tissues and
        heads on top do not count.
        """
        config = dataclasses.replace(self.config, input_channels=5, tissue_names=None, head=None)
        digest = hashlib.sha256(json.dumps(config.to_dict(), sort_keys=True).encode())
        for name, tensor in sorted(self.tensors.items()):
            if _is_counter(name):
                continue
            if re.fullmatch(r"(encoders\.\d+\.input|input_path\.0)\.weight", name):  # [C, input channels, 1]
                tensor = F.pad(tensor, (0, 0, 0, 5 - tensor.shape[1]))
            digest.update(f"\n{name} {list(tensor.shape)}\n".encode())
            digest.update(tensor.contiguous().numpy().astype("<f4").tobytes())
        return digest.hexdigest()


def checkpoint_digest(source: Source) -> str:
    """`Checkpoint.digest` of a file, a folder or a hub id."""
    return load_checkpoint(source).digest()


def load_checkpoint(source: Source) -> Checkpoint:
    """Read a file, a folder or a hub id, as the module describes, and check that every tensor fits."""
    try:
        tensor_file, config_file = locate(source)
        tensors = _network(_read_tensors(tensor_file))
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"cannot read the checkpoint {source}: {error}") from error
    known = {layout: renamed(tensors, layout, Layout.OURS) for layout in Layout}
    layout = max(Layout, key=lambda layout: len(known[layout]))
    if not known[layout]:
        raise InputError(f"{tensor_file} holds no SpTransformer network: none of its {len(tensors)} tensors is known")
    if config_file is not None:
        config = _read_config(config_file)
    elif layout is Layout.OURS:
        raise InputError(f"{tensor_file} needs the {CONFIG_FILE} that was saved beside it")
    else:
        config = _infer_config(known[layout], tensor_file)
        if layout is Layout.OFFICIAL and config.tissues == len(TISSUES):
            config = dataclasses.replace(config, tissue_names=TISSUES)
    return Checkpoint(config, _fit(tensors, layout, config, tensor_file))


def load_head(source: Source) -> dict[str, Tensor]:
    """The tensors of the head on top of the network, by their names in it; none of a network alone."""
    tensors = _read_tensors(locate(source)[0])
    prefix = f"{HEAD}."
    return {name.removeprefix(prefix): x.clone() for name, x in tensors.items() if name.startswith(prefix)}


def save_checkpoint(checkpoint: Checkpoint, directory: Source) -> None:
    """Write our own folder; it is a checkpoint only once its `config.json`, written last, is there."""
    folder = Path(directory)
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}
    config = {"model_type": MODEL_TYPE, "config": checkpoint.config.to_dict()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).unlink(missing_ok=True)
        write_atomic(folder / TENSOR_FILE, safetensors.torch.save(tensors, {"format": "pt"}))
        write_atomic(folder / CONFIG_FILE, (json.dumps(config, indent=2) + "\n").encode())
    except OSError as error:
        raise InputError(f"cannot save a checkpoint to {folder}: {error}") from error


# --- where the files are ---------------------------------------------------------------------------------------------


def locate(source: Source) -> tuple[Path, Path | None]:
    """The file of tensors and its config.json, if it has one."""
    path = Path(source)
    if not path.exists():
        if not (isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source)):
            raise InputError(f"there is no checkpoint {source}: no such file or folder")
        path = download(source, [CONFIG_FILE, TENSOR_FILE])
    if path.is_dir():
        lacking = [name for name in (TENSOR_FILE, CONFIG_FILE) if not (path / name).is_file()]
        if lacking:
            raise InputError(
                f"{path} is no checkpoint folder: it lacks {' and '.join(lacking)} (name an official .ckpt itself)"
            )
        return path / TENSOR_FILE, path / CONFIG_FILE
    beside = path.with_name(CONFIG_FILE)
    return path, beside if _is_safetensors(path) and beside.is_file() else None


# --- tensors ---------------------------------------------------------------------------------------------------------


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"  # the length of the header, eight bytes, then the header's JSON


def _read_tensors(path: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(path) if _is_safetensors(path) else _unpickle(path)


def _unpickle(path: Path) -> dict[str, Tensor]:
    """The state dict of a file written by torch.save; anything that would need code to load is refused."""
    with path.open("rb") as file:
        start = file.read(4)
    if start not in (b"PK\x03\x04", b"\x80\x02\x8a\x0a"):  # a zip archive, or the number that older files begin with
        raise InputError(f"{path} is neither a PyTorch checkpoint nor a safetensors file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL (\S+)", str(error))  # torch names what it would have to import
        raise InputError(
            f"{path} is refused: besides tensors it holds {culprit[1] if culprit else 'objects'}, and loading that "
            "would run code; if you trust the file, save its state dict alone with torch.save and use that"
        ) from error
    except Exception as error:  # a damaged archive fails in many ways
        raise InputError(f"{path} is damaged or incomplete ({str(error).partition('. ')[0] or 'empty'})") from error
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path} holds no state dict: expected names with tensors, bare or under 'state_dict'")
    return {str(name): tensor for name, tensor in state.items()}


def _network(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Just the network's tensors: without heads on top of it, the encoders' unused heads, and the `model.` prefix."""
    if any(name.startswith("model.") for name in tensors):
        tensors = {name.removeprefix("model."): tensors[name] for name in tensors if name.startswith("model.")}
    return {OLDER_NAMES.get(name, name): tensors[name] for name in tensors if not UNUSED.match(name)}


def renamed(tensors: Mapping[str, Tensor], origin: Layout, target: Layout) -> dict[str, Tensor]:
    """The tensors whose names the table knows, by their names in another layout."""
    named = ((_translate(name, origin, target), tensor) for name, tensor in tensors.items())
    return {name: tensor for name, tensor in named if name is not None}


def _translate(name: str, origin: Layout, target: Layout) -> str | None:
    for pattern, row in _patterns(origin):
        if match := pattern.fullmatch(name):
            *numbers, attribute = match.groups(default="")
            pieces = row[target].split("#")
            return "".join(piece + number for piece, number in zip(pieces, [*numbers, attribute], strict=True))
    return None


@cache
def _patterns(layout: Layout) -> Sequence[tuple[re.Pattern[str], tuple[str, str, str]]]:
    return [(re.compile(r"(\d+)".join(map(re.escape, row[layout].split("#"))) + r"(\.\w+)?"), row) for row in NAMES]


def _is_counter(name: str) -> bool:
    """Whether a tensor counts training steps: no part of a prediction, and often left out."""
    return name.endswith(".num_batches_tracked")


def _fit(tensors: Mapping[str, Tensor], layout: Layout, config: SpTransformerConfig, source: Path) -> dict[str, Tensor]:
    """The tensors by our names, all that the configuration needs and no others."""
    with torch.device("meta"):  # shapes without memory
        shapes = SpTransformerModel(config).state_dict()
    expected = renamed(shapes, Layout.OURS, layout)
    faults = {
        "missing": [name for name in expected if name not in tensors and not _is_counter(name)],
        "unexpected": [name for name in tensors if name not in expected],
        "misshapen": [
            f"{name} {list(tensor.shape)} instead of {list(expected[name].shape)}"
            for name, tensor in tensors.items()
            if name in expected and tensor.shape != expected[name].shape
        ],
        "not finite": [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()],
    }
    if any(faults.values()):
        listed = "; ".join(f"{fault}: {_listing(names)}" for fault, names in faults.items() if names)
        raise InputError(f"the tensors of {source} do not fit the network ({listed})")
    zeros = {name: torch.zeros(like.shape, dtype=like.dtype) for name, like in shapes.items() if _is_counter(name)}
    loaded = renamed(tensors, layout, Layout.OURS)
    # clones: tensors of a file may be views of each other or of the file
    return zeros | {name: tensor.to(shapes[name].dtype).clone() for name, tensor in loaded.items()}


def _listing(names: Sequence[str]) -> str:
    return ", ".join(names[:LISTED]) + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")


# --- sizes -----------------------------------------------------------------------------------------------------------


def _read_config(path: Path) -> SpTransformerConfig:
    """The configuration in our config.json or in MultiMolecule's."""
    try:
        content = json.loads(path.read_bytes())
        model_type = content.get("model_type") if isinstance(content, dict) else None
        if model_type == MODEL_TYPE:
            return SpTransformerConfig.from_dict(content.get("config"))
        if model_type == MULTIMOLECULE_MODEL_TYPE:
            return multimolecule_config(content)
    except (OSError, ValueError) as error:  # an InputError is a ValueError
        raise InputError(f"{path}: {error}") from error
    raise InputError(f"{path} describes no SpTransformer network: model_type is {model_type!r}")


def multimolecule_config(content: Mapping[str, Any]) -> SpTransformerConfig:
    """The configuration that MultiMolecule's settings stand for; those that do not size the network are not read."""
    for name, value in MULTIMOLECULE_FIXED.items():
        if content.get(name, value) != value:
            raise InputError(f"{name} is {content[name]!r}, but this network can only have {value!r}")
    settings = {ours: content[name] for name, ours in MULTIMOLECULE_SETTINGS.items() if name in content}
    if "encoders" in content:
        try:
            settings["encoders"] = [{"channels": encoder["hidden_size"]} for encoder in content["encoders"]]
        except (KeyError, TypeError) as error:
            raise InputError(f"encoders must be a list of hidden sizes, not {content['encoders']!r}") from error
    names = content.get("tissue_names")
    if not isinstance(names, list) or names != [f"tissue_{index}" for index in range(len(names))]:
        settings["tissue_names"] = names
    if isinstance(content.get("head"), Mapping) and "SpTransformerForTokenPrediction" in (
        content.get("architectures") or ()
    ):
        settings["head"] = multimolecule_head(content["head"])
    return SpTransformerConfig.from_dict(settings)


def multimolecule_head(content: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a `HeadConfig` in MultiMolecule's of a head."""
    for name, value in MULTIMOLECULE_FIXED_HEAD.items():
        if content.get(name, value) != value:
            raise InputError(f"{name} of the head is {content[name]!r}, but this head can only have {value!r}")
    return {field.name: content[field.name] for field in dataclasses.fields(HeadConfig) if field.name in content}


def _infer_config(tensors: Mapping[str, Tensor], source: Path) -> SpTransformerConfig:
    """The configuration that shows in tensors by our names; what does not show there is as published."""
    published = SpTransformerConfig()

    def size(pattern: str, axis: int, otherwise: int) -> int:
        shapes = (tensor.shape for name, tensor in tensors.items() if re.fullmatch(pattern, name))
        return next((shape[axis] for shape in shapes if axis < len(shape)), otherwise)

    def count(module: str) -> int:
        return len({match[1] for name in tensors if (match := re.match(rf"{module}\.(\d+)\.", name))})

    def encoder(module: str) -> SpTransformerFeatureEncoderConfig:
        default = published.encoders[0]
        stages, blocks = count(rf"{module}\.skips"), count(rf"{module}\.blocks")
        if not 0 < stages <= len(default.stages) or blocks % stages:
            stages, blocks = len(default.stages), sum(stage.blocks for stage in default.stages)
        each = blocks // stages

        def kernel_size(stage: int) -> int:
            name = rf"{module}\.blocks\.{each * stage}\.conv[12]\.weight"
            return size(name, 2, default.stages[stage].kernel_size)

        return SpTransformerFeatureEncoderConfig(
            size(rf"{module}\.input\.(weight|bias)", 0, default.channels),
            tuple(ResidualStage(each, kernel_size(i), default.stages[i].dilation) for i in range(stages)),
        )

    buckets = size(r"position\.bucket", 1, published.max_seq_len // published.bucket_size)
    bucket_size = size(r"position\.place", 2, published.bucket_size)
    try:
        return SpTransformerConfig(
            input_channels=size(r"input_path\.0\.weight", 1, published.input_channels),
            max_seq_len=buckets * bucket_size,
            encoders=tuple(encoder(rf"encoders\.{i}") for i in range(count("encoders") or len(published.encoders))),
            input_path_channels=size(r"input_path\.[01]\.bias", 0, published.input_path_channels),
            hidden_size=size(r"(layers\.\d+\.attention_)?norm\.weight", 0, published.hidden_size),
            layers=count("layers") or published.layers,
            bucket_size=bucket_size,
            feed_forward_size=size(r"layers\.\d+\.expand\.weight", 0, published.feed_forward_size),
            tissues=size(r"usage_head\.(weight|bias)", 0, published.tissues),
        )
    except InputError as error:
        raise InputError(f"the tensors of {source} have impossible shapes: {error}") from error
