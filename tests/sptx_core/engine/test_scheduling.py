"""Runs, micro-batches and threads give every window its logits; the layers and encoders are those of `shared`."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from material.engine_networks import (
    SMALL,
    SMALL_SPEC,
    family_logits,
    family_windows,
    make_path,
    network_logits,
    path_logits,
    random_family,
    random_stretches,
    small_network,
)

from sptx_core.engine.families import Family
from sptx_core.engine.paths import ENGINE_PATHS
from sptx_core.engine.scheduling import CPU_RUN, GPU_RUN, StretchPath
from sptx_core.engine.torch.encoder import torch_encoder
from sptx_core.engine.torch.layers import TorchTransformer
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec, cut

pytestmark = pytest.mark.usefixtures("one_thread")
MAKERS = [ENGINE_PATHS[name].make for name in ("shared", "reference")]
LAYOUTS = [
    pytest.param(WindowSpec(20, 60, 5), 64, id="features-cropped"),
    pytest.param(WindowSpec(20, 60), 128, id="crop-inside-the-reach"),
    pytest.param(WindowSpec(33, 60, 32), 128, id="odd-core-dense-windows"),
    pytest.param(WindowSpec(1, 60), 120, id="one-base-core"),
    pytest.param(WindowSpec(20, 60, 1), 192, id="features-padded"),
    pytest.param(WindowSpec(7, 60), 128, id="odd-padding"),
    pytest.param(WindowSpec(64, 60), 64, id="everything-kept"),
    pytest.param(WindowSpec(8, 60), 8, id="one-bucket"),
    pytest.param(WindowSpec(8, 60), 16, id="two-buckets"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "max_seq_len"), LAYOUTS)
@pytest.mark.parametrize("windows", [1, 2, 30])
@pytest.mark.parametrize("batch", [None, 4])
@torch.inference_mode()
def test_path_equals_the_network_in_float64(
    spec: WindowSpec, max_seq_len: int, windows: int, batch: int | None
) -> None:
    model = small_network(max_seq_len=max_seq_len).double()
    (stretch,) = random_stretches(spec, [windows])
    rows = 24 if batch is None else None  # pieces of three buckets, which leave a shorter one
    transformer = TorchTransformer(model, spec, torch.float64, torch.float64, rows)
    path = StretchPath(torch_encoder(model, spec, torch.float64, torch.float64), transformer, spec, batch=batch)
    found, expected = path_logits(path, stretch), network_logits(model, spec, stretch)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_runs_are_as_long_as_the_processor_likes_unless_told() -> None:
    model = small_network()
    assert make_path("shared", model, SMALL_SPEC, torch.float32).run == CPU_RUN
    assert make_path("shared", model, SMALL_SPEC, torch.float32, batch=4).run == GPU_RUN
    assert make_path("shared", model, SMALL_SPEC, torch.float32, batch=4, run=7).run == 7


@pytest.mark.slow
@torch.inference_mode()
def test_threads_that_encode_ahead_give_the_same_logits() -> None:
    path = make_path("shared", small_network(max_seq_len=128), SMALL_SPEC, torch.float32, run=2)
    given = random_stretches(SMALL_SPEC, [5, 1, 4])
    alone = torch.cat(list(path.logits([given])))
    torch.set_num_threads(2)
    together, again = (torch.cat(list(path.logits([given]))) for _ in range(2))
    assert torch.get_num_threads() == 2
    torch.testing.assert_close(together, alone, rtol=0, atol=2e-6)
    assert together.numpy().tobytes() == again.numpy().tobytes()


@torch.inference_mode()
def test_threads_are_given_back_when_the_caller_stops_early() -> None:
    path = make_path("shared", small_network(max_seq_len=128), SMALL_SPEC, torch.float32, run=2)
    torch.set_num_threads(2)
    logits = path.logits([random_stretches(SMALL_SPEC, [5])])
    next(logits)
    logits.close()
    assert torch.get_num_threads() == 2


@torch.inference_mode()
def test_recorded_choices_are_the_networks() -> None:
    model = small_network(max_seq_len=128)
    (stretch,) = random_stretches(SMALL_SPEC, [3])
    logits, buckets = make_path("shared", model, SMALL_SPEC, torch.float32).recorded(stretch)
    rows = torch.from_numpy(cut(stretch, SMALL_SPEC).copy())
    expected = model(rows, flanked=True, output_choices=True)
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=2e-6)
    needed = buckets >= 0
    assert torch.equal(buckets[needed], expected.choices.bucket[needed])
    assert needed[:, :-1].all()
    assert not needed[:, -1].all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.inference_mode()
def test_micro_batches_never_wait_for_a_gpu_nor_mix_devices(dtype: torch.dtype) -> None:
    """On tensors without values: whoever looked at one, or mixed them with a processor's, would raise."""
    with torch.device("meta"):
        model = SpTransformerModel(SMALL).eval()
    codes = [np.zeros(len(stretch), np.uint8) for stretch in random_stretches(SMALL_SPEC, [5, 2])]
    path = make_path("shared", model, SMALL_SPEC, dtype, batch=4)
    family = path.plan(random_family(SMALL_SPEC))
    assert [len(found.logits) for found in path.family_logits([family]) if found is not None] == [4] * 4
    logits = list(path.logits([codes]))
    assert [(found.shape, found.device.type, found.dtype) for found in logits] == [
        ((rows, 20, 18), "meta", torch.float32) for rows in (4, 3)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "sizes"), [(None, [1] * 16), (6, [6, 6, 4]), (64, [16])])
