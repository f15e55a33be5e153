"""The network compiled, in low precision, trained with less memory, and pushed to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from networks import tiny_config

from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel
from sptx_core.token_prediction import SpTransformerForTokenPrediction

CONFIG = tiny_config(context=4)
IDS = torch.randint(5, (2, 10), generator=torch.Generator().manual_seed(0))


def network() -> SpTransformerModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SpTransformerModel(CONFIG).eval()


@pytest.mark.parametrize("settings", [{}, {"output_attentions": True, "output_hidden_states": True}])
def test_forward_compiles_as_one_graph(settings: dict[str, Any]) -> None:
    model = network()
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # the graph is the point, not its code
    found, expected = compiled(IDS, **settings), model(IDS, **settings)
    assert torch.allclose(found.logits, expected.logits, atol=1e-6)
    assert list(found) == list(expected)


@pytest.mark.parametrize(("dtype", "largest"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_low_precision_is_near_and_stays_low(dtype: torch.dtype, largest: float) -> None:
    expected = network()(IDS).logits
    output = network().to(dtype)(IDS, output_attentions=True, output_hidden_states=True)
    assert {output.logits.dtype, *(state.dtype for state in output.hidden_states)} == {dtype}
    assert output.attentions[0].sinkhorn_attentions.dtype == dtype
    assert output.scores().dtype == torch.float32
    assert 0 < (output.logits.float() - expected).abs().max() < largest


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision_is_saved_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = network().to(dtype)
    model.save_pretrained(tmp_path)
    loaded = SpTransformerModel.from_pretrained(tmp_path)
    assert loaded.norm.weight.dtype == torch.float32
    assert torch.equal(loaded.to(dtype)(IDS).logits, model(IDS).logits)


def test_checkpointed_layers_have_the_same_gradients_and_are_computed_twice() -> None:
    gradients, passes = [], []
    for enable in (False, True):
        model = network().train()
        model.gradient_checkpointing_enable(enable)
        times: list[int] = []
        model.layers[0].register_forward_pre_hook(lambda _module, _given, times=times: times.append(1))
        model(IDS).logits.square().sum().backward()
        gradients.append({name: x.grad for name, x in model.named_parameters()} | dict(model.named_buffers()))
        passes.append(len(times))
    assert passes == [1, 2]
    for name, plain in gradients[0].items():
        assert plain is not None
        assert torch.allclose(plain, gradients[1][name], atol=1e-6), name


class Hub:
    """Takes folders as the hub does, into a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[Any, ...]] = []

    def __call__(self, token: str | None = None) -> Hub:
        self.calls.append(("token", token))
        return self

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        if repository == "someone/elses":
            raise OSError("403 Forbidden\nmore about it")
        self.calls.append(("create", repository, private, exist_ok))

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str) -> str:
        assert commit_message
        Path(folder_path).rename(self.root / repo_id.replace("/", "-"))
        Path(folder_path).mkdir()  # the caller cleans it up
        return f"address of {repo_id}"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "HfApi", hub)
    return hub


@pytest.mark.parametrize("kind", [SpTransformerModel, SpTransformerForTokenPrediction])
def test_what_is_pushed_to_the_hub_can_be_loaded(kind: Any, hub: Hub) -> None:
    model = kind(CONFIG).eval()
    assert model.push_to_hub("ours/net", private=True, token="t") == "address of ours/net"
    assert hub.calls == [("token", "t"), ("create", "ours/net", True, True)]
    loaded = kind.from_pretrained(hub.root / "ours-net")
    assert torch.equal(loaded(IDS).logits, model(IDS).logits)


def test_what_the_hub_refuses_is_an_input_error(hub: Hub) -> None:
    with pytest.raises(InputError, match=r"cannot push to someone/elses: the Hugging Face hub says: 403 Forbidden$"):
        network().push_to_hub("someone/elses")
    assert hub.calls == [("token", None)]
