"""Which slots each step has, as arithmetic: sizes, batch size, epochs and mixture → for any step, its draws.

*One source*: an epoch is one pass; its last step may be short, so a step never holds rows of two epochs. The rows held out
for validation are read so from several sources too, one after another: each counts once, whatever the weights.

*Several sources*: slots follow the mixture without a break, and the stream ends, in the middle of a step if need be, when
the exhaustion policy says so: "all", when every source has had its passes (shorter sources begin again meanwhile);
"first", when the first of them has; "repeat", after as many draws as all sources together have rows in all epochs. It is
reckoned with the first entry of the mixture log and the sources that it weighs, those of the submit: a change on the way
leaves the number of steps alone.

*One source that gets company*: its passes up to the step of the change; from there on the mixture, in whole steps.

A draw is (source, position in that source's order); positions go on over the passes. Any step costs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from core.data.mixture import Mixture, Turn
from core.data.spec import Exhaustion, MixtureEntry


class Schedule(Protocol):
    total_steps: int
    epoch_ends: tuple[int, ...]

    def draws(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The slots of a step: sources (int32) and positions (int64), one each a slot."""
        ...

    def drawn_after(self, step: int) -> tuple[int, ...]:
        """Rows drawn from each source when the step is done; of step 0, none."""
        ...

    def epoch_after(self, step: int) -> float: ...


class Passes:
    """Whole passes over the sources, one source after another within a pass."""

    def __init__(self, sizes: Sequence[int], *, batch_size: int, epochs: int) -> None:
        self._starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.array(sizes, dtype=np.int64))])
        self._sizes = tuple(sizes)
        self._size = sum(sizes)
        self._batch_size = batch_size
        self._steps = -(-self._size // batch_size)
        self.total_steps = self._steps * epochs
        self.epoch_ends = tuple(self._steps * epoch for epoch in range(1, epochs + 1))

    def draws(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, start = divmod(self._drawn(step - 1), self._size)
        within = np.arange(start, self._drawn(step) - epoch * self._size, dtype=np.int64)
        sources = np.searchsorted(self._starts, within, side="right") - 1
        positions = within - self._starts[sources] + epoch * np.array(self._sizes, dtype=np.int64)[sources]
        return sources.astype(np.int32), positions

    def drawn_after(self, step: int) -> tuple[int, ...]:
        epoch, within = divmod(self._drawn(step), self._size)
        starts = self._starts[:-1].tolist()
        return tuple(epoch * size + min(max(within - start, 0), size)
                     for start, size in zip(starts, self._sizes, strict=True))

    def epoch_after(self, step: int) -> float:
        return self._drawn(step) / self._size

    def _drawn(self, step: int) -> int:
        epoch, within = divmod(step, self._steps)
        return epoch * self._size + min(within * self._batch_size, self._size)


class Mixed:
    """`epochs` are the passes of the whole, which its figures count in; `wanted` the rows that each source of the first
    entry is to give."""

    def __init__(self, log: Sequence[MixtureEntry], *, wanted: Sequence[int], sources: int, batch_size: int, epochs: int,
                 exhaustion: Exhaustion) -> None:
        self._mixture = Mixture(tuple(log), batch_size, sources=sources)
        self._batch_size = batch_size
        self._epochs = epochs
        self._sources = sources
        self._total_draws = _total_draws(wanted, log[0], batch_size, exhaustion)
        self.total_steps = -(-self._total_draws // batch_size)
        self.epoch_ends = tuple(-(-self.total_steps * epoch // epochs) for epoch in range(1, epochs + 1))

    def draws(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        sources = self._sources_of(step)
        return sources, _positions(sources, self._mixture.drawn_before(step))

    def drawn_after(self, step: int) -> tuple[int, ...]:
        if step < self.total_steps:
            return tuple(self._mixture.drawn_before(step + 1))
        last = np.bincount(self._sources_of(step), minlength=self._sources)
        return tuple(int(before + more) for before, more in zip(self._mixture.drawn_before(step), last, strict=True))

    def epoch_after(self, step: int) -> float:
        return self._epochs * step / self.total_steps

    def _sources_of(self, step: int) -> np.ndarray:
        slots = min(self._batch_size, self._total_draws - (step - 1) * self._batch_size)
        return self._mixture.draws(step)[:slots]


class Joined:
    """Passes over one source until a step, a mixture from there on: for a source that others join on the way."""

    def __init__(self, passes: Passes, turns: Sequence[Turn], *, batch_size: int) -> None:
        self._passes = passes
        self._from_step = turns[0].from_step
        self._width = len(turns[0].shares)
        self._mixture = Mixture.going_on(turns, batch_size, drawn=self._padded(passes.drawn_after(self._from_step - 1)))
        self.total_steps, self.epoch_ends = passes.total_steps, passes.epoch_ends

    def draws(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        if step < self._from_step:
            return self._passes.draws(step)
        sources = self._mixture.draws(step)
        return sources, _positions(sources, self._mixture.drawn_before(step))

    def drawn_after(self, step: int) -> tuple[int, ...]:
        if step < self._from_step:
            return self._padded(self._passes.drawn_after(step))
        return tuple(self._mixture.drawn_before(step + 1))

    def epoch_after(self, step: int) -> float:
        return self._passes.epoch_after(step)

    def _padded(self, drawn: tuple[int, ...]) -> tuple[int, ...]:
        return (*drawn, *(0,) * (self._width - len(drawn)))


def _positions(sources: np.ndarray, drawn: Sequence[int]) -> np.ndarray:
    """The position of each slot in its source's order, when `drawn` rows came before the step."""
    positions = np.empty(len(sources), dtype=np.int64)
    for source, before in enumerate(drawn):
        mine = sources == source
        positions[mine] = before + np.arange(np.count_nonzero(mine))
    return positions


def _total_draws(wanted: Sequence[int], entry: MixtureEntry, batch_size: int, exhaustion: Exhaustion) -> int:
    if exhaustion == "repeat":
        return sum(wanted)
    mixture = Mixture((MixtureEntry(1, entry.weights),), batch_size)
    weighed = np.array(entry.weights) > 0
    due = np.array(wanted, dtype=np.int64)[weighed]
    is_met = np.all if exhaustion == "all" else np.any

    def is_done_before(step: int) -> bool:
        return bool(is_met(np.array(mixture.drawn_before(step))[weighed] >= due))

    step = _first(is_done_before) - 1
    drawn = np.array(mixture.drawn_before(step), dtype=np.int64)
    for slot, source in enumerate(mixture.draws(step).tolist(), start=1):
        drawn[source] += 1
        if is_met(drawn[weighed] >= due):
            return (step - 1) * batch_size + slot
    raise AssertionError("a mixture's draws and its counts do not agree")


def _first(is_true: object) -> int:
    """The first step from 2 on of which it is true, given that it stays true from there; by doubling and halving."""
    assert callable(is_true)
    high = 2
    while not is_true(high):
        high *= 2
    low = max(high // 2, 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_true(middle) else (middle, high)
    return high
