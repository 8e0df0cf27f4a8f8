from __future__ import annotations

from core.scheduling.cluster import Need, choose_slots, could_ever, earliest
from tests.core.scheduling.pictures import GIB, NOW, cluster, host, runs
from tests.factories import later


def names(slots) -> list[str]:
    return [slot.id for slot in slots or ()]


def test_the_smallest_devices_that_suffice_are_taken():
    mixed = host("h", [None, None, None], gib=[80, 24, 40])
    assert names(choose_slots(Need(1), mixed.free)) == ["h1"]
    assert names(choose_slots(Need(1, 30 * GIB), mixed.free)) == ["h2"]
    assert names(choose_slots(Need(2, 30 * GIB), mixed.free)) == ["h2", "h0"]
    assert choose_slots(Need(3, 30 * GIB), mixed.free) is None


def test_the_devices_of_a_run_are_of_one_kind():
    slots = [*host("g", [None]).slots, *host("c", [None], kind="cpu").slots]
    assert choose_slots(Need(2), slots) is None


def test_room_is_foreseen_by_the_ends_of_runs():
    four = host("h", ["x", "y", "z", None])
    known = cluster([four], [runs("x", ends=50), runs("y", ends=20), runs("z")])
    assert earliest(Need(1), four, known, now=NOW) == (NOW, (four.slots[3],))
    assert earliest(Need(3), four, known, now=NOW) == (later(50), (four.slots[3], four.slots[1], four.slots[0]))
    found = earliest(Need(4), four, known, now=NOW)
    assert found is not None
    assert found[0] is None
    assert earliest(Need(5), four, known, now=NOW) is None


def test_a_run_that_overran_its_forecast_may_end_any_moment():
    one = host("h", ["x"])
    assert earliest(Need(1), one, cluster([one], [runs("x", ends=-9)]), now=NOW) == (NOW, one.slots)


def test_a_host_without_an_idle_worker_has_room_when_a_run_ends():
    two = host("h", ["x", None], idle=0)
    assert earliest(Need(1), two, cluster([two], [runs("x", ends=30)]), now=NOW) == (later(30), (two.slots[1],))


def test_a_host_is_asked_for_all_that_it_has():
    assert could_ever(Need(2), host("h", ["x", "y"]))
    assert not could_ever(Need(2, 40 * GIB), host("h", ["x", "y"], gib=[80, 24]))
