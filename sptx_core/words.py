"""Numbers in messages for people, with the words that agree with them: `1 shard`, `2,000 shards`."""

from __future__ import annotations


def counted(number: int, one: str, many: str = "") -> str:
    """A number, with commas as thousands separators, and what it counts.

    Parameters
    ----------
    number : int
        How many there are.
    one : str
        The noun for a single one, with what must agree with it: "shard", "locus", "shard is missing".
    many : str
        The same for any other number, including 0: "loci", "shards are missing" (default: `one` with an s).
    """
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"
