"""Whether the compiled library is there, is up to date and can be used."""

import platform
import shutil
from pathlib import Path

import pytest
import torch

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.native import library
from sptx_core.engine.native.library import Loaded, Mode


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder with the library and its sources."""
    if library.library() is None:
        pytest.skip("the compiled library is not there")
    for path in library.FOLDER.glob("_native*.so"):
        shutil.copy(path, tmp_path)
    shutil.copytree(library.FOLDER / "cpp", tmp_path / "cpp")
    return tmp_path


@pytest.mark.skipif(
    platform.machine() != "x86_64" or platform.system() != "Linux" or shutil.which("g++") is None,
    reason="not x86-64 Linux with a C++ compiler",
)
def test_it_is_compiled_where_it_can_be() -> None:
    assert library.loaded().reason == ""
    assert library.library() is not None


def test_a_library_beside_its_sources_is_loaded(installed: Path) -> None:
    found, reason = library.load(installed)
    assert found is not None
    assert reason == ""


@pytest.mark.parametrize("name", ["native.cpp", "modes.h", "ops/vectors.h", "layers/layer.h"])
def test_a_library_compiled_from_other_sources_is_not_used(installed: Path, name: str) -> None:
    with (installed / "cpp" / name).open("a") as source:
        source.write("// changed\n")
    found, reason = library.load(installed)
    assert found is None
    assert "other sources" in reason


def test_a_library_without_sources_is_loaded(installed: Path) -> None:
    shutil.rmtree(installed / "cpp")
    assert library.load(installed).library is not None


def test_what_is_no_library_is_not_loaded(tmp_path: Path) -> None:
    assert "is not compiled" in library.load(tmp_path).reason
    (tmp_path / "_native.other.so").write_text("no library")
    found, reason = library.load(tmp_path)
    assert found is None
    assert "cannot be loaded" in reason


def test_without_a_library_nothing_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "loaded", lambda: Loaded(None, "is not compiled"))
    assert library.library() is None
    assert library.missing(torch.float32) == "is not compiled"
    assert not library.usable(torch.float32)


def test_it_computes_in_what_the_processor_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "library", lambda: object())
    monkeypatch.setattr(library, "features", lambda: 0)
    assert "AVX-512" in library.missing(torch.float32)
    monkeypatch.setattr(library, "features", lambda: library.FLOAT32)
    assert library.usable(torch.float32)
    assert not library.usable(torch.bfloat16)
    assert "avx512_bf16" in library.missing(torch.bfloat16)
    monkeypatch.setattr(library, "features", lambda: library.FLOAT32 | library.BFLOAT16)
    assert library.usable(torch.bfloat16)
    assert not library.usable(torch.float64)


def test_the_fastest_mode_is_by_the_matrix_units_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def fastest() -> list[Mode]:
        return [library.fastest_mode(dtype) for dtype in (torch.float32, torch.bfloat16)]

    monkeypatch.setattr(library, "features", lambda: library.FLOAT32 | library.BFLOAT16)
    assert fastest() == [Mode.FLOAT32, Mode.BFLOAT16]
    monkeypatch.setattr(library, "features", lambda: library.FLOAT32 | library.BFLOAT16 | library.MATRIX_UNITS)
    assert fastest() == [Mode.MATRIX_FLOAT32, Mode.MATRIX_BFLOAT16]


def test_more_heads_than_a_word_has_bits_do_not_fit() -> None:
    assert library.fits(SpTransformerConfig(hidden_size=31 * 32, heads=31))
    assert not library.fits(SpTransformerConfig(hidden_size=32 * 32, heads=32))


@pytest.mark.skipif(not library.usable(torch.float32), reason="the compiled library is not there")
def test_tensors_that_are_not_contiguous_are_refused() -> None:
    arguments = library.LayerArguments()
    with pytest.raises(ValueError, match="contiguous"):
        library.choose(arguments, torch.zeros(1, 32, 2).transpose(1, 2), 0, 1)
