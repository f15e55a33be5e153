"""The path `triton`: kernels of our own for GPUs. `missing` says where they cannot be used; the rest imports Triton."""

from __future__ import annotations

from importlib.util import find_spec

import torch

from sptx_core.config import SpTransformerConfig

SMALLEST_PRODUCT = 16  # rows, columns and depth of a product of tiles at least
LARGEST_BUCKET = 64  # positions; a tile of rows holds whole buckets
LARGEST_WINDOW = 128  # buckets, whose choices are made at once
LARGEST_HEAD = 32  # channels
LARGEST_HIDDEN = 256  # channels of a row, which lies in a tile as a whole
FEED_FORWARD_STEP = 64  # channels at a time
SHARED_MEMORY = 227 * 1024  # bytes that a block can have on a Hopper GPU, for which the tiles are cut


def missing(config: SpTransformerConfig, device: str) -> str:
    """Why the kernels cannot be used for a network on a device, as the end of a sentence; empty where they can."""
    if torch.device(device).type != "cuda":
        return "is for GPUs alone"
    if not fits(config):
        return (
            "needs encoders of 16, 32, 64, 128... channels, 32, 64, 128 or 256 hidden channels, 16 or 32 a head, "
            "at most 128 buckets of 16, 32 or 64 positions and a feed-forward in multiples of 64 channels"
        )
    if find_spec("triton") is None:
        return "needs Triton, which PyTorch for GPUs brings along on Linux"
    there = getattr(torch.cuda.get_device_properties(device), "shared_memory_per_block_optin", 0)
    if torch.version.cuda is None or there < SHARED_MEMORY:
        return f"needs a GPU with {SHARED_MEMORY // 1024} KB of shared memory a block, as NVIDIA's Hopper has"
    return ""


def fits(config: SpTransformerConfig) -> bool:
    """Whether a network has sizes that the kernels take."""
    channels = [encoder.channels for encoder in config.encoders]
    sizes = [config.hidden_size, config.hidden_size // config.heads, config.bucket_size, *channels]
    return (
        all(size >= SMALLEST_PRODUCT and size & (size - 1) == 0 for size in sizes)
        and config.bucket_size <= LARGEST_BUCKET
        and config.max_seq_len <= LARGEST_WINDOW * config.bucket_size
        and config.hidden_size // config.heads <= LARGEST_HEAD
        and 2 * SMALLEST_PRODUCT <= config.hidden_size <= LARGEST_HIDDEN  # which are multiplied in halves
        and config.feed_forward_size % FEED_FORWARD_STEP == 0
    )
