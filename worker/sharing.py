"""One read-ahead for all ranks of a run: each row is read, tokenised and fitted once, whatever the number of ranks.

    the supervisor    makes a pair of sockets, a *hand*, for each rank but the first, before it starts them
    rank 0            starts the process that loads, with a channel for each rank, and passes the others' ends over their hands
    rank r            takes its end when it opens the same stream, and then its batches: its own share of each step, no more

Rank 0 owns the process: it is in its process group and dies with it, and it alone is told what opens the places. It also
speaks for it: when the process is gone, rank 0 says how it ended, and the others only that they miss it. They wait a moment
before they do, until rank 0 has left or they hear of a stop, so that a consequence is never told before its cause. A rank
that leaves closes its channel, and the process goes on for the rest: what ends a run is the supervisor's to say.

Ranks that were started by hand (torchrun) have no hands; each of them reads for itself and keeps its share.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import orjson
import xxhash

from core.data.ahead import ReadAhead, read_ahead, read_ahead_together
from core.data.row_set import RowSet
from core.data.spec import Places, Position, StreamSpec
from core.errors import HeadraceError, RunInterrupted
from worker.ranks import RANK_LOST, Member

READ_AHEAD_BYTES = 32 << 20
LOOK_SECONDS = 0.1
LOST_SECONDS = 10.0
"""How long rank 0 has to say what became of the process, before a rank that misses it speaks for itself."""
_MARK_BYTES = 8

PlacesOf = Callable[[StreamSpec], Places]


class Sharing(Protocol):
    """How a rank opens a read-ahead; all ranks of a run open the same ones in the same order."""

    def open(self, stream: StreamSpec, position: Position, skipped: RowSet, *, processes: int = 1) -> ReadAhead: ...


def open_sharing(member: Member, *, places: PlacesOf, is_stopping: Callable[[], bool]) -> Sharing:
    """How this rank reads; `places` gives what opens those of a stream, where this rank's own process reads it."""
    hands = [socket.socket(fileno=descriptor) for descriptor in member.hand_fds]
    for hand in hands:
        hand.set_inheritable(False)
    if not hands:
        return Alone(member, places)
    return Giving(hands, places) if member.rank == 0 else Taking(hands[0], is_stopping)


def share_of(stream: StreamSpec, member: Member) -> StreamSpec:
    """The stream of which only a rank's own share is given."""
    return replace(stream, rank=member.rank, ranks=member.ranks)


class Alone:
    """A rank with a process of its own."""

    def __init__(self, member: Member, places: PlacesOf) -> None:
        self._member, self._places = member, places

    def open(self, stream: StreamSpec, position: Position, skipped: RowSet, *, processes: int = 1) -> ReadAhead:
        return read_ahead(share_of(stream, self._member), position, byte_budget=READ_AHEAD_BYTES, places=self._places(stream),
                          processes=processes, skipped=skipped)


class Giving:
    """Rank 0, whose process loads for all."""

    def __init__(self, hands: Sequence[socket.socket], places: PlacesOf) -> None:
        self._hands, self._places = hands, places

    def open(self, stream: StreamSpec, position: Position, skipped: RowSet, *, processes: int = 1) -> ReadAhead:
        ahead, channels = read_ahead_together(stream, position, ranks=len(self._hands) + 1, byte_budget=READ_AHEAD_BYTES,
                                              places=self._places(stream), processes=processes, skipped=skipped)
        for hand, channel in zip(self._hands, channels, strict=True):
            with channel, suppress(OSError):  # a rank that is gone takes nothing; the supervisor has seen it too
                socket.send_fds(hand, [_mark(stream, position)], [channel.fileno()])
        return ahead


class Taking:
    """Another rank, which is handed a channel. Also the loader behind that channel, as far as this rank can tell of it."""

    def __init__(self, hand: socket.socket, is_stopping: Callable[[], bool]) -> None:
        self._hand, self._is_stopping = hand, is_stopping
        self.pid = 0

    def open(self, stream: StreamSpec, position: Position, skipped: RowSet, *, processes: int = 1) -> ReadAhead:
        """Wait for rank 0's; raises RunInterrupted when a stop comes first, or rank 0 has left."""
        self._wait()
        message, descriptors, _, _ = socket.recv_fds(self._hand, _MARK_BYTES, 1)
        if not descriptors:
            raise _missed()
        channel = socket.socket(fileno=descriptors[0])
        if message != _mark(stream, position):
            channel.close()
            raise RunInterrupted("rank 0 reads on from another step or by another mixture than this rank; the run goes on from "
                                 "its last checkpoint")
        return ReadAhead(channel, self)

    def lost(self) -> HeadraceError:
        with suppress(RunInterrupted):
            if not self._wait(LOST_SECONDS):
                return RunInterrupted("the read-ahead process of this run is gone; the run goes on from its last checkpoint",
                                      code="read_ahead_lost")
        return _missed()

    def close(self) -> None:
        """The process is rank 0's to end."""

    def _wait(self, most_seconds: float = float("inf")) -> bool:
        """Wait until rank 0 has passed something on or left; False after so long. Raises RunInterrupted for a stop."""
        end = time.monotonic() + most_seconds
        while time.monotonic() < end:
            if self._is_stopping():
                raise RunInterrupted("a stop came while rank 0 was waited for")
            if select.select([self._hand], [], [], LOOK_SECONDS)[0]:
                return True
        return False


def _missed() -> RunInterrupted:
    return RunInterrupted("rank 0 of this run is gone, and its read-ahead process with it; the run goes on from its last "
                          "checkpoint", code=RANK_LOST)


def _mark(stream: StreamSpec, position: Position) -> bytes:
    """What is read from where, in few bytes, so that ranks notice when they do not mean the same."""
    return xxhash.xxh3_64_digest(orjson.dumps([stream.to_json(), position.to_json()]))
