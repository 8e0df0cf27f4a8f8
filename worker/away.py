"""What it looks like when the ledger, or the storage, is out of reach, which is never taken for an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from core.db.away import is_database_away
from core.errors import StorageAway
from core.logs import get_log

log = get_log(__name__)
T = TypeVar("T")

REST_SECONDS = 0.5


def is_away(error: BaseException) -> bool:
    """Say whether `error` means that the database or the storage did not answer, rather than that it refused."""
    return is_database_away(error) or isinstance(error, (ConnectionError, StorageAway))


def insist(work: Callable[[], T], *, until: threading.Event, grace_seconds: float = 0.0) -> T:
    """Do `work` until the ledger answers; raise its error when it is still away `grace_seconds` after `until` was set."""
    stopping_at: float | None = None
    while True:
        if until.is_set() and stopping_at is None:
            stopping_at = time.monotonic()
        try:
            return work()
        except Exception as error:
            if not is_away(error) or (stopping_at is not None and time.monotonic() - stopping_at >= grace_seconds):
                raise
            log.warning("ledger.away", cause=str(error))
            time.sleep(REST_SECONDS) if until.is_set() else until.wait(REST_SECONDS)
