"""In which order a source's rows are read: sizes, a seed and a position come in, row numbers go out.

`Permutation` computes a shuffled order instead of storing one, `BlockPermutation` one that stays near itself for a while,
`RankSelect` skips the rows that were taken out, and `RowOrder` puts them together over any number of passes.
"""

from core.data.order.bitmap import RankSelect
from core.data.order.blocks import BlockPermutation, rows_per_block
from core.data.order.order import RowOrder
from core.data.order.permutation import Permutation, derive_key

__all__ = ["BlockPermutation", "Permutation", "RankSelect", "RowOrder", "derive_key", "rows_per_block"]
