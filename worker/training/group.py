"""What the ranks of a run say to each other: gradients and sums on the devices, a few words between the processes.

Two channels, both on the loopback interface. *Numbers* (gradients, losses) are added up where they lie: gloo on a CPU, NCCL on
CUDA. *Words* (a stop was asked, a recovery point is due) are whole numbers on the host, always by gloo, so that saying one
never waits for a GPU.

Every rank comes to every meeting, in one order, whatever happened to it: a rank that is told to stop says so at the next
meeting and all leave together; none leaves by itself while another waits for it. A rank that dies closes its connections,
which the others notice at once: RunInterrupted `rank_lost`. A rank that hangs is silent, and so are those that wait for it:
their supervisor ends them all.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from core.errors import RunInterrupted
from worker.ranks import LOOPBACK, RANK_LOST, Member
from worker.shortage import is_out_of_memory

MEETING_SECONDS = 300.0
"""How long a rank waits for the others to be started."""
PATIENCE_SECONDS = 3600.0
"""How long a rank waits at a meeting: longer than an answer of samples or a slow save takes. Deaths are noticed without it."""
Tensors = dict[str, torch.Tensor]


class Group:
    """A run of one rank: every meeting is with oneself."""

    def __init__(self, member: Member = Member()) -> None:  # noqa: B008 - a frozen value
        self.rank, self.ranks = member.rank, member.ranks

    @property
    def is_first(self) -> bool:
        """Rank 0 reports the steps and writes the checkpoints."""
        return self.rank == 0

    def exchange(self, words: Sequence[int]) -> list[list[int]]:
        """Give every rank's words to every rank, in the order of the ranks; all bring equally many."""
        return [list(words)]

    def add_up(self, numbers: torch.Tensor) -> None:
        """Replace numbers, on the device, by their sums over the ranks: the same bits on each."""

    def collect(self, tensors: Tensors) -> list[Tensors]:
        """Give every rank's tensors, on the host, to every rank; they have the same names and shapes on each."""
        return [tensors]


class Ranks(Group):
    """Several ranks, each a process of its own."""

    def __init__(self, member: Member) -> None:
        super().__init__(member)
        self._words = _words_channel()

    def exchange(self, words: Sequence[int]) -> list[list[int]]:
        mine = torch.tensor(words, dtype=torch.int64)
        told = torch.empty(self.ranks, len(words), dtype=torch.int64)
        with _lost():
            dist.all_gather(list(told.unbind()), mine, group=self._words)
        return told.tolist()

    def add_up(self, numbers: torch.Tensor) -> None:
        with _lost():
            dist.all_reduce(numbers)

    def collect(self, tensors: Tensors) -> list[Tensors]:
        found: list[Tensors] = [{} for _ in range(self.ranks)]
        for name, tensor in sorted(tensors.items()):
            everyones = [torch.empty_like(tensor) for _ in range(self.ranks)]
            with _lost():
                dist.all_gather(everyones, tensor.contiguous(), group=self._words)
            for mine, theirs in zip(found, everyones, strict=True):
                mine[name] = theirs
        return found


def open_group(member: Member, *, place: torch.device) -> Group:
    """Meet the other ranks; they may be started in any order."""
    if member.ranks == 1:
        return Group()
    for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        os.environ.setdefault(name, "lo")
    with _lost():
        store = dist.TCPStore(  # pyright: ignore[reportPrivateImportUsage]
            LOOPBACK, member.port, member.ranks, is_master=member.rank == 0, timeout=timedelta(seconds=MEETING_SECONDS),
            master_listen_fd=member.meeting_fd)
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo", store=store, rank=member.rank,
                                world_size=member.ranks, timeout=timedelta(seconds=PATIENCE_SECONDS),
                                device_id=place if place.type == "cuda" else None)
        return Ranks(member)


def _words_channel() -> dist.ProcessGroup:
    group = dist.new_group(backend="gloo", timeout=timedelta(seconds=PATIENCE_SECONDS))
    assert isinstance(group, dist.ProcessGroup)
    return group


@contextmanager
def _lost():
    """Torch has a plain RuntimeError for a peer that left, and subclasses of it for the store and NCCL."""
    try:
        yield
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        told = (str(error).splitlines() or [""])[0]
        raise RunInterrupted(f"another rank of this run is gone ({told[:200]}); the run goes on from its last checkpoint",
                             code=RANK_LOST) from error
