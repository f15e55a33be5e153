"""What every output of a network is: an object whose attributes are also the entries of an ordered mapping.

Attributes that are None are no entries: what was not asked for, or what this network does not have. Entries are read by
name, by number, or by slice of numbers, in the order in which they are declared.

    >>> from dataclasses import dataclass
    >>> from sptx_core.output_base import Output
    >>> @dataclass(frozen=True, eq=False)
    ... class Found(Output):
    ...     loss: float | None
    ...     logits: str
    >>> found = Found(None, "logits of this call")
    >>> found.keys(), found["logits"] is found[0]
    (odict_keys(['logits']), True)
    >>> found.to_tuple()
    ('logits of this call',)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, KeysView, Mapping
from dataclasses import fields
from typing import Any


class Output(Mapping[str, Any]):
    """A dataclass that is also a mapping of those of its fields that are not None."""

    def keys(self) -> KeysView[str]:
        """Names of the entries; they print like those of an `OrderedDict`, as MultiMolecule's do."""
        return OrderedDict.fromkeys(self).keys()

    def to_tuple(self) -> tuple[Any, ...]:
        """The entries without their names."""
        return tuple(self.values())

    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, int | slice):
            return self.to_tuple()[key]
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in set(self)

    def __iter__(self) -> Iterator[str]:
        return (field.name for field in fields(self) if getattr(self, field.name) is not None)  # type: ignore[arg-type]  # every subclass is a dataclass

    def __len__(self) -> int:
        return sum(1 for _ in self)
