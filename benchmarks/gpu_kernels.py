"""The Triton kernels: whether they fit the chip, and on a GPU how fast they are beside PyTorch's operators.

    python benchmarks/gpu_kernels.py            # compiles for compute capability 9.0; needs no GPU
    python benchmarks/gpu_kernels.py --measure  # on a GPU: layers and encoding of either path, and other tiles

Compiling goes through every launch of the published network in both precisions, on tensors without values, and compiles
each distinct kernel once. It prints registers, spilled bytes, shared memory and matrix instructions of each kernel, and
what one pass of its main loop costs a multiprocessor: cycles to issue its instructions, and cycles of the tensor cores,
of which the larger bounds it from below. `--without-costs` leaves these two out, and so the disassembly, which takes
two thirds of the time of compiling. It exits with 1 where a kernel does not fit.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sptx_core.config import SpTransformerConfig
from sptx_core.engine.bench import seeded_model
from sptx_core.engine.machine import exact_arithmetic
from sptx_core.engine.paths import ENGINE_PATHS
from sptx_core.engine.scheduling import GPU_RUN, StretchPath
from sptx_core.engine.triton import (
    SHARED_MEMORY,
    activation,
    bucket_attention,
    bucket_choice,
    convolution,
    feed_forward,
    row_norm,
    window_placement,
)
from sptx_core.engine.triton.layers import TritonLayer
from sptx_core.engine.triton.operands import Tile
from sptx_core.model import SpTransformerModel
from sptx_core.windows import WindowSpec

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.int64: "*i64"}
PRECISIONS = (torch.float32, torch.bfloat16)
KERNELS = {  # by the name of the operation
    "normalise": (row_norm, "normalise_kernel"),
    "choose": (bucket_choice, "choose_kernel"),
    "attend": (bucket_attention, "attend_kernel"),
    "finish": (feed_forward, "finish_kernel"),
    "activate": (activation, "activate_kernel"),
    "convolve": (convolution, "convolve_kernel"),
    "place": (window_placement, "place_kernel"),
}
SCHEDULERS, WARPGROUP = 4, 4  # of a multiprocessor; warps that multiply together
BFLOAT16_RATE, TF32_RATE = 4096, 2048  # FLOP of a multiprocessor and cycle
HOPPER = 90  # compute capability, times ten
BATCH = 16  # windows through the layers at a time
FINISH_TILES = [Tile(128, 0, 64, 8, 2), Tile(128, 0, 32, 8, 3), Tile(64, 0, 32, 4, 2), Tile(64, 0, 64, 4, 1)]
CONVOLUTION_TILES = {
    torch.bfloat16: [
        Tile(128, 128, 64, 8, 3),
        Tile(128, 128, 64, 8, 4),
        Tile(128, 128, 128, 8, 2),
        Tile(256, 128, 64, 8, 3),
        Tile(64, 128, 64, 4, 4),
    ],
    torch.float32: [
        Tile(128, 128, 64, 8, 3),
        Tile(128, 128, 64, 8, 2),
        Tile(128, 128, 32, 8, 3),
        Tile(128, 256, 32, 8, 3),
        Tile(128, 128, 32, 4, 3),
    ],
}
HEAD = (
    *("kernel", "operands", "sizes", "warps", "stages"),
    *("registers", "spilled", "shared", "issue", "tensor", "products"),
)


class Compiler:
    """Stands in a kernel's place: compiles each launch that is new, and runs none."""

    def __init__(self, name: str, kernel: Any, capability: int, found: list[list[str]], *, costs: bool) -> None:
        self.name, self.kernel, self.capability, self.found, self.costs = name, kernel, capability, found, costs
        self.seen: set[str] = set()

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        """As Triton's kernels are launched."""
        assert all(1 <= size < 2**16 for size in grid[1:])
        return self._compile

    def _compile(self, *values: Any, num_warps: int, num_stages: int = 3, **fixed: Any) -> None:
        names = self.kernel.arg_names
        signature, aligned = dict.fromkeys(fixed, "constexpr"), {}
        for i, value in enumerate(values):
            if isinstance(value, Tensor):
                signature[names[i]] = TYPES[value.dtype]
                aligned[(i,)] = [["tt.divisibility", 16]]
            else:
                signature[names[i]] = "fp32" if isinstance(value, float) else "i32"
                assert self.kernel.params[i].do_not_specialize or isinstance(value, float)
        constants = {(names.index(name),): value for name, value in fixed.items()}
        options = {"num_warps": num_warps, "num_stages": num_stages}
        key = f"{fixed} {options} {signature}"
        if key in self.seen:
            return
        self.seen.add(key)
        source = ASTSource(self.kernel, {name: signature[name] for name in names}, constants, aligned)
        compiled = triton.compile(source, target=GPUTarget("cuda", self.capability, 32), options=options)
        if self.name == "activate" or fixed.get("AFTER") == "relu":
            assert "max.NaN.f32" in compiled.asm["ptx"], "a ReLU makes zeros of what is not a number"
        registers, spilled = resources(compiled.asm["cubin"])
        products = len(re.findall(r"\bwgmma\.mma_async", compiled.asm["ptx"]))
        costs = loop_costs(compiled.asm["cubin"], num_warps) if self.costs else ("-", "-")
        sizes = ",".join(str(int(value) if isinstance(value, bool) else value) for value in fixed.values())
        operands = "bfloat16" if "*bf16" in signature.values() else "float32"  # of which pairs of float16 are part
        numbers = (num_warps, num_stages, registers, spilled, compiled.metadata.shared, *costs, products)
        self.found.append([self.name, operands, sizes, *map(str, numbers)])


