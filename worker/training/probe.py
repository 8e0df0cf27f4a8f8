"""Before step 1: the longest rows, laid out as a step of them would be, go through the model once there and back.

So a token budget that is too large for the device is halved while nothing is lost yet, and one row that does not fit alone
ends the run in its first seconds. Nothing is updated, and the random state is put back: a run that probed makes the same bytes
as one that did not. The largest micro-batch is tried twice, since the gradients lie there from the second time on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.data.spec import MicroBatch
from worker.reports import MemoryProbed
from worker.training.memory import fit
from worker.training.model import Model
from worker.training.optimizer import Optimizer
from worker.training.step import Layout, Sums, laid_out
from worker.training.tensors import arriving


@dataclass(frozen=True)
class Probing:
    """What to probe with, if at all."""

    rows: Callable[[], Sequence[MicroBatch]]
    """A step of the longest rows."""
    budget_tokens: int
    """Of a micro-batch, as the run lays them out."""


def probe(probing: Probing, model: Model, optimizer: Optimizer, *, before_each: Callable[[MicroBatch], None],
          undo: Callable[[], None]) -> MemoryProbed:
    """Find the limit of a micro-batch: the budget, or what it is halved to. Leaves gradients; the caller undoes them.

    Raises OutOfMemory where one of the rows does not fit by itself."""
    given = probing.rows()
    halvings: list[int] = []
    layout = Layout(None, lambda parts, limit: halvings.append(limit), model.device.room)

    def work(parts: Sequence[MicroBatch]) -> Sums:
        largest = max(parts, key=lambda micro: len(micro.ids), default=None)
        for micro, tensors in arriving(laid_out([largest] * 2 if largest else [], model), model.device,
                                       range(2 * len(largest.sources) if largest else 0)):
            before_each(micro)
            with model.device.autocast():
                losses, _ = model.token_losses(tensors)
            optimizer.scale(losses.sum()).backward()
        return Sums.zero(0, model)

    layout.run(given, work, undo)
    tried = fit(given, layout.limit_tokens)
    return MemoryProbed(
        tokens=max((len(micro.ids) for micro in tried), default=0), limit_tokens=layout.limit_tokens or probing.budget_tokens,
        asked_tokens=probing.budget_tokens, halvings=len(halvings), peak_bytes=model.device.memory_bytes(),
        room=model.device.room())
