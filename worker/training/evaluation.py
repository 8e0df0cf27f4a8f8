"""The held-out rows → one loss and one accuracy, over all their trained tokens. Ranks share the rows and add up.

Dropout is off and nothing is drawn from the random state, so an evaluation leaves the run as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from core.data.spec import MicroBatch
from worker.held_out import HeldOut
from worker.training.device import Device
from worker.training.group import Group
from worker.training.lineage import SlotCounts
from worker.training.model import Model
from worker.training.step import Layout, Sums, measure


@dataclass(frozen=True)
class Tally:
    """What a rank's share of the rows adds up to; `trained` counts the tokens of all ranks, by source."""

    losses: list[float]
    """By source."""
    matches: float
    trained: list[int]

    def over(self, group: Group, device: Device) -> Tally:
        """The same over all ranks, on each of them."""
        numbers = torch.tensor([*self.losses, self.matches], dtype=torch.float64, device=device.place)
        group.add_up(numbers)
        *losses, matches = numbers.tolist()
        return Tally(losses, matches, self.trained)

    def validation(self, sources: Sequence[str]) -> Validation | None:
        """The figures; None where not one token is trained on."""
        total = sum(self.trained)
        if not total:
            return None
        by_source = {name: loss / trained
                     for name, loss, trained in zip(sources, self.losses, self.trained, strict=True) if trained}
        return Validation(sum(self.losses) / total, self.matches / total, by_source)


@dataclass(frozen=True)
class Validation:
    loss: float
    accuracy: float
    source_losses: dict[str, float]


def evaluate(held_out: HeldOut, model: Model, layout: Layout, *,
             before_each: Callable[[MicroBatch], None], on_batch: Callable[[int], None]) -> Tally:
    """Measure every batch. `on_batch` hears how many are done."""
    sources = len(held_out.sources)
    losses, trained, matches = np.zeros(sources), np.zeros(sources, np.int64), 0.0

    def work(parts: Iterable[MicroBatch]) -> Sums:
        return measure(tuple(parts), model, sources=sources, before_each=before_each)

    with evaluating(model):
        for done, batch in enumerate(held_out.batches, 1):
            sums = layout.run(batch.micro_batches, work, model.device.free_caches)
            counts = SlotCounts.of(batch)
            losses += sums.by_slot.double().cpu().numpy()
            trained += np.array(counts.by_source(counts.trained, sources), np.int64)
            matches += float(sums.matches)
            on_batch(done)
    return Tally(losses.tolist(), matches, trained.tolist())


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode within, training mode after."""
    model.causal.eval()
    try:
        yield
    finally:
        model.causal.train()
