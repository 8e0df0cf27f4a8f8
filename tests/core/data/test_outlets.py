"""What was handed over and not taken is bounded over all ranks, and rank 0 hears last."""

from __future__ import annotations

import threading

import pytest

from core.data.ahead.depth import Depth
from core.data.ahead.outlets import Outlets
from core.data.ahead.process import channel_pair
from core.data.ahead.wire import Block, Kind, receive, say_taken, write_block


class Ranks:
    def __init__(self, count: int, *, most_bytes: int = 1 << 20, depth: int = 3) -> None:
        pairs = [channel_pair() for _ in range(count)]
        self.ends = [ours for ours, _ in pairs]
        self.outlets = Outlets([theirs for _, theirs in pairs], most_bytes=most_bytes, depth=Depth(at_first=depth))

    def hand_over(self, size: int = 8) -> None:
        self.outlets.hand_over([block(size) for _ in self.ends])

    def take(self, rank: int) -> Block:
        taken = receive(self.ends[rank])
        assert taken is not None
        say_taken(self.ends[rank], taken.size)
        taken.close()
        return taken

    def is_waiting(self) -> bool:
        """Whether one more is waited with, until rank 1 has taken one."""
        began = threading.Event()
        thread = threading.Thread(target=lambda: (began.set(), self.hand_over()))
        thread.start()
        began.wait()
        thread.join(0.1)
        was_waiting = thread.is_alive()
        self.take(1)
        thread.join(5)
        return was_waiting and not thread.is_alive()


def block(size: int) -> Block:
    return write_block(Kind.BATCH, b" " * size)


def test_the_rank_that_is_furthest_behind_counts() -> None:
    ranks = Ranks(2)
    for _ in range(3):
        ranks.hand_over()
        ranks.take(0)
    assert ranks.is_waiting()


def test_the_bytes_of_all_ranks_count_together() -> None:
    ranks = Ranks(2, most_bytes=64, depth=99)
    ranks.hand_over(24)
    ranks.take(0)
    ranks.hand_over(8)
    ranks.hand_over(8)
    assert ranks.is_waiting()


def test_rank_0_is_handed_its_part_last() -> None:
    """Both ranks have the same channel here, so that the order is seen."""
    ours, theirs = channel_pair()
    Outlets([theirs, theirs.dup()], most_bytes=99, depth=Depth()).hand_over([block(8), block(16)])
    taken = [receive(ours), receive(ours)]
    assert [each and each.size for each in taken] == [16, 8]


def test_a_rank_that_left_is_no_more_waited_for_and_when_all_have_none_is() -> None:
    ranks = Ranks(2)
    ranks.ends[1].close()
    for _ in range(9):
        ranks.hand_over()
        ranks.take(0)
    ranks.ends[0].close()
    with pytest.raises(ConnectionResetError):
        ranks.hand_over()
    ranks.outlets.stay()
