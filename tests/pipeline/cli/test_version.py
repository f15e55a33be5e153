from __future__ import annotations

from importlib.metadata import version
from typing import Any

from sptx_core.engine.paths import PATHS


def test_versions_and_the_paths_usable_here(sptx_here: Any) -> None:
    first, second, third, *paths = sptx_here("--version").out.splitlines()
    assert first == f"sptx {version('sptx')}"
    assert f"PyTorch {version('torch')}" in second
    assert second.endswith(f"Ray {version('ray')}")
    assert third.startswith("engine paths on cpu (")
    told = dict(line.strip().split(": ", 1) for line in paths if line.startswith("  "))
    assert set(told) == set(PATHS) - {"auto"}
    assert (told["reference"], told["shared"]) == ("float32", "float32, bfloat16")
    assert told["triton"].startswith("not usable: ") or len(paths) > len(told)
