"""The exported functions, and what is compiled for any processor."""

import platform
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sptx_core.engine.native import library
from sptx_core.engine.native.sources import checksum

EXPORTED = {f"sptx_{name}" for name in ("source", "features", "project", "choose", "attend", "convolve")}
VECTORS = re.compile(r"^(v\w+|k(mov|and|or|not|x|shift|unpck|test|add)\w*|tile\w+|tdp\w+)$|%[yz]mm|%tmm|%k[0-7]")
BFLOAT16 = re.compile(r"^(vdpbf16|vcvtne)")
TILES = re.compile(r"^(tile|ldtilecfg|sttilecfg|tdp)|%tmm")


def binary() -> Path:
    """The library's file."""
    handle = library.library()
    if handle is None or shutil.which("objdump") is None or shutil.which("nm") is None:
        pytest.skip("the compiled library, or binutils, is not there")
    return Path(handle._name)


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def instructions() -> dict[str, list[str]]:
    """The instructions of each function, by its full name."""
    if not output("nm", binary()):
        pytest.skip("the library has no names of functions")
    found: dict[str, list[str]] = {}
    own: list[str] = []
    for line in output("objdump", "-dC", "--no-show-raw-insn", binary()).splitlines():
        if named := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            own = found.setdefault(named[1], [])
        elif "\t" in line:
            own.append(line.split("\t", 1)[1])
    return found


def having(pattern: re.Pattern[str], instructions: dict[str, list[str]]) -> set[str]:
    """Functions that have such instructions."""
    return {
        name
        for name, own in instructions.items()
        if any(pattern.search(one.split()[0]) or pattern.search(one) for one in own if one.split())
    }


def test_nothing_else_is_exported() -> None:
    names = {line.split()[-1] for line in output("nm", "-D", "--defined-only", binary()).splitlines()}
    assert names == EXPORTED


def test_functions_outside_the_kernels_run_on_any_processor(instructions: dict[str, list[str]]) -> None:
    """The entry, the probe, threads and what runs as the library is loaded have no vectors beyond SSE2."""
    assert instructions.keys() >= EXPORTED
    vectors = having(VECTORS, instructions)
    assert any("project" in name for name in vectors)
    assert {name for name in vectors if "sptx::kernels::" not in name} == set()


def test_modes_have_only_the_instructions_that_they_need(instructions: dict[str, list[str]]) -> None:
    of_mode = {mode: {name for name in instructions if f"(sptx::Mode){mode:d}" in name} for mode in library.Mode}
    assert all(of_mode.values())
    bfloat16, tiles = having(BFLOAT16, instructions), having(TILES, instructions)
    assert not bfloat16 & of_mode[library.Mode.FLOAT32]
    assert bfloat16 & of_mode[library.Mode.BFLOAT16]
    assert not tiles & (of_mode[library.Mode.FLOAT32] | of_mode[library.Mode.BFLOAT16])
    assert tiles & of_mode[library.Mode.MATRIX_FLOAT32]
    assert tiles & of_mode[library.Mode.MATRIX_BFLOAT16]


def test_no_function_is_shared_with_other_libraries_or_sources() -> None:
    """A function that several sources may define is compiled for the instructions of any of them."""
    weak = [line for line in output("nm", "-C", "--defined-only", binary()).splitlines() if line.split()[1] in "wWvVuU"]
    assert weak == []


def test_it_knows_the_sources_that_it_was_compiled_from() -> None:
    binary()
    handle = library.library()
    assert handle is not None
    assert handle.sptx_source() == checksum(library.FOLDER / "cpp")


@pytest.mark.skipif(platform.system() != "Linux", reason="no /proc/cpuinfo")
def test_the_probe_finds_what_the_kernel_says() -> None:
    binary()
    flags = set(re.findall(r"\S+", re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.M)[1]))
    avx512 = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "fma"} <= flags
    bfloat16 = avx512 and "avx512_bf16" in flags
    matrix_units = bfloat16 and {"amx_tile", "amx_bf16"} <= flags
    expected = avx512 * library.FLOAT32 | bfloat16 * library.BFLOAT16 | matrix_units * library.MATRIX_UNITS
    assert library.features() in (expected, expected & ~library.MATRIX_UNITS)  # for which Linux may refuse leave
