"""An open stream: from any position, all steps that follow, and one rank's batches of them.

Nothing is replayed: the rows of step n are computed from n, so going on at step 1,000,000 costs what step 1 costs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self

from core.data.bad_rows import BadRows
from core.data.batches import share_out
from core.data.packing import pack
from core.data.pipeline.timetable import Timetable
from core.data.rows import RowReader
from core.data.spec import Batch, Due, MicroBatch, Position, Share, Turn
from core.data.steps import Step, StepMaker


class Stream:
    """Not for several threads at once; `plan` is what was known before the first step."""

    def __init__(self, timetable: Timetable, maker: StepMaker, reader: RowReader, *, share: Share,
                 bad_rows: Callable[[], BadRows], warnings: Sequence[str] = ()) -> None:
        self.plan = timetable.plan
        self.warnings = tuple(warnings)
        """What the owner of the stream should know, in plain words; it is read nevertheless."""
        self._timetable = timetable
        self._maker = maker
        self._reader = reader
        self._share = share
        self._bad_rows = bad_rows

    def batches(self, position: Position | None = None) -> Iterator[Batch]:
        """Give the batches after a position, of the whole stream without one; raises DataError for a row at fault."""
        return self._batches(self.steps(position))

    def _batches(self, steps: Iterator[Step]) -> Iterator[Batch]:
        bad_rows = self._bad_rows()
        for step in steps:
            bad_rows.check(step.faults)
            yield share_out(step, self._share)

    def steps(self, position: Position | None = None, turn: Turn = Turn()) -> Iterator[Step]:  # noqa: B008 - a frozen value
        """Give the steps after a position over all ranks, those of one turn alone where several take turns.

        A row at fault where none may be skipped raises DataError; those that are skipped are for the caller to count."""
        if position:
            self._timetable.check(position)
        return self._steps(position.step if position else 0, turn)

    def _steps(self, done: int, turn: Turn) -> Iterator[Step]:
        for step in turn.steps(done, self.plan.total_steps):
            yield self._maker.step(self.due(step), warnings=self.warnings if turn.is_start and step == done + 1 else ())

    def due(self, step: int) -> Due:
        """The rows of a step over all ranks, in the order in which they are drawn, without reading them."""
        return self._timetable.due(step)

    def longest_step(self, rows: int) -> tuple[MicroBatch, ...]:
        """Lay out a step of the rows that are longest in bytes, over all sources: none that is drawn takes more memory."""
        examples = [each.tokens for each in self._maker.longest(rows)]
        return pack(examples, budget_tokens=self._share.micro_batch_tokens)

    def position_after(self, step: int) -> Position:
        return self._timetable.position_after(step)

    def close(self) -> None:
        """Let go of the files; safe to call twice."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
