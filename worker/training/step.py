"""One step: micro-batches → accumulated gradients → an update.

The loss of a step is the sum of its tokens' losses divided by the tokens trained on in the whole step, so the layout in
micro-batches changes nothing but rounding. What a step adds up stays on the device until someone reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from core.data.spec import Batch, MicroBatch
from worker.shortage import is_out_of_memory
from worker.training.group import Group
from worker.training.memory import fit, one_by_one, smaller_limit
from worker.training.model import Model
from worker.training.optimizer import Optimizer
from worker.training.tensors import arriving


class StopAsked(Exception):
    """Someone asked this run to stop; whoever holds a border saves it."""


@dataclass
class Sums:
    """What micro-batches add up, on the device: sums over trained tokens, fp32."""

    loss: torch.Tensor
    matches: torch.Tensor
    by_slot: torch.Tensor
    """Shape (slots,): the loss of the tokens of each row of the step; of each source, where rows are held out."""

    @classmethod
    def zero(cls, slots: int, model: Model) -> Sums:
        place = model.device.place
        return cls(torch.zeros((), device=place), torch.zeros((), device=place), torch.zeros(slots, device=place))

    def add(self, losses: torch.Tensor, matches: torch.Tensor) -> None:
        self.loss += losses.sum()
        self.matches += matches.sum()


@dataclass
class Layout:
    """How a run lays its micro-batches out: the limit found by running out of memory, kept for the steps that follow."""

    limit_tokens: int | None = None
    on_split: Callable[[int, int], None] = lambda micro_batches, limit_tokens: None
    room: Callable[[], str] = lambda: ""
    """Says how the device's memory stands, for a run that ends for want of it."""

    def run(self, micro_batches: Sequence[MicroBatch], work: Callable[[Sequence[MicroBatch]], Sums],
            undo: Callable[[], None]) -> Sums:
        """Do `work` on the micro-batches; whenever memory runs out, `undo` it and repeat on smaller ones.

        Raises OutOfMemory where a single example does not fit.
        """
        while True:
            fitted = fit(micro_batches, self.limit_tokens)
            try:
                return work(fitted)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                limit = smaller_limit(fitted, room=self.room())
            undo()
            self.limit_tokens = limit
            self.on_split(len(fit(micro_batches, limit)), limit)


def accumulate(micro_batches: Sequence[MicroBatch], batch: Batch, model: Model, optimizer: Optimizer, *,
               before_each: Callable[[MicroBatch], None]) -> Sums:
    """Add up the gradients of a batch, laid out in these micro-batches; `before_each` may raise to leave between two."""
    sums = Sums.zero(batch.slot_count, model)
    for micro, tensors in arriving(laid_out(micro_batches, model), model.device, batch.slots):
        before_each(micro)
        if not len(tensors.labels):
            continue
        with model.device.autocast():
            losses, matches = model.token_losses(tensors)
        optimizer.scale(losses.sum() / batch.trained_tokens).backward()
        sums.add(losses.detach(), matches)
        sums.by_slot.index_add_(0, tensors.slots, losses.detach())
    return sums


@torch.no_grad()
def measure(micro_batches: Sequence[MicroBatch], model: Model, *, sources: int, before_each: Callable[[MicroBatch], None]
            ) -> Sums:
    """The same sums without gradients, told apart by source; the caller has put the model into evaluation mode."""
    sums = Sums.zero(sources, model)
    of_examples = [int(source) for micro in micro_batches for source in micro.sources]
    for micro, tensors in arriving(laid_out(micro_batches, model), model.device, of_examples):
        before_each(micro)
        if len(tensors.labels):
            with model.device.autocast():
                losses, matches = model.token_losses(tensors)
            sums.add(losses, matches)
            sums.by_slot.index_add_(0, tensors.slots, losses)
    return sums


def add_up(sums: Sums, optimizer: Optimizer, group: Group) -> Sums:
    """Replace the gradients and the sums by those over all ranks, in one reduction; each rank gets the same bits.

    A rank without rows in the step brings zeros.
    """
    if group.ranks == 1:
        return sums
    parameters = list(optimizer.parameters.values())
    gradients = [(p.grad if p.grad is not None else torch.zeros_like(p)).flatten().float() for p in parameters]
    numbers = torch.cat([*gradients, sums.loss[None], sums.matches[None], sums.by_slot])
    group.add_up(numbers)
    *gradients, loss, matches, by_slot = numbers.split([*map(len, gradients), 1, 1, len(sums.by_slot)])
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.view_as(parameter).to(parameter.dtype)
    return Sums(loss[0], matches[0], by_slot)


def laid_out(micro_batches: Sequence[MicroBatch], model: Model) -> Sequence[MicroBatch]:
    """One by one, where the model cannot share a row between examples."""
    return micro_batches if model.can_pack else one_by_one(micro_batches)
