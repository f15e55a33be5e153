"""Compiles the engine's library for processors with AVX-512, where that is possible; all else is in pyproject.toml.

It is optional: without a C++ compiler, or on another architecture, installation goes on without it, and the engine does
the same work by PyTorch's operators.
"""

from __future__ import annotations

import platform
import zlib
from pathlib import Path

from setuptools import Extension, setup

INSTRUCTIONS = ("avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512bf16", "fma")  # the library asks before it runs
FLAGS = ["-std=c++17", "-O3", "-g0", "-fno-exceptions", "-fno-rtti", "-Wno-maybe-uninitialized"]

SOURCE = Path("sptx_core/engine/native/native.cpp")

native = Extension(
    "sptx_core.engine.native._native",
    [str(SOURCE)],
    define_macros=[("SPTX_SOURCE", f"{zlib.crc32(SOURCE.read_bytes())}u")],  # so that a stale library is not used
    extra_compile_args=[*FLAGS, *(f"-m{name}" for name in INSTRUCTIONS)],
    extra_link_args=["-pthread"],
    optional=True,
)

setup(ext_modules=[native] if platform.machine() in ("x86_64", "AMD64") and platform.system() == "Linux" else [])
