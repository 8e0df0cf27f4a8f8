"""What upkeep does by the clock: rounds, each with its own interval, by one process at a time.

A round is done by the holder of a lease row. Whoever does one takes the role, or goes on holding it, in the very transaction in
which the round writes: the row is locked there, so of two processes that think it their turn one finds the role taken and
writes nothing.

Files are removed after the commit that says so, and removing again what is gone does no harm; so a kill in between leaves
debris, which a later round finds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.logs import get_log
from worker.away import is_away
from worker.role import RoleThread

log = get_log(__name__)

ROLE = "rounds"
LOOK_SECONDS = 1.0

After = Callable[[], None]
"""What is left to do once the transaction is committed."""


@dataclass(frozen=True)
class Round:
    name: str
    every_seconds: float
    work: Callable[[Session], After | None]
    """Writes in the given transaction; what it returns is done after the commit."""
    first_seconds: float = 0.0
    """After a start; a server that was just started has other things to do."""


class Rounds(RoleThread):
    """A thread that does what is due while it holds the role. `look` does it once, for tests with a clock of their own."""

    def __init__(self, ledger: Ledger, rounds: Sequence[Round], *, holder: str, lease_seconds: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(ledger, ROLE, holder=holder, lease_seconds=lease_seconds, every_seconds=LOOK_SECONDS)
        self._rounds, self._clock = rounds, clock
        self._due_at = {each.name: clock() + each.first_seconds for each in rounds}

    def turn(self) -> None:
        self.look()

    def look(self) -> list[str]:
        """Do the rounds that are due; give the names of those that were done."""
        return [each.name for each in self._rounds if self._clock() >= self._due_at[each.name] and self._do(each)]

    def _do(self, each: Round) -> bool:
        """One that raises is told in the log and comes again at its time: it keeps no other from being done."""
        try:
            with self._ledger.write() as session:
                if not self.holds(session):
                    return False
                after = each.work(session)
            self._due_at[each.name] = self._clock() + each.every_seconds
            if after is not None:
                after()
        except Exception as error:
            log.warning("ledger.away" if is_away(error) else "round.fault", round=each.name, cause=str(error),
                        exc_info=not is_away(error))
            self._due_at[each.name] = self._clock() + each.every_seconds
            return False
        log.debug("round.done", round=each.name)
        return True
