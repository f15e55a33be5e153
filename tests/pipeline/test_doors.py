"""What people import: the names that the packages export, lazily, with docstrings and examples that run."""

from __future__ import annotations

import ast
import doctest
import inspect
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import pipeline
import sptx_core
from pipeline.simulation.example import write_example

ROOT = Path(__file__).parents[2]
NETWORK = """SpTransformerModel SpTransformerConfig SpTransformerFeatureEncoderConfig SpTransformerForTokenPrediction
HeadConfig DnaTokenizer SpTransformerAttentionMap Predictor calibrate WindowSpec InputError
UnfinishedError __version__"""
TRACKS = "open_tracks Tracks read_annotation read_usage evaluate gene_view run plan RunConfig __version__"
VARIANTS = "open_variants Variants score_variants VariantsConfig SaturateConfig"
EXPORTS = {sptx_core: NETWORK.split(), pipeline: [*TRACKS.split(), *VARIANTS.split()]}
NAMES = [(package, name) for package, names in EXPORTS.items() for name in names]


@pytest.mark.parametrize("package", EXPORTS)
def test_a_package_exports_what_its_stub_and_its_dir_say(package: object) -> None:
    stub = ast.parse(Path(str(package.__file__)).with_suffix(".pyi").read_text())  # type: ignore[attr-defined]
    declared = {alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    declared |= {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}  # type: ignore[union-attr]
    names = set(EXPORTS[package])  # type: ignore[index]
    assert declared == names
    assert set(package.__all__) == names  # type: ignore[attr-defined]
    assert names - {"__version__"} <= set(dir(package))


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_each_name_is_there_with_its_documentation(package: object, name: str) -> None:
    found = getattr(package, name)
    if name == "__version__":
        assert found == version("sptx")
    else:
        assert inspect.getdoc(found)
        assert found.__name__ == name


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "import pipeline, sptx_core",
        "from pipeline import RunConfig, read_annotation",
        "from pipeline import SaturateConfig, VariantsConfig, open_variants",
    ],
)
def test_importing_them_loads_neither_ray_nor_pytorch(statement: str) -> None:
    program = (
        f"import sys\n{statement}\nprint([name for name in ('ray', 'torch', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        sptx_core.no_such_name  # noqa: B018


@pytest.mark.slow
def test_the_example_of_the_network_runs() -> None:
    found = doctest.testmod(sptx_core)
    assert found.failed == 0
    assert found.attempted > 5


@pytest.mark.slow
def test_the_example_of_the_tracks_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    write_example(tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(pipeline)
    assert found.failed == 0, capsys.readouterr().out
    assert found.attempted > 5
