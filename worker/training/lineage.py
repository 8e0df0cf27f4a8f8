"""What a step was trained on, and what a run has seen so far: from batches to counts, digests and the loss of each row.

The loss of a row is the mean over its trained tokens. The losses of a step stand in the order of its slots, float32, with NaN
for a hole: 4 bytes a row, and which rows they belong to is recomputed when someone asks.
"""

from __future__ import annotations

import base64
import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.data.proof import chained
from core.data.row_set import RowSet
from core.data.spec import Batch
from core.errors import RunRejected


@dataclass(frozen=True, eq=False)
class SlotCounts:
    """Of each slot of a step, over all ranks: int64, shape (slots,) each."""

    sources: np.ndarray
    examples: np.ndarray
    """0 at a hole; several where a row was split."""
    tokens: np.ndarray
    trained: np.ndarray

    @classmethod
    def of(cls, batch: Batch) -> SlotCounts:
        return cls(*np.array(batch.counts, np.int64).reshape(-1, 4).T)

    @property
    def is_filled(self) -> np.ndarray:
        return self.examples > 0

    def by_source(self, numbers: np.ndarray, sources: int) -> list[Any]:
        """Add numbers of the slots up by their source."""
        return np.bincount(self.sources, weights=numbers, minlength=sources).tolist()


@dataclass(frozen=True)
class Seen:
    """All that a job has been trained on since step 1, and what it did without, by source where it says so."""

    order: int = 0
    """The digests of all steps, chained."""
    examples: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    trained_tokens: list[int] = field(default_factory=list)
    skipped: list[int] = field(default_factory=list)
    """Rows at fault, each counted once, however often it was due."""
    overlong: dict[str, int] = field(default_factory=dict)
    """Rows that were too long, by what was done with them, each counted once."""
    untrained: int = 0
    """Rows in which nothing is trained on, each counted once."""

    def after(self, batch: Batch, skipped_before: RowSet) -> Seen:
        """Count a step too; `skipped_before` are the rows at fault that were met before it."""
        counts = SlotCounts.of(batch)
        new = [ref.source for ref in skipped_before.new_among(batch.faults)]
        width = max([len(self.skipped), *(source + 1 for source in new)])
        return Seen(
            order=chained(self.order, batch.digest), examples=_added(self.examples, counts, counts.examples),
            tokens=_added(self.tokens, counts, counts.tokens),
            trained_tokens=_added(self.trained_tokens, counts, counts.trained),
            skipped=[sum(self.skipped[n:n + 1]) + new.count(n) for n in range(width)],
            overlong=dict(Counter(self.overlong) + Counter(batch.overlong_first)),
            untrained=self.untrained + sum(hole.is_first for hole in batch.holes if hole.cause == "untrained"))

    def to_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "order": f"{self.order:016x}"}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Seen:
        return cls(**{**told, "order": int(told["order"], 16)})


def check_trained(seen: Seen) -> None:
    """Raise RunRejected for a job in whose steps nothing was trained on: its model would be the base under a new name."""
    if any(seen.trained_tokens):
        return
    causes = [(sum(seen.overlong.values()), "too long"), (seen.untrained, "without anything to train on"),
              (sum(seen.skipped), "at fault")]
    told = ", ".join(f"{rows:,} {cause}" for rows, cause in causes if rows)
    raise RunRejected(
        f"not one token was trained on in any step: of the rows {told or 'none was left'}; raise options.max_length, choose "
        "another options.overlong, such as 'split', or correct the rows that the events row.skipped name",
        code="nothing_to_train_on", param="options.max_length" if seen.overlong else "training_file")


def row_losses(counts: SlotCounts, losses: Sequence[float]) -> str:
    """Pack the mean loss of each slot of a step, from the sums over its tokens: base64 of float32."""
    means = np.where(counts.is_filled, np.asarray(losses) / np.maximum(counts.trained, 1), np.nan)
    return base64.b64encode(means.astype("<f4").tobytes()).decode()


def _added(totals: list[int], counts: SlotCounts, numbers: np.ndarray) -> list[int]:
    drawn = counts.sources[counts.is_filled]
    width = max(len(totals), int(drawn.max(initial=-1)) + 1)
    more = counts.by_source(numbers, width)[:width]
    return [before + int(new) for before, new in zip([*totals, *[0] * (width - len(totals))], more, strict=True)]
