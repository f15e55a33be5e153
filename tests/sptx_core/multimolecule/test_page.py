"""The published pages' scripts run with the import changed.

They are read from the pages as text, where these are beside the repository, and from the docstrings of the installed
package, which its API page is made of, without importing it. Nothing of either is kept here.
"""

from __future__ import annotations

import ast
import doctest
import importlib.util
import re
from pathlib import Path

import pytest
import torch

from sptx_core import multimolecule
from sptx_core.multimolecule import SpTransformerConfig, SpTransformerModel

FOLDER = "models/sptransformer"
PLACES = {
    "SpTransformerConfig": f"{FOLDER}/configuration_sptransformer.py",
    "SpTransformerModel": f"{FOLDER}/modeling_sptransformer.py",
    "SpTransformerForTokenPrediction": f"{FOLDER}/modeling_sptransformer.py",
    "DnaTokenizer": "tokenisers/dna/tokenization_dna.py",
}
SCRIPT = re.compile(r"^>>> .*?\n(?=\n(?!>>>)|Source code in)", re.DOTALL | re.MULTILINE)
"""Lines from the first example to the end of what it prints."""
FLAGS = doctest.IGNORE_EXCEPTION_DETAIL | doctest.ELLIPSIS
"""Words of errors are our own."""


@pytest.fixture(scope="module")
def package() -> Path:
    """Where MultiMolecule's package is installed."""
    found = importlib.util.find_spec("multimolecule")
    if found is None or found.origin is None:
        pytest.skip("the package multimolecule is not installed")
    return Path(found.origin).parent


@pytest.fixture(scope="module")
def pages(shared: Path) -> Path:
    """The pages as text, kept beside the repository."""
    if not (shared / "page").is_dir():
        pytest.skip("the published pages are not beside the repository")
    return shared / "page"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of the published repository, which names a folder here, with a small network."""
    monkeypatch.chdir(tmp_path)
    sizes = {"context": 4, "attention_hidden_size": 16, "num_hidden_layers": 1, "bucket_size": 8, "max_seq_len": 32}
    config = SpTransformerConfig(**sizes, hidden_size=4, encoders=[{"hidden_size": 4}])
    SpTransformerModel(config).save_pretrained("multimolecule/sptransformer")
    return "multimolecule/sptransformer"


def with_our_import(text: str) -> doctest.DocTest:
    """Its examples, in which an error is an InputError."""
    ours = text.replace("from multimolecule import", "from sptx_core.multimolecule import")
    ours = ours.replace("ValueError: ", "sptx_core.errors.InputError: ")
    return doctest.DocTestParser().get_doctest(ours, {}, "page", None, None)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "examples"), [("model-card.txt", (5, 9)), ("api-page.txt", (5, 9, 12, 4, 9, 9))])
@pytest.mark.usefixtures("hub")
def test_scripts_of_the_pages_as_text_run(name: str, examples: tuple[int, ...], pages: Path) -> None:
    found = SCRIPT.findall((pages / name).read_text())
    with torch.random.fork_rng():
        results = [doctest.DocTestRunner(optionflags=FLAGS).run(with_our_import(script)) for script in found]
    assert tuple(result.attempted for result in results) == examples
    assert sum(result.failed for result in results) == 0


@pytest.mark.parametrize("name", PLACES)
def test_examples_of_the_api_page_run(name: str, package: Path) -> None:
    classes = [node for node in ast.parse((package / PLACES[name]).read_text()).body if isinstance(node, ast.ClassDef)]
    (text,) = [ast.get_docstring(node) for node in classes if node.name == name]
    assert text is not None
    with torch.random.fork_rng():
        result = doctest.DocTestRunner(optionflags=FLAGS).run(with_our_import(text))
    assert result.attempted >= 4
    assert result.failed == 0


@pytest.mark.parametrize(
    "name",
    [
        "DnaTokenizer",
        "ModelOutput",
        "PreTrainedModel",
        "PredictorOutput",
        "SpTransformerAttentionMap",
        "SpTransformerConfig",
        "SpTransformerFeatureEncoderConfig",
        "SpTransformerForTokenPrediction",
        "SpTransformerModel",
        "SpTransformerModelOutput",
        "SpTransformerPreTrainedModel",
        "SpTransformerTokenPredictorOutput",
    ],
)
def test_names_of_the_api_page_are_there(name: str) -> None:
    assert name in multimolecule.__all__
    assert isinstance(getattr(multimolecule, name), type)


def test_fields_of_outputs_are_those_of_the_api_page(hub: str) -> None:
    output = SpTransformerModel.from_pretrained(hub)(
        torch.zeros(1, 8).long(), output_attentions=True, output_hidden_states=True, output_contexts=True
    )
    assert list(output) == ["last_hidden_state", "logits", "contexts", "hidden_states", "attentions"]
    assert list(output.attentions[0]) == [
        "local_attentions",
        "local_key_positions",
        "sinkhorn_attentions",
        "sinkhorn_reorder",
        "bucket_size",
        "look_backward",
        "look_forward",
        "num_local_heads",
        "num_sinkhorn_heads",
        "sequence_length",
    ]
