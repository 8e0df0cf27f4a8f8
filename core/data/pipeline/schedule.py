"""Which slots each step has, as arithmetic: sizes, batch size, epochs and mixture → for any step, its draws.

*One source*: an epoch is one pass; its last step may be short, so a step never holds rows of two epochs. The rows held out
for validation are read so from several sources too, one after another: each counts once, whatever the weights.

*Several sources*: slots follow the mixture without a break, and the stream ends, in the middle of a step if need be, when
the exhaustion policy says so: "all", when every source has had its passes (shorter sources begin again meanwhile);
"first", when the first of them has; "repeat", after as many draws as all sources together have rows in all epochs. It is
reckoned with the first entry of the mixture log: a change of weights on the way leaves the number of steps alone.

A draw is (source, position in that source's order); positions go on over the passes. Any step costs the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from core.data.mixture import Mixture
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
    def __init__(self, sizes: Sequence[int], log: Sequence[MixtureEntry], *, batch_size: int, epochs: int,
                 exhaustion: Exhaustion) -> None:
        self._mixture = Mixture(tuple(log), batch_size)
        self._batch_size = batch_size
        self._epochs = epochs
        self._sources = len(sizes)
        self._total_draws = _total_draws(sizes, log[0], batch_size, epochs, exhaustion)
        self.total_steps = -(-self._total_draws // batch_size)
        self.epoch_ends = tuple(-(-self.total_steps * epoch // epochs) for epoch in range(1, epochs + 1))

    def draws(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        sources = self._sources_of(step)
        positions = np.empty(len(sources), dtype=np.int64)
        for source, before in enumerate(self._mixture.drawn_before(step)):
            mine = sources == source
            positions[mine] = before + np.arange(np.count_nonzero(mine))
        return sources, positions

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


def _total_draws(sizes: Sequence[int], entry: MixtureEntry, batch_size: int, epochs: int, exhaustion: Exhaustion) -> int:
    if exhaustion == "repeat":
        return sum(sizes) * epochs
    mixture = Mixture((MixtureEntry(1, entry.weights),), batch_size)
    weighed = np.array(entry.weights) > 0
    wanted = np.array(sizes, dtype=np.int64)[weighed] * epochs
    is_met = np.all if exhaustion == "all" else np.any

    def is_done_before(step: int) -> bool:
        return bool(is_met(np.array(mixture.drawn_before(step))[weighed] >= wanted))

    step = _first(is_done_before) - 1
    drawn = np.array(mixture.drawn_before(step), dtype=np.int64)
    for slot, source in enumerate(mixture.draws(step).tolist(), start=1):
        drawn[source] += 1
        if is_met(drawn[weighed] >= wanted):
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
