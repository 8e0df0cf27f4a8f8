"""Whose turn it is, over all steps: the mixture log and a step come in, the source of each of its slots goes out.

Each turn of the log (a stretch of equal weights, see turns.py) starts a schedule of its own at its step, counted from zero,
so the rows drawn before a step are the sum over the turns up to it. Counted from the step from which its weights hold, no
source is ever a whole row away from its exact share; where two sources change places, nor is it counted from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from core.data.mixture.pair import Pair, owed_of
from core.data.mixture.schedule import Schedule
from core.data.mixture.turns import Turn, turns_of
from core.data.spec import MixtureEntry

NOTHING = Fraction(0)


class Mixture:
    """Draws `batch_size` slots a step; the first step is 1."""

    def __init__(self, log: Sequence[MixtureEntry], batch_size: int, *, sources: int | None = None) -> None:
        """Raise DataError for a log that is empty, out of order, or whose weights do not make a mixture."""
        self._go(turns_of(log, sources=sources), batch_size, None)

    @classmethod
    def going_on(cls, turns: Sequence[Turn], batch_size: int, *, drawn: tuple[int, ...]) -> Mixture:
        """Go on from the first turn's step, by when `drawn` rows have been drawn from each source."""
        mixture = cls.__new__(cls)
        mixture._go(turns, batch_size, drawn)
        return mixture

    def draws(self, step: int) -> np.ndarray:
        """Give the source of each slot of a step: int32, shape (batch_size,)."""
        turn, slot = self._place(step)
        return np.array(self._schedules[turn].slots(slot, self._batch_size), dtype=np.int32)

    def drawn_before(self, step: int) -> tuple[int, ...]:
        """Count the rows drawn from each source before a step; the cost does not grow with the step."""
        turn, slot = self._place(step)
        return _sum(self._finished[turn], self._schedules[turn].drawn(slot))

    def _go(self, turns: Sequence[Turn], batch_size: int, drawn: tuple[int, ...] | None) -> None:
        self._starts = [turn.from_step for turn in turns]
        self._batch_size = batch_size
        self._finished = [drawn or (0,) * len(turns[0].shares)]
        """Rows drawn from each source before each turn."""
        self._schedules: list[Schedule | Pair] = [Schedule(turns[0].shares)]
        owed = dict.fromkeys(turns[0].drawn, NOTHING)
        for before, after in pairwise(turns):
            slots = (after.from_step - before.from_step) * batch_size
            gone = self._schedules[-1].drawn(slots)
            self._finished.append(_sum(self._finished[-1], gone))
            owed = {source: owed_of(before, slots, gone, owed[source], source) for source in before.drawn}
            if before.drawn != after.drawn or len(owed) != 2:
                owed = dict.fromkeys(after.drawn, NOTHING)
            self._schedules.append(_schedule(after, owed))

    def _place(self, step: int) -> tuple[int, int]:
        """The turn that holds at a step, and the step's first slot in it."""
        if step < self._starts[0]:
            raise ValueError(f"steps start at {self._starts[0]}; step {step} has no slots")
        turn = int(np.searchsorted(self._starts, step, side="right")) - 1
        return turn, (step - self._starts[turn]) * self._batch_size


def _schedule(turn: Turn, owed: dict[int, Fraction]) -> Schedule | Pair:
    source = max(owed, key=lambda number: owed[number])
    return Pair(turn, source=source, owed=owed[source]) if owed[source] > 0 else Schedule(turn.shares)


def _sum(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(one, other, strict=True))
