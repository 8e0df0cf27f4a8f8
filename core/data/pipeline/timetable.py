"""Which rows each step is due, from the spec and the indexes alone: no row is read and no tokenizer opened.

The answer for a step is the same before it is trained, while it is, and years later, as long as the indexes are there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.data.index import DatasetIndex
from core.data.mixture import Quarantines
from core.data.pipeline.planning import make_orders, make_plan, make_schedule
from core.data.spec import Due, Position, RowRef, StreamSpec
from core.errors import DataError


class Timetable:
    """Any step costs the same. `plan` is what was known before the first one."""

    def __init__(self, spec: StreamSpec, indexes: Sequence[DatasetIndex]) -> None:
        """Raise DataError when a source has no row for this stream, or the mixture log makes no mixture."""
        self._mixture = spec.mixture
        self._orders = make_orders(spec, indexes)
        self._schedule = make_schedule(spec, self._orders)
        self._quarantines = Quarantines(spec.mixture)
        self.plan = make_plan(self._schedule, self._orders)

    def due(self, step: int) -> Due:
        """The rows of a step over all ranks, in the order in which they are drawn, without reading them."""
        sources, positions = self._schedule.draws(step)
        numbers = np.empty(len(positions), dtype=np.int64)
        firsts = np.empty(len(positions), dtype=bool)
        each = sources.tolist()
        for source in set(each):
            mine = sources == source
            places = positions[mine]
            numbers[mine] = self._orders[source].rows(places)
            firsts[mine] = places < self._orders[source].size
        rows = tuple(map(RowRef, each, numbers.tolist()))
        return Due(step, self._schedule.epoch_after(step), rows, tuple(firsts.tolist()), self.position_after(step),
                   self._quarantines.at(step, rows))

    def position_after(self, step: int) -> Position:
        entry = sum(entry.from_step <= max(step, 1) for entry in self._mixture) - 1
        return Position(step, self._schedule.drawn_after(step), entry)

    def check(self, position: Position) -> None:
        """Raise DataError for a position from another stream, which is noticed by its counts.

        A position from before a source joined has no count of it."""
        if not 0 <= position.step <= self.plan.total_steps:
            raise DataError(f"the position is at step {position.step:,} of a stream of {self.plan.total_steps:,} steps; "
                            "start a new job for other data")
        here = self.position_after(position.step).drawn
        if position.drawn and (*position.drawn, *(0,) * (len(here) - len(position.drawn))) != here:
            raise DataError(f"at step {position.step:,} the position has drawn {list(position.drawn)} rows from its sources "
                            f"and this stream {list(here)}; go on with the data and settings of the run that it is from")
