"""Engine paths against the plain network in float64 on real sequence: scores, logits, and every choice of a bucket.

    python benchmarks/against_float64.py GENOME.fa.gz CHECKPOINT
    python benchmarks/against_float64.py GENOME.fa.gz CHECKPOINT --device cuda --runs triton:float32,triton:bfloat16

Stretches of consecutive windows lie evenly over the first contig, every second one on the reverse strand. A Sinkhorn
head looks at the bucket that fits best, so where two buckets fit almost equally well rounding decides. A window in
which a path chose another bucket is counted apart. Its tie is the difference of the two best fits (scaled products of
mean query and mean key, before softmax) in float64, in the first layer that differs, because later layers see other
input. In float32 only a tie under 1e-5 excuses another choice. Exits with 1 when that or a limit of docs/performance.md
does not hold.

Float64 takes most of the time on a CPU. `--expected FILE.npz` takes what it gave from a file, which is for the same
network and the same stretches, and makes the file where there is none.

Needs PyTorch, NumPy, safetensors and lazy-loader.
"""

from __future__ import annotations

import argparse
import copy
import gzip
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sptx_core import attention, channels
from sptx_core import model as network
from sptx_core.alphabet import Codes, encode, reverse_complement
from sptx_core.checkpoint.checkpoint import load_checkpoint
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.engine.paths import ENGINE_PATHS, PRECISIONS
from sptx_core.engine.reference import ReferencePath
from sptx_core.engine.scheduling import StretchPath
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

MAX_TIE = 1e-5
MAX_LOGIT_DIFFERENCE = {"cpu": 2e-5, "cuda": 1e-4}  # float32
MAX_SCORE_DIFFERENCE, MAX_MEDIAN_SCORE_DIFFERENCE = 0.02, 0.002  # bfloat16


class Expected(NamedTuple):
    """What the network computes for a stretch in float64."""

    logits: Tensor
    """[n, core, channels]."""
    buckets: Tensor
    """int64 [n, layers, Sinkhorn heads, buckets], chosen."""
    ties: Tensor
    """[n, layers, Sinkhorn heads, buckets], differences of the two best fits."""


class Differences(NamedTuple):
    """How a path's windows differ from those expected."""

    logits: Tensor
    """[n, core, channels], absolute."""
    scores: Tensor
    """[n, core, channels], absolute."""
    ties: Tensor
    """[n], the tie behind another choice; NaN where all choices are the same."""


