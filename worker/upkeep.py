"""Upkeep: chores, a few at a time, each a row with lease, fence and attempts.

Every slot is a thread that claims a chore, holds its lease by a second thread, does the work, and ends the row in the same
transaction as the work's result wherever that is one. A chore that was begun `ATTEMPTS` times and came no further is poison: it
is ended, and its subject is told why in words. An attempt that a stop of the process or an outage broke off does not count.

Where there are several slots, one takes nothing that may last for hours: no job waits to be prepared behind the indexing of
another's data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.models import Chore
from core.clock import Clock
from core.db.session import Ledger
from core.errors import HeadraceError, LeaseLost, StorageAway
from core.logs import get_log
from core.settings import Settings
from core.storage.artifacts import Artifacts
from worker.away import insist, is_away

log = get_log(__name__)

ATTEMPTS = 3
LOOK_SECONDS = 1.0
RETRY_SECONDS = 1.0
"""Wait before the second attempt at a chore that raised; it doubles."""
STORAGE_SECONDS = 5.0


@dataclass(frozen=True)
class Desk:
    """What chores work with."""

    ledger: Ledger
    artifacts: Artifacts
    settings: Settings
    ring: Callable[[str], None]
    """Rings the bell of a job."""
    wake: Callable[[], None]
    """Wakes the train workers."""
    clock: Clock


@dataclass(frozen=True)
class Work:
    """One kind of chore: how to do it, and how to tell its subject that it is given up."""

    do: Callable[[Desk, Chore, threading.Event], None]
    """Does the work and ends the row. The event is set when the work must stop: lease lost, or the process ends."""
    give_up: Callable[[Desk, Session, Chore, dict], None]
    """Writes the cause ({code, message}) on the subject, in the transaction that ends the row."""
    is_long: bool = False
    """It may last for hours."""


class Slots:
    """Threads that take chores while open."""

    def __init__(self, desk: Desk, kinds: dict[str, Work], *, holder: str, count: int, heard: threading.Event) -> None:
        self._desk, self._kinds, self._holder = desk, kinds, holder
        self._heard = heard
        self._stop = threading.Event()
        long = {kind for kind, work in kinds.items() if work.is_long}
        self._threads = [threading.Thread(target=self._run, args=(long if n and n == count - 1 else (),), name=f"slot-{n}",
                                          daemon=True) for n in range(count)]

    def __enter__(self) -> Slots:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop at the next moment that a chore allows; what is unfinished is put back."""
        self._stop.set()
        self._heard.set()
        for thread in self._threads:
            thread.join(5.0)

    def _run(self, without: Collection[str]) -> None:
        while not self._stop.is_set():
            try:
                found = self.take_one(without)
            except Exception as error:
                log.warning("ledger.away" if is_away(error) else "chore.unclaimed", cause=str(error))
                found = False
            if not found:
                self._heard.wait(LOOK_SECONDS)
                self._heard.clear()

    def take_one(self, without: Collection[str] = ()) -> bool:
        """Claim one chore, of no kind that is left out, and do it; False when there is none."""
        with self._desk.ledger.write() as session:
            chore = chores.claim(session, f"{self._holder}/{threading.get_ident()}", self._desk.settings.lease_seconds,
                                 without=without)
        if chore is None:
            return False
        log.info("chore.claimed", kind=chore.kind, subject=chore.subject, attempt=chore.attempts)
        if chore.attempts > ATTEMPTS:
            self._give_up(chore, chore.error or told("server_error", f"it ended the worker that did it, {ATTEMPTS} times over"))
        else:
            self._attempt(chore)
        return True

    def _attempt(self, chore: Chore) -> None:
        work = self._kinds.get(chore.kind)
        if work is None:
            return self._give_up(chore, told("server_error", f"this release knows no chore of kind '{chore.kind}'"))
        try:
            with held(self._desk, chore, self._stop) as must_stop:
                work.do(self._desk, chore, must_stop)
        except LeaseLost as lost:
            log.warning("chore.lost", kind=chore.kind, subject=chore.subject, cause=lost.message)
            self._release(chore)
        except Exception as error:
            self._settle_fault(chore, error)
        return None

    def _settle_fault(self, chore: Chore, error: Exception) -> None:
        log.exception("chore.fault", kind=chore.kind, subject=chore.subject, attempt=chore.attempts)
        if isinstance(error, StorageAway):
            return self._put_off(chore)
        if is_away(error):
            return self._release(chore, RETRY_SECONDS)
        cause = told(error.code, error.message) if isinstance(error, HeadraceError) else told(
            "server_error", f"it ended with {type(error).__name__}: {error}")
        if chore.attempts >= ATTEMPTS:
            self._give_up(chore, cause)
        else:
            with self._desk.ledger.write() as session:
                chores.again(session, chore, RETRY_SECONDS * 2 ** (chore.attempts - 1), cause)
        return None

    def _release(self, chore: Chore, wait_seconds: float = 0.0) -> None:
        """Put a chore back as soon as the ledger answers, unless it has another holder. What is not put back before the process
        ends is taken again when its lease lapses."""
        def put_back() -> None:
            with self._desk.ledger.write() as session:
                chores.release(session, chore, wait_seconds)

        with suppress(LeaseLost):
            insist(put_back, until=self._stop)
            log.info("chore.released", kind=chore.kind, subject=chore.subject)

    def _put_off(self, chore: Chore) -> None:
        """Try again when the storage may be back; that it is away counts as no attempt."""
        with self._desk.ledger.write() as session:
            chores.again(session, chore, STORAGE_SECONDS)

    def _give_up(self, chore: Chore, cause: dict) -> None:
        with self._desk.ledger.write() as session:
            chores.fail(session, chore, self._desk.clock(), cause)
            if work := self._kinds.get(chore.kind):
                work.give_up(self._desk, session, chore, cause)
        log.error("chore.given_up", kind=chore.kind, subject=chore.subject, cause=cause["message"])


def told(code: str, message: str) -> dict:
    return {"code": code, "message": message}


@contextmanager
def held(desk: Desk, chore: Chore, stop: threading.Event):
    """Renew a chore's lease from a thread; give an event that says when the work must stop."""
    must_stop, done = threading.Event(), threading.Event()

    def renew() -> None:
        every = desk.settings.lease_seconds / 3
        waited = 0.0
        while not done.wait(0.2):
            if stop.is_set():
                must_stop.set()
            waited += 0.2
            if waited < every:
                continue
            waited = 0.0
            try:
                with desk.ledger.write() as session:
                    chores.renew(session, chore, desk.settings.lease_seconds)
            except LeaseLost:
                must_stop.set()
                return
            except Exception as error:
                log.warning("ledger.away" if is_away(error) else "chore.unrenewed", cause=str(error))

    keeper = threading.Thread(target=renew, name="chore-keeper", daemon=True)
    keeper.start()
    try:
        yield must_stop
    finally:
        done.set()
        keeper.join(1.0)
