"""A ledger that can be made to go away, and to come back, as a database server does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from core.db.session import Ledger


class AwayLedger:
    """Stands where a Ledger stands; every transaction raises while `is_away` is set."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.is_away = threading.Event()
        self.loses_answer = threading.Event()
        """Set: the next commit is done, and its answer lost."""

    @contextlib.contextmanager
    def write(self) -> Iterator[Session]:
        self._answer()
        with self._ledger.write() as session:
            yield session
        if self.loses_answer.is_set():
            self.loses_answer.clear()
            raise OperationalError("COMMIT", {}, ConnectionError("the server closed the connection"))

    @contextlib.contextmanager
    def read(self) -> Iterator[Session]:
        self._answer()
        with self._ledger.read() as session:
            yield session

    def _answer(self) -> None:
        if self.is_away.is_set():
            raise OperationalError("SELECT 1", {}, ConnectionError("the server closed the connection"))
