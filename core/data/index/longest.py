"""The rows that are longest in bytes, from an index alone: one pass over the lengths, some at a time; no row is read.

Rows of Parquet are never among them, since only their column chunks have a length.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from core.data.index.dataset import DatasetIndex

ROWS_AT_ONCE = 1 << 20


def longest_rows(index: DatasetIndex, count: int, *, most_bytes: int) -> list[int]:
    """Give the numbers of so many good rows at most, the longest first, within so many bytes; the longest one always. None
    where no row has a length."""
    rows = lengths = np.zeros(0, np.int64)
    for first, sizes in _sizes(index):
        numbers = np.arange(first, first + len(sizes))
        kept = ~np.isin(numbers, index.faulty, assume_unique=True) if len(index.faulty) else np.ones(len(numbers), bool)
        rows, lengths = np.concatenate([rows, numbers[kept]]), np.concatenate([lengths, sizes[kept]])
        if len(rows) > count:
            best = np.argpartition(lengths, -count)[-count:]
            rows, lengths = rows[best], lengths[best]
    order = np.argsort(-lengths, kind="stable")
    within = max(int(np.searchsorted(np.cumsum(lengths[order]), most_bytes)), 1)
    return rows[order][:within].tolist()


def _sizes(index: DatasetIndex) -> Iterator[tuple[int, np.ndarray]]:
    """Bytes of the rows, some at a time: the number of the first, and int64, shape (rows,)."""
    for shard, start in zip(index.shards, index.starts.tolist(), strict=False):
        for at in range(0, shard.rows, ROWS_AT_ONCE) if shard.has_offsets else ():
            spans = shard.spans(np.arange(at, min(at + ROWS_AT_ONCE, shard.rows)))
            yield start + at, spans[:, 1] - spans[:, 0]
