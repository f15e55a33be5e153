"""Imports keep to docs/architecture.md, read from the sources: late imports within functions count as well."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE, SHARED = "sptx_core", {"sptx_core", "pipeline.settings", "pipeline.coordinates"}
TRACKS_AND_BELOW = {*SHARED, "pipeline.batch", "pipeline.inputs", "pipeline.tracks"}

# Room -> rooms that it may import, besides itself.
ALLOWED = {
    "sptx_core": set(),
    "pipeline.settings": {CORE},
    "pipeline.coordinates": {CORE},
    "pipeline.inputs": SHARED,
    "pipeline.batch": {CORE, "pipeline.settings"},
    "pipeline.tracks": {*SHARED, "pipeline.batch", "pipeline.inputs"},
    "pipeline.variants": TRACKS_AND_BELOW,
    "pipeline.simulation": {*SHARED, "pipeline.inputs"},
    "pipeline.example": {CORE},
    "pipeline.evaluation": TRACKS_AND_BELOW,
    "pipeline.finetuning": {*TRACKS_AND_BELOW, "pipeline.evaluation"},
    "pipeline.exporting": TRACKS_AND_BELOW,
    "pipeline.browsing": {*TRACKS_AND_BELOW, "pipeline.variants"},
    "pipeline.reporting": TRACKS_AND_BELOW,
    "pipeline.publishing": {*TRACKS_AND_BELOW, "pipeline.variants"},
    "pipeline.views": {*TRACKS_AND_BELOW, "pipeline.evaluation", "pipeline.variants"},
}
JOBS = {
    *("pipeline.browsing", "pipeline.evaluation", "pipeline.example", "pipeline.exporting", "pipeline.finetuning"),
    *("pipeline.publishing", "pipeline.reporting", "pipeline.simulation", "pipeline.variants", "pipeline.views"),
}
ALLOWED["pipeline.cli"] = {*TRACKS_AND_BELOW, *JOBS}
ALLOWED["pipeline"] = {*TRACKS_AND_BELOW, *JOBS}  # the door

# Library -> where alone it may be imported.
HELD = {
    "ray": ("pipeline/batch/actors.py", "pipeline/batch/cluster.py", "pipeline/batch/training.py"),
    "triton": ("sptx_core/engine/triton/",),
    "matplotlib": ("pipeline/views/",),
    "typer": ("pipeline/cli/",),
    "torch": (
        *("sptx_core/", "pipeline/batch/training.py", "pipeline/finetuning/"),
        *("pipeline/tracks/", "pipeline/variants/worker.py"),
    ),
    "h5py": ("sptx_core/checkpoint/family/keras_file.py",),
    "pyranges": ("pipeline/tracks/plan.py",),
    "pyfaidx": ("pipeline/inputs/genome.py",),
    "pysam": ("pipeline/inputs/bcf.py", "pipeline/variants/bcf_writer.py"),
}


@cache
def modules() -> dict[str, Path]:
    """Name -> file of every module of the product."""
    found = {}
    for path in sorted([*ROOT.glob("sptx_core/**/*.py"), *ROOT.glob("pipeline/**/*.py")]):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, of modules as far as they are ours."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in modules() else node.module for name in whole}
    return frozenset(names)


def room(module: str) -> str:
    """The room of one of our modules."""
    parts = module.split(".")
    return parts[0] if parts[0] == CORE else ".".join(parts[:2])


def edges() -> Iterator[tuple[str, str]]:
    """(importing, imported) among our modules."""
    for module, path in modules().items():
        yield from ((module, name) for name in imported(path) if name.split(".")[0] in ("pipeline", CORE))


def test_rooms_import_what_they_may() -> None:
    wrong = [
        f"{module} imports {name}"
        for module, name in edges()
        if room(name) != room(module) and room(name) not in ALLOWED[room(module)]
    ]
    assert not wrong


def test_every_room_has_its_rule_and_every_rule_a_room() -> None:
    assert {room(module) for module in modules()} == set(ALLOWED)


def test_no_module_imports_itself_in_a_circle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in modules()}
    for module, name in edges():
        # A package's own __init__ is entered by each import below it, which is no dependency on what it exports.
        if name != module and not module.startswith(f"{name}."):
            graph[module].add(name)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("library", HELD)
def test_a_library_is_imported_where_it_belongs(library: str) -> None:
    users = [
        path.relative_to(ROOT).as_posix()
        for path in modules().values()
        if any(name.split(".")[0] == library for name in imported(path))
    ]
    assert users
    assert not [path for path in users if not path.startswith(HELD[library])]


@pytest.mark.slow
def test_bytes_are_read_without_threads_that_outlive_the_reading() -> None:
    """pq.read_table lets go of Python's bytes in a thread of Arrow: as Python ends, that ends the process with 134."""
    calls = {
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "read_table" and ast.unparse(node.value) == "pq"
    }
    assert not calls


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import pipeline; pipeline.open_tracks", ("ray", "torch")),
        ("import pipeline; pipeline.open_variants", ("ray", "torch")),
        ("import pipeline.cli", ("ray", "torch", "matplotlib")),
        ("import sptx_core.channels", ("torch",)),
    ],
)
def test_what_is_quick_loads_nothing_heavy(statement: str, unloaded: tuple[str, ...]) -> None:
    program = f"import sys\n{statement}\nprint([name for name in {unloaded!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


# Modules whose tests stand elsewhere, and where.
TESTED_ELSEWHERE = {
    "sptx_core/errors.py": "every test of a refusal",
    "sptx_core/engine/torch/encoder.py": "tests/sptx_core/engine/test_encoding.py",
    "pipeline/tracks/network_worker.py": "tests/pipeline/tracks/test_worker.py",
    "pipeline/batch/training.py": "tests/pipeline/finetuning/test_finetune.py",
    "pipeline/cli/train.py": "tests/pipeline/finetuning/test_finetune.py",
    "pipeline/cli/examples.py": "tests/pipeline/cli/test_app.py",
}
# Tests of what is no module: packaging, this file, C++ headers, whole jobs against real servers, benchmarks, and what
# others published of the network: its pages, and its package.
NO_MODULE = ("test_setup.py", "test_architecture.py", "sptx_core/test_demo.py", "sptx_core/engine/native/cpp/")
NO_MODULE += ("pipeline/test_whole_job.py", "pipeline/test_doors.py", "benchmarks/")

NO_MODULE += ("workflows/",)  # run by the tools that they are written for
NO_MODULE += ("pipeline/variants/test_against_spliceai.py",)  # what others published of their network
NO_MODULE += ("test_docs.py",)  # what people read
NO_MODULE += ("pipeline/browsing/test_page.py",)  # the page in a browser
NO_MODULE += ("pipeline/batch/test_faults.py",)  # a faulty network and server
NO_MODULE += ("pipeline/batch/test_hosts.py",)  # a whole cluster
NO_MODULE += ("sptx_core/multimolecule/test_page.py", "sptx_core/multimolecule/test_against_port.py")
NO_MODULE += ("workflows/",)  # files for operators


def test_tests_mirror_the_sources() -> None:
    expected = {
        f"{path.relative_to(ROOT).parent}/test_{path.name}": path.relative_to(ROOT).as_posix()
        for path in modules().values()
        if path.name != "__init__.py"
    }
    found = {path.relative_to(ROOT / "tests").as_posix() for path in ROOT.glob("tests/**/test_*.py")}
    assert {source for name, source in expected.items() if name not in found} == set(TESTED_ELSEWHERE)
    assert not [name for name in found - set(expected) if not name.startswith(NO_MODULE)]
