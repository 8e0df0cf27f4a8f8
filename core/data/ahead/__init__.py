"""Read-ahead: the batches of a stream, made by a process of their own while the run trains.

`read_ahead` starts `python -m core.data.ahead`, which imports no torch, tells it the StreamSpec and a position, and gives
the batches as they come. At most `byte_budget` bytes of them wait at a time (one always may), and no more batches than the
times of loads and steps ask for: with each batch that it takes, the run says how long it worked on the one before. A batch
carries its position, so a run goes on from what it trained, however far the process had read.

The process ends with the run: it dies by signal when the thread that opened it ends (open it from the main thread), and by
itself when its channel closes. It shares no pipe with the run, and its own death is told as RunInterrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import IO, Self

import orjson

from core import errors
from core.data.ahead.wire import Kind, receive, say_taken, unpack_batch
from core.data.process import bare_environment, python_command
from core.data.spec import Batch, Places, Position, StreamSpec
from core.errors import HeadraceError, RunInterrupted

__all__ = ["DEFAULT_BYTE_BUDGET", "ReadAhead", "read_ahead"]

DEFAULT_BYTE_BUDGET = 64 * 1024 * 1024
_LAST_WORDS_BYTES = 2000
_END_SECONDS = 1.0


def read_ahead(spec: StreamSpec, position: Position | None, *, byte_budget: int = DEFAULT_BYTE_BUDGET,
               places: Places | None = None) -> ReadAhead:
    """Start reading ahead after a position; close it, or use it as a context. `places` are those of `spec.place_names`."""
    return ReadAhead(spec, position, byte_budget=byte_budget, places=places or Places())


class ReadAhead:
    """An iterator of batches. Not for several threads at once."""

    def __init__(self, spec: StreamSpec, position: Position | None, *, byte_budget: int, places: Places) -> None:
        self.wait_seconds = 0.0
        """How long the last `next` waited for its batch."""
        told = {"stream": spec.to_json(), "position": position.to_json() if position else None, "byte_budget": byte_budget,
                "places": places.to_json()}
        self._last_words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _start(theirs, self._last_words, orjson.dumps(told))
        self._is_done = False
        self._given_at: float | None = None

    @property
    def pid(self) -> int:
        return self._process.pid

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Batch:
        """Give the next batch; raises the error that stopped the stream, or RunInterrupted when the process is gone."""
        if self._is_done:
            raise StopIteration
        started = time.perf_counter()
        worked = started - self._given_at if self._given_at is not None else -1.0
        try:
            return self._next(worked)
        finally:
            self._given_at = time.perf_counter()
            self.wait_seconds = self._given_at - started

    def _next(self, worked_seconds: float) -> Batch:
        taken = receive(self._channel)
        if taken is None:
            raise self._interrupted()
        kind, header, body = taken
        self._is_done = kind is not Kind.BATCH
        if kind is Kind.END:
            raise StopIteration
        if kind is Kind.ERROR:
            raise _told_error(header)
        with contextlib.suppress(OSError):  # it is gone; this batch is whole, and the next call says so
            say_taken(self._channel, len(header) + len(body), worked_seconds)
        return unpack_batch(header, body)

    def close(self) -> None:
        """End the process, which holds nothing worth keeping; safe to call twice."""
        self._is_done = True
        self._channel.close()
        self._process.kill()
        self._process.wait()
        self._last_words.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _interrupted(self) -> RunInterrupted:
        self._is_done = True
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            return RunInterrupted("the read-ahead process closed its channel and goes on; the run resumes from its last "
                                  "checkpoint", code="read_ahead_lost")
        end = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"status {code}"
        return RunInterrupted(f"the read-ahead process ended with {end}{self._told_last()}; the run resumes from its last "
                              "checkpoint", code="read_ahead_lost")

    def _told_last(self) -> str:
        size = self._last_words.seek(0, os.SEEK_END)
        self._last_words.seek(max(0, size - _LAST_WORDS_BYTES))
        lines = self._last_words.read().decode(errors="replace").strip().splitlines()
        return f": {lines[-1]}" if lines else ""


def _start(channel: socket.socket, last_words: IO[bytes], told: bytes) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        python_command("core.data.ahead", str(channel.fileno()), str(os.getpid())), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=last_words, pass_fds=[channel.fileno()], env=bare_environment(),
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended at once; the first read says how
        process.stdin.write(told)
        process.stdin.close()
    return process


def _told_error(header: bytes) -> HeadraceError:
    """The error that the process met, of the same kind; a kind that is not in the one tree is told as interrupted."""
    told = orjson.loads(header)
    kind = getattr(errors, told["kind"], RunInterrupted)
    return kind(told["message"], code=told["code"], param=told["param"])
