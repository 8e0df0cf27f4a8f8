from __future__ import annotations

from core.quotas.limits import Limits
from core.quotas.standing import Standing
from core.scheduling.cluster import Cluster
from core.scheduling.order import Waiting
from core.scheduling.policy import Policy
from core.scheduling.preemption import plan_room
from tests.core.scheduling.pictures import NOW, cluster, host, runs, waits

POLICY = Policy(preempt_after_seconds=60)


def plan(of: Cluster, *turns: Waiting, standing: Standing | None = None) -> list[tuple[str, str, tuple[str, ...]]]:
    rooms = plan_room(turns, of, standing or Standing(), now=NOW, policy=POLICY)
    return [(room.job.id, room.host, room.run_ids) for room in rooms]


def test_a_run_of_lower_priority_makes_room():
    assert plan(cluster([host("h", ["x"])], [runs("x")]), waits("high", priority=1)) == [("high", "h", ("x",))]


def test_equals_never_make_room_for_each_other():
    assert plan(cluster([host("h", ["x"])], [runs("x", priority=5)]), waits("equal", priority=5)) == []


def test_a_run_is_left_alone_for_a_minimum():
    assert plan(cluster([host("h", ["x"])], [runs("x", since=-59)]), waits("high", priority=1)) == []


def test_nobody_makes_room_for_a_job_that_can_start():
    assert plan(cluster([host("h", ["x", None])], [runs("x")]), waits("high", priority=1)) == []
    elsewhere = cluster([host("a", ["x"]), host("b", [None])], [runs("x", host="a")])
    assert plan(elsewhere, waits("high", priority=1)) == []


def test_a_run_that_was_told_to_end_is_waited_for():
    two = cluster([host("h", ["x", "y"])], [runs("x", is_leaving=True), runs("y")])
    assert plan(two, waits("high", priority=1)) == []
    assert plan(two, waits("high", priority=1), waits("too", priority=1)) == [("too", "h", ("y",))]


def test_the_lowest_priority_goes_first_then_who_started_last():
    three = cluster([host("h", ["x", "y", "z"])], [runs("x", priority=1), runs("y", since=-500), runs("z", since=-100)])
    assert plan(three, waits("high", priority=2)) == [("high", "h", ("z",))]
    assert plan(three, waits("high", priority=2, devices=3)) == [("high", "h", ("z", "y", "x"))]


def test_never_more_than_needed():
    mixed = cluster([host("h", ["one", "two", "two"])], [runs("one", since=-100), runs("two", since=-500, devices=2)])
    assert plan(mixed, waits("high", priority=1, devices=2)) == [("high", "h", ("two",))]


def test_nobody_makes_room_when_it_would_not_suffice():
    two = cluster([host("h", ["x", "y"])], [runs("x"), runs("y", priority=9)])
    assert plan(two, waits("high", priority=1, devices=2)) == []
    assert plan(cluster([host("h", ["x"], gib=24)], [runs("x")]), waits("high", priority=1, gib=40)) == []


def test_runs_on_devices_that_do_not_suit_stay():
    mixed = cluster([host("h", ["small", "large"], gib=[24, 80])], [runs("small", since=-100), runs("large", since=-500)])
    assert plan(mixed, waits("high", priority=1, gib=40)) == [("high", "h", ("large",))]


def test_the_host_whose_runs_matter_least_is_chosen():
    both = cluster([host("a", ["x"]), host("b", ["y"])], [runs("x", host="a", priority=1), runs("y", host="b")])
    assert plan(both, waits("high", priority=2)) == [("high", "b", ("y",))]


def test_each_of_several_jobs_gets_room_of_its_own():
    two = cluster([host("h", ["x", "y"])], [runs("x", since=-100), runs("y")])
    turns = [waits(name, priority=1) for name in ("first", "second", "third")]
    assert plan(two, *turns) == [("first", "h", ("x",)), ("second", "h", ("y",))]


def test_what_is_planned_counts_for_quotas():
    two = cluster([host("h", ["x", "y"])], [runs("x", since=-100), runs("y")])
    turns = [waits("first", priority=1), waits("second", priority=1), waits("other", "q", priority=1)]
    one_each = Standing(defaults=Limits(running_jobs=1))
    assert plan(two, *turns, standing=one_each) == [("first", "h", ("x",)), ("other", "h", ("y",))]


def test_a_worker_is_freed_where_all_have_a_run():
    busy = cluster([host("h", ["x", None], idle=0)], [runs("x")])
    assert plan(busy, waits("high", priority=1)) == [("high", "h", ("x",))]
