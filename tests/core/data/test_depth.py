"""How far a stream is read ahead follows from what loads and steps take."""

from __future__ import annotations

from core.data.ahead.depth import AT_FIRST, MOST, Depth


def depth(*, loads: list[float], steps: list[float]) -> int:
    return measured(loads, steps).batches


def measured(loads: list[float], steps: list[float]) -> Depth:
    made = Depth()
    for seconds in loads:
        made.loaded(seconds)
    for seconds in steps:
        made.stepped(seconds)
    return made


def test_a_fast_loader_keeps_few_batches() -> None:
    assert depth(loads=[0.5, *[0.002] * 20], steps=[0.3] * 20) == 3


def test_nothing_is_known_at_the_start() -> None:
    assert depth(loads=[], steps=[]) == depth(loads=[0.1, 0.1], steps=[]) == AT_FIRST


def test_loads_that_vary_are_read_further_ahead() -> None:
    assert depth(loads=[0.01] * 10 + [2.0] + [0.01] * 10, steps=[0.2] * 20) > 9


def test_a_hiccup_is_forgotten() -> None:
    assert depth(loads=[0.01] * 10 + [2.0] + [0.01] * 500, steps=[0.2] * 20) == 3


def test_a_slow_loader_keeps_what_it_can() -> None:
    assert depth(loads=[1.0] * 5, steps=[0.001] * 5) == MOST
    assert depth(loads=[1.0] * 5, steps=[0.0] * 5) == MOST


def test_the_first_load_does_not_count() -> None:
    assert depth(loads=[30.0, 0.01, 0.01], steps=[0.1] * 3) == 3


def test_as_many_processes_are_needed_as_loads_are_slower_than_steps_and_some_to_spare() -> None:
    assert measured([0.05] * 40, [0.1] * 40).processes == 1
    assert measured([0.1] * 40, [0.05] * 40).processes == 3
    assert measured([0.1] * 20, [0.05] * 20).processes == 1  # too few to know


def test_what_waits_has_a_limit_of_its_own() -> None:
    made = Depth(at_first=50, most=4)
    assert made.batches == 4
