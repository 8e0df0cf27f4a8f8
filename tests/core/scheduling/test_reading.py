from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from sqlalchemy import event

from core.db.session import Ledger
from core.scheduling.cluster import Host, Need, could_ever
from core.scheduling.reading import Limits, heads, read_queues
from tests.core.scheduling.pictures import GIB, host
from tests.factories import NOW, a_project, a_queued_job, later


def test_the_first_jobs_of_projects_are_found_without_reading_the_whole_queue(sqlite_ledger: Ledger):
    seen: list[tuple[str, Any]] = []
    event.listen(sqlite_ledger.engine, "before_cursor_execute", lambda _c, _k, sql, told, *_: seen.append((sql, told)))
    with sqlite_ledger.read() as session:
        limits = {"devices_0": 2, "memory_0": 1, "devices_1": 1, "memory_1": 2}
        session.execute(heads(2), {"now": NOW, "barred": ["p"], "spent": ["p"], **limits}).all()
        sql, told = seen[-1]
        steps = [row[3] for row in session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", told)]
    on_jobs = [step for step in steps if " jobs " in step]
    assert on_jobs
    assert all(step.startswith("SEARCH jobs USING") and "ix_jobs_waiting" in step for step in on_jobs), steps


def test_a_project_s_queue_is_read_in_its_order_across_priorities_and_pages(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        jobs = [a_queued_job(session, project, priority=number % 3, queued_at=later(-number // 4)) for number in range(50)]
        expected = [job.id for job in sorted(jobs, key=lambda job: (-job.priority, job.queued_at, job.id))]
        read = read_queues(session, now=NOW)[project.id]
        assert [job.id for job in read] == expected


def test_what_does_not_fit_is_left_out_but_for_the_first(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        jobs = [a_queued_job(session, project, options={"devices": number % 2 + 1}) for number in range(1, 5)]
        read = read_queues(session, now=NOW, ever=Limits(frozenset({(2, 1)})), soon=Limits(frozenset({(1, 1)})))[project.id]
        assert [job.id for job in read] == [jobs[0].id, jobs[1].id, jobs[3].id]


def test_limits_say_what_a_host_could_ever_run():
    chance = random.Random(7)
    for _ in range(300):
        sizes = [chance.choice((8, 24, 80)) for _ in range(chance.randint(1, 4))]
        slots = [replace(slot, kind=chance.choice(("cuda", "cpu"))) for slot in host("h", [None] * len(sizes), gib=sizes).slots]
        limits = Limits.of(slots).fits
        for need in (Need(devices, memory) for devices in range(1, 5) for memory in (None, 8 * GIB, 20 * GIB, 70 * GIB)):
            is_read = any(need.devices <= devices and (need.memory_bytes or 0) <= memory for devices, memory in limits)
            assert is_read == could_ever(need, Host("h", tuple(slots))), (slots, need)


def test_of_jobs_that_fit_no_host_none_is_read_whatever_devices_and_memory_say_apart(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        for number, (devices, memory) in enumerate(((2, 70), (2, 24), (1, 80), (3, 8), (1, 81))):
            a_queued_job(session, project, options={"devices": devices}, queued_at=later(number)).memory_bytes = memory
        session.flush()
        limits = Limits(frozenset({(2, 24), (1, 80)}))
        read = read_queues(session, now=NOW, ever=limits, soon=limits)[project.id]
        assert [(job.need.devices, job.need.memory_bytes) for job in read] == [(2, 24), (1, 80)]
        assert read_queues(session, now=NOW, ever=Limits.of([])) == {}
