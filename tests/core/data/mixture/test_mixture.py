from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.data.mixture import Mixture
from core.data.spec import MixtureEntry, RowRef
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


def test_an_entry_with_the_same_proportions_moves_nothing():
    log = (MixtureEntry(1, (0.7, 0.3)), MixtureEntry(3, (1.4, 0.6), (RowRef(0, 5),)), MixtureEntry(5, (0.7, 0.3, 0.0)))
    plain = Mixture(log[:1], 4, sources=3)
    assert all(np.array_equal(plain.draws(step), Mixture(log, 4).draws(step)) for step in range(1, 20))


def test_of_entries_from_one_step_the_last_holds():
    log = (MixtureEntry(1, (1.0, 0.0)), MixtureEntry(1, (0.0, 1.0)), MixtureEntry(4, (1.0, 1.0)), MixtureEntry(4, (0.0, 1.0)))
    assert Mixture(log, 5).drawn_before(10) == (0, 45)


def test_a_source_that_joins_later_is_not_drawn_before():
    mixture = Mixture((MixtureEntry(1, (1.0,)), MixtureEntry(3, (1.0, 1.0))), 4)
    assert (mixture.drawn_before(3), mixture.drawn_before(5)) == ((8, 0), (12, 4))


@settings(max_examples=150, deadline=None)
@given(weights=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=2, max_size=6),
       lengths=st.lists(st.integers(1, 7), min_size=6, max_size=6), batch_size=st.integers(1, 9))
def test_two_sources_are_never_a_row_away_from_all_that_was_asked(weights: list[tuple[int, int]], lengths: list[int],
                                                                   batch_size: int):
    starts = list(accumulate(lengths[: len(weights) - 1], initial=1))
    mixture = Mixture([MixtureEntry(start, pair) for start, pair in zip(starts, weights, strict=True)], batch_size)
    exact, since, drawn, drawn_since = Fraction(0), Fraction(0), 0, 0
    for step in range(1, starts[-1] + 8):
        holding = max(number for number, start in enumerate(starts) if start <= step)
        if step in starts and (holding == 0 or Fraction(*weights[holding]) != Fraction(*weights[holding - 1])):
            since, drawn_since = Fraction(0), 0
        for source in mixture.draws(step).tolist():
            share = Fraction(weights[holding][0], sum(weights[holding]))
            exact, since = exact + share, since + share
            drawn, drawn_since = drawn + (source == 0), drawn_since + (source == 0)
            assert abs(exact - drawn) < 1
            assert abs(since - drawn_since) < 1


@settings(max_examples=60, deadline=None)
@given(log=st.lists(st.tuples(st.integers(1, 5), st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any)),
                    min_size=1, max_size=6), batch_size=st.integers(1, 7))
def test_any_step_of_any_log_is_what_going_there_gives(log: list[tuple[int, list[int]]], batch_size: int):
    starts = accumulate([length for length, _ in log[:-1]], initial=1)
    entries = [MixtureEntry(start, tuple(weights)) for start, (_, weights) in zip(starts, log, strict=True)]
    walked = Mixture(entries, batch_size)
    counts = np.zeros(3, int)
    for step in range(1, 30):
        assert Mixture(entries, batch_size).drawn_before(step) == tuple(counts)
        draws = walked.draws(step)
        assert np.array_equal(draws, Mixture(entries, batch_size).draws(step))
        counts += np.bincount(draws, minlength=3)


@pytest.mark.parametrize("log, words", [
    ((), "log is empty"), ((MixtureEntry(2, (1.0,)),), "must hold from step 1"),
    ((MixtureEntry(1, (1.0,)), MixtureEntry(5, (1.0,)), MixtureEntry(3, (1.0,))), "from an earlier step"),
    ((MixtureEntry(1, (1.0, 2.0)), MixtureEntry(5, (1.0,))), "1 weights after one of 2"),
    ((MixtureEntry(1, (1.0, 2.0)), MixtureEntry(5, (0.0, 0.0))), "at least one source"),
])
def test_a_log_out_of_order_is_refused(log: tuple[MixtureEntry, ...], words: str):
    with pytest.raises(DataError, match=words):
        Mixture(log, 4)


def test_there_is_no_step_zero():
    with pytest.raises(ValueError, match="steps start at 1"):
        Mixture(LOG, 4).draws(0)
