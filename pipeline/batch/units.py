"""Units of work: what a job is cut into.

A unit holds coordinates only. It travels to a worker as one row of plain columns, and the worker reads whatever the
coordinates point to. A finished unit is one object in each of the job's tables (`pipeline.batch.layout`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pipeline.batch.layout import part_name


@dataclass(frozen=True)
class Unit:
    """A unit of work, retry, commit and file.

    Parameters
    ----------
    index
        Its number in the plan, from 0.
    label
        What the names of its parts say beside the index, without `/`.
    size
        How much of the job it is, in what the job counts (bases, alleles, ...).
    place
        Folders of its parts below the folder of a table, such as `chrom=chr9/strand=plus`; empty for none.
    columns
        The coordinates: numbers, texts, and lists of these, by names other than `index`, `label`, `size` and `place`.

    """

    index: int
    label: str
    size: int
    place: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)

    def part_name(self, table: str, fingerprint: str) -> str:
        """Name of its part of a table, below the root of the run."""
        return part_name(table, self.place, self.index, self.label, fingerprint)

    def to_row(self) -> dict[str, Any]:
        """The unit as one row of plain columns."""
        own = {"index": self.index, "label": self.label, "size": self.size, "place": self.place}
        if taken := own.keys() & self.columns.keys():
            raise ValueError(f"a column of a unit cannot be called {' or '.join(sorted(taken))}")
        return {**own, **self.columns}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The unit that `to_row` described."""
        columns = {name: value for name, value in row.items() if name not in ("index", "label", "size", "place")}
        return cls(int(row["index"]), str(row["label"]), int(row["size"]), str(row["place"]), columns)