def resources(binary: bytes) -> tuple[int, int]:
    """Registers and spilled bytes of a thread of a compiled kernel."""
    match = re.search(r"REG:(\d+) STACK:(\d+)", _dump(binary, "--dump-resource-usage"))
    assert match is not None
    return int(match[1]), int(match[2])


def loop_costs(binary: bytes, warps: int) -> tuple[int, int]:
    """Cycles to issue the instructions of the main loop, and cycles that they take the tensor cores.

    The main loop is that with most of the products, or the whole kernel where no loop has any.
    """
    code = _dump(binary, "--dump-sass")
    lines = [(int(at, 16), text) for at, text in re.findall(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);", code, re.MULTILINE)]
    loops = [[text for _, text in lines]]
    for at, text in lines:
        jump = re.search(r"\bBRA\b.*?0x([0-9a-f]+)", text)
        if jump and int(jump[1], 16) < at:  # back to where a loop begins
            loops.append([inside for there, inside in lines if int(jump[1], 16) <= there <= at])
    loop = max(loops[1:] or loops, key=_flops)
    if not _flops(loop):
        loop = loops[0]
    return round(len(loop) * warps / SCHEDULERS), round(_flops(loop) * warps / WARPGROUP)


def _dump(binary: bytes, flag: str) -> str:
    """What the disassembler that comes with Triton prints of a compiled kernel."""
    tool = Path(triton.__path__[0]) / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        return subprocess.run([tool, flag, file.name], capture_output=True, text=True, check=True).stdout


def _flops(instructions: Iterable[str]) -> float:
    """Products of the tensor cores, as cycles that they take a multiprocessor for a warpgroup."""
    found = re.findall(r"GMMA\.(\d+)x(\d+)x(\d+)\.F32\.?(TF32)?", "\n".join(instructions))
    return sum(2 * int(m) * int(n) * int(k) / (TF32_RATE if narrow else BFLOAT16_RATE) for m, n, k, narrow in found)


def compile_all(
    config: SpTransformerConfig, spec: WindowSpec, capability: int, *, costs: bool = True
) -> list[list[str]]:
    """Compile every kernel that a run of windows launches; the rows of a table under `HEAD`."""
    found: list[list[str]] = []
    with torch.device("meta"):
        model = SpTransformerModel(config).eval()
    codes = torch.zeros(spec.input_span(0, 3)[1] + spec.context, dtype=torch.uint8, device="meta")
    kept: list[tuple[ModuleType, str, Any]] = []
    try:
        for name, (module, attribute) in KERNELS.items():
            kernel = getattr(module, attribute)
            kept.append((module, attribute, kernel))
            setattr(module, attribute, Compiler(name, kernel, capability, found, costs=costs))
        with torch.inference_mode():
            for dtype in PRECISIONS:
                path = triton_path(model, spec, dtype)
                path.transformer(path.encoder(codes).windows())
    finally:
        for module, attribute, kernel in kept:
            setattr(module, attribute, kernel)
    return found


def triton_path(model: SpTransformerModel, spec: WindowSpec, dtype: torch.dtype) -> StretchPath:
    """The path `triton`, whatever there is against it here."""
    path = ENGINE_PATHS["triton"].make(model, spec, dtype, BATCH)
    assert isinstance(path, StretchPath)
    return path


def measure(
    model: SpTransformerModel,
    spec: WindowSpec,
    windows: int,
    batch: int,
    seconds: Callable[[Callable[[], object]], float],
) -> Iterator[str]:
    """Lines about layers and encoding by `shared` and `triton`, and about other tiles, on the model's device."""
    device = next(model.parameters()).device
    config = model.config
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 4, (spec.input_span(0, windows - 1)[1] + spec.context,), generator=generator)
    codes = codes.to(torch.uint8).to(device)
    x = torch.randn(batch, config.max_seq_len, config.hidden_size, generator=generator).to(device)
    for dtype in PRECISIONS:
        shared = ENGINE_PATHS["shared"].make(model, spec, dtype, batch)
        own = triton_path(model, spec, dtype)
        parts: list[tuple[str, Callable[[StretchPath], Any], int]] = [
            ("encoding", lambda path: path.encoder(codes).fused.inner, windows),
            ("encoding and putting windows together", lambda path: path.encoder(codes).windows()[0], windows),
            ("a layer", lambda path: _layer(path, x), batch),
            ("all layers", lambda path: path.transformer(x.clone()), batch),
        ]
        for what, run, of in parts:
            before, after = (seconds(lambda path=path, run=run: run(path)) / of for path in (shared, own))
            expected, found = run(shared), run(own)
            error = float((found - expected).norm() / expected.norm())
            yield (
                f"{dtype}: {what}: {1e6 * before:,.0f} -> {1e6 * after:,.0f} microseconds a window "
                f"({before / after:.2f}x), relative difference {error:.1e}"
            )
        uses_pairs = dtype == torch.float32
        kept = convolution.TILES[uses_pairs], feed_forward.TILE
        for what, run, of in (parts[0], parts[2]) if uses_pairs else parts[:1]:
            for tile in CONVOLUTION_TILES[dtype]:
                convolution.TILES[uses_pairs] = tile
                yield _timed(f"{dtype}: {what}, convolution {tile}", partial(run, own), of, seconds)
        convolution.TILES[uses_pairs] = kept[0]
        for tile in [] if uses_pairs else FINISH_TILES:
            feed_forward.TILE = tile
            yield _timed(f"{dtype}: a layer, feed-forward {tile}", partial(parts[2][1], own), batch, seconds)
        feed_forward.TILE = kept[1]


