"""Which rows are kept, and where the n-th of them lies: a bitmap with rank and select.

One bit a row, and one running count of 64 bits for every block of 512 rows: 1.125 bits a row in all. `select` finds the
block by bisection over the counts, then the word and the bit inside it by counting bits; the bisection is the only part
that grows with the number of rows, and it grows by one step when they double. (The two-level directory is that of
G. Jacobson, "Space-efficient Static Trees and Graphs", FOCS 1989.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

BLOCK_ROWS = 512
_WORDS = BLOCK_ROWS // 64
_SELECT_AT_ONCE = 4096
"""Numbers looked up in one go, so that the table of their bits stays within a few hundred KB."""
_BUILD_AT_ONCE = 1 << 20


class RankSelect:
    """The kept rows of [0, rows): `size` of them."""

    def __init__(self, kept: np.ndarray | Iterable[np.ndarray]) -> None:
        """Take a bool mask, or its consecutive parts so that the whole never lies in memory at a byte a row."""
        parts = _cut(kept) if isinstance(kept, np.ndarray) else kept
        self._words, self.rows = _packed(parts)
        per_block = np.bitwise_count(self._words).sum(axis=1, dtype=np.int64)
        self._before = np.concatenate([np.zeros(1, np.int64), np.cumsum(per_block)])
        self.size = int(self._before[-1])

    @property
    def nbytes(self) -> int:
        return self._words.nbytes + self._before.nbytes

    def select(self, ns: np.ndarray) -> np.ndarray:
        """Give the row of the n-th kept row, counted from 0: int64 in, int64 out; raise IndexError beyond `size`."""
        numbers = np.asarray(ns, dtype=np.int64)
        if numbers.size and not (numbers.min() >= 0 and numbers.max() < self.size):
            raise IndexError(f"{self.size} rows are kept; a number outside of [0, {self.size}) was asked for")
        flat = numbers.ravel()
        parts = [self._select_few(flat[i : i + _SELECT_AT_ONCE]) for i in range(0, len(flat), _SELECT_AT_ONCE)]
        return np.concatenate(parts or [flat]).reshape(numbers.shape)

    def rank(self, rows: np.ndarray) -> np.ndarray:
        """Count the kept rows before each row: int64 in, int64 out."""
        numbers = np.asarray(rows, dtype=np.int64)
        block, inside = np.divmod(numbers, BLOCK_ROWS)
        words = self._words[np.minimum(block, len(self._words) - 1)]
        ahead = np.clip(inside[..., None] - 64 * np.arange(_WORDS), 0, 64).astype(np.uint64)
        masks = np.where(ahead == 64, ~np.uint64(0), (np.uint64(1) << (ahead % np.uint64(64))) - np.uint64(1))
        return self._before[block] + np.bitwise_count(words & masks).sum(axis=-1, dtype=np.int64)

    def _select_few(self, numbers: np.ndarray) -> np.ndarray:
        block = np.searchsorted(self._before, numbers, side="right") - 1
        words = self._words[block]
        upto = np.cumsum(np.bitwise_count(words), axis=1, dtype=np.int64)
        left = numbers - self._before[block]
        word = (upto <= left[:, None]).sum(axis=1)
        each = np.arange(len(numbers))
        left = left - np.where(word > 0, upto[each, word - 1], 0)
        chosen = np.ascontiguousarray(words[each, word].astype("<u8"))
        bits = np.unpackbits(chosen.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
        bit = (np.cumsum(bits, axis=1, dtype=np.int64) <= left[:, None]).sum(axis=1)
        return block * BLOCK_ROWS + word * 64 + bit


def _cut(mask: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(mask), _BUILD_AT_ONCE):
        yield mask[start : start + _BUILD_AT_ONCE]


def _packed(parts: Iterable[np.ndarray]) -> tuple[np.ndarray, int]:
    """Pack bool parts into words, shape (blocks, 8), little-endian; all parts but the last hold whole bytes."""
    packed: list[np.ndarray] = []
    rows = 0
    for part in parts:
        if rows % 8:
            raise ValueError(f"a part of the mask ends at row {rows}; only the last part may end between two bytes")
        packed.append(np.packbits(np.asarray(part, dtype=bool), bitorder="little"))
        rows += len(part)
    blocks = -(-rows // BLOCK_ROWS)
    whole = np.zeros(blocks * BLOCK_ROWS // 8, np.uint8)
    np.concatenate(packed or [whole], out=whole[: sum(map(len, packed))] if packed else whole)
    return whole.view("<u8").astype(np.uint64, copy=False).reshape(blocks, _WORDS), rows
