from __future__ import annotations

from typing import Any

from sqlalchemy import event

from core.db.session import Ledger
from core.scheduling.reading import HEADS, Limits, read_queues
from tests.factories import NOW, a_project, a_queued_job, later


def test_the_first_jobs_of_projects_are_found_without_reading_the_whole_queue(sqlite_ledger: Ledger):
    seen: list[tuple[str, Any]] = []
    event.listen(sqlite_ledger.engine, "before_cursor_execute", lambda _c, _k, sql, told, *_: seen.append((sql, told)))
    with sqlite_ledger.read() as session:
        session.execute(HEADS, {"now": NOW, "devices": 1, "memory_bytes": 1, "barred": ["p"], "spent": ["p"]}).all()
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
        read = read_queues(session, now=NOW, ever=Limits(2, 1), soon=Limits(1, 1))[project.id]
        assert [job.id for job in read] == [jobs[0].id, jobs[1].id, jobs[3].id]
