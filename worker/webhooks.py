"""Sending what waits in the outbox: one process at a time, one request at a time to each endpoint, several endpoints at once.

A turn only takes what is due and hands it to threads; an endpoint that is slow keeps no other waiting, and the slow ones of a
project none of another's. After a success its thread goes on with what is due there next, for `GO_ON_SECONDS`; then, and after
a failure, the endpoint has a rest until its next turn.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from core.db.session import Ledger, database_now
from core.logs import get_log
from core.webhooks import outbox
from core.webhooks.outbox import Letter
from core.webhooks.repository import is_any_due
from core.webhooks.sending import Unsent, send
from worker.away import is_away
from worker.role import RoleThread

log = get_log(__name__)

ROLE = "webhooks"
TURN_SECONDS = 1.0
AT_ONCE = 8
"""Endpoints that requests are under way to."""
GO_ON_SECONDS = 5.0
"""So long one endpoint keeps a thread while requests to it arrive: a slow one with much to hear must not have it for itself."""


class Sender(RoleThread):
    """A thread that empties the outbox while it holds the role."""

    def __init__(self, ledger: Ledger, *, holder: str, lease_seconds: float, is_private_allowed: bool,
                 go_on_seconds: float = GO_ON_SECONDS) -> None:
        super().__init__(ledger, ROLE, holder=holder, lease_seconds=lease_seconds, every_seconds=TURN_SECONDS)
        self._is_private_allowed, self._go_on_seconds = is_private_allowed, go_on_seconds
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")
        self._lock, self._busy = threading.Lock(), 0

    def __exit__(self, *details: object) -> None:
        """What is under way is not waited for: whoever follows sends it again, under its id."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        super().__exit__(*details)

    def turn(self) -> None:
        try:
            self._hand_out()
        except Exception as error:
            _tell(error)

    def _hand_out(self) -> None:
        """Take no more than there are threads for: what would wait for one could outlive its hold."""
        count = self._free_threads()
        if not count or not self._is_any_due():
            return
        with self._ledger.write() as session:
            letters = outbox.take(session, limit=count) if self.holds(session) else []
        with self._lock:
            self._busy += len(letters)
        for letter in letters:
            self._pool.submit(self._deliver, letter)

    def _is_any_due(self) -> bool:
        with self._ledger.read() as session:
            return is_any_due(session, now=database_now(session))

    def _free_threads(self) -> int:
        with self._lock:
            return AT_ONCE - self._busy

    def _deliver(self, letter: Letter) -> None:
        try:
            following: Letter | None = letter
            until = time.monotonic() + self._go_on_seconds
            while following is not None and not self._stop.is_set():
                following = self._deliver_one(following, until=until)
        except Exception as error:  # its hold lapses, and it is sent again
            _tell(error)
        finally:
            with self._lock:
                self._busy -= 1

    def _deliver_one(self, letter: Letter, *, until: float) -> Letter | None:
        """Send a letter and write down what came of it; give what is due at the endpoint next, if it is to go on."""
        status, cause = None, None
        try:
            status = send(letter.url, letter.body, letter.headers, is_private_allowed=self._is_private_allowed)
        except Unsent as unsent:
            cause = unsent.cause
        log.info("webhook.sent", endpoint_id=letter.endpoint_id, event_id=letter.event_id, status=status, cause=cause)
        with self._ledger.write() as session:
            has_arrived = outbox.note_sent(session, letter, status=status, error=cause)
            return outbox.take_next(session, letter) if has_arrived and time.monotonic() < until else None


def _tell(error: Exception) -> None:
    log.warning("ledger.away" if is_away(error) else "webhooks.fault", cause=str(error), exc_info=not is_away(error))
