"""Between the ledger and a child: changes of the mixture, one at a time.

The keeper sees that a change is pending, the child proposes its step, the scribe commits it under the run's fence, and the
child is answered. Whatever dies in between, the change is pending or it holds.
"""

from __future__ import annotations

from worker.keeper import LeaseKeeper
from worker.link import ChildLink
from worker.reports import Steer, SteerCommitted
from worker.scribe import Scribe


class Steering:
    """Asks and answers one child; `turn` is called from the supervisor's loop and never waits."""

    def __init__(self, keeper: LeaseKeeper, scribe: Scribe) -> None:
        self._keeper, self._scribe = keeper, scribe
        self._asked: int | None = None
        self._unsaid: list[SteerCommitted] = []

    def turn(self, child: ChildLink) -> None:
        pending = self._keeper.pending
        if pending is not None and pending != self._asked and child.send(Steer(pending)):
            self._asked = pending
        self._unsaid += self._scribe.take_answers()
        while self._unsaid and child.send(self._unsaid[0]):
            self._unsaid.pop(0)
