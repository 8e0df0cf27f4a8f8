import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.order import Permutation, derive_key

AWKWARD_SIZES = [0, 1, 2, 3, 5, 7, 8, 9, 97, 127, 128, 129, 1021, 4095, 4096, 4097, 65_535, 65_537]
PINNED_TEN = [7, 4, 8, 1, 2, 6, 5, 0, 9, 3]
PINNED_GREAT = [856631397, 823545088, 884981687, 462245155]


@pytest.mark.parametrize("size", AWKWARD_SIZES)
def test_every_number_is_hit_once(size: int):
    images = Permutation(size, key=42)(np.arange(size))
    assert np.array_equal(np.sort(images), np.arange(size))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
def test_any_size_and_key_give_a_bijection(size: int, key: int):
    assert np.array_equal(np.sort(Permutation(size, key)(np.arange(size))), np.arange(size))


@settings(max_examples=30, deadline=None)
@given(size=st.integers(2, 1 << 40), key=st.integers(0, 2**64 - 1), data=st.data())
def test_numbers_alone_map_as_they_do_together(size: int, key: int, data: st.DataObject):
    numbers = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    permutation = Permutation(size, key)
    alone = [int(permutation(np.array([n]))[0]) for n in numbers.tolist()]
    assert permutation(numbers).tolist() == alone
    assert all(0 <= image < size for image in alone)


def test_order_is_unrelated_to_the_file():
    size = 100_003
    order = Permutation(size, key=7)(np.arange(size))
    places = np.arange(size)
    assert abs(np.corrcoef(places, order)[0, 1]) < 0.015
    assert np.abs(order - places).mean() / size == pytest.approx(1 / 3, abs=0.005)
    assert np.mean(np.diff(order) == 1) < 0.001
    assert np.abs(np.diff(order)).mean() / size == pytest.approx(1 / 3, abs=0.005)


def test_two_keys_give_unrelated_orders():
    size = 50_000
    one, other = (Permutation(size, derive_key(1, 0, pass_))(np.arange(size)) for pass_ in (0, 1))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.02
    assert np.mean(one == other) < 0.001


@pytest.mark.parametrize("size", [3, 4, 5])
def test_all_orders_of_few_rows_are_about_as_frequent(size: int):
    keys = 8_000
    orders = [tuple(Permutation(size, derive_key(key, 0, 0))(np.arange(size)).tolist()) for key in range(keys)]
    counts = np.unique(np.array(orders), axis=0, return_counts=True)[1]
    expected = keys / np.prod(np.arange(1, size + 1))
    assert len(counts) == np.prod(np.arange(1, size + 1))
    freedom = len(counts) - 1
    assert np.sum((counts - expected) ** 2 / expected) < freedom + 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", [12, 65, 257])
def test_first_row_of_an_epoch_is_uniform_over_keys(size: int):
    keys = 8_000
    firsts = [int(Permutation(size, derive_key(key, 0, 0))(np.array([0]))[0]) for key in range(keys)]
    counts = np.bincount(firsts, minlength=size)
    assert np.sum((counts - keys / size) ** 2 / (keys / size)) < size - 1 + 5 * np.sqrt(2 * (size - 1))


def test_order_never_changes_between_versions():
    assert Permutation(10, key=1)(np.arange(10)).tolist() == PINNED_TEN
    assert Permutation(10**9, key=derive_key(1, 2, 3))(np.arange(4)).tolist() == PINNED_GREAT


def test_key_depends_on_each_part_and_their_order():
    keys = {derive_key(*parts) for parts in [(1, 2, 3), (1, 3, 2), (2, 1, 3), (1, 2), (1, 2, 3, 0), (0, 0, 0), (-1, 2, 3)]}
    assert len(keys) == 7


def test_shape_is_kept():
    numbers = np.arange(12).reshape(3, 4)
    assert Permutation(12, key=3)(numbers).shape == (3, 4)
