"""Lines for a reader who may stop reading: whoever speaks is never kept waiting, and one thread does the writing.

A terminal stopped by Ctrl-S, a pager, a stuck log collector and a frozen parent all leave a pipe full, and a write to it waits
for ever, with any lock that its writer holds. So a line is only put in a queue here. While the reader does not read, at most
`WAITING_BYTES` are kept; what comes then is left out until the queue has been written, and a line in its place says how many
they were. A process that is killed takes the lines of its last moment along.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import IO, TextIO

WAITING_BYTES = 1 << 20
FLUSH_SECONDS = 1.0


class LineWriter:
    """Writes whole lines in the order in which they came. Safe to use from any thread; its own ends with the process."""

    def __init__(self, out: IO[bytes], *, say_left_out: Callable[[int], bytes]) -> None:
        """`say_left_out` makes the line that stands for so many which nobody read."""
        self._out, self._say_left_out = out, say_left_out
        self._turn = threading.Condition()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._left_out = 0
        self._is_idle = True
        threading.Thread(target=self._write_on, name="lines", daemon=True).start()

    def write(self, line: bytes) -> None:
        """Have a line written when its turn comes; never waits for the reader."""
        with self._turn:
            if self._left_out or (self._waiting and self._waiting_bytes + len(line) > WAITING_BYTES):
                self._left_out += 1
                return
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            self._turn.notify_all()

    def flush(self) -> None:
        """Wait until all is written, for a second at most: before a process ends."""
        with self._turn:
            self._turn.wait_for(lambda: self._is_idle and not self._waiting, FLUSH_SECONDS)

    def _write_on(self) -> None:
        while True:
            lines = self._take()
            with contextlib.suppress(OSError, ValueError):  # a reader that is gone misses what it would have read
                self._write(lines)

    def _take(self) -> bytes:
        with self._turn:
            self._is_idle = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._waiting)
            self._is_idle = False
            taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
            if self._left_out:
                taken.append(self._say_left_out(self._left_out))
                self._left_out = 0
        return b"".join(taken)

    def _write(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            written: int | None = self._out.write(rest)
            if written is None:  # somebody who shares the terminal has made it non-blocking
                select.select([], [self._out], [])
            else:
                rest = rest[written:]
        self._out.flush()


def unbuffered(stream: TextIO | None) -> IO[bytes]:
    """Give standard output or standard error without its buffer, whose lock a thread that writes would hold at the end; what is
    said goes nowhere where the process was started with the stream closed, since its number may be another file's by now."""
    if stream is None:
        return open(os.devnull, "wb", buffering=0)
    return open(stream.fileno(), "wb", buffering=0, closefd=False)
