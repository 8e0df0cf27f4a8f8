"""Between the ledger and a child: changes of the mixture, one at a time.

The keeper sees that a change is pending, the child proposes its step, the scribe commits it under the run's fence, and the
child is answered. Whatever dies in between, the change is pending or it holds. While the operator's file of places is at fault
an answer that needs it waits, and the child with it, and the job's log says why.
"""

from __future__ import annotations

from core.errors import Unavailable
from core.logs import get_log
from core.settings import Settings
from worker.keeper import LeaseKeeper
from worker.ranked import RankedLinks
from worker.reports import Line, Steer, SteerCommitted, Warned
from worker.run_spec import places_for
from worker.scribe import Scribe

log = get_log(__name__)


class Steering:
    """Asks and answers one child; `turn` is called from the supervisor's loop and never waits."""

    def __init__(self, keeper: LeaseKeeper, scribe: Scribe, settings: Settings, *, project: str) -> None:
        self._keeper, self._scribe, self._settings, self._project = keeper, scribe, settings, project
        self._asked: int | None = None
        self._answers: list[SteerCommitted] = []
        self._unsaid: list[Line] = []
        self._fault: str | None = None
        """What the operator's file of places said last, instead of what opens them."""

    def turn(self, child: RankedLinks) -> None:
        pending = self._keeper.pending
        if pending is not None and pending != self._asked and child.send(Steer(pending)):
            self._asked = pending
        self._answers += self._scribe.take_answers()
        while self._answers and (lines := self._lines_of(self._answers[0])):
            self._unsaid += lines
            self._answers.pop(0)
        while self._unsaid and child.send(self._unsaid[0]):
            self._unsaid.pop(0)

    def _lines_of(self, answer: SteerCommitted) -> list[Line]:
        """An answer, behind what opens the places of a stream that joined; nothing while the operator's file is at fault."""
        try:
            given = places_for([answer.stream], self._settings, project=self._project) if answer.stream is not None else None
        except Unavailable as error:
            self._tell(error)
            return []
        return [answer] if given is None else [given, answer]

    def _tell(self, error: Unavailable) -> None:
        if error.message != self._fault:
            self._fault = error.message
            log.warning("steering.unanswered", code=error.code, cause=error.message)
            self._scribe.note(Warned(f"The change of the mixture waits for the operator: {error.message}"))
