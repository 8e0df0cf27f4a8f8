"""What upkeep does by the clock: rounds, each with its own interval, by one process at a time.

A round is done by the holder of a lease row. Whoever does one takes the role, or goes on holding it, in the very transaction in
which the round writes: the row is locked there, so of two processes that think it their turn one finds the role taken and
writes nothing. A holder that is killed is followed within its lease. A holder that stops lets go at once.

Files are removed after the commit that says so, and removing again what is gone does no harm; so a kill in between leaves
debris, which a later round finds.

(What is to be sent to the outside, such as a webhook's outbox, is another round: `Round(name, every, work)` beside the others.)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.logs import get_log
from core.workers import service as workers
from worker.away import is_away

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


class Rounds:
    """A thread that does what is due while it holds the role. `look` does it once, for tests with a clock of their own."""

    def __init__(self, ledger: Ledger, rounds: Sequence[Round], *, holder: str, lease_seconds: float,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._ledger, self._rounds, self._holder, self._lease_seconds = ledger, rounds, holder, lease_seconds
        self._clock = clock
        self._due_at = {each.name: clock() + each.first_seconds for each in rounds}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rounds", daemon=True)

    def __enter__(self) -> Rounds:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(2.0)
        try:
            with self._ledger.write() as session:
                workers.drop_role(session, ROLE, self._holder)
        except Exception as error:
            log.warning("ledger.away" if is_away(error) else "rounds.role_kept", cause=str(error))

    def look(self) -> list[str]:
        """Do the rounds that are due; give the names of those that were done."""
        return [each.name for each in self._rounds if self._clock() >= self._due_at[each.name] and self._do(each)]

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()

    def _do(self, each: Round) -> bool:
        """One that raises is told in the log and comes again at its time: it keeps no other from being done."""
        try:
            with self._ledger.write() as session:
                if not workers.hold_role(session, ROLE, self._holder, self._lease_seconds):
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
