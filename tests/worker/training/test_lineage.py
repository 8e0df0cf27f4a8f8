from __future__ import annotations

import base64
from dataclasses import replace

import numpy as np

from core.data.proof import chained
from core.data.row_set import RowSet
from core.data.spec import Hole, RowRef
from tests.worker.making import batch, micro
from worker.training.lineage import Seen, SlotCounts, row_losses


def unpacked(text: str) -> list[float | None]:
    return [None if loss != loss else float(loss) for loss in np.frombuffer(base64.b64decode(text), "<f4")]


def test_losses_stand_in_their_slots_and_holes_are_told() -> None:
    given = batch(1, micro([9, 14]), micro([6]), slots=(0, 2, 3), slot_count=5)
    counts = SlotCounts.of(given)
    assert counts.trained.tolist() == [5, 0, 7, 3, 0]
    assert unpacked(row_losses(counts, [10.0, 0.0, 7.0, 6.0, 0.0])) == [2.0, None, 1.0, 2.0, None]


def test_the_examples_of_one_row_share_its_slot() -> None:
    given = batch(1, micro([9, 14]), slots=(1, 1), slot_count=2)
    assert SlotCounts.of(given).examples.tolist() == [0, 2]
    assert unpacked(row_losses(SlotCounts.of(given), [0.0, 24.0])) == [None, 2.0]


def test_what_was_seen_adds_up_by_source_and_grows_when_one_joins() -> None:
    first = batch(1, micro([9, 14], sources=[0, 0]), digest=5)
    second = batch(2, micro([7], sources=[1]), digest=6)
    seen = Seen().after(first, RowSet()).after(second, RowSet())
    assert (seen.examples, seen.tokens, seen.trained_tokens) == ([2, 1], [23, 7], [12, 4])
    assert seen.order == chained(chained(0, 5), 6)
    assert Seen.from_json(seen.to_json()) == seen


def test_a_step_without_a_row_counts_in_the_order_alone() -> None:
    empty = batch(1, digest=7, slot_count=2)
    assert Seen().after(empty, RowSet()) == Seen(order=chained(0, 7))
    assert unpacked(row_losses(SlotCounts.of(empty), [0.0, 0.0])) == [None, None]


def test_rows_that_a_job_does_without_count_once() -> None:
    fault, other = Hole(RowRef(1, 7), 8, "no answer"), Hole(RowRef(1, 2), 3, "no answer")
    plain = Hole(RowRef(0, 4), 5, "nothing to train on", cause="untrained", is_first=True)
    first = batch(1, holes=(fault, plain), overlong={"split": 1}, overlong_first={"split": 1})
    again = batch(2, holes=(fault, other, replace(plain, is_first=False)), overlong={"split": 1})
    seen = Seen().after(first, RowSet())
    assert (seen.skipped, seen.untrained, seen.overlong) == ([0, 1], 1, {"split": 1})
    seen = seen.after(again, RowSet().with_rows(first.faults))
    assert (seen.skipped, seen.untrained, seen.overlong) == ([0, 2], 1, {"split": 1})
    assert Seen.from_json(seen.to_json()) == seen
