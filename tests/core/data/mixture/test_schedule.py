from fractions import Fraction

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from core.data.mixture import Schedule
from core.data.mixture.shares import LARGEST_PERIOD, whole_shares
from core.errors import DataError

WEIGHTS = st.lists(
    st.one_of(st.integers(0, 9).map(float), st.floats(0.001, 1.0), st.sampled_from([0.0, 0.1, 1 / 3, 0.7, 100.0])),
    min_size=1, max_size=9,
).filter(any)


@settings(max_examples=150, deadline=None)
@given(weights=WEIGHTS, start=st.integers(0, 10**10))
def test_no_source_is_ever_a_row_away_from_its_share(weights: list[float], start: int):
    schedule, shares = Schedule(weights), whole_shares(weights)
    counts = list(schedule.drawn(start))
    for slot, source in enumerate(schedule.slots(start, 200), start=start + 1):
        counts[source] += 1
        exact = [Fraction(slot * share, sum(shares)) for share in shares]
        assert all(abs(count - due) < 1 for count, due in zip(counts, exact, strict=True))


@settings(max_examples=150, deadline=None)
@given(weights=WEIGHTS, jump=st.integers(0, 900))
def test_a_jump_gives_what_going_slot_by_slot_gives(weights: list[float], jump: int):
    walked = Schedule(weights).slots(0, jump)
    assert Schedule(weights).drawn(jump) == tuple(walked.count(source) for source in range(len(weights)))


@settings(max_examples=60, deadline=None)
@given(weights=WEIGHTS, start=st.integers(0, 10**9), steps=st.integers(1, 120))
def test_a_jump_lands_on_the_path_wherever_it_starts(weights: list[float], start: int, steps: int):
    schedule = Schedule(weights)
    drawn = schedule.slots(start, steps)
    landed = [a - b for a, b in zip(Schedule(weights).drawn(start + steps), Schedule(weights).drawn(start), strict=True)]
    assert landed == [drawn.count(source) for source in range(len(weights))]


@given(weights=WEIGHTS)
def test_a_period_draws_exactly_the_shares(weights: list[float]):
    schedule = Schedule(weights)
    assert schedule.drawn(schedule.period * 3) == tuple(3 * share for share in whole_shares(weights))


def test_a_source_of_weight_zero_is_never_drawn():
    assert 1 not in Schedule((0.5, 0.0, 0.25)).slots(0, 1000)


def test_sources_take_turns_rather_than_come_in_lumps():
    assert Schedule((2, 1, 1)).slots(0, 8) == [0, 1, 0, 2, 0, 1, 0, 2]


def test_many_small_sources_beside_a_great_one_keep_their_shares():
    schedule, shares = Schedule((93, *[1] * 7)), (93, *[1] * 7)
    for slot in range(200):
        assert all(abs(c - Fraction(slot * s, 100)) < 1 for c, s in zip(schedule.drawn(slot), shares, strict=True))


@pytest.mark.parametrize(
    "weights, shares",
    [((0.7, 0.3), (7, 3)), ((1 / 3, 2 / 3), (1, 2)), ((0.1, 0.2, 0.3), (1, 2, 3)), ((2.0, 0.0), (1, 0)), ((5,), (1,))],
)
def test_weights_keep_the_proportions_that_were_written(weights: tuple[float, ...], shares: tuple[int, ...]):
    assert whole_shares(weights) == shares


@given(weights=st.lists(st.floats(0.001, 1.0), min_size=2, max_size=9))
def test_shares_that_must_be_rounded_stay_within_one_part(weights: list[float]):
    shares = whole_shares(weights)
    assume(sum(shares) == LARGEST_PERIOD)
    total = sum(map(Fraction, weights))
    parts = [Fraction(weight) / total * LARGEST_PERIOD for weight in weights]
    assert all(abs(share - part) <= 1.001 for share, part in zip(shares, parts, strict=True))


@pytest.mark.parametrize("weights, words", [
    ((), "none of the mixture's 0 weights"), ((0.0, 0.0), "at least one source"), ((1.0, -0.5), "weight is -0.5"),
    ((1.0, float("nan")), "not finite"), ((1.0, 1e-9), "less than a millionth"),
])
def test_weights_that_make_no_mixture_are_refused(weights: tuple[float, ...], words: str):
    with pytest.raises(DataError, match=words):
        Schedule(weights)
