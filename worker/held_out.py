"""Held-out rows that another process reads: each evaluation has them read anew.

So it is where they lie in places, since the training process is to wait for no network while it computes and to import
nothing that speaks to one; and where several ranks share them, which are read and tokenised once for all ranks.
"""

from __future__ import annotations

from collections.abc import Iterator

from core.data.ahead import ReadAhead
from core.data.row_set import RowSet
from core.data.spec import Batch, Position, StreamSpec
from worker.feed import Open


class HeldOut:
    """Call it for the batches from the first on. Not for several evaluations at once."""

    def __init__(self, stream: StreamSpec, open_ahead: Open) -> None:
        self._stream, self._open_ahead = stream, open_ahead
        self._ahead: ReadAhead | None = None

    def __call__(self) -> Iterator[Batch]:
        with self._open_ahead(self._stream, Position(), RowSet()) as ahead:
            self._ahead = ahead
            try:
                yield from ahead
            finally:
                self._ahead = None

    def interrupt(self) -> None:
        """Let nobody wait for a batch; from any thread, and harmless when there is none."""
        if (ahead := self._ahead) is not None:
            ahead.interrupt()
