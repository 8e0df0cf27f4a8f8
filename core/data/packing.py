"""The Tokens of one step → micro-batches: examples laid end to end under a token budget, without padding.

Examples keep their order: each goes into the open micro-batch if it fits under the budget, else it opens the next one. An
example longer than the budget has a micro-batch of its own. So the layout is a function of the lengths alone, and rows and
examples stand in the same order. (A tighter packing would save micro-batches but no tokens, since nothing is padded.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from core.data.spec import MicroBatch, RowRef, Tokens


def pack(examples: Sequence[Tokens], *, budget_tokens: int) -> tuple[MicroBatch, ...]:
    """Lay the examples of one step out; no example means no micro-batch."""
    return tuple(_lay(group) for group in _groups(examples, budget_tokens))


def made_up_step(rows: int, *, length: int, budget_tokens: int) -> tuple[MicroBatch, ...]:
    """Lay out so many examples of one length, of tokens that every vocabulary has, all trained on."""
    ids, mask = np.ones(length, np.int32), np.arange(length) > 0
    return pack([Tokens(RowRef(0, row), ids, mask) for row in range(rows)], budget_tokens=budget_tokens)


def _groups(examples: Iterable[Tokens], budget_tokens: int) -> Iterator[list[Tokens]]:
    group: list[Tokens] = []
    used = 0
    for example in examples:
        if group and used + len(example.ids) > budget_tokens:
            yield group
            group, used = [], 0
        group.append(example)
        used += len(example.ids)
    if group:
        yield group


def _lay(group: Sequence[Tokens]) -> MicroBatch:
    lengths = [len(example.ids) for example in group]
    return MicroBatch(
        ids=np.concatenate([example.ids for example in group]),
        loss_mask=np.concatenate([example.loss_mask for example in group]),
        boundaries=np.cumsum([0, *lengths], dtype=np.int32),
        sources=np.array([example.ref.source for example in group], dtype=np.int32),
    )
