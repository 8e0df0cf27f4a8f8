"""How many rows say again what another row said: hashes come in, a count goes out, in memory that does not grow.

Hashes (64-bit xxh3 of a row's bytes) are kept as long as they are few. Beyond `MOST_KEPT` only those are kept that end in
one more zero bit, then in two, and so on: all rows of one content are kept or let go of together, so the repetitions among
those kept, times two for each bit, estimate those of the whole. Two contents share a hash once in some billions of rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_KEPT = 1 << 20
"""Hashes in memory: 8 MB."""


@dataclass(frozen=True)
class Duplicates:
    rows: int = 0
    """Rows whose very bytes came before."""
    is_estimated: bool = False
    sampled_share: float = 1.0
    """Share of the contents that the estimate looked at."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class DuplicateCount:
    def __init__(self, most_kept: int = MOST_KEPT) -> None:
        self._most = most_kept
        self._bits = 0
        self._kept = 0
        self._parts: list[np.ndarray] = []

    def add(self, hashes: np.ndarray) -> None:
        """Count rows by their hashes: uint64, shape (rows,)."""
        self._take(self._sifted(hashes))

    def merge(self, others: Iterable[DuplicateCount]) -> None:
        """Count the rows of other files too, as if all had been one."""
        for other in others:
            self._bits = max(self._bits, other._bits)
            self._parts = [self._sifted(part) for part in self._parts]
            self._kept = sum(map(len, self._parts))
            for part in other._parts:
                self._take(self._sifted(part))

    def result(self) -> Duplicates:
        if not self._parts:
            return Duplicates()
        hashes = np.sort(np.concatenate(self._parts))
        self._parts = [hashes]
        repeated = int(np.count_nonzero(hashes[1:] == hashes[:-1]))
        return Duplicates(repeated << self._bits, self._bits > 0, 2.0**-self._bits)

    def to_array(self, most: int) -> np.ndarray:
        """The hashes that stand for the rest, `most` at most, after their number of bits: uint64."""
        count = DuplicateCount(most)
        count._bits = self._bits
        for part in self._parts:
            count._take(count._sifted(part))
        return np.concatenate([np.array([count._bits], np.uint64), *count._parts])

    @classmethod
    def from_array(cls, told: np.ndarray) -> DuplicateCount:
        count = cls()
        count._bits = int(told[0]) if len(told) else 0
        count._take(np.asarray(told[1:], np.uint64))
        return count

    def _take(self, hashes: np.ndarray) -> None:
        self._parts.append(hashes)
        self._kept += len(hashes)
        while self._kept > self._most:
            self._bits += 1
            self._parts = [self._sifted(np.concatenate(self._parts))]
            self._kept = len(self._parts[0])
            if self._bits >= 48:
                return

    def _sifted(self, hashes: np.ndarray) -> np.ndarray:
        """Those that end in zero bits. The lowest 16 decide the split too, so the bits above them are looked at."""
        if not self._bits:
            return hashes
        return hashes[(hashes >> np.uint64(16)) & np.uint64((1 << self._bits) - 1) == 0]
