"""The held-out rows → one loss and one accuracy, over all their trained tokens.

Dropout is off and nothing is drawn from the random state, so an evaluation leaves the run as it was. It is read in this
process, without read-ahead: batches are small beside a forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.data.spec import Batch, MicroBatch
from worker.training.model import Model
from worker.training.step import Layout, Sums, measure


@dataclass(frozen=True)
class Validation:
    loss: float
    accuracy: float


def evaluate(batches: Iterable[Batch], model: Model, layout: Layout, *,
             before_each: Callable[[MicroBatch], None], on_batch: Callable[[int], None]) -> Validation | None:
    """Measure every batch; None where not one token of them is trained on. `on_batch` hears how many are done."""
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
    return Validation(loss / trained, matches / trained) if trained else None


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Evaluation mode within, training mode after."""
    model.causal.eval()
    try:
        yield
    finally:
        model.causal.train()
