"""A worker's row: announced at the start under a fresh id, renewed by a thread, marked while it takes no job and at an orderly
end.

Alive means "renews its row": a worker that cannot reach the ledger is unknown, not dead, and its runs go on.
"""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass
from importlib.metadata import version

from core.db.session import Ledger
from core.errors import LeaseLost
from core.ids import new_id
from core.logs import get_log
from core.workers import service as workers
from worker.away import insist, is_away

log = get_log(__name__)

LONGEST_SECONDS = 30.0
"""A worker shows itself at least so often, however long leases are: hosts count while one of theirs was seen lately."""
ORDERLY_SECONDS = 2.0
"""How long an orderly end waits to say goodbye to a ledger that is away."""


@dataclass(frozen=True)
class Identity:
    worker_id: str
    host: str
    queue: str

    @classmethod
    def fresh(cls, queue: str) -> Identity:
        return cls(new_id("worker"), socket.gethostname(), queue)


class Presence:
    """Keeps the worker's row alive while it is open."""

    def __init__(self, ledger: Ledger, who: Identity, *, lease_seconds: float, stop: threading.Event) -> None:
        self._ledger, self._who, self._stop = ledger, who, stop
        self._refuses = False
        self._every_seconds = min(lease_seconds / 3, LONGEST_SECONDS)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="presence", daemon=True)

    def __enter__(self) -> Presence:
        """Announce the worker, as soon as the ledger answers."""
        insist(self._announce, until=self._stop)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join(1.0)
        try:
            insist(self._say_goodbye, until=self._closed, grace_seconds=ORDERLY_SECONDS)
        except Exception as error:
            log.warning("worker.left_unseen", worker_id=self._who.worker_id, cause=str(error))

    def refuse(self, why: str | None) -> None:
        """Say on the row that the worker takes no job, and why, or that it takes them again; written when that turns."""
        if (why is not None) == self._refuses:
            return
        with self._ledger.write() as session:
            workers.refuse(session, self._who.worker_id, why)
        self._refuses = why is not None
        log.info("worker.takes_jobs") if why is None else log.warning("worker.refuses", cause=why)

    def _announce(self) -> None:
        who = self._who
        with self._ledger.write() as session:
            workers.announce(session, worker_id=who.worker_id, host=who.host, pid=os.getpid(), queue=who.queue,
                             version=version("headrace"))
        log.info("worker.announced", worker_id=who.worker_id, queue=who.queue)

    def _renew(self) -> None:
        while not self._closed.wait(self._every_seconds):
            try:
                with self._ledger.write() as session:
                    workers.renew(session, self._who.worker_id)
            except LeaseLost as lost:
                log.warning("worker.unknown", worker_id=self._who.worker_id, cause=lost.message)
                self._stop.set()
                return
            except Exception as error:
                log.warning("ledger.away" if is_away(error) else "worker.unrenewed", cause=str(error))

    def _say_goodbye(self) -> None:
        with self._ledger.write() as session:
            workers.stop(session, self._who.worker_id)