@torch.inference_mode()
def test_a_family_goes_in_micro_batches_of_its_own(batch: int | None, sizes: list[int]) -> None:
    model, family = small_network(max_seq_len=128), random_family(SMALL_SPEC)
    path = make_path("shared", model, SMALL_SPEC, torch.float32, batch=batch, run=9)
    found = [len(item.gaps) for item in path.family_logits([path.plan(family)]) if item is not None]
    assert found == sizes
    expected = model(family_windows(family, SMALL_SPEC), flanked=True).logits
    torch.testing.assert_close(family_logits(path, family), expected, rtol=0, atol=2e-6)


@torch.inference_mode()
def test_a_small_family_does_not_fill_a_large_micro_batch() -> None:
    computed = []

    def transform(x: torch.Tensor, choices: object, gaps: list[torch.Tensor]) -> torch.Tensor:
        computed.append(len(x))
        gaps.append(torch.zeros(len(x)))
        return x.new_zeros(len(x), SMALL_SPEC.core, 18)

    encoder = torch_encoder(small_network().double(), SMALL_SPEC, torch.float32, torch.float32)
    path = StretchPath(encoder, transform, SMALL_SPEC, batch=32)
    codes = random_family(SMALL_SPEC).codes
    families = [path.plan(Family(codes, range(count))) for count in (1, 2, 3, 33)]
    rows = [len(item.logits) for item in path.family_logits(families) if item is not None]
    assert rows == [1, 2, 3, 32, 1]
    assert computed == [1, 2, 4, 32, 32]


@torch.inference_mode()
def test_small_families_are_encoded_beside_one_another() -> None:
    """The second and the third wait for each other."""
    meeting, calls = threading.Barrier(2), []
    x = torch.zeros(1, 64, 32)

    class Encoded:
        def __len__(self) -> int:
            return 2

        def windows(self, first: int, count: int) -> torch.Tensor:
            return x

    class Meeting:
        device, divides_work, evenly = x.device, True, False

        def encode_family(self, run: object, threads: int) -> Encoded:
            calls.append(threads)
            if 1 < len(calls) < 4:
                meeting.wait(timeout=20)
            return Encoded()

    def transform(given: torch.Tensor, choices: object, gaps: list[torch.Tensor]) -> torch.Tensor:
        gaps.append(torch.zeros(1))
        return given

    path = StretchPath(Meeting(), transform, SMALL_SPEC)
    codes = random_family(SMALL_SPEC).codes
    torch.set_num_threads(4)
    found = list(path.family_logits(path.plan(Family(codes, [at, at + 1])) for at in range(4)))
    assert len(found) == 8
    assert sorted(calls) == [1, 1, 1, 4]


@torch.inference_mode()
def test_recorded_choices_of_a_family_are_the_networks() -> None:
    model, family = small_network(max_seq_len=128), random_family(SMALL_SPEC)
    shared, reference = (make_of(model, SMALL_SPEC, torch.float32, None) for make_of in MAKERS)
    logits, buckets = shared.recorded_family(shared.plan(family))
    expected, choices = reference.recorded_family(reference.plan(family))
    torch.testing.assert_close(logits, expected, rtol=0, atol=2e-6)
    needed = buckets >= 0
    assert torch.equal(buckets[needed], choices[needed])
