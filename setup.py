"""Compiles the engine's library for processors with AVX-512, where that is possible; all else is in pyproject.toml.

It is optional: without a C++ compiler, or on another architecture, installation goes on without it, and the engine does
the same work by PyTorch's operators.
"""

from __future__ import annotations

import platform
import zlib
from pathlib import Path

from setuptools import Extension, setup

# The library asks before it runs them.
INSTRUCTIONS = ("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512bf16", "fma", "amx-tile", "amx-bf16")
FLAGS = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti"]
# Of GCC's own headers.
FLAGS += ["-Wno-maybe-uninitialized", "-Wno-uninitialized"]

SOURCE = Path("sptx_core/engine/native/native.cpp")


def native() -> Extension:
    """The library; it knows the source that it was compiled from, so that a stale one is not used."""
    return Extension(
        "sptx_core.engine.native._native",
        [str(SOURCE)],
        define_macros=[("SPTX_SOURCE", f"{zlib.crc32(SOURCE.read_bytes())}u")],
        extra_compile_args=[*FLAGS, *(f"-m{name}" for name in INSTRUCTIONS)],
        extra_link_args=["-pthread"],
        depends=["setup.py"],
        optional=True,
    )


setup(ext_modules=[native()] if (platform.system(), platform.machine()) == ("Linux", "x86_64") else [])
