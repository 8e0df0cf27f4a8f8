"""What is around a run: what it reports to, what it hears, and the ranks that it meets."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.data.spec import MicroBatch
from worker.reports import Line
from worker.training.group import Group


@dataclass(frozen=True)
class Steering:
    """How ranks other than 0 learn that a change of the mixture was proposed: none reads on before its commit."""

    proposed: Callable[[], int] = lambda: 0
    expect: Callable[[int], None] = lambda number: None


@dataclass(frozen=True)
class Surroundings:
    """What a run hears and says."""

    report: Callable[[Line], None]
    is_stopping: Callable[[], bool]
    before_micro_batch: Callable[[MicroBatch], None] = lambda micro: None
    """Called before each forward pass of a step; what it raises is treated as if the pass had raised it."""
    clock: Callable[[], float] = time.monotonic
    group: Group = Group()  # noqa: RUF009 - a run of one rank
    steering: Steering = Steering()