def read_stretches(fasta: Path, spec: WindowSpec, count: int, windows: int) -> list[Codes]:
    """Codes of `count` stretches of so many windows of the first contig."""
    raw = fasta.read_bytes()
    text = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    contig = encode(b"".join(text.split(b">", 2)[1].splitlines()[1:]))
    first, end = spec.input_span(0, windows - 1)
    starts = np.linspace(0, len(contig) - (end - first), count).astype(int)
    plus = [contig[start : start + end - first] for start in starts]
    return [reverse_complement(codes) if i % 2 else codes.copy() for i, codes in enumerate(plus)]


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: object, padding: object, dilation: tuple[int], groups: int
) -> Tensor:
    """`conv1d` of the network's own kind, a tap after the other: in float64 PyTorch's takes twice as long on a CPU."""
    assert (stride, groups) == ((1,), 1)
    assert padding == "same" or padding == (0,)
    (step,), taps = dilation, weight.shape[2]
    beyond = step * (taps - 1) if padding == "same" else 0
    x = F.pad(x, (beyond // 2, beyond - beyond // 2))
    length = x.shape[2] - step * (taps - 1)
    y = x.new_zeros(len(x), len(weight), length)
    if bias is not None:
        y += bias[:, None]
    for tap in range(taps):
        y += weight[:, :, tap].contiguous() @ x[:, :, tap * step : tap * step + length]
    return y


def expect(model: SpTransformerModel, stretch: Codes, spec: WindowSpec) -> Expected:
    """Run a model in float64 and watch its choices."""
    ties: list[Tensor] = []

    def watched(query: Tensor, key: Tensor, value: Tensor, bucket_size: int) -> tuple[Tensor, attention.SinkhornChoice]:
        means = [x.unflatten(2, (-1, bucket_size)).mean(3) for x in (query, key)]
        best = (means[0] @ means[1].transpose(2, 3) * query.shape[-1] ** -0.5).topk(2, -1).values
        ties.append(best[..., 0] - best[..., 1])
        return attention.sinkhorn_attention(query, key, value, bucket_size)

    convolution = convolve if next(model.parameters()).device.type == "cpu" else F.conv1d
    with mock.patch.object(network, "sinkhorn_attention", watched), mock.patch.object(F, "conv1d", convolution):
        logits, buckets = ReferencePath(model, spec, 1).recorded(stretch)
    layers = model.config.layers
    of_windows = [torch.stack(ties[i : i + layers], 1) for i in range(0, len(ties), layers)]
    return Expected(logits.cpu(), buckets.cpu(), torch.cat(of_windows).cpu())


def in_float64(model: SpTransformerModel, given: Sequence[Codes], spec: WindowSpec) -> list[Expected]:
    """What a model gives for stretches in float64."""
    exact = copy.deepcopy(model).double()
    return [expect(exact, stretch, spec) for stretch in given]


def kept(file: Path, network: str, given: Sequence[Codes], compute: Callable[[], list[Expected]]) -> list[Expected]:
    """What a file holds for stretches and the network of this digest; computed and written where there is no file."""
    of = {"network": np.array(network), "stretches": np.stack(given)}
    if not file.exists():
        logits, buckets, ties = (torch.stack(values).numpy() for values in zip(*compute(), strict=True))
        small = {
            "logits": logits.astype(np.float32),
            "buckets": buckets.astype(np.int16),
            "ties": ties.astype(np.float32),
        }
        np.savez_compressed(file, **small, **of)
    with np.load(file) as arrays:
        if not all(np.array_equal(arrays[name], value) for name, value in of.items()):
            raise SystemExit(f"{file} is of another network or other stretches: delete it, and it is made anew")
        logits, buckets, ties = (torch.from_numpy(arrays[name]) for name in Expected._fields)
    return [Expected(*each) for each in zip(logits.double(), buckets.long(), ties, strict=True)]


def compare(path: ReferencePath | StretchPath, stretch: Codes, expected: Expected) -> Differences:
    """Compare a path's windows of a stretch with what was expected of them."""
    logits, buckets = (x.cpu() for x in path.recorded(stretch))
    others = (buckets >= 0) & (buckets != expected.buckets)
    ties = torch.full((len(logits),), torch.nan, dtype=torch.float64)
    for window, other in enumerate(others):
        if other.any():
            layer = int(other.flatten(1).any(1).nonzero()[0])
            ties[window] = expected.ties[window, layer][other[layer]].max()
    scores = channels.scores(logits.double()) - channels.scores(expected.logits)
    return Differences((logits - expected.logits).abs(), scores.abs(), ties)


def judge(found: Differences, precision: str, device: str) -> tuple[str, bool]:
    """A line about all windows, and whether the limits hold."""
    other = ~found.ties.isnan()
    alike = found.logits[~other]
    worst = alike.max().item() if len(alike) else 0.0
    tie = found.ties[other].max().item() if other.any() else 0.0
    score, median = found.scores.max().item(), found.scores.median().item()
    line = (
        f"{len(other)} windows, {int(other.sum())} with another choice (largest tie {tie:.1e}); logits {worst:.1e} "
        f"in the others; scores {score:.1e} at most in all, {median:.1e} in the median"
    )
    if precision == "float32":
        return line, worst < MAX_LOGIT_DIFFERENCE[device] and tie < MAX_TIE
    return line, score < MAX_SCORE_DIFFERENCE and median < MAX_MEDIAN_SCORE_DIFFERENCE


@torch.inference_mode()
def main(arguments: Sequence[str] | None = None) -> None:
    """Compare and print a line for each path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fasta", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--device", default="cpu", choices=list(MAX_LOGIT_DIFFERENCE))
    parser.add_argument(
        "--runs", default="reference:float32,shared:float32,shared:bfloat16", help="path:precision, ..."
    )
    parser.add_argument("--stretches", type=int, default=8)
    parser.add_argument("--windows", type=int, default=4, help="windows of a stretch")
    parser.add_argument("--expected", type=Path, metavar="FILE.npz", help="keeps what float64 gives")
    settings = parser.parse_args(arguments)
    checkpoint = load_checkpoint(settings.checkpoint)
    model = SpTransformerModel.from_checkpoint(checkpoint, device=settings.device)
    spec = WindowSpec(context=model.config.context)
    given = read_stretches(settings.fasta, spec, settings.stretches, settings.windows)
    runs = [run.split(":") for run in settings.runs.split(",")]
    with exact_arithmetic(settings.device):
        compute = partial(in_float64, model, given, spec)
        expected = kept(settings.expected, checkpoint.digest(), given, compute) if settings.expected else compute()
        within_limits = True
        for name, precision in runs:
            path = ENGINE_PATHS[name].make(model, spec, PRECISIONS[precision], None)
            parts = [compare(path, stretch, of) for stretch, of in zip(given, expected, strict=True)]
            line, holds = judge(Differences(*map(torch.cat, zip(*parts, strict=True))), precision, settings.device)
            print(f"{name} {precision}: {line}{'' if holds else '  BEYOND THE LIMITS'}", flush=True)
            within_limits &= holds
    raise SystemExit(not within_limits)


if __name__ == "__main__":
    main()
