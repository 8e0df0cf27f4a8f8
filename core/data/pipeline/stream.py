"""An open stream: from any position, all batches that follow.

Nothing is replayed: the rows of step n are computed from n, so going on at step 1,000,000 costs what step 1 costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import numpy as np

from core.data.batches import BatchMaker, Due
from core.data.order import RowOrder
from core.data.pipeline.schedule import Schedule
from core.data.rows import RowReader
from core.data.spec import Batch, MixtureEntry, Position, RowRef, StreamPlan
from core.errors import DataError


class Stream:
    """Not for several threads at once; `plan` is what was known before the first step."""

    def __init__(self, plan: StreamPlan, schedule: Schedule, orders: Sequence[RowOrder], maker: BatchMaker, *,
                 mixture: Sequence[MixtureEntry], reader: RowReader, warnings: Sequence[str] = ()) -> None:
        self.plan = plan
        self.warnings = tuple(warnings)
        """What the owner of the stream should know, in plain words; it is read nevertheless."""
        self._schedule = schedule
        self._orders = orders
        self._maker = maker
        self._mixture = mixture
        self._reader = reader

    def batches(self, position: Position | None = None) -> Iterator[Batch]:
        """Give the batches after a position, of the whole stream without one; raises DataError for a row at fault."""
        done = self._checked(position).step if position else 0
        return (self._maker.batch(self.due(step)) for step in range(done + 1, self.plan.total_steps + 1))

    def due(self, step: int) -> Due:
        """The rows of a step over all ranks, in the order in which they are drawn, without reading them."""
        sources, positions = self._schedule.draws(step)
        numbers = np.empty(len(positions), dtype=np.int64)
        for source in np.unique(sources).tolist():
            mine = sources == source
            numbers[mine] = self._orders[source].rows(positions[mine])
        rows = tuple(map(RowRef, sources.tolist(), numbers.tolist()))
        return Due(step, self._schedule.epoch_after(step), rows, self.position_after(step))

    def position_after(self, step: int) -> Position:
        entry = sum(entry.from_step <= max(step, 1) for entry in self._mixture) - 1
        return Position(step, self._schedule.drawn_after(step), entry)

    def _checked(self, position: Position) -> Position:
        """A position from another stream is noticed by its counts."""
        if not 0 <= position.step <= self.plan.total_steps:
            raise DataError(f"the position is at step {position.step:,} of a stream of {self.plan.total_steps:,} steps; "
                            "start a new job for other data")
        here = self.position_after(position.step).drawn
        if position.drawn and position.drawn != here:
            raise DataError(f"at step {position.step:,} the position has drawn {list(position.drawn)} rows from its sources "
                            f"and this stream {list(here)}; go on with the data and settings of the run that it is from")
        return position

    def close(self) -> None:
        """Let go of the files; safe to call twice."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
