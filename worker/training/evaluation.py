"""The held-out rows → one loss and one accuracy, over all their trained tokens. Ranks share the rows and add up.

Dropout is off and nothing is drawn from the random state, so an evaluation leaves the run as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from core.data.spec import Batch, MicroBatch
from worker.training.device import Device
from worker.training.group import Group
from worker.training.model import Model
from worker.training.step import Layout, Sums, measure


@dataclass(frozen=True)
class Tally:
    """What a rank's share of the rows adds up to; `trained` counts the tokens of all ranks."""

    loss: float
    matches: float
    trained: int

    def over(self, group: Group, device: Device) -> Tally:
        """The same over all ranks, on each of them."""
        numbers = torch.tensor([self.loss, self.matches], dtype=torch.float64, device=device.place)
        group.add_up(numbers)
        loss, matches = numbers.tolist()
        return Tally(loss, matches, self.trained)

    def validation(self) -> Validation | None:
        """The figures; None where not one token is trained on."""
        return Validation(self.loss / self.trained, self.matches / self.trained) if self.trained else None


@dataclass(frozen=True)
class Validation:
    loss: float
    accuracy: float


def evaluate(batches: Iterable[Batch], model: Model, layout: Layout, *,
             before_each: Callable[[MicroBatch], None], on_batch: Callable[[int], None]) -> Tally:
    """Measure every batch. `on_batch` hears how many are done."""
    loss = matches = 0.0
    trained = 0
    with evaluating(model):
        for done, batch in enumerate(batches, 1):
            def work(parts: Iterable[MicroBatch]) -> Sums:
                return measure(tuple(parts), model, before_each=before_each)

            sums = layout.run(batch.micro_batches, work, model.device.free_caches)
            loss, matches = loss + float(sums.loss), matches + float(sums.matches)
            trained += batch.trained_tokens
            on_batch(done)
    return Tally(loss, matches, trained)


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode within, training mode after."""
    model.causal.eval()
    try:
        yield
    finally:
        model.causal.train()
