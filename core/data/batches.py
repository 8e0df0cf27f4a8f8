"""A step over all ranks → the Batch of one of them, with the position after the step.

Rank r of n has the slots r, r + n, r + 2n, … of a step: its micro-batches, rows and holes are those of its slots alone. What
is told of the whole step (its trained tokens, counts by slot, digest) every rank is told, so that each knows what the loss is
divided by without asking another.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from core.data.fitting import Fitted
from core.data.packing import pack
from core.data.spec import Batch, Hole, Share
from core.data.steps import Step


def share_out(step: Step, share: Share) -> Batch:
    """Cut one rank's share out of a step, and lay it out in micro-batches."""
    started = time.perf_counter()
    due, slots = step.due, step.slots
    mine = range(share.rank, len(slots), share.ranks)
    examples = [(number, each) for number in mine if isinstance(slot := slots[number], Fitted) for each in slot.examples]
    whole = [each for slot in slots if isinstance(slot, Fitted) for each in slot.examples]
    micro_batches = pack([each.tokens for _, each in examples], budget_tokens=share.micro_batch_tokens)
    return Batch(
        step=due.step, epoch=due.epoch, position=due.position,
        micro_batches=micro_batches,
        rows=tuple(each.tokens.ref for _, each in examples),
        trained_tokens=sum(slot.trained for slot in slots if isinstance(slot, Fitted)),
        holes=tuple(slot for slot in slots if isinstance(slot, Hole)),
        truncated=sum(each.is_truncated for each in whole),
        spelled=sum(each.is_spelled for each in whole),
        overlong=_counted(slots),
        overlong_first=_counted(slot for slot, is_first in zip(slots, due.firsts, strict=True) if is_first),
        slots=tuple(number for number, _ in examples), slot_count=len(slots), counts=tuple(map(_counts, slots)),
        digest=step.digest, warnings=step.warnings,
        loading=replace(step.loading, laying=time.perf_counter() - started),
    )


def _counted(slots: Iterable[Fitted | Hole]) -> dict[str, int]:
    """How many rows were too long, by what was done with them."""
    done = [slot.overlong if isinstance(slot, Fitted) else "drop" if slot.cause == "overlong" else None for slot in slots]
    return dict(Counter(how for how in done if how is not None))


def _counts(slot: Fitted | Hole) -> tuple[int, int, int, int]:
    if isinstance(slot, Hole):
        return slot.ref.source, 0, 0, 0
    examples = slot.examples
    return examples[0].tokens.ref.source, len(examples), sum(len(each.tokens.ids) for each in examples), slot.trained
