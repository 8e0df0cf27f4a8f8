from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.errors import LimitReached
from core.files.service import purgeable_keys
from core.jobs import stops
from core.jobs.models import Job
from core.projects.models import Project
from core.projects.service import create_key
from core.projects.usage import note_use
from core.quotas.limits import Limits, Rules
from core.quotas.service import Subject, check_stored, limits_of, set_limits, used
from core.quotas.usage import all_usage
from tests.factories import NOW, a_file, a_job, a_project, a_running_job, later


def a_key(session: Session, name: str = "laptop") -> str:
    return create_key(session, name=name, project="acme", is_admin=False, now=NOW)[0].id


def subject(project: Project, key_id: str | None = None) -> Subject:
    return Subject(project.id, project.name, key_id, "laptop" if key_id else "")


def refusal(call: Callable[[], object]) -> LimitReached:
    with pytest.raises(LimitReached) as caught:
        call()
    return caught.value


def test_limits_are_set_changed_and_taken_back(ledger: Ledger):
    rules = Rules(Limits(queued_jobs=9, running_jobs=3))
    with ledger.write() as session:
        project = a_project(session)
        assert limits_of(session, subject(project), rules) == Limits(3, 9)
        set_limits(session, project.id, {"running_jobs": None, "device_seconds": 60})
        set_limits(session, project.id, {"queued_jobs": 4})
        assert limits_of(session, subject(project), rules) == Limits(None, 4, 60)
        set_limits(session, project.id, {}, dropped=frozenset({"running_jobs", "queued_jobs"}))
        assert limits_of(session, subject(project), rules) == Limits(3, 9, 60)


def test_a_key_has_no_limits_but_its_own(ledger: Ledger):
    with ledger.write() as session:
        project, key_id = a_project(session), a_key(session)
        set_limits(session, key_id, {"queued_jobs": 1})
        assert limits_of(session, subject(project, key_id), Rules(Limits(running_jobs=3))) == Limits(queued_jobs=1)


def test_a_full_queue_of_a_key_is_no_limit_for_another(ledger: Ledger):
    with ledger.write() as session:
        mine, other = a_key(session), a_key(session, "other")
        set_limits(session, mine, {"queued_jobs": 1})
        a_job(session, key_id=mine)
        error = refusal(lambda: a_job(session, key_id=mine))
        a_job(session, key_id=other)
    assert error.code == "insufficient_quota"
    assert error.retry_after_seconds == 30
    assert "key 'laptop' has 1 job that waits, and 1 is the most it may have" in error.message


@pytest.mark.parametrize("name", ["queued_jobs", "device_seconds"])
def test_a_quota_of_nothing_is_not_said_to_pass(ledger: Ledger, name: str):
    with ledger.write() as session:
        key = a_key(session)
        set_limits(session, key, {name: 0})
        error = refusal(lambda: a_job(session, key_id=key))
    assert error.retry_after_seconds is None
    assert f"key 'laptop' may submit no job: its quota of {name} is 0; ask the operator" in error.message


def test_jobs_that_run_do_not_count_as_waiting_and_paused_ones_do(ledger: Ledger):
    rules = Rules(Limits(queued_jobs=1))
    with ledger.write() as session:
        a_running_job(session)
        paused = a_job(session, rules=rules)
        stops.pause(session, paused.project_id, paused.id, now=NOW)
        refusal(lambda: a_job(session, rules=rules))


def test_spent_device_seconds_refuse_a_submit_until_the_period_turns(ledger: Ledger):
    rules = Rules(Limits(device_seconds=100), "day")
    with ledger.write() as session:
        project = a_project(session)
        note_use(session, project.id, devices=2, since=NOW, until=later(60))
        error = refusal(lambda: a_job(session, rules=rules, now=later(60)))
        a_job(session, rules=rules, now=datetime(2026, 11, 25, 0, 1, tzinfo=UTC))
    assert error.retry_after_seconds == 12 * 3600 - 60
    assert "project 'acme' has used 120 device-seconds of the 100 that it may in a day" in error.message
    assert "2026-11-25 00:00 UTC" in error.message


