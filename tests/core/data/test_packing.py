"""Examples are laid end to end under a budget, none lost, none moved, none padded."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.data.packing import pack
from core.data.spec import RowRef, Tokens


def tokens(length: int, *, source: int = 0, row: int = 0) -> Tokens:
    ids = np.arange(length, dtype=np.int32) + 100 * row
    return Tokens(RowRef(source, row), ids, ids % 2 == 1)


@given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 60))
def test_every_token_stands_once_in_order_under_the_budget(lengths: list[int], budget: int) -> None:
    examples = [tokens(length, row=row) for row, length in enumerate(lengths)]
    micro_batches = pack(examples, budget_tokens=budget)
    laid = [batch.ids[a:b].tolist() for batch in micro_batches
            for a, b in zip(batch.boundaries[:-1], batch.boundaries[1:], strict=True)]
    assert laid == [example.ids.tolist() for example in examples]
    for batch in micro_batches:
        assert len(batch.ids) <= budget or len(batch.sources) == 1
        assert batch.boundaries[-1] == len(batch.ids) == len(batch.loss_mask)


def test_an_example_longer_than_the_budget_stands_alone() -> None:
    assert [len(batch.sources) for batch in pack([tokens(3), tokens(9), tokens(3)], budget_tokens=6)] == [1, 1, 1]


def test_each_example_keeps_its_source_and_positions_restart() -> None:
    (batch,) = pack([tokens(3, source=1), tokens(2, source=0)], budget_tokens=8)
    assert batch.sources.tolist() == [1, 0]
    assert batch.position_ids.tolist() == [0, 1, 2, 0, 1]


def test_no_examples_make_no_micro_batch() -> None:
    assert pack([], budget_tokens=8) == ()
