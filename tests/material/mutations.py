"""Files with faults that chance makes, for tests that no input ends in anything but its answer or one sentence.

`mutated(seeds, letters)` is a strategy of bytes: one of the seeds after a few cuts, insertions, repeats, exchanges and
truncations. `INPUTS` is how many such inputs a test tries: few, or as many as the variable SPTX_FUZZ_INPUTS says.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from hypothesis import strategies as st

INPUTS = int(os.environ.get("SPTX_FUZZ_INPUTS", "25"))
MAX_CHANGES = 4
MAX_LENGTH = 12  # bytes that one change concerns, but for a truncation


@st.composite
def mutated(draw: st.DrawFn, seeds: Sequence[bytes], letters: bytes) -> bytes:
    """One of `seeds` after some changes; what is inserted is made of `letters`."""
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, MAX_CHANGES))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, MAX_LENGTH)))
        kind = draw(st.sampled_from(["cut", "insert", "replace", "repeat", "exchange", "flip", "truncate"]))
        fresh = bytes(draw(st.lists(st.sampled_from(letters), min_size=1, max_size=MAX_LENGTH)))
        match kind:
            case "cut":
                content = content[:at] + content[end:]
            case "insert":
                content = content[:at] + fresh + content[at:]
            case "replace":
                content = content[:at] + fresh[: end - at] + content[at + len(fresh[: end - at]) :]
            case "repeat":
                content = content[:end] + content[at:end] + content[end:]
            case "exchange":
                lines = content.split(b"\n")
                first, second = at % len(lines), end % len(lines)
                lines[first], lines[second] = lines[second], lines[first]
                content = b"\n".join(lines)
            case "flip":
                flipped = bytes(letter ^ 1 << draw(st.integers(0, 7)) for letter in content[at : at + 1])
                content = content[:at] + flipped + content[at + 1 :]
            case "truncate":
                content = content[:at]
    return content
