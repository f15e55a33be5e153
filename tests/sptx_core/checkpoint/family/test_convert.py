"""Checkpoints made of published files: small ones as they are published, and the real ones where they are at hand.

The real files lie in the folder that the variable SPTX_FAMILY names, as far as they are there: `spliceai/` (the five
.h5 files), `ci-spliceai/` (CI-SpliceAI.pb), `openspliceai/SPECIES/CONTEXTnt/` (.pt files) and `pangolin/`
(final.FOLD.OUTPUT.3.v2).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from material.family_networks import (
    PUBLISHED,
    columns_of,
    openspliceai_scores,
    openspliceai_state,
    pangolin_scores,
    pangolin_state,
    random_weights,
)
from material.keras_networks import keras_scores
from material.tensorflow_graphs import frozen_graph, graph_scores
from torch import Tensor

from pipeline.inputs.genome import Genome
from sptx_core.alphabet import decode, reverse_complement
from sptx_core.channels import SPLICE
from sptx_core.checkpoint.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from sptx_core.checkpoint.family.convert import is_of_family, read_family, splice_networks
from sptx_core.checkpoint.family.network import ensemble
from sptx_core.errors import InputError
from sptx_core.model import SpTransformerModel

TOLERANCE = 2e-5  # of float32 scores


def write_openspliceai(folder: Path, seeds: tuple[int, ...], stages: int = 1) -> Path:
    folder.mkdir()
    for seed in seeds:
        state = openspliceai_state(random_weights(seed, PUBLISHED[:stages], channels=4))
        torch.save(state, folder / f"model_80nt_rs{seed}.pt")
    return folder


def loaded(path: Path) -> dict[str, Tensor]:
    """A state dict, published ones from a GPU among them."""
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return state


@pytest.fixture
def splice(tmp_path: Path) -> Path:
    return write_openspliceai(tmp_path / "splice", (9, 10))


@pytest.fixture
def usage(tmp_path: Path) -> Path:
    """Usage of two tissues in two folds, and what a folder of Pangolin's holds besides."""
    folder = tmp_path / "usage"
    folder.mkdir()
    for fold in (1, 2):
        for output in (0, 1, 3):
            heads = random_weights(fold + 10 * output, channels=3, outputs=12)
            state = pangolin_state(random_weights(20 + fold, PUBLISHED, channels=3), heads)
            torch.save(state, folder / f"final.{fold}.{output}.3.v2")
    shutil.copy(folder / "final.1.1.3.v2", folder / "final.1.1.3")
    return folder


def test_each_file_of_a_folder_is_a_member(splice: Path, tmp_path: Path) -> None:
    checkpoint, notes = read_family([splice])
    assert notes == []
    assert checkpoint.config.members == 2
    columns = columns_of("ACGT" * 40)
    states = [loaded(splice / f"model_80nt_rs{seed}.pt") for seed in (9, 10)]
    assert torch.equal(checkpoint.tensors["member.0.splice_head.bias"], states[0]["final_conv.bias"])
    with torch.inference_mode():
        ours = SpTransformerModel.from_checkpoint(checkpoint).predict_columns(columns).scores()[0].T
    mean = torch.stack([openspliceai_scores(state, columns)[0] for state in states]).mean(0)
    assert (ours - mean).abs().max() < TOLERANCE
    save_checkpoint(checkpoint, tmp_path / "out")
    assert load_checkpoint(tmp_path / "out").digest() == checkpoint.digest()


def test_usage_stands_beside_splice_sites_member_by_member(splice: Path, usage: Path) -> None:
    checkpoint, _ = read_family([splice], [usage])
    assert checkpoint.config.output_channels == (*SPLICE, "heart", "liver")
    assert (checkpoint.config.members, checkpoint.config.context) == (2, 5000)
    state = loaded(usage / "final.2.3.3.v2")
    weight = checkpoint.tensors["member.1.usage_head.weight"]
    assert torch.equal(weight[1, 7:, 0], state["conv_last4.weight"][0, :, 0])  # after 4 and 3 channels
    assert not weight[1, :7].any()


def test_files_name_what_they_give(splice: Path, usage: Path) -> None:
    files = [usage / f"final.{fold}.0.3.v2" for fold in (1, 2)]
    checkpoint, _ = read_family([splice], files)
    assert checkpoint.config.tissue_names == ("heart_splice",)


def test_a_file_given_twice_is_said(splice: Path) -> None:
    file = splice / "model_80nt_rs9.pt"
    shutil.copy(file, splice / "model_80nt_rs11.pt")
    checkpoint, notes = read_family([splice])
    assert checkpoint.config.members == 3
    (note,) = notes
    assert note.endswith(f"rs11.pt holds the same weights as {file}: it counts twice in the mean")


