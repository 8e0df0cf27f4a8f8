"""Running out of memory is an event: the same rows in smaller micro-batches.

A micro-batch is split at the example boundary nearest its middle, and the limit found holds for the steps that follow. Which
rows a step holds never changes. An example is never cut: one that does not fit alone ends the run with its length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.data.spec import MicroBatch
from core.errors import OutOfMemory


def fit(micro_batches: Sequence[MicroBatch], limit_tokens: int | None) -> tuple[MicroBatch, ...]:
    """Split what is longer than the limit, in order, until it fits or is one example."""
    if limit_tokens is None:
        return tuple(micro_batches)
    fitted: list[MicroBatch] = []
    for micro in micro_batches:
        whole = len(micro.ids) <= limit_tokens or len(micro.sources) == 1
        fitted.extend([micro] if whole else fit(halve(micro), limit_tokens))
    return tuple(fitted)


def smaller_limit(micro_batches: Sequence[MicroBatch], *, room: str = "") -> int:
    """The next limit to try, under which at least the longest micro-batch that can be split is split.

    Raises OutOfMemory where every micro-batch is one example already; `room` says how the device's memory stands.
    """
    splittable = [len(m.ids) for m in micro_batches if len(m.sources) > 1]
    if not splittable:
        longest = max((len(m.ids) for m in micro_batches), default=0)
        stands = f" ({room})" if room else ""
        raise OutOfMemory(f"an example of {longest:,} tokens does not fit into the device's memory by itself{stands}; lower "
                          "options.max_length or lora.r, or use a larger device", param="options.max_length")
    return max(splittable) // 2


def one_by_one(micro_batches: Sequence[MicroBatch]) -> tuple[MicroBatch, ...]:
    """Each example alone, for models whose layers carry a state from one example into the next."""
    return fit(micro_batches, 0)


def halve(micro: MicroBatch) -> tuple[MicroBatch, MicroBatch]:
    middle = len(micro.ids) / 2
    cut = 1 + int(np.argmin(np.abs(micro.boundaries[1:-1] - middle)))
    return _part(micro, 0, cut), _part(micro, cut, len(micro.sources))


def _part(micro: MicroBatch, first: int, last: int) -> MicroBatch:
    start, end = int(micro.boundaries[first]), int(micro.boundaries[last])
    return MicroBatch(ids=micro.ids[start:end], loss_mask=micro.loss_mask[start:end],
                      boundaries=micro.boundaries[first:last + 1] - start, sources=micro.sources[first:last])
