import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.mixture import Mixture
from core.data.spec import MixtureEntry
from core.errors import DataError

LOG = (MixtureEntry(1, (0.7, 0.3, 0.0)), MixtureEntry(4, (1.0, 1.0, 1.0)), MixtureEntry(9, (0.0, 0.0, 1.0)))


def test_draws_fill_each_step():
    draws = Mixture(LOG, 10).draws(1)
    assert draws.dtype == np.int32
    assert np.bincount(draws, minlength=3).tolist() == [7, 3, 0]


@settings(max_examples=40, deadline=None)
@given(batch_size=st.integers(1, 17), step=st.integers(1, 40))
def test_drawn_before_a_step_is_the_sum_of_the_draws(batch_size: int, step: int):
    mixture = Mixture(LOG, batch_size)
    earlier = [mixture.draws(s) for s in range(1, step)]
    counts = np.bincount(np.concatenate([*earlier, np.zeros(0, np.int32)]), minlength=3)
    assert Mixture(LOG, batch_size).drawn_before(step) == tuple(counts.tolist())


def test_a_step_asked_for_alone_has_the_same_draws():
    mixture = Mixture(LOG, 7)
    in_order = [mixture.draws(step).tolist() for step in range(1, 15)]
    assert [Mixture(LOG, 7).draws(step).tolist() for step in range(1, 15)] == in_order


def test_a_later_entry_leaves_earlier_steps_alone():
    assert all(np.array_equal(Mixture(LOG[:1], 8).draws(step), Mixture(LOG, 8).draws(step)) for step in (1, 2, 3))


def test_a_late_step_costs_no_more_than_an_early_one():
    drawn = Mixture((MixtureEntry(1, (0.123456789, 0.6180339887, 0.3)),), 64).drawn_before(10**9)
    assert sum(drawn) == 64 * (10**9 - 1)


def test_the_entry_that_holds_at_a_step_is_told():
    assert [Mixture(LOG, 1).entry(step) for step in (1, 3, 4, 8, 9, 100)] == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("log, words", [
    ((), "log is empty"), ((MixtureEntry(2, (1.0,)),), "must hold from step 1"),
    ((MixtureEntry(1, (1.0,)), MixtureEntry(1, (1.0,))), "later step"),
    ((MixtureEntry(1, (1.0,)), MixtureEntry(5, (1.0, 2.0))), "2 weights for 1 sources"),
])
def test_a_log_out_of_order_is_refused(log: tuple[MixtureEntry, ...], words: str):
    with pytest.raises(DataError, match=words):
        Mixture(log, 4)


def test_there_is_no_step_zero():
    with pytest.raises(ValueError, match="steps start at 1"):
        Mixture(LOG, 4).draws(0)
