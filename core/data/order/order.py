"""The order of one source over all passes: a position comes in, a row number goes out.

A position counts the rows read since the start: pass times size plus the place within the pass. Each pass visits every
kept row once, shuffled by a permutation of its own or in the order of the file. Nothing is remembered between calls but
the permutations of the last two passes and the last few stretches of `STRETCH` positions, which are computed as a whole since
numpy takes hardly longer for many than for one; so a seek costs what a read costs.

With `block_rows` the shuffled order keeps to blocks of so many kept rows (`core.data.order.blocks`), for sources that are slow
to jump about in; without, any row may follow any.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from core.data.order.bitmap import RankSelect
from core.data.order.blocks import BlockPermutation
from core.data.order.permutation import Permutation, derive_key
from core.errors import DataError

STRETCH = 512


class RowOrder:
    """Reads `size` of `rows` rows in each pass."""

    def __init__(
        self, rows: int, excluded: np.ndarray | RankSelect | None = None, *, seed: int, source: int, is_shuffled: bool,
        block_rows: int | None = None,
    ) -> None:
        """Take out the excluded rows: their numbers, or a bool mask that is True for them; or take what is kept."""
        self._kept = excluded if isinstance(excluded, RankSelect) else _without(rows, excluded)
        self.size = rows if self._kept is None else self._kept.size
        self._is_shuffled = is_shuffled
        self._seed, self._source, self._block_rows = seed, source, block_rows
        self._permutation = lru_cache(maxsize=2)(self._permutation_of)
        self._stretch = lru_cache(maxsize=4)(lambda number: self._rows(np.arange(number * STRETCH, (number + 1) * STRETCH)))

    def rows(self, positions: np.ndarray) -> np.ndarray:
        """Give the row numbers at the positions: int64 in, int64 out; raise DataError when no row is kept."""
        positions = np.asarray(positions, dtype=np.int64)
        if positions.size and not self.size:
            raise DataError("every row of the source is taken out; at least one good row is needed to read from it")
        if not positions.size:
            return positions
        first, last = (int(edge) // STRETCH for edge in (positions.min(), positions.max()))
        if last - first > 1:
            return self._rows(positions)
        near = self._stretch(first) if first == last else np.concatenate([self._stretch(first), self._stretch(last)])
        return near[positions - first * STRETCH]

    def _rows(self, positions: np.ndarray) -> np.ndarray:
        passes, places = np.divmod(positions, self.size)
        if self._is_shuffled:
            places = self._shuffled(passes, places)
        return places if self._kept is None else self._kept.select(places)

    def _permutation_of(self, pass_: int) -> Permutation | BlockPermutation:
        key = derive_key(self._seed, self._source, pass_)
        if self._block_rows is None:
            return Permutation(self.size, key)
        return BlockPermutation(self.size, key, block_rows=self._block_rows)

    def _shuffled(self, passes: np.ndarray, places: np.ndarray) -> np.ndarray:
        shuffled = np.empty_like(places)
        for pass_ in np.unique(passes).tolist():
            chosen = passes == pass_
            shuffled[chosen] = self._permutation(pass_)(places[chosen])
        return shuffled


def _without(rows: int, excluded: np.ndarray | None) -> RankSelect | None:
    if excluded is None:
        return None
    kept = np.ones(rows, dtype=bool)
    kept[excluded] = False
    return None if kept.all() else RankSelect(kept)
