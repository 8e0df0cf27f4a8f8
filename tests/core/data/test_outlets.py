"""What was handed over and not taken is bounded over all ranks, and rank 0 hears last."""

from __future__ import annotations

import threading

import pytest

from core.data.ahead.depth import MOST, Depth
from core.data.ahead.outlets import Outlets
from core.data.ahead.process import channel_pair
from core.data.ahead.wire import MOST_IN_MESSAGE, Block, Kind, receive, say_taken, write_block
from tests.waiting import PATIENCE_SECONDS


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
        thread.join(PATIENCE_SECONDS)
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


def test_a_small_block_that_is_awaited_goes_in_the_message_and_every_other_beside_it() -> None:
    ranks = Ranks(1)
    for size in (8, 8, MOST_IN_MESSAGE):
        ranks.hand_over(size)
    waited = [ranks.take(0) for _ in range(3)]
    ranks.hand_over(MOST_IN_MESSAGE)
    awaited = ranks.take(0)
    ranks.hand_over(MOST_IN_MESSAGE + 8)
    assert [each.descriptor is None for each in (*waited, awaited, ranks.take(0))] == [True, False, False, True, False]


def test_a_block_in_a_message_leaves_room_for_all_others_that_may_wait() -> None:
    ranks = Ranks(1, most_bytes=1 << 30, depth=MOST)
    for size in (MOST_IN_MESSAGE, *[8] * (MOST - 1)):
        ranks.hand_over(size)
    assert [ranks.take(0).size for _ in range(MOST)] == [MOST_IN_MESSAGE, *[8] * (MOST - 1)]


@pytest.mark.parametrize("size", [8, MOST_IN_MESSAGE + 8])
def test_a_block_may_be_handed_on_unread(size: int) -> None:
    first, second = Ranks(1), Ranks(1)
    first.outlets.hand_over([write_block(Kind.BATCH, b"a" * size)])
    taken = receive(first.ends[0])
    assert taken is not None
    second.outlets.hand_on([taken])
    again = receive(second.ends[0])
    assert again is not None
    with again:
        assert bytes(again.read()[0]) == b"a" * size
