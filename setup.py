"""Compiles the engine's library for processors with AVX-512, and packs the ready settings; all else: pyproject.toml.

The library is optional: without a C++ compiler, or on another architecture, installation goes on without it, and the
engine does the same work by PyTorch's operators.
"""

from __future__ import annotations

import platform
import runpy
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.modified import newer_group

FOLDER = Path("sptx_core/engine/native/cpp")
sources = runpy.run_path("sptx_core/engine/native/sources.py")  # the package cannot be imported before it is installed

AVX512 = ("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma")
# The instructions that each source is compiled for, beyond those of every x86-64 processor. native.cpp asks the
# processor for them before it calls what the others define.
INSTRUCTIONS = {
    "native.cpp": (),
    "float32.cpp": AVX512,
    "bfloat16.cpp": (*AVX512, "avx512bf16"),
    "matrix_units.cpp": (*AVX512, "avx512bf16", "amx-tile", "amx-bf16"),
}
FLAGS = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-fvisibility=hidden"]
FLAGS += ["-Wno-maybe-uninitialized", "-Wno-uninitialized"]  # GCC's own headers of intrinsics cause these


class BuildWithConfigs(build_py):
    """Puts the ready settings of `configs/` into the package, where an installed sptx finds them by name."""

    def run(self) -> None:
        """Copy them after the package's own files; a checkout that is installed as it is needs no copy."""
        super().run()
        if not self.editable_mode:
            shutil.copytree("configs", Path(self.build_lib) / "pipeline" / "configs", dirs_exist_ok=True)


class BuildNative(build_ext):
    """Compiles each source for its own instructions; an `Extension` has one set of flags for all of its sources."""

    def build_extension(self, ext: Extension) -> None:
        """Compile the sources that have instructions of their own, then the others, and link them all."""
        if self.force or newer_group([*ext.sources, *ext.depends], self.get_ext_fullpath(ext.name), "newer"):
            for name, instructions in INSTRUCTIONS.items():
                flags = [*FLAGS, *(f"-m{instruction}" for instruction in instructions)]
                arguments = {"output_dir": self.build_temp, "macros": ext.define_macros, "extra_postargs": flags}
                ext.extra_objects += self.compiler.compile([str(FOLDER / name)], **arguments)
        super().build_extension(ext)


def native() -> Extension:
    """Describe the library, which knows the checksum of its sources, so that a stale one is not used."""
    return Extension(
        "sptx_core.engine.native._native",
        [],
        define_macros=[("SPTX_SOURCE", f"{sources['checksum'](FOLDER)}u")],
        extra_link_args=["-pthread"],
        depends=["setup.py", *map(str, sources["sources"](FOLDER))],
        language="c++",
        optional=True,
    )


here = (platform.system(), platform.machine())
setup(
    ext_modules=[native()] if here == ("Linux", "x86_64") else [],
    cmdclass={"build_ext": BuildNative, "build_py": BuildWithConfigs},
)
