"""Between the ledger and a child: changes of the mixture, one at a time.

The keeper sees that a change is pending, the child proposes its step, the scribe commits it under the run's fence, and the
child is answered. Whatever dies in between, the change is pending or it holds.
"""

from __future__ import annotations

from core.settings import Settings
from worker.keeper import LeaseKeeper
from worker.ranked import RankedLinks
from worker.reports import Line, Steer, SteerCommitted
from worker.run_spec import places_for
from worker.scribe import Scribe


class Steering:
    """Asks and answers one child; `turn` is called from the supervisor's loop and never waits."""

    def __init__(self, keeper: LeaseKeeper, scribe: Scribe, settings: Settings, *, project: str) -> None:
        self._keeper, self._scribe, self._settings, self._project = keeper, scribe, settings, project
        self._asked: int | None = None
        self._unsaid: list[Line] = []

    def turn(self, child: RankedLinks) -> None:
        pending = self._keeper.pending
        if pending is not None and pending != self._asked and child.send(Steer(pending)):
            self._asked = pending
        for answer in self._scribe.take_answers():
            self._unsaid += [*self._opened(answer), answer]
        while self._unsaid and child.send(self._unsaid[0]):
            self._unsaid.pop(0)

    def _opened(self, answer: SteerCommitted) -> list[Line]:
        """What opens the places of a stream that joined; raises Unavailable when the operator's file is at fault."""
        given = places_for([answer.stream], self._settings, project=self._project) if answer.stream is not None else None
        return [given] if given is not None else []
