"""Settings of a training: contradictions are refused in a sentence, and each belongs to one class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.finetuning.settings import EXECUTION_SETTINGS, INPUT_SETTINGS, FinetuneConfig, Freeze, TrainingFlanks
from sptx_core.errors import InputError

SETTINGS: dict[str, Any] = {
    "fasta": "/in/genome.fa",
    "gtf": "/in/genes.gtf",
    "usage": "/in/usage.tsv",
    "checkpoint": "owner/network",
    "validation": "chr2",
    "test": "chr3,chr4",
    "output": "/out/training",
}


def load(**changed: Any) -> FinetuneConfig:
    return FinetuneConfig.load(None, {**SETTINGS, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fasta": None}, "setting `fasta` is required (--fasta)"),
        ({"validation": None}, "name the contigs that are held back for validation"),
        ({"test": "chr2"}, "contig chr2 is both in --validation and in --test"),
        ({"contigs": "chr2"}, "contig chr2 is both in --contigs and in --validation"),
        ({"contigs": "chr1,chr3"}, "contig chr3 is both in --contigs and in --test"),
        ({"network": {"heads": 4}}, "give either a checkpoint to start from (--checkpoint) or `network`"),
        ({"checkpoint": None}, "give either a checkpoint to start from (--checkpoint) or `network`"),
        ({"junctions": ["brain=a.tab"]}, "give either --usage or --junctions"),
        ({"core": 0}, "setting `core` = 0"),
        ({"batch": 7, "workers": 2}, "batch (7) must be a multiple of workers (2)"),
        ({"checkpoint": None, "network": {"heads": 4}, "freeze": "body"}, "a new network has nothing to freeze"),
        ({"encoders": "owner/other"}, "give either a checkpoint to start from (--checkpoint) or `network`"),
        ({"checkpoint": None, "encoders": "owner/other", "freeze": "body"}, "but for those of --encoders"),
        ({"usage_weigth": 2}, "unknown setting `usage_weigth`"),
        ({"learning_rate": 0}, "setting `learning_rate` = 0"),
        ({"warmup": 1}, "setting `warmup` = 1"),
        ({"epochs": -1}, "setting `epochs` = -1"),
        ({"freeze": "heads"}, "setting `freeze` = 'heads'"),
        ({"flanks": "none"}, "setting `flanks` = 'none'"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as refused:
        load(**changed)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_words_of_a_yaml_file_and_flags_become_one_set_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("flanks: both\nfreeze: encoders\nepochs: 3\nvalidation: [chr5, chr6]\n")
    flags = {name: value for name, value in SETTINGS.items() if name != "validation"}
    config = FinetuneConfig.load(str(file), {**flags, "epochs": 4.0, "batch": None})
    assert (config.flanks, config.freeze) == (TrainingFlanks.BOTH, Freeze.ENCODERS)
    assert (config.epochs, config.batch) == (4.0, 16)
    assert (config.validation, config.test) == (("chr5", "chr6"), ("chr3", "chr4"))


def test_what_defines_a_training_is_all_but_execution_and_the_places_of_inputs() -> None:
    names = set(FinetuneConfig.model_fields)
    assert names > EXECUTION_SETTINGS | INPUT_SETTINGS
    assert not EXECUTION_SETTINGS & INPUT_SETTINGS
    defining = load().defining()
    assert set(defining) == names - EXECUTION_SETTINGS - INPUT_SETTINGS
    assert (defining["flanks"], defining["validation"], defining["epochs"]) == ("transcript", ["chr2"], 10)


def test_execution_and_places_of_inputs_may_change() -> None:
    changed = {"workers": 2, "threads": 3, "address": "auto", "output": "s3://bucket/x", "checkpoint_every": 7}
    moved = {"fasta": "/elsewhere/genome.fa", "gtf": "s3://bucket/genes.gtf", "checkpoint": "/elsewhere/network"}
    assert load(**changed, **moved).defining() == load().defining()
    assert load(site_weight=9).defining() != load().defining()


def test_names_in_files_of_earlier_trainings_stay() -> None:
    """`training.json` holds these names; a training begun before goes on only if they are the same."""
    assert sorted(load().defining()) == [
        *("batch", "biotypes", "clip", "contigs", "core", "empty_windows", "epochs", "flanks", "freeze", "genes"),
        *("learning_rate", "network", "patience", "precision", "seed", "site_weight", "tags", "test", "usage_weight"),
        *("validate_every", "validation", "validation_windows", "warmup", "weight_decay"),
    ]
