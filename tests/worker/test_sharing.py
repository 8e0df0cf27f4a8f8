"""Handing channels from rank 0 to another rank, in one process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.data.ahead.process import channel_pair
from core.data.row_set import RowSet
from core.data.spec import Places, Position
from core.errors import RunInterrupted
from tests.streams import stream_spec
from worker.ranks import Member
from worker.sharing import Alone, Giving, Taking, open_sharing

NONE, NOTHING = Position(), RowSet()


class Two:
    """Rank 0 and rank 1."""

    def __init__(self) -> None:
        ours, theirs = channel_pair()
        self.hand, self.is_stopping = ours, False
        self.first = Giving([ours], lambda stream: Places())
        self.second = Taking(theirs, lambda: self.is_stopping)
        self.ends = (ours, theirs)


@pytest.fixture
def two() -> Iterator[Two]:
    made = Two()
    yield made
    for end in made.ends:
        end.close()


def test_each_rank_gets_its_own_rows_of_the_same_steps(two: Two, tmp_path: Path) -> None:
    spec = stream_spec(tmp_path)
    with two.first.open(spec, NONE, NOTHING) as mine, two.second.open(spec, NONE, NOTHING) as theirs:
        assert [(a.step, a.slots, b.step, b.slots) for a, b in zip(mine, theirs, strict=True)] == [
            (step, (0, 2), step, (1, 3)) for step in (1, 2, 3)]
        assert theirs.pid == 0


def test_a_rank_that_means_another_stream_is_not_fed(two: Two, tmp_path: Path) -> None:
    spec = stream_spec(tmp_path)
    wrong = pytest.raises(RunInterrupted, match="reads on from another step or by another mixture")
    with two.first.open(spec, NONE, NOTHING), wrong:
        two.second.open(replace(spec, seed=8), NONE, NOTHING)


def test_a_rank_whose_first_is_gone_only_misses_it(two: Two, tmp_path: Path) -> None:
    spec = stream_spec(tmp_path)
    mine, theirs = two.first.open(spec, NONE, NOTHING), two.second.open(spec, NONE, NOTHING)
    mine.close()
    two.hand.shutdown(socket.SHUT_RDWR)
    with theirs, pytest.raises(RunInterrupted) as caught:
        list(theirs)
    assert caught.value.code == "rank_lost"
    with pytest.raises(RunInterrupted, match="rank 0 of this run is gone"):
        two.second.open(spec, NONE, NOTHING)


def test_a_rank_that_waits_hears_a_stop(two: Two, tmp_path: Path) -> None:
    threading.Timer(0.1, lambda: setattr(two, "is_stopping", True)).start()
    with pytest.raises(RunInterrupted, match="a stop came"):
        two.second.open(stream_spec(tmp_path), NONE, NOTHING)


def test_ranks_without_hands_read_for_themselves(tmp_path: Path) -> None:
    sharing = open_sharing(Member(1, 3), places=lambda stream: Places(), is_stopping=lambda: False)
    assert isinstance(sharing, Alone)
    with sharing.open(stream_spec(tmp_path), NONE, NOTHING) as ahead:
        assert next(ahead).slots == (1,)
