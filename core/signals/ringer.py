"""A thread that rings: what is asked for is noted at once and sent soon, so that Redis away costs the asker nothing.

Equal names that wait are rung once. What could not be sent is dropped, and so is the oldest of too many that wait: every
listener also looks by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

WAITING_AT_MOST = 10_000
REST_SECONDS = 0.5
"""Pause after a ring that failed."""


class Ringer:
    """Calls `send(names)` from its own thread, started at the first ring. Safe to use from any thread."""

    def __init__(self, send: Callable[[list[str]], None], *, name: str) -> None:
        self._send = send
        self._name = name
        self._waiting: dict[str, None] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def ring(self, name: str) -> None:
        """Ask for a ring. Never raises, never waits."""
        with self._changed:
            if self._is_closed:
                return
            self._waiting[name] = None
            if len(self._waiting) > WAITING_AT_MOST:
                del self._waiting[next(iter(self._waiting))]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, *, wait_seconds: float = 1.0) -> None:
        """Send what waits, if Redis takes it within `wait_seconds`, and end the thread. Safe to call twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(wait_seconds)

    def _run(self) -> None:
        while (names := self._take()) is not None:
            try:
                self._send(names)
            except Exception:  # a hint: whoever it was for looks by itself; the next ring tries again
                self._rest()

    def _take(self) -> list[str] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            names, self._waiting = list(self._waiting), {}
            return names or None

    def _rest(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed, REST_SECONDS)
