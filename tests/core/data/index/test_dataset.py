from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.index import DatasetIndex
from tests.core.data.rows_on_disk import chat_row, registered

BROKEN = b"{"


def index_of(folder: Path, *shards: list) -> DatasetIndex:
    return DatasetIndex.open(*(
        registered(folder, rows, name=f"part-{number}").shards[0].index_path for number, rows in enumerate(shards)))


def test_rows_are_numbered_over_the_shards(tmp_path: Path):
    index = index_of(tmp_path, [chat_row("a"), chat_row("b")], [], [chat_row("c")])
    assert index.rows == 3
    assert [index.place(row) for row in range(3)] == [(0, 0), (0, 1), (2, 0)]
    shards, rows = index.locate(np.array([2, 0, 1]))
    assert (shards.tolist(), rows.tolist()) == ([2, 0, 0], [0, 0, 1])


def test_a_row_is_told_by_its_shard_and_what_that_shard_knows(tmp_path: Path):
    index = index_of(tmp_path, [chat_row()], [b"", chat_row("b"), chat_row("c")])
    assert index.line(1) == (1, 2)
    found = index.find(np.array([2]))
    assert (*found.shards, *found.starts, *found.ends) == (1, *index.shards[1].span(1))
    assert found.hashes == [index.shards[1].hashes[1]]


def test_faulty_rows_of_all_shards_are_known_by_their_number_in_the_source(tmp_path: Path):
    index = index_of(tmp_path, [BROKEN, chat_row()], [chat_row(), BROKEN, BROKEN])
    assert index.faulty.tolist() == [0, 3, 4]


@pytest.mark.parametrize("row", [-1, 2])
def test_a_row_beyond_the_last_shard_is_refused(tmp_path: Path, row: int):
    index = index_of(tmp_path, [chat_row()], [chat_row()])
    with pytest.raises(IndexError, match="2 rows"):
        index.place(row)


class Hashed:
    """A shard's index, as far as hashes go."""

    def __init__(self, start: int, rows: int) -> None:
        self.rows, self.faulty = rows, np.zeros(0, np.int64)
        self.hashes = np.arange(start, start + rows).astype(np.uint16)

    def let_go(self) -> None:
        """There is nothing to give back."""


@given(st.lists(st.integers(0, 40), max_size=8))
def test_hashes_come_in_order_and_in_whole_parts(sizes: list[int]):
    starts = np.cumsum([0, *sizes]).tolist()
    index = DatasetIndex([Hashed(a, b - a) for a, b in pairwise(starts)])  # pyright: ignore[reportArgumentType]
    parts = list(index.hash_parts(16))
    assert all(len(part) == 16 for part in parts[:-1])
    assert np.concatenate([np.zeros(0, np.uint16), *parts]).tolist() == list(range(sum(sizes)))
