"""Read-ahead: the batches of a stream, made by a process of their own while the run trains.

`read_ahead` starts `python -m core.data.ahead`, which imports no torch, tells it the StreamSpec and a position, and gives
the batches as they come. At most `byte_budget` bytes of them wait at a time (one always may), and no more batches than the
times of loads and steps ask for: with each batch that it takes, the run says how long it worked on the one before. A batch
carries its position, so a run goes on from what it trained, however far the process had read.

    a run of several ranks    one process for all of them (`read_ahead_together`): each row is read and tokenised once, and
                              each rank has a channel over which its own micro-batches come
    several processes         one process still speaks to the ranks; those behind it make the steps in turn (`makers`), and
                              what a step holds does not depend on who made it

The process ends with the run: it dies by signal when the thread that opened it ends (open it from the main thread), and by
itself when its channels close. It shares no pipe with the run, and its own death is told as RunInterrupted.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Protocol, Self

from core.data.ahead.asked import MOST_PROCESSES, Asked
from core.data.ahead.process import LoaderProcess, channel_pair
from core.data.ahead.telling import told_error
from core.data.ahead.wire import Kind, receive, say_taken, unpack_batch
from core.data.row_set import RowSet
from core.data.spec import Batch, Places, Position, StreamSpec
from core.errors import HeadraceError, RunInterrupted

__all__ = ["DEFAULT_BYTE_BUDGET", "MOST_PROCESSES", "Loader", "ReadAhead", "read_ahead", "read_ahead_together"]

DEFAULT_BYTE_BUDGET = 64 * 1024 * 1024


def read_ahead(spec: StreamSpec, position: Position | None, *, byte_budget: int = DEFAULT_BYTE_BUDGET,
               places: Places | None = None, processes: int = 1, skipped: RowSet | None = None) -> ReadAhead:
    """Start reading ahead after a position; close it, or use it as a context.

    `places` are those of `spec.place_names`, `skipped` the rows at fault that were skipped before that position; `processes`
    make the steps in turn, 0 for as many as turn out to be needed."""
    ahead, _ = read_ahead_together(spec, position, ranks=1, byte_budget=byte_budget, places=places, processes=processes,
                                   skipped=skipped)
    return ahead


def read_ahead_together(spec: StreamSpec, position: Position | None, *, ranks: int, byte_budget: int = DEFAULT_BYTE_BUDGET,
                        places: Places | None = None, processes: int = 1, skipped: RowSet | None = None
                        ) -> tuple[ReadAhead, list[socket.socket]]:
    """Start one read-ahead for all ranks: give rank 0's batches, and the channels over which those of the others come."""
    asked = Asked(spec, position, byte_budget, places or Places(), ranks, processes, skipped or RowSet())
    with ExitStack() as theirs:
        pairs = [channel_pair() for _ in range(ranks)]
        for _, end in pairs:
            theirs.enter_context(end)
        process = _Owned(asked, [end for _, end in pairs])
    first, *others = [end for end, _ in pairs]
    return ReadAhead(first, process), others


class Loader(Protocol):
    """Who makes the batches of a read-ahead."""

    @property
    def pid(self) -> int: ...

    def lost(self) -> HeadraceError:
        """Say what became of it, when nothing comes from it any more."""
        ...

    def close(self) -> None: ...


class ReadAhead:
    """An iterator of one rank's batches. Not for several threads at once, but for `interrupt`."""

    def __init__(self, channel: socket.socket, loader: Loader) -> None:
        self.wait_seconds = 0.0
        """How long the last `next` waited for its batch."""
        self._channel, self._loader = channel, loader
        self._is_done = self._is_interrupted = False
        self._given_at: float | None = None

    @property
    def pid(self) -> int:
        return self._loader.pid

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
        block = receive(self._channel)
        if block is None:
            self._is_done = True
            raise RunInterrupted("reading ahead was stopped") if self._is_interrupted else self._loader.lost()
        with block:
            header, body = block.read()
        self._is_done = block.kind is not Kind.BATCH
        if block.kind is Kind.END:
            raise StopIteration
        if block.kind is Kind.ERROR:
            raise told_error(header)
        say_taken(self._channel, block.size, worked_seconds)
        return unpack_batch(header, body)

    def interrupt(self) -> None:
        """Let nobody wait for a batch: what is awaited is told as interrupted. From any thread, and harmless twice."""
        self._is_interrupted = True
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Take no more; safe to call twice. The process ends, if it was started here."""
        self._is_done = True
        self._channel.close()
        self._loader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Owned(LoaderProcess):
    """The process that loads for the run, as the run that started it speaks of it."""

    def lost(self) -> HeadraceError:
        end = self.end() or "closed its channel and goes on"
        return RunInterrupted(f"the read-ahead process {end}; the run resumes from its last checkpoint", code="read_ahead_lost")
