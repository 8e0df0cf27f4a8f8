"""How a batch crosses from process to process: as one block, in a message or beside it.

    the block   header (JSON), then each micro-batch's ids, loss mask, boundaries and sources, one after another, each
                filled up to whole 8 bytes
    a message   kind (1 byte), whether the block follows in it (1 byte), bytes of the header, bytes in all (8 bytes each); then
                the block itself, or as ancillary data the descriptor of the anonymous memory that it was written to
    an answer   bytes in all of a block that was taken (8 bytes), and the seconds that the run worked on the one before it (a
                double; below 0 when there was none)

A small block that is awaited goes in the message, which costs a fifth of making memory, filling it and letting go of it. One
that will wait lies beside it, since a channel holds only some hundred thousand bytes. Either has no name and lives as long as
a descriptor or a message holds it: whoever is killed, nothing is left behind. It may be passed on unread. Messages keep their
borders (SOCK_SEQPACKET).
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import chain, starmap
from typing import Any

import numpy as np
import orjson

from core.data.spec import Batch, Hole, Loading, MicroBatch, Position, RowRef

MOST_IN_MESSAGE = 128 << 10
"""Bytes of a block that may go in a message; `process.CHANNEL_BYTES` have room for one beside the messages of all others."""
_MESSAGE = struct.Struct("<B?QQ")
_TAKEN = struct.Struct("<Qd")
_DTYPES = (("ids", np.int32), ("loss_mask", np.bool_), ("boundaries", np.int32), ("sources", np.int32))


class Kind(IntEnum):
    BATCH = 1
    ERROR = 2
    """The stream stops here: an error of the one tree."""
    END = 3
    """The stream is done."""
    FAULTS = 4
    """Between the processes that load together: the rows at fault of the step whose batches follow."""


@dataclass(frozen=True)
class Block:
    """A block in the hand, or one in shared memory that is held by its descriptor until it is closed."""

    kind: Kind
    header_bytes: int
    size: int
    """Bytes in all."""
    content: bytes | bytearray | None = None
    descriptor: int | None = None

    def send(self, channel: socket.socket, *, is_awaited: bool) -> None:
        """Hand it over; it is held here too until it is closed. `is_awaited` says that nothing else waits in the channel, so
        that there is room for it. Raises OSError when nobody is there to take it."""
        if self.content is not None and is_awaited and self.size <= MOST_IN_MESSAGE:
            channel.sendmsg([self._message(is_inside=True), self.content])
            return
        with self._shared() as descriptor:
            socket.send_fds(channel, [self._message(is_inside=False)], [descriptor])

    def read(self) -> tuple[memoryview, memoryview]:
        """Its header and its body; of a block that was received, in memory of our own that may be written."""
        content = memoryview(self.content if self.content is not None else _read_all(self.descriptor, self.size))
        return content[:self.header_bytes], content[self.header_bytes:]

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)

    def __enter__(self) -> Block:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _message(self, *, is_inside: bool) -> bytes:
        return _MESSAGE.pack(self.kind, is_inside, self.header_bytes, self.size)

    @contextlib.contextmanager
    def _shared(self) -> Iterator[int]:
        """The descriptor of its shared memory, which is made for the while where it has none."""
        if self.descriptor is not None:
            yield self.descriptor
            return
        descriptor = os.memfd_create("headrace-batch", os.MFD_CLOEXEC)
        try:
            _write_all(descriptor, memoryview(self.content or b""))
            yield descriptor
        finally:
            os.close(descriptor)


def pack_batch(batch: Batch) -> tuple[bytes, list[np.ndarray]]:
    """The header of a batch and its arrays, in the order in which they lie in the block."""
    arrays = [np.ascontiguousarray(getattr(each, name), dtype)
              for each in batch.micro_batches for name, dtype in _DTYPES]
    header = {
        "step": batch.step, "epoch": batch.epoch, "trained_tokens": batch.trained_tokens, "truncated": batch.truncated,
        "spelled": batch.spelled, "overlong": batch.overlong, "overlong_first": batch.overlong_first,
        "position": batch.position.to_json(), "loading": batch.loading, "warnings": batch.warnings,
        "rows": [(ref.source, ref.row) for ref in batch.rows],
        "holes": pack_holes(batch.holes),
        "slots": batch.slots, "slot_count": batch.slot_count, "counts": batch.counts,
        "digest": batch.digest,
        "lengths": [array.size for array in arrays],
    }
    told = orjson.dumps(header)
    return told + b" " * _filling(len(told)), arrays


def unpack_batch(header: bytes | memoryview, body: memoryview) -> Batch:
    """The batch again; its arrays are views of `body`."""
    told = orjson.loads(header)
    arrays: list[np.ndarray] = []
    at = 0
    for number, length in enumerate(told["lengths"]):
        dtype = np.dtype(_DTYPES[number % len(_DTYPES)][1])
        arrays.append(np.frombuffer(body, dtype, count=length, offset=at))
        at += length * dtype.itemsize
        at += _filling(at)
    return Batch(
        step=told["step"], epoch=told["epoch"], trained_tokens=told["trained_tokens"], truncated=told["truncated"],
        spelled=told["spelled"], overlong=told["overlong"], overlong_first=told["overlong_first"],
        position=Position.from_json(told["position"]), loading=Loading(**told["loading"]), warnings=tuple(told["warnings"]),
        micro_batches=tuple(MicroBatch(*arrays[k:k + len(_DTYPES)]) for k in range(0, len(arrays), len(_DTYPES))),
        rows=tuple(starmap(RowRef, told["rows"])),
        slots=tuple(told["slots"]), slot_count=told["slot_count"],
        counts=tuple(map(tuple, told["counts"])), digest=told["digest"],
        holes=unpack_holes(told["holes"]),
    )


def pack_holes(holes: Iterable[Hole]) -> list[tuple[Any, ...]]:
    return [(hole.ref.source, hole.ref.row, hole.line, hole.reason, hole.file, hole.cause, hole.is_first)
            for hole in holes]


def unpack_holes(told: Iterable[Sequence[Any]]) -> tuple[Hole, ...]:
    return tuple(Hole(RowRef(source, row), *about) for source, row, *about in told)


def write_block(kind: Kind, header: bytes, arrays: Sequence[np.ndarray] = ()) -> Block:
    content = b"".join(chain.from_iterable(map(_filled, (header, *arrays))))
    return Block(kind, len(header), len(content), content)


def receive(channel: socket.socket) -> Block | None:
    """Take the next block; None when the other end is gone."""
    message = _next_message(channel)
    if not message:
        return None
    kind, is_inside, header_bytes, size = _MESSAGE.unpack(message)
    if is_inside:
        content = bytearray(size)
        channel.recvmsg_into([bytearray(_MESSAGE.size), content])
        return Block(Kind(kind), header_bytes, size, content)
    _, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE.size, 1)
    return Block(Kind(kind), header_bytes, size, descriptor=descriptors[0]) if descriptors else None


def _next_message(channel: socket.socket) -> bytes:
    """Look at the next message and leave it there; empty when the other end is gone.

    A peer that died with answers unread resets the channel; what it had sent before can be read nevertheless."""
    with contextlib.suppress(ConnectionResetError):
        return channel.recv(_MESSAGE.size, socket.MSG_PEEK)
    return channel.recv(_MESSAGE.size, socket.MSG_PEEK)


def _filling(size: int) -> int:
    return -size % 8


def say_taken(channel: socket.socket, size: int, step_seconds: float = -1.0) -> None:
    with contextlib.suppress(OSError):  # it is gone; this block is whole, and the next call says so
        channel.send(_TAKEN.pack(size, step_seconds), socket.MSG_NOSIGNAL)


def hear_taken(channel: socket.socket) -> tuple[int, float] | None:
    """Hear which block was taken: its bytes, and the seconds of a step. None when the other end is gone.

    Does not wait: raises BlockingIOError when none was.
    """
    try:
        answer = channel.recv(_TAKEN.size, socket.MSG_DONTWAIT)
    except ConnectionError:
        return None
    return _TAKEN.unpack(answer) if answer else None


def _filled(part: Any) -> tuple[Any, bytes]:
    return part, bytes(_filling(memoryview(part).nbytes))


def _write_all(descriptor: int, content: memoryview) -> None:
    written = 0
    while written < len(content):
        written += os.write(descriptor, content[written:])


def _read_all(descriptor: int | None, size: int) -> bytearray:
    assert descriptor is not None
    content = bytearray(size)
    read = 0
    while read < size:
        read += os.preadv(descriptor, [memoryview(content)[read:]], read)
    return content
