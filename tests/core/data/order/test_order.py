import numpy as np
import pytest

from core.data.order import RankSelect, RowOrder
from core.errors import DataError


def test_each_pass_visits_every_kept_row_once():
    order = RowOrder(50, np.array([0, 7, 49]), seed=3, source=0, is_shuffled=True)
    kept = sorted(set(range(50)) - {0, 7, 49})
    for pass_ in range(4):
        assert sorted(order.rows(np.arange(47) + 47 * pass_).tolist()) == kept


def test_passes_sources_and_seeds_are_shuffled_differently():
    positions = np.arange(100)
    one = RowOrder(100, seed=3, source=0, is_shuffled=True)
    orders = [
        one.rows(positions), one.rows(positions + 100),
        RowOrder(100, seed=3, source=1, is_shuffled=True).rows(positions),
        RowOrder(100, seed=4, source=0, is_shuffled=True).rows(positions),
    ]
    assert len({tuple(order.tolist()) for order in orders}) == 4


def test_positions_asked_for_alone_give_the_same_rows_as_together():
    order = RowOrder(30, np.array([4]), seed=1, source=2, is_shuffled=True)
    positions = np.array([100, 3, 57, 28, 29, 3])
    assert order.rows(positions).tolist() == [int(order.rows(np.array([p]))[0]) for p in positions.tolist()]


def test_without_shuffling_rows_come_in_the_order_of_the_file():
    order = RowOrder(5, np.array([False, True, False, False, False]), seed=1, source=0, is_shuffled=False)
    assert order.rows(np.arange(8)).tolist() == [0, 2, 3, 4, 0, 2, 3, 4]


def test_kept_rows_may_come_as_a_bitmap():
    order = RowOrder(4, RankSelect(np.array([False, True, False, True])), seed=1, source=0, is_shuffled=False)
    assert (order.size, order.rows(np.arange(3)).tolist()) == (2, [1, 3, 1])


def test_row_number_zero_can_be_taken_out():
    assert RowOrder(3, np.array([0]), seed=1, source=0, is_shuffled=False).rows(np.arange(2)).tolist() == [1, 2]


def test_a_source_without_rows_has_none_to_give():
    order = RowOrder(2, np.array([0, 1]), seed=1, source=0, is_shuffled=True)
    assert order.rows(np.array([], dtype=np.int64)).tolist() == []
    with pytest.raises(DataError, match="every row of the source is taken out"):
        order.rows(np.array([0]))


def test_a_great_source_costs_nothing_to_order():
    order = RowOrder(10**12, seed=1, source=0, is_shuffled=True)
    rows = order.rows(np.array([0, 10**12 - 1, 10**13]))
    assert len(set(rows.tolist())) == 3
    assert rows.max() < 10**12
