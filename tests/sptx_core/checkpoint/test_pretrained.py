"""Networks from checkpoints and back: with and without a head, by one reading, without a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from material.checkpoints import MULTIMOLECULE, assert_equal, multimolecule_folder, multimolecule_tensors
from material.hub_server import HubServer
from material.networks import network_of, tiny_config
from torch import Tensor

from sptx_core.checkpoint import load_checkpoint
from sptx_core.config import HeadConfig
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.token_prediction import SpTransformerForTokenPrediction

CONFIG = tiny_config(context=4, head=HeadConfig(3, transform="linear"))
IDS = torch.randint(5, (2, 10), generator=torch.Generator().manual_seed(0))
KINDS = [SpTransformerModel, SpTransformerForTokenPrediction]


def made(kind: Any) -> Any:
    """A network of either kind with random weights, ready to predict."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = kind(CONFIG).eval()
    below = network_of(CONFIG).state_dict()
    (network if kind is SpTransformerModel else network.model).load_state_dict(below)
    return network


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_is_loaded_again(kind: Any, tmp_path: Path) -> None:
    network = made(kind)
    network.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert loaded.config == network.config
    assert not loaded.training
    assert list(loaded.state_dict()) == list(network.state_dict())
    assert_equal(loaded.state_dict(), network.state_dict())
    assert torch.equal(loaded(IDS).logits, network(IDS).logits)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_saved_as_float32(dtype: torch.dtype, kind: Any, tmp_path: Path) -> None:
    network = made(kind).to(dtype)
    network.save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert {x.dtype for x in loaded.parameters()} == {torch.float32}
    assert torch.equal(loaded.to(dtype)(IDS).logits, network(IDS).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_and_its_digest_come_from_one_reading(kind: Any, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    shutil.rmtree(tmp_path)
    network = kind.from_checkpoint(checkpoint)
    assert torch.equal(network(IDS).logits, made(kind)(IDS).logits)
    assert checkpoint.digest() == made(SpTransformerModel).to_checkpoint().digest()


@pytest.mark.parametrize("kind", KINDS)
def test_loading_reads_the_file_once(kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(kind).save_pretrained(tmp_path)
    load_file = safetensors.torch.load_file
    read: list[Path] = []
    monkeypatch.setattr(safetensors.torch, "load_file", lambda path: (read.append(path), load_file(path))[1])
    kind.from_pretrained(tmp_path)
    assert read == [tmp_path / "model.safetensors"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_shares_its_memory_with_the_checkpoint(kind: Any, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    network = kind.from_checkpoint(checkpoint)
    again = network.to_checkpoint()
    assert (again.tensors.keys(), again.head.keys()) == (
        checkpoint.tensors.keys(),
        checkpoint.head.keys() if kind is SpTransformerForTokenPrediction else set(),
    )
    for given, taken in ((checkpoint.tensors, again.tensors), (checkpoint.head, again.head)):
        assert all(given[name].data_ptr() == tensor.data_ptr() for name, tensor in taken.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_as_it_was_after_its_network_predicted_in_another_precision(kind: Any, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    digest = checkpoint.digest()
    network = kind.from_checkpoint(checkpoint)
    network(IDS)
    network.double().train()(IDS)
    assert checkpoint.digest() == digest
    assert torch.equal(kind.from_checkpoint(checkpoint)(IDS).logits, made(kind)(IDS).logits)


@pytest.mark.slow
def test_loading_and_building_import_no_part_of_pytorch_for_tracing(tmp_path: Path) -> None:
    """PyTorch imports it, and SymPy, by itself where random numbers are asked for on the meta device: 0.3 s."""
    network_of(tiny_config()).save_pretrained(tmp_path)
    program = (
        "import sys; from sptx_core.model import SpTransformerModel; SpTransformerModel.from_pretrained(sys.argv[1]); "
        "print([name for name in ('sympy', 'torch._dynamo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", KINDS)
def test_loading_draws_no_random_numbers(kind: Any, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    state = torch.random.get_rng_state()
    kind.from_pretrained(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_network_can_be_trained_on(kind: Any, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    loaded.train()(IDS).logits.sum().backward()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [SpTransformerModel, SpTransformerForTokenPrediction])
def test_settings_that_only_multimolecule_has_outlive_loading_and_saving(kind: Any, tmp_path: Path) -> None:
    beside = {"output_attentions": True, "batch_norm_momentum": 0.3}
    of_head = {"num_labels": 3, "problem_type": "binary"}
    tensors = multimolecule_tensors(network_of(MULTIMOLECULE))
    model = kind.from_pretrained(multimolecule_folder(tmp_path / "theirs", tensors, **beside, **of_head))
    model.save_pretrained(tmp_path / "ours")
    with_head = kind is SpTransformerForTokenPrediction
    found = load_checkpoint(tmp_path / "ours")
    assert found.beside == beside | ({} if with_head else of_head)
    assert found.config.head == (HeadConfig(3, "binary") if with_head else None)
    assert kind.from_pretrained(tmp_path / "ours", dtype="bfloat16").to_checkpoint().beside == found.beside


def test_the_network_below_a_head_loads_alone_and_keeps_its_digest(tmp_path: Path) -> None:
    predictor = made(SpTransformerForTokenPrediction)
    predictor.save_pretrained(tmp_path / "with")
    predictor.model.save_pretrained(tmp_path / "without")
    alone = SpTransformerModel.from_pretrained(tmp_path / "with")
    assert torch.equal(alone(IDS).logits, predictor.model(IDS).logits)
    assert load_checkpoint(tmp_path / "with").digest() == load_checkpoint(tmp_path / "without").digest()
    assert load_checkpoint(tmp_path / "without").config == CONFIG


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pushed_to_the_hub_can_be_loaded(kind: Any, hub: HubServer) -> None:
    network = made(kind)
    address = network.push_to_hub("ours/network", private=True, token="t")
    assert address.startswith(f"{hub.url}/ours/network/commit/")
    assert hub.tokens == {"t"}
    assert torch.equal(kind.from_pretrained("ours/network")(IDS).logits, network(IDS).logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_revision_is_loaded_with_a_token(kind: Any, hub: HubServer, tmp_path: Path) -> None:
    network = made(kind)
    network.save_pretrained(tmp_path / "v1")
    hub.put_folder("someone/network", tmp_path / "v1", "v1")
    loaded = kind.from_pretrained("someone/network", revision="v1", token="t")
    assert hub.tokens == {"t"}
    assert torch.equal(loaded(IDS).logits, network(IDS).logits)
    with pytest.raises(InputError, match="Invalid rev id: main"):
        kind.from_pretrained("someone/network", token="t")


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (None, torch.float32),
        (torch.float64, torch.float64),
        ("float64", torch.float64),
        ("bfloat16", torch.bfloat16),
        ("torch.float16", torch.float16),
        ("auto", torch.float32),
    ],
)
def test_a_network_is_loaded_in_the_precision_asked_for(
    dtype: Any, expected: torch.dtype, kind: Any, tmp_path: Path
) -> None:
    made(kind).save_pretrained(tmp_path)
    loaded = kind.from_pretrained(tmp_path, dtype=dtype)
    assert {x.dtype for x in loaded.state_dict().values() if x.is_floating_point()} == {expected}
    assert torch.equal(loaded(IDS).logits, made(kind).to(expected)(IDS).logits)


def test_auto_is_the_precision_of_the_file(official: dict[str, Tensor], save: Callable[[Any], Path]) -> None:
    for dtype in (torch.bfloat16, torch.float32):
        path = save({name: x.to(dtype) for name, x in official.items()})
        assert load_checkpoint(path).dtype == dtype
        assert {x.dtype for x in SpTransformerModel.from_pretrained(path, dtype="auto").parameters()} == {dtype}
        assert {x.dtype for x in SpTransformerModel.from_pretrained(path).parameters()} == {torch.float32}


@pytest.mark.parametrize("dtype", ["int8", torch.int64, "double precision", torch.complex64, 32])
def test_other_precisions_are_refused(dtype: Any, tmp_path: Path) -> None:
    made(SpTransformerModel).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=rf"dtype must be one of float32, .* or 'auto', not {dtype}$"):
        SpTransformerModel.from_pretrained(tmp_path, dtype=dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_network_on_a_gpu_has_memory_of_its_own(kind: Any, tmp_path: Path) -> None:
    made(kind).save_pretrained(tmp_path)
    checkpoint = load_checkpoint(tmp_path)
    network = kind.from_checkpoint(checkpoint, device="cuda")
    assert {x.device.type for x in network.state_dict().values()} == {"cuda"}
    assert torch.allclose(network(IDS.cuda()).logits.cpu(), made(kind)(IDS).logits, atol=1e-4)
    assert {x.device.type for x in checkpoint.tensors.values()} == {"cpu"}
