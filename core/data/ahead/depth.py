"""How many batches to keep ready: as many as the run uses up while the slowest load to be expected goes on.

    depth = slowest load / time of a step + 2

One of the two is on its way to the run, the other is being waited for by nobody: it takes up the jitter that a mean does not
show. A loader that is far faster than its run keeps two or three small batches; one whose loads vary, as they do over a
network, keeps more. What is kept never exceeds the byte budget, whatever the depth says.

The slowest load is remembered and forgotten slowly: each later load that is faster brings it down by a fiftieth of the
difference, so a hiccup counts for some hundred steps. The first load, which fills caches, does not count.
"""

from __future__ import annotations

import math

LEAST, MOST = 2, 256
"""The most that may wait: each holds a descriptor in flight, of which many systems allow about a thousand."""
AT_FIRST = 8
"""Until a step was measured: a run that starts is fed at once when its model is there."""
_FORGOTTEN = 0.02
_STEP_SMOOTHING = 0.1
_SHORTEST_STEP_SECONDS = 1e-4
_STEPS_BEFORE_NEED = 32
_RESERVE = 1.25


class Depth:
    """Times go in as they are measured; `batches` says how many may wait now, `at_first` until a step was measured."""

    def __init__(self, *, at_first: int = AT_FIRST, most: int = MOST) -> None:
        self._at_first, self._most = min(at_first, most), most
        self._slowest_load: float | None = None
        self._load = 0.0
        self._step: float | None = None
        self._loads = self._steps = 0

    @property
    def batches(self) -> int:
        if self._step is None or self._slowest_load is None:
            return self._at_first
        return min(max(math.ceil(self._slowest_load / max(self._step, _SHORTEST_STEP_SECONDS)) + 2, LEAST), self._most)

    @property
    def load_seconds(self) -> float:
        """What a load takes, on the mean of the last ones."""
        return max(self._load, _SHORTEST_STEP_SECONDS)

    @property
    def processes(self) -> int:
        """How many processes would load as fast as the run goes, if one takes as long as it does now; known after some steps.

        A run that works longer on a batch than it takes to load one needs no second process."""
        if self._step is None or min(self._loads, self._steps) < _STEPS_BEFORE_NEED:
            return 1
        need = self.load_seconds / max(self._step, _SHORTEST_STEP_SECONDS)
        return math.ceil(need * _RESERVE) if need > 1 else 1

    def loaded(self, seconds: float) -> None:
        """A batch was made."""
        self._loads += 1
        if self._loads == 1:
            return
        self._load = seconds if self._loads == 2 else self._load + _STEP_SMOOTHING * (seconds - self._load)
        slowest = self._slowest_load or 0.0
        self._slowest_load = max(seconds, slowest - _FORGOTTEN * (slowest - seconds))

    def stepped(self, seconds: float) -> None:
        """The run worked on a batch, its waiting not counted."""
        self._steps += 1
        self._step = seconds if self._step is None else self._step + _STEP_SMOOTHING * (seconds - self._step)