def _timed(what: str, run: Callable[[], object], of: int, seconds: Callable[[Callable[[], object]], float]) -> str:
    try:
        return f"{what}: {1e6 * seconds(run) / of:,.0f} microseconds a window"
    except Exception as error:  # too much of something for this GPU
        return f"{what}: {type(error).__name__} {str(error)[:100]}"


def _layer(path: StretchPath, x: Tensor) -> Tensor:
    y, layer = x.clone(), path.transformer.layers[0]
    if isinstance(layer, TritonLayer):
        layer(y, layer.begin(y), layer.norm)
    else:
        layer(y)
    return y


def on_gpu(run: Callable[[], object]) -> float:
    """Seconds of a call, the median of some."""
    times: list[float] = triton.testing.do_bench(run, warmup=100, rep=400, return_mode="all")
    return statistics.median(times) / 1e3


def main() -> None:
    """Compile, and on a GPU measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capability", type=int, default=HOPPER, help="compute capability, times ten")
    parser.add_argument("--without-costs", action="store_true", help="do not disassemble the main loops")
    parser.add_argument("--measure", action="store_true", help="on the GPU here")
    settings = parser.parse_args()
    config, spec = SpTransformerConfig(), WindowSpec()
    if settings.measure:
        print(torch.cuda.get_device_name(), f"PyTorch {torch.__version__}, Triton {triton.__version__}")
        with torch.inference_mode(), exact_arithmetic("cuda"):
            for line in measure(seeded_model(config, 0).cuda(), spec, GPU_RUN, BATCH, on_gpu):
                print(line, flush=True)
        return
    rows = compile_all(config, spec, settings.capability, costs=not settings.without_costs)
    widths = [max(len(row[i]) for row in (HEAD, *rows)) for i in range(len(HEAD))]
    for row in (HEAD, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if any(int(row[HEAD.index("shared")]) > SHARED_MEMORY for row in rows):
        sys.exit(f"more than {SHARED_MEMORY:,} bytes of shared memory")


if __name__ == "__main__":
    main()
