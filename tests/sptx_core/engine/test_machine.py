from __future__ import annotations

import pytest
import torch

from sptx_core.engine import is_device_lost
from sptx_core.engine.machine import devices, exact_arithmetic, require_device


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("Triton Error [CUDA]: device-side assert triggered"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), False),
        (RuntimeError("Internal Triton PTX codegen error"), False),
        (ValueError("CUDA error"), False),
    ],
)
def test_a_device_is_lost_when_its_driver_reports_an_error(error: Exception, lost: bool) -> None:
    assert is_device_lost(error) is lost


def test_an_error_of_a_lost_device_is_raised_again() -> None:
    lost = RuntimeError("CUDA error: unspecified launch failure")
    with pytest.raises(RuntimeError) as caught:
        require_device(lost, "cuda")
    assert caught.value is lost


def test_a_cpu_is_never_lost() -> None:
    require_device(RuntimeError("no ptxas"), "cpu")


def test_the_failure_of_a_kernel_that_a_gpu_reports_later_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def synchronize(device: str) -> None:
        raise RuntimeError(f"CUDA error on {device}")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    with pytest.raises(RuntimeError, match="CUDA error on cuda:1"):
        require_device(RuntimeError("no ptxas"), "cuda:1")


def test_exact_arithmetic_changes_nothing_on_a_cpu() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    with exact_arithmetic("cpu"):
        assert torch.backends.cuda.matmul.allow_tf32 == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_exact_arithmetic_ends_with_the_context() -> None:
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, True
    try:
        with torch.autocast("cuda"), exact_arithmetic("cuda"):
            assert not matmul.allow_tf32
            assert torch.backends.cudnn.deterministic
            assert not torch.is_autocast_enabled("cuda")
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = before


def test_a_machine_has_a_cpu_and_perhaps_a_gpu() -> None:
    assert devices() == (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
