import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.order import RankSelect


@settings(max_examples=150, deadline=None)
@given(rows=st.integers(0, 3000), density=st.sampled_from([0.0, 0.001, 0.1, 0.5, 0.99, 1.0]), seed=st.integers(0, 99))
def test_select_and_rank_agree_with_counting(rows: int, density: float, seed: int):
    kept = np.random.default_rng(seed).random(rows) < density
    bitmap = RankSelect(kept)
    assert (bitmap.rows, bitmap.size) == (rows, int(kept.sum()))
    assert np.array_equal(bitmap.select(np.arange(bitmap.size)), np.flatnonzero(kept))
    if rows:
        before = np.concatenate([[0], np.cumsum(kept)])
        assert np.array_equal(bitmap.rank(np.arange(rows + 1)), before)


def test_parts_of_a_mask_make_the_same_bitmap():
    kept = np.random.default_rng(1).random(5000) < 0.3
    whole, parts = RankSelect(kept), RankSelect(kept[i : i + 1024] for i in range(0, 5000, 1024))
    numbers = np.arange(whole.size)
    assert np.array_equal(whole.select(numbers), parts.select(numbers))


def test_a_part_that_ends_inside_a_byte_is_refused():
    with pytest.raises(ValueError, match="between two bytes"):
        RankSelect([np.ones(3, dtype=bool), np.ones(8, dtype=bool)])


def test_a_bitmap_takes_little_more_than_a_bit_a_row():
    rows = 1_000_000
    assert RankSelect(np.ones(rows, dtype=bool)).nbytes * 8 <= 1.25 * rows


@pytest.mark.parametrize("number", [-1, 3])
def test_a_number_beyond_the_kept_rows_is_refused(number: int):
    with pytest.raises(IndexError, match="3 rows are kept"):
        RankSelect(np.array([True, False, True, True])).select(np.array([number]))
