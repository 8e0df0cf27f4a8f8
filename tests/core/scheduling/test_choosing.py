from __future__ import annotations

from core.scheduling.choosing import Choice, choose
from core.scheduling.cluster import Cluster
from core.scheduling.order import Waiting
from core.scheduling.policy import Policy
from tests.core.scheduling.pictures import NOW, cluster, host, runs, waits
from tests.factories import later

POLICY = Policy(backfill_seconds=600)
TWO = cluster([host("h", ["x", None])], [runs("x")])
"""One of two devices is free, and nobody knows until when the other is held."""
BOTH = cluster([host("a", ["x", None]), host("b", ["y", None])],
               [runs("x", host="a", ends=500), runs("y", host="b", ends=50)])


def chosen(*turns: Waiting, of: Cluster = TWO, on: str = "h") -> Choice:
    return choose(turns, of, on, now=NOW, policy=POLICY)


def started(*turns: Waiting, of: Cluster = TWO, on: str = "h") -> str | None:
    job = chosen(*turns, of=of, on=on).job
    return job.id if job else None


def until(ends: float) -> Cluster:
    return cluster([host("h", ["x", None])], [runs("x", ends=ends)])


def test_the_first_in_turn_starts_where_there_is_room():
    assert started(waits("first"), waits("second")) == "first"


def test_a_job_that_lacks_devices_is_noted_with_its_host_and_what_was_foreseen():
    (place,) = chosen(waits("big", devices=2), of=until(90)).blocked
    assert (place.job.id, place.host, place.promised_at) == ("big", "h", later(90))
    assert chosen(waits("big", devices=2, blocked=-1, held="h"), of=until(90)).blocked == ()


def test_a_small_job_passes_when_it_is_done_before_the_big_one_can_start():
    big = waits("big", devices=2, blocked=0, held="h", promised=100)
    assert started(big, waits("short", takes=99), of=until(100)) == "short"
    assert started(big, waits("long", takes=101), of=until(100)) is None
    assert started(big, waits("endless", takes=1e12), of=until(100)) is None


def test_a_small_job_of_unknown_length_passes_for_a_bounded_time_where_the_start_is_not_near():
    assert started(waits("big", devices=2, blocked=-599, held="h"), waits("small")) == "small"
    assert started(waits("big", devices=2, blocked=-600, held="h"), waits("small")) is None
    assert started(waits("big", devices=2, blocked=-1, held="h", promised=60), waits("small"), of=until(60)) is None


def test_after_what_was_promised_nothing_passes_however_short():
    big = waits("big", devices=2, blocked=-700, held="h", promised=-50)
    assert started(big, waits("short", takes=1), of=until(3600)) is None
    later_promise = waits("big", devices=2, blocked=-700, held="h", promised=50)
    assert started(later_promise, waits("short", takes=1), of=until(3600)) == "short"


def test_devices_that_the_big_job_cannot_use_are_not_kept():
    small_card = cluster([host("h", ["x", None, None], gib=[80, 80, 24])], [runs("x")])
    big = waits("big", devices=2, gib=40, blocked=-9999, held="h")
    assert started(big, waits("small"), of=small_card) == "small"
    assert started(big, waits("wide", gib=40), of=small_card) is None


def test_room_is_kept_on_one_host_alone_the_one_that_has_it_first():
    big, small = waits("big", devices=2, blocked=-9999), waits("small")
    assert started(big, small, of=BOTH, on="a") == "small"
    choice = chosen(big, small, of=BOTH, on="b")
    assert choice.job is None
    assert choice.blocked[0].host == "b"


def test_room_stays_where_it_was_kept_first():
    assert started(waits("big", devices=2, blocked=-9999, held="a"), waits("small"), of=BOTH, on="a") is None


def test_nothing_is_kept_here_for_a_job_that_another_host_has_room_for():
    other = cluster([host("a", ["x", None]), host("b", [None, None])], [runs("x", host="a")])
    choice = chosen(waits("big", devices=2), waits("small"), of=other, on="a")
    assert (choice.job and choice.job.id, choice.blocked) == ("small", ())


def test_room_is_kept_elsewhere_when_its_host_is_gone():
    (place,) = chosen(waits("big", devices=2, blocked=-5, held="gone"), of=TWO).blocked
    assert place.host == "h"


def test_a_job_that_waits_for_runs_that_were_told_to_end_is_passed_by_nobody_of_unknown_length():
    leaving = cluster([host("h", ["x", None])], [runs("x", is_leaving=True)])
    assert started(waits("big", devices=2, blocked=0, held="h"), waits("small"), of=leaving) is None
