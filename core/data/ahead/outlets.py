"""What a process that loads has handed over and nobody has taken yet: bounded in bytes, and in steps by `depth`.

Of several ranks the one that is furthest behind counts. Rank 0, which owns the process, is handed its part of a step last,
and its end too: when it has that, nobody can miss anything. A rank that closes its channel wants no more, and the others
go on; when all have, ConnectionResetError says that nobody is left.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.data.ahead.depth import Depth
from core.data.ahead.wire import Block, Kind, hear_taken, write_block


@dataclass(eq=False)
class _Outlet:
    channel: socket.socket
    bytes: int = 0
    blocks: int = 0


class Outlets:
    """One channel each rank; a step has `blocks_per_step` blocks on each of them."""

    def __init__(self, channels: Sequence[socket.socket], *, most_bytes: int, depth: Depth, blocks_per_step: int = 1) -> None:
        self._outlets: list[_Outlet | None] = [_Outlet(channel) for channel in channels]
        self._most_bytes, self._depth, self._blocks_per_step = most_bytes, depth, blocks_per_step
        self._ready = select.poll()
        for channel in channels:
            self._ready.register(channel, select.POLLIN)

    def hand_over(self, blocks: Sequence[Block]) -> None:
        """Wait for room and hand over a step, a block to each rank; closes the blocks."""
        self._make_room(sum(block.size for block in blocks))
        for number in reversed(range(len(blocks))):
            self._send(number, blocks[number])

    def hand_on(self, blocks: Sequence[Block]) -> None:
        """Wait for room and hand over a step's blocks on the one channel; closes the blocks."""
        self._make_room(sum(block.size for block in blocks))
        for block in blocks:
            self._send(0, block)

    def tell_all(self, kind: Kind, header: bytes = b"{}") -> None:
        """Say the same to all, without a wait for room."""
        for number in reversed(range(len(self._outlets))):
            self._send(number, write_block(kind, header))

    def stay(self) -> None:
        """Stay until all have read all and gone, so that an end is never mistaken for a death."""
        while any(self._outlets):
            self._hear()

    def _make_room(self, size: int) -> None:
        self._hear(0)
        while self._waiting() and (self._bytes() + size > self._most_bytes or self._is_deep()):
            self._hear()
        if not any(self._outlets):
            raise ConnectionResetError

    def _hear(self, milliseconds: int | None = None) -> None:
        """Hear what was taken, after a wait for the first to say so."""
        ready = {descriptor for descriptor, _ in self._ready.poll(milliseconds)}
        for number, outlet in enumerate(self._outlets):
            if outlet is not None and outlet.channel.fileno() in ready:
                self._hear_one(number, outlet)

    def _hear_one(self, number: int, outlet: _Outlet) -> None:
        try:
            while (taken := hear_taken(outlet.channel)) is not None:
                size, step_seconds = taken
                outlet.bytes -= size
                outlet.blocks -= 1
                if step_seconds >= 0:
                    self._depth.stepped(step_seconds)
        except BlockingIOError:
            return
        self._drop(number)

    def _send(self, number: int, block: Block) -> None:
        outlet = self._outlets[number]
        with block:
            if outlet is None:
                return
            try:
                block.send(outlet.channel, is_awaited=not outlet.blocks)
            except ConnectionError:
                self._drop(number)
                return
        outlet.bytes += block.size
        outlet.blocks += 1

    def _drop(self, number: int) -> None:
        if (outlet := self._outlets[number]) is not None:
            self._ready.unregister(outlet.channel)
            outlet.channel.close()
        self._outlets[number] = None

    def _each(self) -> Iterable[_Outlet]:
        return (outlet for outlet in self._outlets if outlet is not None)

    def _bytes(self) -> int:
        return sum(outlet.bytes for outlet in self._each())

    def _waiting(self) -> bool:
        return any(outlet.blocks for outlet in self._each())

    def _is_deep(self) -> bool:
        most = self._depth.batches * self._blocks_per_step
        return any(outlet.blocks >= most for outlet in self._each())
