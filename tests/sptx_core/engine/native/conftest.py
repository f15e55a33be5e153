"""The compiled library for tests: in each mode that this processor has or that can be emulated, and its pieces.

The modes of the matrix units (AMX), which few processors have, run in a library compiled here once a session, with
their instructions emulated (cpp/emulated_tiles.h). It also has pieces of the headers that the product does not export
(cpp/pieces.cpp).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sptx_core.engine.native import library
from sptx_core.engine.native.library import Loaded, Mode

MATERIAL = Path(__file__).parent / "cpp"
SOURCES = library.FOLDER / "cpp"
INSTRUCTIONS = ("avx512f", "avx512dq", "avx512bw", "avx512vl", "fma", "avx512bf16")
# As the product is compiled (setup.py), but for less optimisation, which takes less time.
FLAGS = ["-std=c++17", "-O1", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-fPIC", "-DSPTX_SOURCE=0u"]
FLAGS += ["-Wno-maybe-uninitialized", "-Wno-uninitialized", f"-I{SOURCES}", *(f"-m{name}" for name in INSTRUCTIONS)]
LOADED_HERE = library.loaded
NEEDED = {  # of `library.features`, to run a mode
    Mode.FLOAT32: library.FLOAT32,
    Mode.BFLOAT16: library.FLOAT32 | library.BFLOAT16,
    Mode.MATRIX_FLOAT32: library.FLOAT32 | library.BFLOAT16 | library.MATRIX_UNITS,
    Mode.MATRIX_BFLOAT16: library.FLOAT32 | library.BFLOAT16 | library.MATRIX_UNITS,
}


class Pieces:
    """The functions of cpp/pieces.cpp, which take tensors, numbers and None for a null pointer."""

    def __init__(self, handle: ctypes.CDLL) -> None:
        self.handle = handle
        for name in ("first_position", "place_given", "place_added"):
            getattr(handle, name).restype = ctypes.c_long
        handle.own_thread.restype = ctypes.c_uint64

    def __getattr__(self, name: str) -> Callable[..., int]:
        """Return a function of pieces.cpp."""
        return lambda *values: getattr(self.handle, name)(*map(self._argument, values))

    @staticmethod
    def _argument(value: object) -> object:
        if isinstance(value, Tensor):
            assert value.is_contiguous()
            return ctypes.c_void_p(value.data_ptr())
        if isinstance(value, float):
            return ctypes.c_float(value)
        return ctypes.c_void_p() if value is None else value


def compile_emulated(folder: Path) -> Path:
    """Compile the library with emulated matrix units and its pieces, once for all processes that share the folder."""
    target = folder / "emulated.so"
    with (folder / "emulated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            objects, compilers = [], []
            for source in (SOURCES / "native.cpp", SOURCES / "matrix_units.cpp", MATERIAL / "pieces.cpp"):
                objects.append(folder / f"{source.stem}.o")
                command = ["g++", *FLAGS, "-include", MATERIAL / "emulated_tiles.h", "-c", source, "-o", objects[-1]]
                compilers.append(subprocess.Popen(command))
            assert [compiler.wait() for compiler in compilers] == [0] * len(compilers)
            subprocess.run(["g++", "-shared", "-pthread", *objects, "-o", folder / "linked.so"], check=True)
            (folder / "linked.so").rename(target)
    return target


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a library compiled for them are slow."""
    for item in items:
        if {"emulated", "pieces"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The library with emulated matrix units, and its pieces."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64") or shutil.which("g++") is None:
        pytest.skip("not x86-64 Linux with a C++ compiler")
    if not library.features() & library.BFLOAT16:
        pytest.skip("the compiled library is not there, or this processor has no avx512_bf16")
    folder = tmp_path_factory.getbasetemp()
    return ctypes.CDLL(str(compile_emulated(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)))


@pytest.fixture(scope="session")
def pieces(emulated: ctypes.CDLL) -> Pieces:
    """Pieces of the library's headers."""
    return Pieces(emulated)


EMULATED_OFTEN = [
    pytest.param(mode, id=mode.name, marks=[pytest.mark.slow] if mode >= Mode.MATRIX_FLOAT32 else []) for mode in Mode
]


@pytest.fixture(scope="module", params=EMULATED_OFTEN)
def mode(request: pytest.FixtureRequest) -> Iterator[Mode]:
    """Each mode; calls through `library` go to the product or, for modes not of this processor, to the emulation."""
    found: Mode = request.param
    here = library.features()
    with pytest.MonkeyPatch.context() as patch:
        if here & NEEDED[found] != NEEDED[found]:
            if not here & library.BFLOAT16 or found < Mode.MATRIX_FLOAT32:
                pytest.skip("the compiled library is not there, or not for this processor")
            handle = request.getfixturevalue("emulated")
            patch.setattr(library, "loaded", lambda: Loaded(handle, ""))
            patch.setattr(library, "features", lambda: NEEDED[found])
        patch.setattr(library, "fastest_mode", lambda _: found)
        yield found


@pytest.fixture
def by_hardware(mode: Mode) -> None:
    """Skip a mode that is emulated here, which a full-size network would take hours in."""
    if library.loaded is not LOADED_HERE:
        pytest.skip(f"this processor does not have mode {mode.name}")


def in_float32(mode: Mode) -> bool:
    """Whether operands have 24 bits."""
    return mode in (Mode.FLOAT32, Mode.MATRIX_FLOAT32)


@pytest.fixture(scope="module")
def dtype(mode: Mode) -> torch.dtype:
    """The precision of a mode's operands."""
    return torch.float32 if in_float32(mode) else torch.bfloat16


@pytest.fixture
def limits(mode: Mode) -> tuple[float, float]:
    """The median and the largest error of values near 1 in a mode."""
    return (2e-6, 5e-5) if in_float32(mode) else (0.02, 0.4)
