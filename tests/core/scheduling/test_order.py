from __future__ import annotations

from collections.abc import Iterator

from core.projects.usage import decay
from core.scheduling.order import HELD_SECONDS, Share, Waiting, in_turn, order_queue, with_held
from core.scheduling.policy import Policy
from tests.core.scheduling.pictures import NOW, runs, waits

POLICY = Policy()


def order(*jobs: Waiting, **shares: Share) -> str:
    return " ".join(job.id for job in order_queue(jobs, shares, now=NOW, policy=POLICY))


def test_priority_goes_before_share_and_share_before_age():
    jobs = (waits("old", "heavy", since=-9), waits("young", "light"), waits("urgent", "heavy", priority=1))
    assert order(*jobs, heavy=Share(recent_seconds=500), light=Share(recent_seconds=100)) == "urgent young old"


def test_use_is_weighed_by_shares():
    jobs = (waits("one", "a"), waits("two", "b"))
    assert order(*jobs, a=Share(1.0, 100), b=Share(3.0, 290)) == "two one"


def test_what_a_project_holds_now_counts_before_any_of_it_is_used():
    jobs = (waits("one", "a", since=-5), waits("two", "b"))
    held = with_held({}, [runs("x", project="a", devices=2)])
    assert held["a"].use == 2 * HELD_SECONDS
    assert order(*jobs, **held) == "two one"


def test_projects_take_turns_in_a_queue():
    jobs = [waits(f"{project}{n}", project, since=n) for project in "ab" for n in range(3)]
    assert order(*jobs) == "a0 b0 a1 b1 a2 b2"


def test_a_job_of_several_devices_counts_as_many():
    jobs = [waits("big", "a", since=-1, devices=3), *(waits(f"a{n}", "a", since=n) for n in range(2)),
            *(waits(f"b{n}", "b", since=n) for n in range(4))]
    assert order(*jobs) == "big b0 b1 b2 a0 b3 a1"


def test_a_job_that_holds_goes_before_its_equals_and_no_others():
    jobs = (waits("blocked", "heavy", devices=2, blocked=-601), waits("small", "light"), waits("urgent", "light", priority=1))
    assert order(*jobs, heavy=Share(recent_seconds=9000)) == "urgent blocked small"
    not_yet = waits("blocked", "heavy", devices=2, blocked=-599)
    assert order(not_yet, jobs[1], heavy=Share(recent_seconds=9000)) == "small blocked"


def test_among_equals_the_one_that_was_queued_first_goes_first():
    assert order(waits("b", since=2), waits("a", since=1)) == "a b"


def test_only_the_first_job_of_each_project_is_read_until_more_is_asked_for():
    read: list[str] = []

    def queue(project: str) -> Iterator[Waiting]:
        for number in range(1000):
            read.append(f"{project}{number}")
            yield waits(f"{project}{number}", project, since=number)

    turns = in_turn({project: queue(project) for project in "abc"}, {}, now=NOW, policy=POLICY)
    assert next(turns).id == "a0"
    assert read == ["a0", "b0", "c0"]


def test_the_example_of_the_page_on_scheduling():
    shares = {"research": Share(2.0, 3600 * decay(3600, 3600), 1), "students": Share(1.0, 1200.0),
              "thesis": Share(1.0, 2400 * decay(7200, 3600))}
    assert {project: share.use for project, share in shares.items()} == {"research": 930, "students": 1200, "thesis": 600}
    jobs = [waits(project, project) for project in shares]
    assert order(*jobs, **shares) == "thesis research students"
    assert order(*jobs, waits("first", "students", priority=1), **shares) == "first thesis research students"
