import numpy as np
import pytest

from core.data.split import check_split, held_out_mask, kept_rows
from core.errors import DataError

HASHES = np.random.default_rng(5).integers(0, 1 << 16, 20_000).astype(np.uint16)
NONE = np.zeros(0, dtype=np.int64)


def test_share_held_out_is_near_the_fraction():
    assert held_out_mask(HASHES, 0.1).mean() == pytest.approx(0.1, abs=0.01)


def test_equal_content_is_on_one_side():
    mask = held_out_mask(HASHES, 0.3)
    held, trained = set(HASHES[mask].tolist()), set(HASHES[~mask].tolist())
    assert not held & trained


def test_a_greater_fraction_holds_out_what_a_smaller_did():
    smaller, greater = held_out_mask(HASHES, 0.05), held_out_mask(HASHES, 0.2)
    assert np.all(greater[smaller])


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_fraction_out_of_range_is_refused(fraction: float):
    with pytest.raises(DataError, match="at least 0 and less than 1"):
        held_out_mask(HASHES, fraction)


def test_both_sides_and_the_faulty_rows_make_the_whole():
    faulty = np.array([0, 17, 19_999])
    sides = [kept_rows([HASHES], faulty, fraction=0.2, part=part) for part in ("train", "validation")]
    rows = [side.select(np.arange(side.size)).tolist() for side in sides if side]
    assert sorted(rows[0] + rows[1] + faulty.tolist()) == list(range(20_000))


def test_nothing_is_built_when_nothing_is_taken_out():
    assert kept_rows([HASHES], NONE, fraction=0.0, part="train") is None
    assert kept_rows([HASHES], NONE, fraction=0.5, part="whole") is None


def test_a_split_with_an_empty_side_is_refused_in_words():
    with pytest.raises(DataError, match="holds out none of 3 good rows; ask for a greater fraction"):
        check_split(np.zeros(3, dtype=bool), fraction=0.1)
    with pytest.raises(DataError, match="leaves none to train on"):
        check_split(np.ones(3, dtype=bool), fraction=0.9)
    check_split(np.zeros(3, dtype=bool), fraction=0.0)
    check_split(np.array([True, False]), fraction=0.5)
