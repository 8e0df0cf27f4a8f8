"""Who calls: the bearer key of a request, looked up in the ledger.

A key that was found is remembered for `REMEMBERED_SECONDS`, so a burst costs one look-up and a revocation holds within that
time. Keys that are unknown are looked up each time. Only the digest of a key is kept.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from core.clock import Clock
from core.db.session import Ledger
from core.errors import NotAuthenticated
from core.projects.repository import find_key_by_digest
from core.projects.service import Caller, authenticate, digest_of, is_use_due

REMEMBERED_SECONDS = 1.5
REMEMBERED_KEYS = 10_000
LONGEST_KEY = 256


class KeyCheck:
    """Safe to use from any thread."""

    def __init__(self, ledger: Ledger, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._ledger = ledger
        self._clock = clock
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, Caller]] = {}
        self._lock = threading.Lock()

    def find_remembered(self, secret: str) -> Caller | None:
        """Answer from memory; waits for nothing."""
        found = self._known.get(digest_of(secret))
        return found[1] if found and found[0] > self._monotonic() else None

    def look_up(self, secret: str) -> Caller:
        """Answer from the ledger; raises NotAuthenticated. Writes only when the key's last use is to be noted."""
        until = self._monotonic() + REMEMBERED_SECONDS
        caller = self._authenticate(secret)
        with self._lock:
            if len(self._known) >= REMEMBERED_KEYS:
                self._known.clear()
            self._known[digest_of(secret)] = (until, caller)
        return caller

    def _authenticate(self, secret: str) -> Caller:
        now = self._clock()
        with self._ledger.read() as session:
            found = find_key_by_digest(session, digest_of(secret))
            if found is None or found[0].revoked_at is not None or not is_use_due(found[0], now):
                return authenticate(session, secret, now=now)
        with self._ledger.write() as session:
            return authenticate(session, secret, now=now)


def secret_of(authorization: bytes | None) -> str:
    """Take the key out of the header; raise NotAuthenticated for one that is missing or of another form."""
    scheme, _, secret = (authorization or b"").decode("latin-1").partition(" ")
    secret = secret.strip()
    if not authorization:
        raise NotAuthenticated("the request has no API key; send the header 'Authorization: Bearer KEY'")
    if scheme.lower() != "bearer" or not secret or len(secret) > LONGEST_KEY or not secret.isascii():
        raise NotAuthenticated("the Authorization header holds no API key; expected 'Authorization: Bearer KEY'")
    return secret
