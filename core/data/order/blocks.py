"""A shuffled order that reads a source nearly from front to back: (size, key, places) -> numbers, nothing stored.

The numbers [0, size) are cut into blocks of consecutive ones. The blocks are permuted, every `WINDOW_BLOCKS` of them in a row
make a window, and the numbers of a window are permuted among themselves. It is the two-level shuffle of L. Xu et al.,
"In-Database Machine Learning with CorgiPile: Stochastic Gradient Descent without Full Data Shuffle" (SIGMOD 2022), computed
instead of buffered: both levels are keyed permutations, so any place costs the same and each number comes once.

Locality: all numbers of a block come within `WINDOW_BLOCKS * block_rows` consecutive places, and any `(WINDOW_BLOCKS - 1) *
block_rows` consecutive places, which is no more than any window but the last has, touch at most `2 * WINDOW_BLOCKS` blocks. So
a reader that keeps two windows fetches each block once a pass.

The last block may be short. It stands at a slot drawn by the key and, within its window, after the full ones; so where a
window starts is one product and, behind the short block, one subtraction.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.data.order.permutation import Permutation, derive_key

WINDOW_BLOCKS = 16
BLOCK_BYTES = 4 << 20
"""About so many bytes of consecutive rows make a block: several reads' worth, so that hardly any is for a part of one."""
LEAST_ROWS, MOST_ROWS = 16, 1 << 16


class BlockPermutation:
    """Bijection of [0, size) chosen by a 64-bit key, with `block_rows` numbers a block."""

    def __init__(self, size: int, key: int, *, block_rows: int) -> None:
        if block_rows < 1:
            raise ValueError(f"a block cannot have {block_rows} rows; it has at least 1")
        self.size = size
        self._rows = block_rows
        self._blocks = -(-size // block_rows)
        self._missing = self._blocks * block_rows - size
        """Numbers that the last block lacks."""
        self._order = Permutation(self._blocks - bool(self._missing), derive_key(key, 0))
        self._short_slot = derive_key(key, 1) % self._blocks if self._missing else _round_up(self._blocks)
        self._short_window = self._short_slot // WINDOW_BLOCKS
        self._within = lru_cache(maxsize=4)(lambda window: Permutation(self._window_size(window), derive_key(key, 2, window)))

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """Map places of [0, size) to the numbers that stand there: int64 in, int64 out, any shape."""
        flat = np.asarray(places, dtype=np.int64).ravel()
        windows = self._windows(flat)
        numbers = np.empty_like(flat)
        for window in np.unique(windows).tolist():
            chosen = windows == window
            numbers[chosen] = self._numbers(window, self._within(window)(flat[chosen] - self._start(window)))
        return numbers.reshape(np.shape(places))

    def _windows(self, places: np.ndarray) -> np.ndarray:
        """Tell the window of each place; the one with the short block ends early, and all behind it begin so."""
        whole = WINDOW_BLOCKS * self._rows
        early = self._start(self._short_window + 1)
        return np.where(places < early, places // whole, (places + self._missing) // whole)

    def _start(self, window: int) -> int:
        return window * WINDOW_BLOCKS * self._rows - (self._missing if window > self._short_window else 0)

    def _window_size(self, window: int) -> int:
        return min(self._start(window + 1), self.size) - self._start(window)

    def _numbers(self, window: int, inside: np.ndarray) -> np.ndarray:
        """The numbers of a window's blocks laid end to end, the short one last."""
        slots = window * WINDOW_BLOCKS + inside // self._rows
        if window == self._short_window:
            last = min((window + 1) * WINDOW_BLOCKS, self._blocks) - 1
            slots = np.where(slots == last, self._short_slot, slots + (slots >= self._short_slot))
        return self._block_at(slots) * self._rows + inside % self._rows

    def _block_at(self, slots: np.ndarray) -> np.ndarray:
        is_short = slots == self._short_slot
        full = self._order(np.where(is_short, 0, slots - (slots > self._short_slot))) if self._order.size else slots
        return np.where(is_short, self._blocks - 1, full)


def _round_up(blocks: int) -> int:
    """A slot in no window, for the short block that is not there."""
    return -(-blocks // WINDOW_BLOCKS) * WINDOW_BLOCKS


def rows_per_block(rows: int, bytes: int) -> int:
    """Choose how many rows make a block of a source: a power of two, from what its rows weigh on average."""
    wanted = BLOCK_BYTES * rows // max(bytes, 1)
    return 1 << (min(max(wanted, LEAST_ROWS), MOST_ROWS).bit_length() - 1)