def test_a_graph_of_several_networks_gives_its_members(tmp_path: Path) -> None:
    path = tmp_path / "x.pb"
    path.write_bytes(frozen_graph([random_weights(0), random_weights(1), random_weights(2)]))
    assert is_of_family(path)
    assert read_family([path])[0].config.members == 3


@pytest.mark.slow
def test_faults_of_what_belongs_together_are_one_sentence(splice: Path, usage: Path, tmp_path: Path) -> None:
    one = splice / "model_80nt_rs9.pt"

    def fault(sources: list[Path], beside: list[Path] | None = None) -> str:
        with pytest.raises(InputError) as error:
            read_family(sources, beside or [])
        return str(error.value)

    assert "networks of splice sites: 1, members of usage" in fault([one], [usage])
    assert "tells no acceptor from a donor: give it as --usage" in fault([usage / "final.1.1.3.v2"])
    assert "are the same network: give it once" in fault([splice], [usage, usage / "final.1.1.3.v2"])
    assert "holds no usage: expected a file with one of Pangolin's names" in fault([splice], [one])
    (usage / "final.2.3.3.v2").unlink()
    assert "final.2.3.3.v2 is missing: every fold needs the same outputs, here [1, 3]" in fault([splice], [usage])
    other = write_openspliceai(tmp_path / "other", (1,), stages=2)
    assert "cannot be members of one network" in fault([splice, other])
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "empty holds no files of networks" in fault([empty])
    assert "does not exist" in fault([tmp_path / "none" / "x" / "y.h5"])
    (tmp_path / "text.pt").write_text("text")
    assert "is neither a Keras file" in fault([tmp_path / "text.pt"])
    (tmp_path / "text.h5").write_text("a text")
    told = fault([tmp_path / "text.h5"])
    assert "text.h5 is no HDF5 file, as which Keras saves networks of SpliceAI (spliceai1.h5 to spliceai5.h5)" in told
    assert "it begins with b'a text'" in told
    torch.save({"x": torch.ones(1)}, tmp_path / "text.pt")
    assert "its tensors have the names of no such program" in fault([tmp_path / "text.pt"])


def test_checkpoints_are_told_from_published_files(splice: Path, usage: Path, tmp_path: Path) -> None:
    assert is_of_family(splice)
    assert is_of_family(usage / "final.1.1.3.v2")
    assert not is_of_family("owner/name")
    save_checkpoint(read_family([splice])[0], tmp_path / "out")
    assert not is_of_family(tmp_path / "out")
    torch.save({"encoder.0.conv1.weight": torch.ones(1)}, tmp_path / "official.ckpt")
    assert not is_of_family(tmp_path / "official.ckpt")


