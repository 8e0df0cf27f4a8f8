"""The ranks of one run: which of them a process is, and where they meet. Read before torch is imported.

A supervisor starts all ranks of a run on its own host. They are told by environment, under the names that torchrun uses, so
that a run can also be started by it. Rank 0 keeps the store in which they meet, on the loopback address; the supervisor
has bound its port already and hands the listening socket down, so no other program can take the port in between. It also makes
a pair of sockets between rank 0 and each of the others, over which rank 0 passes descriptors (worker/sharing.py).
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.errors import ConfigurationError

RANK, RANKS, LOCAL_RANK, ADDRESS, PORT = "RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"
MEETING_FD, HAND_FDS = "HEADRACE_MEETING_FD", "HEADRACE_HAND_FDS"
LOOPBACK = "127.0.0.1"
RANK_LOST = "rank_lost"
"""Code of a rank that misses another: a consequence, never the cause of a run's end."""


@dataclass(frozen=True)
class Member:
    """One rank of a group."""

    rank: int = 0
    ranks: int = 1
    port: int = 0
    """Where the group meets, on the loopback address."""
    meeting_fd: int | None = None
    """Rank 0 under a supervisor: the socket that listens there."""
    hand_fds: tuple[int, ...] = ()
    """Under a supervisor, sockets to other ranks: rank 0 has one to each of them, in their order; each has one to rank 0."""

    @property
    def passed_fds(self) -> tuple[int, ...]:
        """The descriptors that this rank inherits."""
        return self.hand_fds if self.meeting_fd is None else (self.meeting_fd, *self.hand_fds)

    def environment(self) -> dict[str, str]:
        """Say to a child which rank it is; nothing where it is the only one."""
        if self.ranks == 1:
            return {}
        told = {RANK: str(self.rank), LOCAL_RANK: str(self.rank), RANKS: str(self.ranks), ADDRESS: LOOPBACK,
                PORT: str(self.port), HAND_FDS: ",".join(map(str, self.hand_fds))}
        return told if self.meeting_fd is None else {**told, MEETING_FD: str(self.meeting_fd)}


def read_member(environment: Mapping[str, str], *, ranks: int) -> Member:
    """Which rank of `ranks` this process is; raises ConfigurationError when it was started as one of another number."""
    told = int(environment.get(RANKS, "1"))
    if told != ranks:
        raise ConfigurationError(f"the spec asks for {ranks} ranks and {RANKS} is {told}; start as many processes as the spec "
                                 "has ranks, or let a worker start them")
    if ranks == 1:
        return Member()
    meeting, hands = environment.get(MEETING_FD), environment.get(HAND_FDS)
    return Member(int(environment[RANK]), ranks, int(environment[PORT]), int(meeting) if meeting else None,
                  tuple(map(int, hands.split(","))) if hands else ())


def open_meeting() -> socket.socket:
    """Listen on a free port of the loopback address; to be passed down to rank 0 and closed here."""
    return socket.create_server((LOOPBACK, 0), backlog=128)


def open_hands(ranks: int) -> list[tuple[socket.socket, socket.socket]]:
    """Rank 0's end and the other's, for each other rank; to be passed down and closed here."""
    return [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(1, ranks)]


def members(ranks: int, meeting: socket.socket | None, hands: Sequence[tuple[socket.socket, socket.socket]] = ()
            ) -> list[Member]:
    """All ranks of a group that meets there."""
    if meeting is None or ranks == 1:
        return [Member()]
    port = meeting.getsockname()[1]
    first = Member(0, ranks, port, meeting.fileno(), tuple(ours.fileno() for ours, _ in hands))
    theirs = [(end.fileno(),) for _, end in hands] or [()] * (ranks - 1)
    return [first, *(Member(rank, ranks, port, None, fds) for rank, fds in enumerate(theirs, start=1))]


def own_threads(threads: int, ranks: int) -> int:
    """Each rank's share of a host's threads."""
    return max(1, threads // ranks)


__all__ = ["Member", "members", "open_hands", "open_meeting", "own_threads", "read_member"]