def test_device_seconds_of_a_key_are_its_own(ledger: Ledger):
    with ledger.write() as session:
        project, key_id = a_project(session), a_key(session)
        set_limits(session, key_id, {"device_seconds": 50})
        note_use(session, project.id, devices=1, since=NOW, until=later(60))
        a_job(session, key_id=key_id, now=later(60))
        note_use(session, project.id, devices=1, since=later(60), until=later(120), key_id=key_id)
        assert "key 'laptop' has used 60" in refusal(lambda: a_job(session, key_id=key_id, now=later(120))).message


def test_files_count_until_their_bytes_are_gone(ledger: Ledger):
    rules = Rules(Limits(stored_bytes=2500))
    with ledger.write() as session:
        project = a_project(session)
        file = a_file(session, project)
        check_stored(session, project.id, None, 1500, rules=rules)
        error = refusal(lambda: check_stored(session, project.id, None, 1501, rules=rules))
        file.deleted_at = NOW
        refusal(lambda: check_stored(session, project.id, None, 1501, rules=rules))
        assert purgeable_keys(session, file.id, now=NOW) == [file.storage_key]
        check_stored(session, project.id, None, 2500, rules=rules)
    assert error.retry_after_seconds is None
    assert "stores 1,000 bytes of the 2,500 that it may, and 1,501 more were to come" in error.message


def test_a_project_without_room_submits_nothing(ledger: Ledger):
    with ledger.write() as session:
        file = a_file(session)
        error = refusal(lambda: a_job(session, training_file=file.id, rules=Rules(Limits(stored_bytes=1000))))
    assert "stores 1,000 bytes of the 1,000 that it may; delete files or checkpoints" in error.message


def test_usage_tells_of_each_project_and_each_key(ledger: Ledger):
    rules = Rules(Limits(queued_jobs=5))
    with ledger.write() as session:
        project, key_id = a_project(session), a_key(session)
        a_project(session, "idle")
        set_limits(session, key_id, {"running_jobs": 2})
        a_job(session, project, key_id=key_id)
        idle, told = sorted(all_usage(session, rules=rules, now=NOW), key=lambda each: len(each.keys))
    assert {name: (part.used, part.limit) for name, part in told.spent.items()} == {
        "running_jobs": (0, None), "queued_jobs": (1, 5), "device_seconds": (0, None), "stored_bytes": (1000, None)}
    assert [(key.subject.key_name, key.spent["queued_jobs"].used, key.spent["running_jobs"].limit) for key in told.keys] == [
        ("laptop", 1, 2)]
    assert (idle.subject.project_name, idle.keys) == ("idle", ())


def test_of_many_submits_at_once_as_many_pass_as_the_quota_allows(ledger: Ledger):
    rules = Rules(Limits(queued_jobs=3))
    with ledger.write() as session:
        project, file = a_project(session), a_file(session)
        a_job(session, project, training_file=file.id, rules=rules)

    def submit(_: int) -> bool:
        try:
            with ledger.write() as session:
                a_job(session, project, training_file=file.id, rules=rules)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(submit, range(12))) == 2
    with ledger.read() as session:
        assert session.query(Job).count() == 3
        assert used(session, subject(project), "queued_jobs", rules=rules, now=NOW) == 3


def test_of_many_uploads_at_once_none_passes_the_limit(ledger: Ledger):
    rules = Rules(Limits(stored_bytes=3500))
    with ledger.write() as session:
        project = a_project(session)

    def upload(_: int) -> bool:
        try:
            with ledger.write() as session:
                check_stored(session, project.id, None, 1000, rules=rules)
                a_file(session, project)
        except LimitReached:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(upload, range(12))) == 3
