"""Held-out rows that lie in places: each evaluation has them read by a process of its own.

So the training process waits for no network while it computes, and imports nothing that speaks to one.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress

from core.data.ahead import ReadAhead
from core.data.spec import Batch, Position, StreamSpec


class HeldOut:
    """Call it for the batches from the first on. Not for several evaluations at once."""

    def __init__(self, stream: StreamSpec, open_ahead: Callable[[StreamSpec, Position], ReadAhead]) -> None:
        self._stream, self._open_ahead = stream, open_ahead
        self._process: int | None = None

    def __call__(self) -> Iterator[Batch]:
        with self._open_ahead(self._stream, Position()) as ahead:
            self._process = os.pidfd_open(ahead.pid)
            try:
                yield from ahead
            finally:
                process, self._process = self._process, None
                os.close(process)

    def interrupt(self) -> None:
        """End the process, so that nobody waits for a batch of it; from any thread, and harmless when there is none."""
        if (process := self._process) is not None:
            with suppress(OSError):
                signal.pidfd_send_signal(process, signal.SIGKILL)
