"""A process that loads, seen from the one that started it: its start, its end, its last words."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO

from core.data.ahead.asked import Asked
from core.data.process import bare_environment, python_command

_LAST_WORDS_BYTES = 2000
_END_SECONDS = 1.0
CHANNEL_BYTES = 208 << 10
"""What may wait in a channel, as the kernel counts, and as much as it lets anybody ask for; it grants twice that."""


class LoaderProcess:
    """Dies by signal when the thread that started it ends (start it from the main thread), and by itself when nobody holds the
    other ends of its channels any more."""

    def __init__(self, asked: Asked, channels: Sequence[socket.socket]) -> None:
        """Start it with its ends of the channels, one for each rank."""
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = _start(asked, channels, self._last_words)

    @property
    def pid(self) -> int:
        return self._process.pid

    def end(self) -> str | None:
        """How it ended, in words, with the last line that it wrote; None when it goes on."""
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return None
        end = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"status {code}"
        return f"ended with {end}{self._told_last()}"

    def close(self) -> None:
        """End it; it holds nothing worth keeping. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._last_words.close()

    def _told_last(self) -> str:
        size = self._last_words.seek(0, os.SEEK_END)
        self._last_words.seek(max(0, size - _LAST_WORDS_BYTES))
        lines = self._last_words.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def channel_pair() -> tuple[socket.socket, socket.socket]:
    """Our end and theirs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CHANNEL_BYTES)
    return ours, theirs


def _start(asked: Asked, channels: Sequence[socket.socket], last_words: IO[bytes]) -> subprocess.Popen[bytes]:
    numbers = [channel.fileno() for channel in channels]
    process = subprocess.Popen(
        python_command("core.data.ahead", str(os.getpid()), *map(str, numbers)), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=last_words, pass_fds=numbers, env=bare_environment(),
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once; the first read says how
        process.stdin.write(asked.to_line())
        process.stdin.close()
    return process
