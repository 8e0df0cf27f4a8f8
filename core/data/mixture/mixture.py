"""Whose turn it is, over all steps: the mixture log and a step come in, the source of each of its slots goes out.

Each entry of the log starts a schedule of its own at its step, counted from zero, so the rows drawn before a step are the
sum over the entries up to it. Within an entry, no source is ever a whole row away from its exact share.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from core.data.mixture.schedule import Schedule
from core.data.spec import MixtureEntry
from core.errors import DataError


class Mixture:
    """Draws `batch_size` slots a step; the first step is 1."""

    def __init__(self, log: Sequence[MixtureEntry], batch_size: int) -> None:
        """Raise DataError for a log that is empty, out of order, or whose weights do not make a mixture."""
        _check_log(log)
        self._starts = [entry.from_step for entry in log]
        self._schedules = [Schedule(entry.weights) for entry in log]
        self._batch_size = batch_size
        self._finished = [(0,) * len(log[0].weights)]
        """Rows drawn from each source before each entry."""
        for i in range(1, len(log)):
            slots = (self._starts[i] - self._starts[i - 1]) * batch_size
            self._finished.append(_sum(self._finished[-1], self._schedules[i - 1].drawn(slots)))

    def draws(self, step: int) -> np.ndarray:
        """Give the source of each slot of a step: int32, shape (batch_size,)."""
        entry = self.entry(step)
        slot = (step - self._starts[entry]) * self._batch_size
        return np.array(self._schedules[entry].slots(slot, self._batch_size), dtype=np.int32)

    def drawn_before(self, step: int) -> tuple[int, ...]:
        """Count the rows drawn from each source before a step; the cost does not grow with the step."""
        entry = self.entry(step)
        slot = (step - self._starts[entry]) * self._batch_size
        return _sum(self._finished[entry], self._schedules[entry].drawn(slot))

    def entry(self, step: int) -> int:
        """Give the number of the log's entry that holds at a step."""
        if step < 1:
            raise ValueError(f"steps start at 1; step {step} has no slots")
        return int(np.searchsorted(self._starts, step, side="right")) - 1


def _sum(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _check_log(log: Sequence[MixtureEntry]) -> None:
    if not log:
        raise DataError("the mixture log is empty; its first entry must hold from step 1")
    if log[0].from_step != 1:
        raise DataError(f"the mixture's first entry holds from step {log[0].from_step}; it must hold from step 1")
    for before, after in pairwise(log):
        if after.from_step <= before.from_step:
            raise DataError(
                f"a mixture entry from step {after.from_step} follows one from step {before.from_step}; "
                "each entry must hold from a later step than the one before it"
            )
        if len(after.weights) != len(log[0].weights):
            raise DataError(
                f"the mixture entry from step {after.from_step} has {len(after.weights)} weights for "
                f"{len(log[0].weights)} sources; give one weight for each source"
            )
