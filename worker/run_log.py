"""The log of a run: what its child wrote on standard error, bounded, in `run.log` of the run's folder.

The file grows to `LIMIT_BYTES`; then it is written anew from its head, a line that says how much was left out, and its tail. So
the start (settings, warnings) and the end (the cause of a death) are always there, and a reader never meets a half-written
file: the new one replaces the old one by rename.
"""

from __future__ import annotations

import os
from pathlib import Path

NAME = "run.log"
LIMIT_BYTES = 4 * 1024 * 1024
HEAD_BYTES = 1024 * 1024
TAIL_BYTES = 1024 * 1024
LAST_BYTES = 4096
"""Kept in memory, to name the cause when a child ends badly."""


class RunLog:
    def __init__(self, path: Path, *, limit: int = LIMIT_BYTES, head: int = HEAD_BYTES, tail: int = TAIL_BYTES) -> None:
        self._path = path
        self._limit, self._head, self._tail = limit, head, tail
        self._left_out = 0
        self._last = b""
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; never raises for a full disk, since a log is worth less than its run."""
        self._last = (self._last + data)[-LAST_BYTES:]
        try:
            self._file.write(data)
            if self._file.tell() > self._limit:
                self._shorten()
        except OSError:
            pass

    def last_lines(self, count: int = 5) -> str:
        """The last lines that are not blank, as text."""
        lines = [line for line in self._last.decode(errors="replace").splitlines() if line.strip()]
        return "\n".join(lines[-count:])

    def close(self) -> None:
        self._file.close()

    def _shorten(self) -> None:
        whole = self._path.read_bytes()
        self._left_out += len(whole) - self._head - self._tail
        note = f"\n… {self._left_out} bytes left out …\n".encode()
        shorter = self._path.with_suffix(".shorter")
        shorter.write_bytes(whole[: self._head] + note + whole[-self._tail :])
        self._file.close()
        os.replace(shorter, self._path)
        self._file = self._path.open("ab", buffering=0)
