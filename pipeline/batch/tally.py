"""What the receipts of a run say, together: each unit counts once, whoever computes it and however often it is told.

Comes in: receipts in any order, two of a unit where two crews work on it. Goes out: failed units, measures for the
manifest, the history of the run, the progress line, and sentences for what a person should know.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.batch.history import History
from pipeline.batch.job import Say
from pipeline.batch.measures import MeasureBook
from pipeline.batch.progress import Progress
from pipeline.batch.worker import Receipt


@dataclass
class Tally:
    """The state of a run as its driver has heard it."""

    open: set[int]
    """Units without a receipt that counts."""
    hardware: set[str]
    called: str
    book: MeasureBook
    history: History
    line: Progress
    say: Say
    failed: dict[int, str] = field(default_factory=dict)
    leaving: bool = False

    def add(self, receipt: Receipt) -> None:
        """Count a receipt, once a unit."""
        if receipt.left:
            if not self.leaving:
                self.leaving = True
                self.say(
                    f"workers on CPUs leave some {self.called}s to those on GPUs, the first (number {receipt.unit}) "
                    f"because of: {receipt.error}"
                )
            return
        if receipt.unit not in self.open and (receipt.error or receipt.unit not in self.failed):
            return
        self.open.discard(receipt.unit)
        self.failed.pop(receipt.unit, None)
        if receipt.error:
            self.failed[receipt.unit] = receipt.error
        else:
            self.history.add(receipt.size)
        self.book.add(receipt.unit, receipt.measures)
        if receipt.hardware not in self.hardware:
            self.hardware.add(receipt.hardware)
            self.say(f"some {self.called}s run on {receipt.hardware}: equal within a storage step, not byte for byte")
        self.line.advance(receipt.size, failures=len(self.failed))

    def complete(self) -> bool:
        """Whether each unit has a receipt that counts."""
        return not self.open
