"""What a step was trained on, and what a run has seen so far: from batches to counts, digests and the loss of each row.

The loss of a row is the mean over its trained tokens. The losses of a step stand in the order of its slots, float32, with NaN
for a hole: 4 bytes a row, and which rows they belong to is recomputed when someone asks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.data.proof import chained
from core.data.spec import Batch


@dataclass(frozen=True, eq=False)
class ExampleCounts:
    """Of each example of a batch, in its order: int64, shape (examples,) each."""

    sources: np.ndarray
    tokens: np.ndarray
    trained: np.ndarray

    @classmethod
    def of(cls, batch: Batch) -> ExampleCounts:
        micros = batch.micro_batches
        if not micros:
            return cls(*(np.zeros(0, np.int64) for _ in range(3)))
        return cls(
            np.concatenate([m.sources for m in micros]).astype(np.int64),
            np.concatenate([np.diff(m.boundaries) for m in micros]).astype(np.int64),
            np.concatenate([np.add.reduceat(m.loss_mask, m.boundaries[:-1], dtype=np.int64) for m in micros]))

    def by_source(self, numbers: np.ndarray, sources: int) -> list[Any]:
        """Add numbers of the examples up by their source."""
        return np.bincount(self.sources, weights=numbers, minlength=sources).tolist()


@dataclass(frozen=True)
class Seen:
    """All that a run has been trained on since step 1, by source where it says so."""

    order: int = 0
    """The digests of all steps, chained."""
    examples: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    trained_tokens: list[int] = field(default_factory=list)

    def after(self, batch: Batch) -> Seen:
        counts = ExampleCounts.of(batch)
        return Seen(chained(self.order, batch.digest), _added(self.examples, counts, np.ones_like(counts.tokens)),
                    _added(self.tokens, counts, counts.tokens), _added(self.trained_tokens, counts, counts.trained))

    def to_json(self) -> dict[str, Any]:
        return {"order": f"{self.order:016x}", "examples": self.examples, "tokens": self.tokens,
                "trained_tokens": self.trained_tokens}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Seen:
        return cls(**{**told, "order": int(told["order"], 16)})


def row_losses(batch: Batch, counts: ExampleCounts, losses: Sequence[float]) -> str:
    """Pack the mean loss of each slot of a step, from the loss sums of its examples: base64 of float32."""
    slots = np.array(batch.slots or range(len(losses)), np.int64)
    width = batch.slot_count or len(losses)
    sums, trained, found = np.zeros(width), np.zeros(width), np.zeros(width, bool)
    np.add.at(sums, slots, np.asarray(losses, np.float64))
    np.add.at(trained, slots, counts.trained)
    found[slots] = True
    means = np.where(found, sums / np.maximum(trained, 1), np.nan).astype("<f4")
    return base64.b64encode(means.tobytes()).decode()


def _added(totals: list[int], counts: ExampleCounts, numbers: np.ndarray) -> list[int]:
    width = max(len(totals), int(counts.sources.max(initial=-1)) + 1)
    more = counts.by_source(numbers, width)
    return [before + int(new) for before, new in zip([*totals, *[0] * (width - len(totals))], more, strict=True)]
