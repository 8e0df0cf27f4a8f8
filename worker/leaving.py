"""How a child is brought to leave: it is asked, then TERM, then KILL, each after the patience that its ending allows.

A worker that is told to end has a *curfew*: by fixed times after the stop its child is dead, its last checkpoint is up or given
up, and its run is settled or left to its lease, whatever patience was promised before. All of them lie within the grace that
`headrace serve` gives a train worker, so that a stop of the server loses no run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from worker.outcome import Ending
from worker.reports import Line, Stop


@dataclass(frozen=True)
class Patience:
    """How long a child is waited for after it was told to end, before TERM and before KILL."""

    term_seconds: float
    kill_seconds: float


BY_CURFEW = Patience(12.0, 13.0)
"""After a stop of the worker, whatever the ending."""
UPLOADED_BY_SECONDS = 14.0
"""After a stop of the worker: when a last checkpoint that is not in the bucket yet is given up."""
SETTLED_BY_SECONDS = 16.0
"""After a stop of the worker: when an unreachable ledger is waited for no longer; the lease lapses then."""
PATIENCE: dict[Ending, Patience] = {
    "cancel": Patience(0.5, 2.0),
    "pause": Patience(60.0, 65.0),
    "preempt": Patience(60.0, 65.0),
    "shutdown": BY_CURFEW,
    "stalled": Patience(0.0, 0.0),
    "overtime": Patience(20.0, 22.0),
}


class Curfew:
    """How long ago a worker was told to end."""

    def __init__(self, stop: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stop, self._clock = stop, clock
        self._seen_at: float | None = None

    @property
    def seconds(self) -> float:
        """Since the stop was first seen here; 0 while there is none."""
        if self._seen_at is None and self._stop.is_set():
            self._seen_at = self._clock()
        return 0.0 if self._seen_at is None else self._clock() - self._seen_at


class Leaver(Protocol):
    """What can be told to leave, and made to."""

    def send(self, command: Line) -> bool: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Leaving:
    """The end of one child: `ask` says why, `press` is called at every turn of the loop."""

    def __init__(self, curfew: Curfew, clock: Callable[[], float] = time.monotonic) -> None:
        self._curfew, self._clock = curfew, clock
        self.ending: Ending | None = None
        self._asked_at = 0.0
        self._is_told = self._is_terminated = False

    def ask(self, ending: Ending) -> bool:
        """Take on a reason, and say whether it is a new one: the first one holds, but a cancel takes over."""
        if self.ending is not None and not (ending == "cancel" and self.ending != "cancel"):
            return False
        self.ending, self._asked_at = ending, self._clock()
        return True

    def press(self, child: Leaver) -> None:
        """Tell the child, until it takes the word, and make it leave when it does not obey in time."""
        if self.ending is None:
            return
        self._is_told = self._is_told or child.send(Stop())
        waited, patience, hurried = self._clock() - self._asked_at, PATIENCE[self.ending], self._curfew.seconds
        if waited >= patience.kill_seconds or hurried >= BY_CURFEW.kill_seconds:
            child.kill()
        elif (waited >= patience.term_seconds or hurried >= BY_CURFEW.term_seconds) and not self._is_terminated:
            self._is_terminated = True
            child.terminate()