def test_published_files_that_are_loaded_as_checkpoints_are_led_to_convert(splice: Path, tmp_path: Path) -> None:
    (tmp_path / "spliceai1.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    for path in (splice / "model_80nt_rs9.pt", tmp_path / "spliceai1.h5"):
        with pytest.raises(InputError, match=rf"{path.name}.* sptx convert makes a checkpoint"):
            load_checkpoint(path)


# --- real files -------------------------------------------------------------------------------------------------------

STRETCHES = (("+", 270_000), ("+", 404_000), ("-", 172_000))  # of the megabase: within DOCK8, beside it, in CBWD1
LENGTH = 600


@pytest.fixture(scope="module")
def published() -> Callable[[str], Path]:
    """Finds published files below the folder of SPTX_FAMILY."""

    def find(name: str) -> Path:
        root = os.environ.get("SPTX_FAMILY")
        if not root or not (Path(root) / name).exists():
            pytest.skip(f"no published files here: SPTX_FAMILY names no folder with {name}")
        return Path(root) / name

    return find


def stretches(shared: Path, context: int) -> list[Tensor]:
    """Real sequence with its flanks, in the direction of transcription."""
    genome = Genome(str(shared / "data" / "GRCh38.chr9_1Mb.fa.gz"))
    found = []
    for strand, start in STRETCHES:
        codes = genome.fetch("chr9", start - context, start + LENGTH + context)
        found.append(columns_of(decode(codes if strand == "+" else reverse_complement(codes))))
    return found


def assert_equal_on_real_sequence(shared: Path, checkpoint: Checkpoint, theirs: Callable[[Tensor], Tensor]) -> None:
    model = SpTransformerModel.from_checkpoint(checkpoint)
    highest = 0.0
    for columns in stretches(shared, checkpoint.config.context):
        with torch.inference_mode():
            ours = model.predict_columns(columns).scores()[0].T
            expected = theirs(columns)
        assert ours.shape == expected.shape
        assert (ours - expected).abs().max() < TOLERANCE
        highest = max(highest, float(expected[1:3].max()))
    assert highest > 0.5  # there are splice sites in these stretches, or equality would say little


def mean(parts: list[Tensor]) -> Tensor:
    return torch.stack(parts).mean(0)


@pytest.mark.slow
def test_spliceai(shared: Path, published: Callable[[str], Path]) -> None:
    pytest.importorskip("h5py")
    folder = published("spliceai")
    files = sorted(folder.glob("*.h5"))
    checkpoint, _ = read_family([folder])
    assert checkpoint.config.members == len(files) == 5
    assert_equal_on_real_sequence(shared, checkpoint, lambda x: mean([keras_scores(file, x)[0] for file in files]))


@pytest.mark.slow
def test_ci_spliceai(shared: Path, published: Callable[[str], Path]) -> None:
    path = published("ci-spliceai/CI-SpliceAI.pb")
    checkpoint, _ = read_family([path])
    assert checkpoint.config.members == 5
    content = path.read_bytes()
    assert_equal_on_real_sequence(shared, checkpoint, lambda x: graph_scores(content, x)[0])


@pytest.mark.slow
def test_openspliceai(shared: Path, published: Callable[[str], Path]) -> None:
    folders = [path for path in published("openspliceai").glob("*/*nt") if path.is_dir()]
    assert folders
    for folder in folders:
        states = [loaded(path) for path in sorted(folder.glob("*.pt"))]
        checkpoint, _ = read_family([folder])
        context = int(folder.name.removesuffix("nt")) // 2
        assert (checkpoint.config.members, checkpoint.config.context) == (len(states), context)
        model = SpTransformerModel.from_checkpoint(checkpoint)
        for columns in stretches(shared, context):
            with torch.inference_mode():
                ours = model.predict_columns(columns).scores()[0].T
                theirs = mean([openspliceai_scores(state, columns)[0] for state in states])
            assert (ours - theirs).abs().max() < TOLERANCE, folder


@pytest.mark.slow
def test_pangolin_beside_openspliceai(shared: Path, published: Callable[[str], Path]) -> None:
    pangolin, folder = published("pangolin"), published("openspliceai/mane/10000nt")
    files = sorted(folder.glob("*.pt"))[:3]
    checkpoint, _ = read_family(files, [pangolin])
    assert checkpoint.config.output_channels == (*SPLICE, "heart", "liver", "brain", "testis")
    splice = [loaded(path) for path in files]
    usage = {
        output: [loaded(pangolin / f"final.{fold}.{output}.3.v2") for fold in (1, 2, 3)] for output in (1, 3, 5, 7)
    }

    def theirs(columns: Tensor) -> Tensor:
        rows = [mean([openspliceai_scores(state, columns)[0] for state in splice])]
        for output, states in usage.items():
            row = 3 * (output // 2) + 2  # of twelve: two classes, then usage, tissue by tissue
            rows.append(mean([pangolin_scores(state, columns)[0, row : row + 1] for state in states]))
        return torch.cat(rows)

    assert_equal_on_real_sequence(shared, checkpoint, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ci-spliceai", "openspliceai-pangolin"])
def test_what_others_computed_of_the_same_networks(shared: Path, published: Callable[[str], Path], name: str) -> None:
    known = shared / "real" / f"{name}.npz"
    if not known.is_file():
        pytest.skip(f"no {known.name} in real/ beside the repository")
    if name == "ci-spliceai":
        first = splice_networks(published("ci-spliceai/CI-SpliceAI.pb"))[0]
        checkpoint = Checkpoint(*ensemble([[first]]))
    else:
        usage = [published(f"pangolin/final.1.{output}.3.v2") for output in (1, 3, 5, 7)]
        checkpoint, _ = read_family([published("openspliceai/mane/10000nt/model_10000nt_rs10.pt")], usage)
    model = SpTransformerModel.from_checkpoint(checkpoint)
    genome = Genome(str(shared / "data" / "GRCh38.chr9_1Mb.fa.gz"))
    with np.load(known) as stretches:
        for key, theirs in stretches.items():
            strand, start, _ = key.split("_")
            first_base, end = int(start), int(start) + LENGTH  # in genomic order
            codes = genome.fetch("chr9", first_base - 5000, end + 5000)
            columns = columns_of(decode(codes if strand == "plus" else reverse_complement(codes)))
            with torch.inference_mode():
                ours = model.predict_columns(columns).scores()[0].T.numpy()
            ours = ours if strand == "plus" else ours[:, ::-1]
            assert np.abs(ours - theirs[: len(ours), :LENGTH]).max() < TOLERANCE
