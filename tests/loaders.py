"""A read-ahead for several ranks, all of them in the process of the test; the processes that load are threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from socket import socket

from core.data.ahead import ReadAhead
from core.data.ahead.asked import Asked
from core.data.ahead.depth import Depth
from core.data.ahead.loading import hand_on, load
from core.data.ahead.process import channel_pair
from core.data.spec import Batch, Places, Position, StreamSpec
from core.errors import RunInterrupted
from tests.waiting import PATIENCE_SECONDS


class LoaderThread:
    """Does what the process does, as far as a thread can: it is told by the same line, and starts threads as the process starts
    processes."""

    def __init__(self, asked: Asked, channels: Sequence[socket], *, depth: Depth | None = None, most: int = 1) -> None:
        self.started: list[LoaderThread] = []
        """Those that make steps for this one."""
        told, ends = Asked.from_line(asked.to_line()), [channel.dup() for channel in channels]
        self._thread = threading.Thread(target=self._run, args=(told, ends, depth, most), daemon=True)
        self._thread.start()

    def end(self) -> str | None:
        return None

    def close(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self, asked: Asked, channels: Sequence[socket], depth: Depth | None, most: int) -> None:
        with ExitStack() as opened, suppress(ConnectionError):
            for channel in channels:
                opened.enter_context(channel)
            if asked.turn is not None:
                hand_on(asked, channels[0])
            else:
                load(asked, channels, start=self._start, depth=depth, most=most)

    def _start(self, asked: Asked, channels: Sequence[socket]) -> LoaderThread:
        self.started.append(LoaderThread(asked, channels))
        return self.started[-1]


class Elsewhere:
    """The process that loads, as a rank sees it that did not start it."""

    pid = 0

    def lost(self) -> RunInterrupted:
        return RunInterrupted("the loader is gone")

    def close(self) -> None:
        pass


def read_together(spec: StreamSpec, position: Position | None = None, *, ranks: int, processes: int = 1,
                  byte_budget: int = 1 << 20, start: Callable[[Asked, Sequence[socket]], LoaderThread] = LoaderThread
                  ) -> Iterator[list[Batch]]:
    """The batches of all ranks, step after step, from one read-ahead."""
    pairs = [channel_pair() for _ in range(ranks)]
    asked = Asked(spec, position, byte_budget, Places(), ranks, processes)
    loader = start(asked, [theirs for _, theirs in pairs])
    for _, theirs in pairs:
        theirs.close()
    aheads = [ReadAhead(ours, Elsewhere()) for ours, _ in pairs]
    try:
        while batches := [batch for ahead in aheads if (batch := next(ahead, None)) is not None]:
            yield batches
    finally:
        for ahead in aheads:
            ahead.close()
        loader.close()
