from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from core.data.mixture import turns_of
from core.data.spec import MixtureEntry, RowRef
from core.steering.log import Asked, Change, entries, fold


def weights_of(first: tuple[float, ...], *changes: Change) -> list[tuple[int, tuple[float, ...]]]:
    return [(entry.from_step, entry.weights) for entry in entries(first, changes)]


def test_a_change_tells_only_what_becomes_different() -> None:
    assert weights_of((0.7, 0.3), Change(1, 9, Asked({1: 0.5}))) == [(1, (0.7, 0.3)), (9, (0.7, 0.5))]


def test_a_source_that_is_added_stands_at_the_end_from_its_step_on() -> None:
    change = Change(1, 4, Asked({2: 1.0}, added=(2,)))
    assert weights_of((0.7, 0.3), change) == [(1, (0.7, 0.3)), (4, (0.7, 0.3, 1.0))]


def test_changes_are_laid_in_the_order_of_their_steps_not_of_their_numbers() -> None:
    scheduled, live = Change(1, 100, Asked({0: 0.0, 1: 1.0})), Change(2, 50, Asked({0: 0.2}))
    assert weights_of((1.0, 1.0), scheduled, live) == [(1, (1.0, 1.0)), (50, (0.2, 1.0)), (100, (0.0, 1.0))]


def test_a_source_that_was_dropped_stays_out_where_an_older_schedule_names_it() -> None:
    scheduled, drop = Change(1, 100, Asked({1: 5.0})), Change(2, 50, Asked(dropped=(1,)))
    assert weights_of((1.0, 1.0), scheduled, drop)[-1] == (100, (1.0, 0.0))


def test_a_weight_asked_for_later_brings_a_source_back() -> None:
    drop, back = Change(1, 5, Asked(quarantined=(1,))), Change(2, 9, Asked({1: 0.4}))
    standings = fold((1.0, 1.0), [drop, back])
    assert [standing.entry.weights for standing in standings] == [(1.0, 1.0), (1.0, 0.0), (1.0, 0.4)]
    assert [standing.out for standing in standings] == [{}, {1: "quarantined"}, {}]


def test_the_plan_of_the_submit_stays_the_first_entry_whatever_holds_from_step_one() -> None:
    assert weights_of((1.0, 1.0), Change(1, 1, Asked({0: 0.0}))) == [(1, (1.0, 1.0)), (1, (0.0, 1.0))]


def test_rows_are_told_by_the_entry_from_which_they_are_out() -> None:
    log = entries((1.0,), [Change(1, 3, Asked(rows=(RowRef(0, 7),)))])
    assert log == (MixtureEntry(1, (1.0,)), MixtureEntry(3, (1.0,), (RowRef(0, 7),)))


CHANGES = st.lists(st.tuples(
    st.integers(1, 30), st.dictionaries(st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0])), st.sets(st.integers(0, 2))),
    max_size=6)


@given(asked=CHANGES)
def test_a_change_leaves_what_holds_before_its_step_alone(asked: list) -> None:
    changes = [Change(number, step, Asked(weights, dropped=tuple(out - weights.keys())))
               for number, (step, weights, out) in enumerate(asked, 1)]
    whole = entries((1.0, 1.0, 1.0), changes)
    for last in changes:
        others = entries((1.0, 1.0, 1.0), [change for change in changes if change is not last])
        assert [e for e in whole if e.from_step < last.from_step] == [e for e in others if e.from_step < last.from_step]


@given(asked=CHANGES)
def test_what_is_asked_survives_being_written_down(asked: list) -> None:
    for _, weights, out in asked:
        change = Asked(weights, added=(2,), dropped=tuple(out), rows=(RowRef(1, 4),), reason="why")
        assert Asked.from_json(change.to_json()) == change


def test_an_entry_without_any_weight_makes_no_mixture() -> None:
    log = entries((1.0,), [Change(1, 2, Asked(dropped=(0,)))])
    assert log[-1].weights == (0.0,)
    assert turns_of(log[:1])
