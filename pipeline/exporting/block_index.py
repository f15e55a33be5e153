"""The index of a bigWig or bigBed: which compressed blocks hold a region, as an R tree of the format "cirTree".

In: one row of `BLOCK` for each compressed block, in the order of contigs and positions. Out: the bytes of the tree.
Positions are 0-based and half-open. Nodes hold up to `MAX_CHILDREN` children; every node of a level takes the same
room, so that the place of each follows from its number.

Format: Kent et al., Bioinformatics 26 (2010) 2204, supplement, tables 14 to 17 ("R tree index").
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

MAGIC = 0x2468ACE0
MAX_CHILDREN = 256  # of a node, as UCSC's own programs have it
_NODE_HEAD = struct.Struct("<BxH")  # whether it is a leaf, and how many children it has
_SPAN = [("first_contig", "<u4"), ("start", "<u4"), ("last_contig", "<u4"), ("end", "<u4"), ("offset", "<u8")]
BLOCK = np.dtype([*_SPAN, ("size", "<u8")])
"""A block: contig and first position of its first item, contig and end of its last, its place in the file and bytes."""
_CHILD = np.dtype(_SPAN)

Blocks = npt.NDArray[np.void]


def index_bytes(blocks: Blocks, offset: int, per_block: int) -> bytes:
    """The tree over blocks.

    Parameters
    ----------
    blocks
        Rows of `BLOCK`, in order; may be none.
    offset
        Where in the file the tree will begin, which is also where the blocks end.
    per_block
        Most items of a block, which the head tells.

    """
    children = min(MAX_CHILDREN, max(1, len(blocks)))  # a small file has small nodes
    levels = [blocks]
    while len(levels[0]) > children:
        levels.insert(0, _parents(levels[0], children))
    span = _span(blocks)
    head = struct.pack("<IIQIIIIQII", MAGIC, children, len(blocks), *span, offset, per_block, 0)
    pieces, here = [head], offset + len(head)
    for depth, items in enumerate(levels):
        is_leaf = depth == len(levels) - 1
        below = here + _room(items, children, is_leaf=is_leaf)
        if not is_leaf:
            child_room = _node_room(children, is_leaf=depth + 1 == len(levels) - 1)
            items["offset"] = below + np.arange(len(items)) * child_room
        pieces.append(_nodes(items, children, is_leaf=is_leaf))
        here = below
    return b"".join(pieces)


def _span(blocks: Blocks) -> tuple[int, int, int, int]:
    """Contig and position of the first base, contig and end of the last one."""
    if not len(blocks):
        return 0, 0, 0, 0
    last = blocks[blocks["last_contig"] == blocks["last_contig"][-1]]
    return (
        int(blocks["first_contig"][0]),
        int(blocks["start"][0]),
        int(blocks["last_contig"][-1]),
        int(last["end"].max()),
    )


def _parents(items: Blocks, children: int) -> Blocks:
    """A child entry for each node that holds `children` of the items."""
    begins = np.arange(0, len(items), children)
    lasts = np.minimum(begins + children, len(items)) - 1
    found = np.zeros(len(begins), _CHILD)
    for name in ("first_contig", "start"):
        found[name] = items[name][begins]
    found["last_contig"] = items["last_contig"][lasts]
    # Items of a bigBed overlap: the last one of a node need not be the one that ends last.
    found["end"] = [
        items["end"][begin : last + 1][items["last_contig"][begin : last + 1] == items["last_contig"][last]].max()
        for begin, last in zip(begins, lasts, strict=True)
    ]
    return found


def _node_room(children: int, *, is_leaf: bool) -> int:
    return _NODE_HEAD.size + children * (BLOCK if is_leaf else _CHILD).itemsize


def _room(items: Blocks, children: int, *, is_leaf: bool) -> int:
    """Bytes of a level."""
    return _node_room(children, is_leaf=is_leaf) * max(1, -(-len(items) // children))


def _nodes(items: Blocks, children: int, *, is_leaf: bool) -> bytes:
    """The nodes of a level, each filled up with zeros; one empty leaf where there are no items."""
    room = _node_room(children, is_leaf=is_leaf)
    nodes = []
    for begin in range(0, max(1, len(items)), children):
        held = items[begin : begin + children]
        nodes.append((_NODE_HEAD.pack(is_leaf, len(held)) + held.tobytes()).ljust(room, b"\0"))
    return b"".join(nodes)
