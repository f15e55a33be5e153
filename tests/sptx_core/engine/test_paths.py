from __future__ import annotations

import dataclasses

import pytest
import torch
from material.engine_networks import NATIVE, SMALL, TRITON

from sptx_core.config import SpTransformerConfig
from sptx_core.engine import PATHS
from sptx_core.engine.native import library
from sptx_core.engine.paths import ENGINE_PATHS, PathRequest, describe_paths, resolve
from sptx_core.errors import InputError
from sptx_core.windows import WindowSpec


def request_for(
    config: SpTransformerConfig = SMALL, spec: WindowSpec | None = None, device: str = "cpu", precision: str = "float32"
) -> PathRequest:
    return PathRequest(config, spec or WindowSpec(20, config.context, 5), device, precision)


def reasons(path: str, request: PathRequest) -> str:
    return "; ".join(ENGINE_PATHS[path].reasons_against(request))


def compiled(patch: pytest.MonkeyPatch, missing: str = "") -> None:
    """Let the compiled library be there, or say what is missing."""
    patch.setattr(library, "missing", lambda _: missing)


def test_every_name_has_an_entry_but_auto() -> None:
    assert PATHS == ("auto", "reference", "shared", "native", "triton")
    assert [(name, entry.name) for name, entry in ENGINE_PATHS.items()] == [(name, name) for name in PATHS[1:]]
    assert all(entry.summary for entry in ENGINE_PATHS.values())


def test_a_reason_is_a_sentence_about_the_path_without_its_subject(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(monkeypatch, "is not compiled")
    narrow = WindowSpec(20, 10)
    request = request_for(dataclasses.replace(SMALL, context=10, hidden_size=48), narrow, "cuda", "bfloat16")
    for entry in ENGINE_PATHS.values():
        found = entry.reasons_against(request)
        assert found
        assert all(reason.split()[0] in ("needs", "runs", "computes", "is") for reason in found), found
        assert not any(reason.endswith(".") for reason in found)


def test_reference_computes_in_float32_only() -> None:
    assert reasons("reference", request_for()) == ""
    assert reasons("reference", request_for(precision="bfloat16")) == "computes in float32 only, not in bfloat16"


@pytest.mark.parametrize("path", ["shared", "native", "triton"])
def test_windows_narrower_than_their_ends_have_nothing_to_share(path: str) -> None:
    assert "twice the 22 bases" in reasons(path, request_for(dataclasses.replace(SMALL, context=12)))
    assert "twice the" not in reasons(path, request_for(dataclasses.replace(SMALL, context=13)))


def test_native_needs_a_cpu_the_library_and_its_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(monkeypatch)
    assert reasons("native", request_for(NATIVE)) == ""
    assert reasons("native", request_for(SpTransformerConfig())) == ""
    assert reasons("native", request_for(NATIVE, device="cuda:1")) == "runs on CPUs only, not on cuda:1"
    other_heads = dataclasses.replace(NATIVE, heads=4)
    assert "fewer than 32 heads of 32 channels each" in reasons("native", request_for(other_heads))
    compiled(monkeypatch, "needs AVX-512, which this processor does not have")
    assert reasons("native", request_for(NATIVE)) == "needs AVX-512, which this processor does not have"


def triton_reasons(**changed: object) -> str:
    return reasons("triton", request_for(dataclasses.replace(TRITON, **changed)))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"hidden_size": 16, "heads": 1, "local_heads": 1}, "from 32 to 256 as the number of hidden channels, not 16"),
        ({"hidden_size": 512, "heads": 16}, "from 32 to 256 as the number of hidden channels, not 512"),
        ({"hidden_size": 48}, "a power of two from 32 to 256 as the number of hidden channels, not 48"),
        ({"hidden_size": 64, "heads": 1}, "from 16 to 32 as the number of channels of a head, not 64"),
        ({"heads": 4}, "from 16 to 32 as the number of channels of a head, not 8"),
        ({"bucket_size": 8}, "from 16 to 64 as the number of positions of a bucket, not 8"),
        ({"max_seq_len": 129 * 16}, "at most 128 buckets, not 129"),
        ({"feed_forward_size": 96}, "feed-forward channels in multiples of 64, not 96"),
        ({"encoders": SMALL.encoders}, "from 16 on as the number of channels of an encoder, not 8"),
    ],
)
def test_triton_needs_sizes_that_its_kernels_take(changed: dict[str, object], reason: str) -> None:
    assert reason in triton_reasons(**changed)


def test_triton_needs_a_gpu_with_enough_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    only_the_device = "runs on GPUs only, not on cpu"
    assert reasons("triton", request_for(SpTransformerConfig())) == only_the_device
    assert triton_reasons(max_seq_len=128 * 16) == only_the_device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "PyTorch finds none" in reasons("triton", request_for(TRITON, device="cuda"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    for kilobytes, expected in ((227, ""), (99, "needs an NVIDIA GPU with 227 KB of shared memory for a block")):
        gpu = type("Gpu", (), {"name": "a GPU", "shared_memory_per_block_optin": kilobytes * 1024})
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, gpu=gpu: gpu)
        found = reasons("triton", request_for(TRITON, device="cuda"))
        assert found.startswith(expected)
        assert bool(found) == bool(expected)


@pytest.mark.parametrize(
    ("missing", "config", "spec", "device", "expected"),
    [
        ("", NATIVE, None, "cpu", "native"),
        ("is not compiled", NATIVE, None, "cpu", "shared"),
        ("", SMALL, None, "cpu", "shared"),
        ("", NATIVE, None, "cuda", "shared"),
        ("", dataclasses.replace(SMALL, context=8), None, "cpu", "reference"),
    ],
)
def test_auto_is_the_first_path_that_can_be_used(
    missing: str,
    config: SpTransformerConfig,
    spec: WindowSpec | None,
    device: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled(monkeypatch, missing)
    assert resolve("auto", request_for(config, spec, device)).name == expected


@pytest.mark.parametrize(
    ("path", "request_", "message"),
    [
        ("native", request_for(NATIVE), "engine path 'native' is not compiled: use 'shared'."),
        ("native", request_for(SMALL, device="cuda"), "runs on CPUs only, not on cuda; it needs fewer than 32 heads"),
        ("triton", request_for(TRITON), "engine path 'triton' runs on GPUs only, not on cpu: use 'shared'."),
        ("shared", request_for(dataclasses.replace(SMALL, context=8)), "use 'reference'."),
        ("native", request_for(dataclasses.replace(NATIVE, context=20)), "use 'reference'."),
        ("reference", request_for(precision="bfloat16"), "computes in float32 only, not in bfloat16."),
        (
            "auto",
            request_for(dataclasses.replace(SMALL, context=8), precision="bfloat16"),
            "engine path 'shared' needs windows wider",
        ),
        ("warp", request_for(), "'warp' is unknown: choose one of auto, reference, shared, native, triton."),
    ],
)
def test_a_path_that_cannot_be_used_is_refused_with_the_reasons(
    path: str, request_: PathRequest, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled(monkeypatch, "is not compiled")
    with pytest.raises(InputError) as caught:
        resolve(path, request_)
    assert message in str(caught.value)


def test_the_published_network_can_share() -> None:
    assert reasons("shared", request_for(SpTransformerConfig(), WindowSpec())) == ""


def test_each_path_is_described_by_its_precisions_or_the_reason_against_it() -> None:
    described = describe_paths("cpu")
    assert set(described) == set(ENGINE_PATHS)
    assert (described["reference"], described["shared"]) == ("float32", "float32, bfloat16")
    assert described["triton"].startswith("not usable: runs on GPUs only")
