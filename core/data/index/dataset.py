"""The indexes of a source's shards behind one face: rows are numbered over the shards, in their order.

Only the number of each shard's first row is kept here, so a look-up costs one bisection more than in a single shard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.index.opened import ShardIndex

HASHES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Found:
    """Of each row that was asked for: its shard, its number in there, where it starts and ends (its number again, twice, in a
    shard without offsets), 16 bits of its hash."""

    shards: list[int]
    numbers: list[int]
    starts: list[int]
    ends: list[int]
    hashes: list[int]


class DatasetIndex:
    """Answers in which shard a row lies, and what the shard's index knows of it."""

    def __init__(self, shards: Sequence[ShardIndex]) -> None:
        self.shards = tuple(shards)
        self.starts = np.concatenate([np.zeros(1, np.int64), np.cumsum([shard.rows for shard in self.shards], dtype=np.int64)])
        """int64, shape (shards + 1,): number of each shard's first row, and of all rows."""
        self.rows = int(self.starts[-1])
        self.faulty = self._joined_faulty()
        """int64, sorted: numbers of the faulty rows."""

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.report.bytes for shard in self.shards)

    @classmethod
    def open(cls, *index_paths: Path | str) -> DatasetIndex:
        """Map the indexes of the shards, in their order; raise DataError for one that cannot be used."""
        return cls([ShardIndex.open(path) for path in index_paths])

    def locate(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the shard of each row, and its number in there: int64 both; raise IndexError for no row."""
        rows = np.asarray(rows, dtype=np.int64)
        if rows.size and not (rows.min() >= 0 and rows.max() < self.rows):
            raise IndexError(f"the source has {self.rows} rows; a row outside of [0, {self.rows}) was asked for")
        shards = np.searchsorted(self.starts, rows, side="right") - 1
        return shards, rows - self.starts[shards]

    def place(self, row: int) -> tuple[int, int]:
        """Give the shard of one row, and its number in there; raise IndexError for no row."""
        shards, rows = self.locate(np.array([row]))
        return int(shards[0]), int(rows[0])

    def find(self, rows: np.ndarray) -> Found:
        """Give all that reading rows takes; raise IndexError for no row."""
        shards, numbers = self.locate(rows)
        spans, hashes = np.empty((len(numbers), 2), np.int64), np.empty(len(numbers), np.uint16)
        each = shards.tolist()
        for shard in set(each):
            mine = shards == shard
            spans[mine], hashes[mine] = self.shards[shard].find(numbers[mine])
        return Found(each, numbers.tolist(), spans[:, 0].tolist(), spans[:, 1].tolist(), hashes.tolist())

    def line(self, row: int) -> tuple[int, int]:
        """Give a row's shard, and its line in there, counted from 1; raise IndexError for no row."""
        shard, number = self.place(row)
        return shard, self.shards[shard].line(number)

    def hash_parts(self, rows_at_once: int = HASHES_AT_ONCE) -> Iterator[np.ndarray]:
        """Give all hashes in order, as uint16 arrays of `rows_at_once` rows, of which only the last may be shorter."""
        held: list[np.ndarray] = []
        room = rows_at_once
        for shard in self.shards:
            hashes = shard.hashes
            at = 0
            while len(hashes) - at >= room:
                yield np.concatenate([*held, hashes[at : at + room]])
                at, held, room = at + room, [], rows_at_once
                shard.let_go()
            if at < len(hashes):
                held.append(hashes[at:])
                room -= len(hashes) - at
        if held:
            yield np.concatenate(held)
        for shard in self.shards:
            shard.let_go()

    def _joined_faulty(self) -> np.ndarray:
        if len(self.shards) == 1:
            return self.shards[0].faulty
        parts = [shard.faulty + start for shard, start in zip(self.shards, self.starts[:-1], strict=True)]
        return np.concatenate([np.zeros(0, np.int64), *parts])
