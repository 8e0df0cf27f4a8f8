"""Several processes that make the steps of a stream in turn, put together in order.

    process k of n       opens the stream for itself and makes the steps k, k + n, k + 2n, … after a position, a few ahead
    here                 takes step after step, each from the process whose turn it is, and hands its blocks on unread

So the order is that of one process, whoever is quick; and a step is made by the same rules wherever it is made. What is
counted over the steps, the rows at fault that may be skipped, is counted here, where they come in order.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from types import TracebackType
from typing import Protocol, Self

import orjson

from core.data.ahead.asked import Asked
from core.data.ahead.made import Made
from core.data.ahead.process import LoaderProcess, channel_pair
from core.data.ahead.telling import told_error
from core.data.ahead.wire import Block, Kind, receive, say_taken, unpack_holes
from core.data.spec import Hole, Position, Turn


class MakerProcess(Protocol):
    def end(self) -> str | None:
        """How it ended, in words; None when it goes on."""
        ...

    def close(self) -> None: ...


Start = Callable[[Asked, Sequence[socket.socket]], MakerProcess]
"""Starts a process with its ends of the channels."""


class MakerLost(Exception):
    """One of the processes is gone; the text says how."""


class Makers:
    """Give `asked`'s steps after a position by so many processes; a context that ends them. `is_start` is False where the
    stream was read before it by another."""

    def __init__(self, asked: Asked, position: Position | None, processes: int, *, is_start: bool = True,
                 start: Start = LoaderProcess) -> None:
        self._done = position.step if position else 0
        self._makers: list[_Maker] = []
        budget = asked.byte_budget // (2 * processes)
        for number in range(processes):
            turn = Turn(number, processes, is_start)
            told = replace(asked, position=position, byte_budget=budget, processes=1, turn=turn)
            self._makers.append(_Maker(told, f"loader process {number + 1} of {processes}", start))

    def __iter__(self) -> Iterator[Made]:
        """Raises what a process met when its step's turn comes, and MakerLost for one that is gone."""
        for step, maker in enumerate(cycle(self._makers), start=self._done + 1):
            taken = maker.take()
            if taken is None:
                return
            yield Made(step, *taken)

    def close(self) -> None:
        for maker in self._makers:
            maker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Maker:
    def __init__(self, asked: Asked, name: str, start: Start) -> None:
        self._name, self._ranks = name, asked.ranks
        self._channel, theirs = channel_pair()
        with theirs:
            self._process = start(asked, [theirs])

    def take(self) -> tuple[Sequence[Hole], tuple[Block, ...]] | None:
        """Its next step; None when it has no more."""
        first = self._block()
        if first.kind is Kind.END:
            first.close()
            return None
        faults: Sequence[Hole] = ()
        if first.kind is Kind.FAULTS:
            faults = unpack_holes(orjson.loads(_header(first)))
            first = self._block()
        with ExitStack() as taken:
            blocks = [taken.enter_context(first), *(taken.enter_context(self._block()) for _ in range(self._ranks - 1))]
            taken.pop_all()
        return faults, tuple(blocks)

    def close(self) -> None:
        self._channel.close()
        self._process.close()

    def _block(self) -> Block:
        block = receive(self._channel)
        if block is None:
            raise MakerLost(f"{self._name} {self._process.end() or 'closed its channel and goes on'}")
        say_taken(self._channel, block.size)
        if block.kind is Kind.ERROR:
            raise told_error(_header(block))
        return block


def _header(block: Block) -> memoryview:
    with block:
        return block.read()[0]


__all__ = ["MakerLost", "Makers"]
