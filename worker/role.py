"""A role that one process has at a time, under a lease row, and the thread that does what the role asks for.

The thread takes turns whether it has the role or not: each turn asks, by `holds`, in a transaction of its own or in the very
one that it writes in. A holder that is killed is followed within its lease; one that stops lets go at once.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Self

from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.logs import get_log
from core.workers import service as workers
from worker.away import is_away

log = get_log(__name__)

JOIN_SECONDS = 2.0
"""How long an orderly end waits for the turn that is being taken."""


class RoleThread(ABC):
    """Takes turns while it is open; a subclass says what a turn is."""

    def __init__(self, ledger: Ledger, role: str, *, holder: str, lease_seconds: float, every_seconds: float) -> None:
        self._ledger, self._role = ledger, role
        self._holder, self._lease_seconds, self._every_seconds = holder, lease_seconds, every_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=role, daemon=True)

    @abstractmethod
    def turn(self) -> None:
        """Do once what the role asks for; must not raise."""

    def holds(self, session: Session) -> bool:
        """Take the role, or go on holding it; False while another's lease on it runs."""
        return workers.hold_role(session, self._role, self._holder, self._lease_seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(JOIN_SECONDS)
        try:
            with self._ledger.write() as session:
                workers.drop_role(session, self._role, self._holder)
        except Exception as error:
            log.warning("ledger.away" if is_away(error) else "role.kept", role=self._role, cause=str(error))

    def _run(self) -> None:
        while not self._stop.wait(self._every_seconds):
            self.turn()
