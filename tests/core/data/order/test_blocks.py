import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.order import BlockPermutation, RankSelect, RowOrder, rows_per_block
from core.data.order.blocks import LEAST_ROWS, MOST_ROWS, WINDOW_BLOCKS

AWKWARD_SIZES = [0, 1, 2, 3, 5, 16, 17, 97, 127, 128, 129, 255, 256, 257, 1021, 4096, 4099]
PINNED = [5, 10, 20, 44, 99, 59, 58, 81]


@pytest.mark.parametrize("block_rows", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("size", AWKWARD_SIZES)
def test_every_number_is_hit_once(size: int, block_rows: int):
    numbers = BlockPermutation(size, 42, block_rows=block_rows)(np.arange(size))
    assert np.array_equal(np.sort(numbers), np.arange(size))


@settings(max_examples=150, deadline=None)
@given(size=st.integers(1, 4000), key=st.integers(0, 2**64 - 1), block_rows=st.integers(1, 300))
def test_any_size_key_and_block_give_a_bijection(size: int, key: int, block_rows: int):
    numbers = BlockPermutation(size, key, block_rows=block_rows)(np.arange(size))
    assert np.array_equal(np.sort(numbers), np.arange(size))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(2, 1 << 40), key=st.integers(0, 2**64 - 1), block_rows=st.integers(1, 5000), data=st.data())
def test_places_alone_map_as_they_do_together(size: int, key: int, block_rows: int, data: st.DataObject):
    places = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=12)))
    order = BlockPermutation(size, key, block_rows=block_rows)
    alone = [int(order(np.array([place]))[0]) for place in places.tolist()]
    assert order(places).tolist() == alone
    assert all(0 <= number < size for number in alone)


@settings(max_examples=80, deadline=None)
@given(size=st.integers(1, 4000), key=st.integers(0, 2**64 - 1), block_rows=st.integers(1, 60))
def test_a_block_is_done_with_after_one_window(size: int, key: int, block_rows: int):
    numbers = BlockPermutation(size, key, block_rows=block_rows)(np.arange(size))
    places = np.argsort(numbers)
    for start in range(0, size, block_rows):
        of_block = places[start:start + block_rows]
        assert of_block.max() - of_block.min() < WINDOW_BLOCKS * block_rows


@settings(max_examples=80, deadline=None)
@given(size=st.integers(1, 4000), key=st.integers(0, 2**64 - 1), block_rows=st.integers(1, 60), data=st.data())
def test_a_stretch_of_the_shortest_window_touches_no_more_than_two_windows_of_blocks(
    size: int, key: int, block_rows: int, data: st.DataObject
):
    first = data.draw(st.integers(0, size - 1))
    stretch = np.arange(first, min(first + (WINDOW_BLOCKS - 1) * block_rows, size))
    numbers = BlockPermutation(size, key, block_rows=block_rows)(stretch)
    assert len(np.unique(numbers // block_rows)) <= 2 * WINDOW_BLOCKS


def test_blocks_come_in_an_order_unrelated_to_the_file_and_rows_are_mixed_within_a_window():
    size, rows = 64_000, 20
    numbers = BlockPermutation(size, 7, block_rows=rows)(np.arange(size))
    assert abs(np.corrcoef(numbers, np.arange(size))[0, 1]) < 0.05
    assert np.mean(np.diff(numbers) == 1) < 0.01
    first_window = numbers[:WINDOW_BLOCKS * rows] // rows
    assert len(np.unique(first_window[:WINDOW_BLOCKS])) > WINDOW_BLOCKS // 2


@pytest.mark.parametrize("size", [33, 50])
def test_the_first_row_of_an_epoch_is_about_uniform_over_keys(size: int):
    keys = 6_000
    firsts = [int(BlockPermutation(size, key, block_rows=2)(np.array([0]))[0]) for key in range(keys)]
    counts = np.bincount(firsts, minlength=size)
    assert np.sum((counts - keys / size) ** 2 / (keys / size)) < size - 1 + 5 * np.sqrt(2 * (size - 1))


def test_a_source_of_one_window_is_shuffled_as_a_whole():
    size = WINDOW_BLOCKS * 8
    numbers = BlockPermutation(size, 3, block_rows=8)(np.arange(size))
    assert np.abs(numbers - np.arange(size)).mean() / size == pytest.approx(1 / 3, abs=0.06)


def test_order_never_changes_between_versions():
    assert BlockPermutation(107, 5, block_rows=4)(np.arange(8)).tolist() == PINNED


def test_a_great_source_costs_nothing_to_order():
    order = RowOrder(10**12, seed=1, source=0, is_shuffled=True, block_rows=4096)
    rows = order.rows(np.array([0, 10**12 - 1, 10**13]))
    assert len(set(rows.tolist())) == 3
    assert rows.max() < 10**12


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 1500), density=st.sampled_from([0.05, 0.5, 0.99]), block_rows=st.integers(1, 40),
       seed=st.integers(0, 99))
def test_each_pass_visits_every_kept_row_once(rows: int, density: float, block_rows: int, seed: int):
    kept = np.random.default_rng(seed).random(rows) < density
    order = RowOrder(rows, RankSelect(kept), seed=seed, source=0, is_shuffled=True, block_rows=block_rows)
    for pass_ in range(2 if order.size else 0):
        visited = order.rows(np.arange(order.size) + pass_ * order.size)
        assert np.array_equal(np.sort(visited), np.flatnonzero(kept))


def test_passes_are_shuffled_differently():
    order = RowOrder(500, seed=3, source=0, is_shuffled=True, block_rows=4)
    assert not np.array_equal(order.rows(np.arange(500)), order.rows(np.arange(500) + 500))


def test_without_shuffling_rows_come_in_the_order_of_the_file():
    order = RowOrder(5, seed=1, source=0, is_shuffled=False, block_rows=2)
    assert order.rows(np.arange(7)).tolist() == [0, 1, 2, 3, 4, 0, 1]


def test_a_block_holds_about_its_bytes_and_keeps_to_its_limits():
    assert rows_per_block(1_000_000, 2_000_000_000) == 2048
    assert rows_per_block(10, 10 * (24 << 20)) == LEAST_ROWS
    assert rows_per_block(1_000_000, 1_000_000) == MOST_ROWS
    assert rows_per_block(0, 0) == LEAST_ROWS


def test_a_block_of_no_rows_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        BlockPermutation(10, 1, block_rows=0)
