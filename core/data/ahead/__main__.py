"""The read-ahead process: `python -m core.data.ahead CHANNEL PARENT`, the StreamSpec and its places as JSON on standard input.

It sends batches while fewer bytes than its budget wait to be taken, then waits until one is. It ends when the stream does,
when its channel closes, and when its parent dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable

import orjson

from core import errors
from core.data.ahead.wire import Kind, hear_taken, pack_batch, send
from core.data.pipeline.opening import open_stream
from core.data.spec import Places, Position, StreamSpec
from core.errors import HeadraceError

MOST_WAITING = 256
"""Blocks that may wait at a time: each holds a descriptor in flight, of which a system allows about a thousand."""

_PR_SET_PDEATHSIG = 1


def main(channel_number: int, parent: int) -> None:
    _end_with(parent)
    told = orjson.loads(sys.stdin.buffer.read())
    position = Position.from_json(told["position"]) if told["position"] else None
    with socket.socket(fileno=channel_number) as channel:
        try:
            _read_ahead(channel, StreamSpec.from_json(told["stream"]), position, byte_budget=told["byte_budget"],
                        places=Places.from_json(told["places"]))
        except HeadraceError as error:
            _tell(channel, error)
        except ConnectionError:
            return  # the run has ended, or wants no more
        while hear_taken(channel) is not None:
            pass  # stay until the run has read all, so that an end is never mistaken for a death


def _read_ahead(channel: socket.socket, spec: StreamSpec, position: Position | None, *, byte_budget: int, places: Places
                ) -> None:
    budget = _Budget(byte_budget, lambda: hear_taken(channel))
    with open_stream(spec, places) as stream:
        for batch in stream.batches(position):
            header, arrays = pack_batch(batch)
            budget.wait_for(len(header) + sum(array.nbytes for array in arrays))
            budget.count(send(channel, Kind.BATCH, header, arrays))
    send(channel, Kind.END, b"{}", [])


class _Budget:
    """Counts what was sent and not yet taken."""

    def __init__(self, most_bytes: int, hear: Callable[[], int | None]) -> None:
        self._most_bytes = most_bytes
        self._hear = hear
        self._bytes = 0
        self._blocks = 0

    def wait_for(self, size: int) -> None:
        """Wait until a block of about that size may be sent; raises ConnectionError when the run is gone."""
        while self._blocks and (self._bytes + size > self._most_bytes or self._blocks >= MOST_WAITING):
            taken = self._hear()
            if taken is None:
                raise ConnectionResetError
            self._bytes -= taken
            self._blocks -= 1

    def count(self, size: int) -> None:
        self._bytes += size
        self._blocks += 1


def _tell(channel: socket.socket, error: HeadraceError) -> None:
    """Send an error by the nearest class that the tree in `core.errors` holds."""
    kind = next(each.__name__ for each in type(error).__mro__ if getattr(errors, each.__name__, None) is each)
    told = {"kind": kind, "message": error.message, "code": error.code, "param": error.param}
    with contextlib.suppress(ConnectionError):
        send(channel, Kind.ERROR, orjson.dumps(told), [])


def _end_with(parent: int) -> None:
    """Die when the parent does, and leave an interrupt from the keyboard to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
