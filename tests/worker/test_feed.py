"""The feed alone: batches made by hand, a child that is none, and changes at every moment."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.data.row_set import RowSet
from core.data.spec import Batch, Hole, MixtureEntry, Position, RowRef, StreamSpec
from core.errors import RunInterrupted
from tests.streams import chat_rows, stream_spec, write_source
from worker.feed import Feed
from worker.reports import Line, Steer, SteerCommitted, SteerProposed

TOTAL = 6


class FakeAhead:
    """Batches after a position, told apart by the number of entries in their stream's log."""

    def __init__(self, stream: StreamSpec, position: Position) -> None:
        self.opened_at, self.is_closed, self.is_interrupted = position.step, False, False
        self._batches = iter([
            Batch(step, 0.0, (), (), len(stream.mixture), Position(step), holes=(Hole(RowRef(0, step), step, "no json"),))
            for step in range(position.step + 1, TOTAL + 1)])

    def __next__(self) -> Batch:
        return next(self._batches)

    def interrupt(self) -> None:
        self.is_interrupted = True

    def close(self) -> None:
        self.is_closed = True


class House:
    """A feed, what it reported, what it opened, and the voice of its supervisor."""

    def __init__(self, stream: StreamSpec) -> None:
        self.stream, self.said, self.opened, self.is_stopping = stream, [], [], False
        self.stops_at_opening = False
        self.steering: queue.SimpleQueue = queue.SimpleQueue()
        child: Any = SimpleNamespace(report=self.said.append, steering=self.steering, is_stopping=lambda: self.is_stopping)
        self.feed = Feed(stream, Position(), total_steps=TOTAL, child=child, open_ahead=self._open)

    def _open(self, stream: StreamSpec, position: Position, skipped: RowSet) -> Any:
        self.opened.append(FakeAhead(stream, position))
        self.skipped = skipped
        self.is_stopping = self.is_stopping or self.stops_at_opening
        return self.opened[-1]

    def commit(self, number: int) -> None:
        proposed = next(line for line in self.said if isinstance(line, SteerProposed) and line.number == number)
        entries = (*self.stream.mixture, MixtureEntry(proposed.from_step, (0.5,)))
        self.stream = StreamSpec.from_json({**self.stream.to_json(), "mixture": [
            {"from_step": e.from_step, "weights": list(e.weights), "quarantined": []} for e in entries]})
        self.steering.put(SteerCommitted(number, self.stream.to_json()))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(stream_spec(tmp_path, write_source(tmp_path, "a", chat_rows(8))))
    with made.feed:
        yield made


def proposals(said: list[Line]) -> list[tuple[int, int]]:
    return [(line.number, line.from_step) for line in said if isinstance(line, SteerProposed)]


def test_without_a_change_batches_come_one_after_another(house: House) -> None:
    assert [batch.step for batch in house.feed] == [1, 2, 3, 4, 5, 6]
    assert (house.said, len(house.opened)) == ([], 1)


def test_a_change_holds_from_the_step_after_the_one_handed_out(house: House) -> None:
    next(house.feed)
    house.steering.put(Steer(1))
    assert (next(house.feed).step, proposals(house.said)) == (2, [(1, 3)])
    house.commit(1)
    assert [(batch.step, batch.trained_tokens) for batch in house.feed] == [(3, 2), (4, 2), (5, 2), (6, 2)]
    assert [(ahead.opened_at, ahead.is_closed) for ahead in house.opened] == [(0, True), (2, False)]
    assert house.feed.stream.mixture[-1].from_step == 3
    assert house.skipped == RowSet().with_rows([RowRef(0, 1), RowRef(0, 2)])


def test_a_refused_change_lets_what_was_read_ahead_be_used(house: House) -> None:
    house.steering.put(Steer(1))
    next(house.feed)
    house.steering.put(SteerCommitted(1, None))
    assert [batch.step for batch in house.feed] == [2, 3, 4, 5, 6]
    assert len(house.opened) == 1


def test_the_next_change_waits_for_the_one_before(house: House) -> None:
    house.steering.put(Steer(1))
    next(house.feed)
    house.steering.put(Steer(2))
    house.commit(1)
    assert (next(house.feed).step, proposals(house.said)) == (2, [(1, 2), (2, 3)])
    house.commit(2)
    batch = next(house.feed)
    assert (batch.step, batch.trained_tokens) == (3, 3)


def test_a_stop_is_not_kept_waiting_by_a_ledger_that_says_nothing(house: House) -> None:
    house.steering.put(Steer(1))
    next(house.feed)
    house.is_stopping = True
    with pytest.raises(RunInterrupted, match="a stop came before the ledger answered"):
        next(house.feed)


def test_no_step_is_proposed_behind_the_last(house: House) -> None:
    for _ in range(TOTAL - 1):
        next(house.feed)
    house.steering.put(Steer(1))
    assert (next(house.feed).step, proposals(house.said)) == (TOTAL, [])


def test_an_interrupt_reaches_the_one_that_is_read_now(house: House) -> None:
    house.steering.put(Steer(1))
    next(house.feed)
    house.commit(1)
    next(house.feed)
    house.feed.interrupt()
    assert [ahead.is_interrupted for ahead in house.opened] == [False, True]


def test_a_stop_while_another_stream_is_opened_interrupts_that_one_too(house: House) -> None:
    house.steering.put(Steer(1))
    next(house.feed)
    house.commit(1)
    house.stops_at_opening = True
    next(house.feed)
    assert [ahead.is_interrupted for ahead in house.opened] == [False, True]
