"""Two ranks as threads of one process, each with its own model: they meet at a barrier and add up in the order of ranks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from worker.ranks import Member
from worker.training.group import Group, Tensors

RANKS = 2


class Table:
    """Where they meet."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(RANKS, timeout=60)
        self._brought: list[Any] = [None] * RANKS

    def meet(self, rank: int, brought: Any) -> list[Any]:
        self._brought[rank] = brought
        self._barrier.wait()
        told = list(self._brought)
        self._barrier.wait()
        return told


class ThreadRank(Group):
    def __init__(self, table: Table, rank: int) -> None:
        super().__init__(Member(rank, RANKS))
        self._table = table

    def exchange(self, words: Sequence[int]) -> list[list[int]]:
        return self._table.meet(self.rank, list(words))

    def add_up(self, numbers: torch.Tensor) -> None:
        numbers.copy_(torch.stack([each.clone() for each in self._table.meet(self.rank, numbers.clone())]).sum(0))

    def collect(self, tensors: Tensors) -> list[Tensors]:
        return self._table.meet(self.rank, tensors)


def together(run: Callable[[Group], None]) -> None:
    """Do `run` on both ranks at once; raises what one of them raised."""
    table = Table()
    with ThreadPoolExecutor(RANKS) as pool:
        for done in [pool.submit(run, ThreadRank(table, rank)) for rank in range(RANKS)]:
            done.result()
