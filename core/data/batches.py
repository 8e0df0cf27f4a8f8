"""A step over all ranks → the Batch of one of them, with the position after the step.

Rank r of n has the slots r, r + n, r + 2n, … of a step: its micro-batches, rows and holes are those of its slots alone. What
is told of the whole step (its trained tokens, counts by slot, digest) every rank is told, so that each knows what the loss is
divided by without asking another.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

from core.data.fitting import Fitted
from core.data.packing import pack
from core.data.spec import Batch, Hole, Overlong, Share
from core.data.steps import Step


def share_out(step: Step, share: Share) -> Batch:
    """Cut one rank's share out of a step, and lay it out in micro-batches."""
    started = time.perf_counter()
    due, slots = step.due, step.slots
    mine = range(share.rank, len(slots), share.ranks)
    examples = [(number, each) for number in mine if isinstance(slot := slots[number], Fitted) for each in slot.examples]
    whole = [each for slot in slots if isinstance(slot, Fitted) for each in slot.examples]
    micro_batches = pack([each.tokens for _, each in examples], budget_tokens=share.micro_batch_tokens)
    counts = tuple(map(_counts, slots))
    overlong = [(how, is_first) for how, is_first in zip(map(_overlong, slots), due.firsts, strict=True) if how is not None]
    return Batch(
        step=due.step, epoch=due.epoch, position=due.position,
        micro_batches=micro_batches,
        rows=tuple([each.tokens.ref for _, each in examples]),
        trained_tokens=sum([trained for *_, trained in counts]),
        holes=tuple(slot for slot in slots if isinstance(slot, Hole)),
        truncated=sum([each.is_truncated for each in whole]),
        spelled=sum([each.is_spelled for each in whole]),
        overlong=dict(Counter([how for how, _ in overlong])),
        overlong_first=dict(Counter([how for how, is_first in overlong if is_first])),
        slots=tuple([number for number, _ in examples]), slot_count=len(slots), counts=counts,
        digest=step.digest, warnings=step.warnings,
        loading=replace(step.loading, laying=time.perf_counter() - started),
    )


def _overlong(slot: Fitted | Hole) -> Overlong | None:
    """What was done with a row that was too long; None for one that was not."""
    if isinstance(slot, Fitted):
        return slot.overlong
    return "drop" if slot.cause == "overlong" else None


def _counts(slot: Fitted | Hole) -> tuple[int, int, int, int]:
    if isinstance(slot, Hole):
        return slot.ref.source, 0, 0, 0
    examples = slot.examples
    tokens = sum([len(each.tokens.ids) for each in examples])
    return examples[0].tokens.ref.source, len(examples), tokens, sum([each.trained for each in examples])
