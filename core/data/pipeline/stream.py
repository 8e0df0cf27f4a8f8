"""An open stream: from any position, all batches that follow.

Nothing is replayed: the rows of step n are computed from n, so going on at step 1,000,000 costs what step 1 costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from core.data.batches import BatchMaker
from core.data.pipeline.timetable import Timetable
from core.data.rows import RowReader
from core.data.spec import Batch, Due, Position


class Stream:
    """Not for several threads at once; `plan` is what was known before the first step."""

    def __init__(self, timetable: Timetable, maker: BatchMaker, reader: RowReader, *, warnings: Sequence[str] = ()) -> None:
        self.plan = timetable.plan
        self.warnings = tuple(warnings)
        """What the owner of the stream should know, in plain words; it is read nevertheless."""
        self._timetable = timetable
        self._maker = maker
        self._reader = reader

    def batches(self, position: Position | None = None) -> Iterator[Batch]:
        """Give the batches after a position, of the whole stream without one; raises DataError for a row at fault."""
        if position:
            self._timetable.check(position)
        return self._batches(position.step if position else 0)

    def _batches(self, done: int) -> Iterator[Batch]:
        for step in range(done + 1, self.plan.total_steps + 1):
            batch = self._maker.batch(self.due(step))
            yield replace(batch, warnings=self.warnings) if step == done + 1 and self.warnings else batch

    def due(self, step: int) -> Due:
        """The rows of a step over all ranks, in the order in which they are drawn, without reading them."""
        return self._timetable.due(step)

    def position_after(self, step: int) -> Position:
        return self._timetable.position_after(step)

    def close(self) -> None:
        """Let go of the files; safe to call twice."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
