"""The path `triton`: the same work as `shared`, with its costly parts as Triton kernels for GPUs.

Each operation has a file with its kernel and the function that launches it. This file holds the sizes that the kernels
take and imports no Triton, which is not installed everywhere; all others do. (Within this package `import triton` is
Triton: imports are absolute.)
"""

from __future__ import annotations

from collections.abc import Iterator

from sptx_core.config import SpTransformerConfig

MIN_PRODUCT = 16  # rows, columns and depth of a product of tiles, for the tensor cores
MAX_BUCKET = 64  # positions; a tile of rows holds whole buckets
MAX_BUCKETS = 128  # of a window, whose choices one block makes at once
MAX_HEAD = 32  # channels
MAX_HIDDEN = 256  # channels of a row, which lies in a tile as a whole
FEED_FORWARD_STEP = 64  # channels at a time
SHARED_MEMORY = 227 * 1024  # bytes that a block can have on a Hopper GPU, for which the tiles are cut


def size_reasons(config: SpTransformerConfig) -> Iterator[str]:
    """Why the kernels cannot take a network's sizes, as in `sptx_core.engine.paths`; nothing where they can."""
    sizes: list[tuple[str, int, int, int | None]]  # name, size, smallest, largest; the kernels need powers of two
    sizes = [("channels of an encoder", encoder.channels, MIN_PRODUCT, None) for encoder in config.encoders]
    if config.layers:
        sizes += [
            ("hidden channels", config.hidden_size, 2 * MIN_PRODUCT, MAX_HIDDEN),  # multiplied in halves
            ("channels of a head", config.hidden_size // config.heads, MIN_PRODUCT, MAX_HEAD),
            ("positions of a bucket", config.bucket_size, MIN_PRODUCT, MAX_BUCKET),
        ]
    for name, size, smallest, largest in sizes:
        if size & (size - 1) or size < smallest or (largest is not None and size > largest):
            limits = f"from {smallest} on" if largest is None else f"from {smallest} to {largest}"
            yield f"needs a power of two {limits} as the number of {name}, not {size}"
    if any(encoder.leak for encoder in config.encoders):
        yield "has no activation that leaks"
    if not config.layers:
        return
    if config.max_seq_len > MAX_BUCKETS * config.bucket_size:
        yield f"needs at most {MAX_BUCKETS} buckets, not {config.max_seq_len // config.bucket_size}"
    if config.feed_forward_size % FEED_FORWARD_STEP:
        yield f"needs feed-forward channels in multiples of {FEED_FORWARD_STEP}, not {config.feed_forward_size}"
