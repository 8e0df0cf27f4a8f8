"""The run's batches, and the one place where a change of the mixture enters a run.

    the supervisor: Steer           a change is pending in the ledger
    the feed: SteerProposed         it can hold from the step after the one that is handed out next
    the supervisor: SteerCommitted  the ledger says that it holds from there; the stream that follows is told
    the feed                        drops what was read ahead, and reads on from the next border with that stream

Between the last two a step is trained, so a change costs the run no more than a fresh read-ahead. No batch of a proposed step
is handed out before the ledger has answered: a run that is killed anywhere in here leaves either a pending change, which the
next run takes up, or one that holds, by which the next run reads. The ledger alone writes the stream; a run never guesses it.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from core.data.ahead import ReadAhead
from core.data.row_set import RowSet
from core.data.spec import Batch, Position, StreamSpec
from core.errors import RunInterrupted
from worker.child import Child
from worker.reports import Alive, Steer, SteerCommitted, SteerProposed

LOOK_SECONDS = 0.1
ALIVE_SECONDS = 2.0

Open = Callable[[StreamSpec, Position, RowSet], ReadAhead]
"""Opens a read-ahead of the batches after a position, told the rows at fault that were skipped up to there."""


class Feed(Iterator[Batch]):
    """Not for several threads at once, but for `interrupt`. Opens its read-ahead from the thread that makes it."""

    def __init__(self, stream: StreamSpec, position: Position, *, total_steps: int, child: Child, open_ahead: Open,
                 skipped: RowSet | None = None) -> None:
        self.stream = stream
        """What is read now; it grows by changes of the mixture."""
        self.wait_seconds = 0.0
        """How long the last batch was waited for."""
        self._position, self._total_steps = position, total_steps
        self._skipped = skipped or RowSet()
        self._child, self._open_ahead = child, open_ahead
        self._asked: int | None = None
        self._proposed: int | None = None
        self._settled: SteerCommitted | None = None
        self._ahead = open_ahead(stream, position, self._skipped)

    def __next__(self) -> Batch:
        """Give the next batch; raises what its reading raised, and RunInterrupted for a stop while a commit is awaited."""
        started = time.perf_counter()
        if self._proposed is not None:
            self._await_commit()
        batch = next(self._ahead)
        self._position, self._skipped = batch.position, self._skipped.with_rows(batch.faults)
        self._hear_all()
        if self._asked is not None and batch.step < self._total_steps:
            self._propose(batch.step + 1)
        self.wait_seconds = time.perf_counter() - started
        return batch

    @property
    def proposed(self) -> int:
        """Number of the change whose commit is awaited before the next batch; 0 for none."""
        return self._proposed or 0

    def expect(self, number: int) -> None:
        """Await that commit too: rank 0, which alone is told of pending changes, has proposed it for the next step."""
        self._proposed = number

    def interrupt(self) -> None:
        """Let nobody wait for a batch; from any thread, and harmless twice."""
        self._ahead.interrupt()

    def close(self) -> None:
        self._ahead.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _propose(self, from_step: int) -> None:
        assert self._asked is not None
        self._proposed, self._asked = self._asked, None
        self._child.report(SteerProposed(self._proposed, from_step))

    def _await_commit(self) -> None:
        waited = 0.0
        while self._settled is None or self._settled.number != self._proposed:
            if self._child.is_stopping():
                raise RunInterrupted("a stop came before the ledger answered for a change of the mixture")
            if waited >= ALIVE_SECONDS:
                self._child.report(Alive(self._position.step))
                waited = 0.0
            waited += LOOK_SECONDS
            self._hear(LOOK_SECONDS)
        told, self._settled, self._proposed = self._settled.stream, None, None
        if told is not None:
            self._go_on(StreamSpec.from_json(told))

    def _go_on(self, stream: StreamSpec) -> None:
        """Read on from the border with another stream."""
        self.close()
        self.stream = stream
        self._ahead = self._open_ahead(stream, self._position, self._skipped)
        if self._child.is_stopping():  # the stop came in between, and interrupted the one before
            self._ahead.interrupt()

    def _hear_all(self) -> None:
        while not self._child.steering.empty():
            self._hear(0.0)

    def _hear(self, seconds: float) -> None:
        try:
            command = self._child.steering.get(timeout=seconds)
        except queue.Empty:
            return
        if isinstance(command, Steer):
            self._asked = command.number
        else:
            self._settled = command
