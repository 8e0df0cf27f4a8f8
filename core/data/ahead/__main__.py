"""The read-ahead process: `python -m core.data.ahead CHANNEL PARENT`, the StreamSpec and its places as JSON on standard input.

It makes a batch, and sends it once fewer batches wait to be taken than the depth says (`depth`), and fewer bytes than the
budget. It ends when the stream does, when its channel closes, and when its parent dies.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import socket
import sys
import time

import orjson

from core import errors
from core.data.ahead.depth import Depth
from core.data.ahead.wire import Kind, hear_taken, pack_batch, send
from core.data.spec import Places, Position, StreamSpec
from core.errors import HeadraceError

_PR_SET_PDEATHSIG = 1


def main(channel_number: int, parent: int) -> None:
    _end_with(parent)
    gc.disable()  # thousands of objects come with the modules and the tokenizer, none goes
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
    from core.data.pipeline.opening import open_stream

    waiting = _Waiting(byte_budget, channel)
    with open_stream(spec, places) as stream:
        _settle()
        batches = stream.batches(position)
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            header, arrays = pack_batch(batch)
            waiting.loaded(time.perf_counter() - started)
            waiting.make_room(len(header) + sum(array.nbytes for array in arrays))
            waiting.sent(send(channel, Kind.BATCH, header, arrays))
    send(channel, Kind.END, b"{}", [])


def _settle() -> None:
    """Give back what was needed only to open the stream: 20 MB of a tokenizer's file, and the collector's interest in what
    will stay."""
    gc.enable()
    gc.freeze()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Waiting:
    """What was sent and not yet taken."""

    def __init__(self, most_bytes: int, channel: socket.socket) -> None:
        self._most_bytes = most_bytes
        self._channel = channel
        self._depth = Depth()
        self._bytes = 0
        self._blocks = 0

    def make_room(self, size: int) -> None:
        """Wait until a block of about that size may be sent; raises ConnectionError when the run is gone."""
        with contextlib.suppress(BlockingIOError):
            while self._blocks:
                self._hear(is_waiting=False)
        while self._blocks and (self._bytes + size > self._most_bytes or self._blocks >= self._depth.batches):
            self._hear(is_waiting=True)

    def loaded(self, seconds: float) -> None:
        self._depth.loaded(seconds)

    def sent(self, size: int) -> None:
        self._bytes += size
        self._blocks += 1

    def _hear(self, *, is_waiting: bool) -> None:
        taken = hear_taken(self._channel, is_waiting=is_waiting)
        if taken is None:
            raise ConnectionResetError
        size, step_seconds = taken
        self._bytes -= size
        self._blocks -= 1
        if step_seconds >= 0:
            self._depth.stepped(step_seconds)


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
