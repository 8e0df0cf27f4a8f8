"""What the sharing of the devices looks like from outside: quotas, usage, queue and workers, each sealed by project."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
import pytest

from core.clock import system_clock
from core.db.session import Ledger
from core.projects.service import create_key
from core.projects.usage import note_use
from core.quotas.service import set_limits
from core.workers import service as workers
from tests.api.serving import House, error_of, serving
from tests.core.queue.test_service import a_worker
from tests.factories import a_base_model, a_claim, a_file, a_job, a_project, a_queued_job

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'


def admin(house: House) -> str:
    with house.ledger.write() as session:
        return create_key(session, name="admin", project=None, is_admin=True, now=system_clock())[1]


def get(house: House, path: str, key: str = "", **query: Any) -> dict[str, Any]:
    with house.client(key) as client:
        answer = client.get(f"/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def shared(ledger: Ledger, tmp_path: Path):
    """A server of the test's own, with one device that a stranger's job holds."""
    with serving(ledger, tmp_path, quota_period="day") as house:
        with ledger.write() as session:
            (device,) = a_worker(session, seen_at=system_clock())
            a_queued_job(session, house.stranger, priority=9)
            claim = a_claim(session, worker_id="wrk_host", devices=(device,), now=system_clock())
            assert claim is not None
        yield house


def test_a_full_queue_is_a_429_that_says_when_to_try_again(ledger: Ledger, tmp_path: Path) -> None:
    with serving(ledger, tmp_path, max_queued_jobs=1) as house:
        with ledger.write() as session:
            a_base_model(session)
            file = a_file(session, house.project)
        jobs = house.openai().fine_tuning.jobs
        jobs.create(model="tiny", training_file=file.id)
        with pytest.raises(openai.RateLimitError) as caught:
            jobs.create(model="tiny", training_file=file.id, seed=1)
    error = caught.value
    assert (error.code, error.type, error.response.headers["retry-after"]) == (
        "insufficient_quota", "invalid_request_error", "30")
    assert "project 'acme' has 1 job that waits, and 1 is the most" in error.message
    assert "GET /v1/usage" in error.message


def test_spent_device_seconds_are_a_429_until_midnight_that_no_client_repeats(ledger: Ledger, tmp_path: Path) -> None:
    with serving(ledger, tmp_path, quota_period="day") as house:
        with ledger.write() as session:
            file = a_file(session, house.project)
            a_base_model(session)
            set_limits(session, house.project.id, {"device_seconds": 1})
            now = system_clock()
            note_use(session, house.project.id, devices=1, since=now, until=now + timedelta(seconds=9))
        with house.client() as client:
            answer = client.post("/v1/fine_tuning/jobs", json={"model": "tiny", "training_file": file.id})
    assert (answer.status_code, error_of(answer)["code"]) == (429, "insufficient_quota")
    assert 0 < int(answer.headers["retry-after"]) <= 86400
    if int(answer.headers["retry-after"]) > 60:
        assert answer.headers["x-should-retry"] == "false"


def test_an_upload_beyond_the_stored_bytes_is_refused_before_and_after_it_is_read(ledger: Ledger, tmp_path: Path) -> None:
    with serving(ledger, tmp_path, max_stored_bytes=len(ROWS) * 3) as house:
        client = house.openai()
        client.files.create(file=("rows.jsonl", ROWS * 2), purpose="fine-tune")
        for rows in (ROWS * 2, ROWS * 5000):
            with pytest.raises(openai.RateLimitError, match="delete files or checkpoints") as caught:
                client.files.create(file=("rows.jsonl", rows), purpose="fine-tune")
            assert "retry-after" not in caught.value.response.headers
            assert caught.value.response.headers["x-should-retry"] == "false"
        client.files.create(file=("rows.jsonl", ROWS), purpose="fine-tune")
        assert len(list((house.artifacts.root / "files").rglob("file-*"))) == 2


def test_usage_is_told_of_the_own_project_and_of_all_to_the_operator(shared: House) -> None:
    (mine,) = get(shared, "usage")["data"]
    assert (mine["id"], mine["name"], mine["period"]["name"]) == (shared.project.id, "acme", "day")
    assert mine["quotas"]["queued_jobs"] == {"used": 0, "limit": 1000}
    assert [key["name"] for key in mine["keys"]] == ["key of acme"]
    everything = get(shared, "usage", admin(shared))["data"]
    assert {project["name"]: project["quotas"]["running_jobs"]["used"] for project in everything} == {"acme": 0, "strangers": 1}


def test_the_queue_counts_the_jobs_of_others_and_names_none(shared: House) -> None:
    with shared.ledger.write() as session:
        theirs = a_queued_job(session, shared.stranger, priority=5)
        mine = [a_queued_job(session, shared.project) for _ in range(3)]
        raw = a_job(session, shared.project)
    told = get(shared, "queue", limit=2)
    assert [(entry["id"], entry["position"]) for entry in told["data"]] == [(mine[0].id, 2), (mine[1].id, 3)]
    assert (told["has_more"], told["waiting"], told["running"]) == (True, 5, 1)
    assert told["data"][0]["reason"] == {"code": "devices_busy", "until": None,
                                         "message": "0 of 1 devices are free and 1 job is before it"}
    assert told["forecast_error"] == {what: {"count": 0, "median": None, "p90": None} for what in ("start", "finish")}
    rest = get(shared, "queue", after=told["last_id"])
    assert [(entry["id"], entry["reason"]["code"]) for entry in rest["data"]] == [
        (mine[2].id, "devices_busy"), (raw.id, "validating")]
    assert theirs.id not in str((told, rest))
    assert theirs.id in str(get(shared, "queue", admin(shared)))


def test_a_job_that_waits_no_more_is_no_cursor(shared: House) -> None:
    with shared.client() as client:
        answer = client.get("/v1/queue", params={"after": "ftjob-gone"})
    assert (answer.status_code, error_of(answer)["param"]) == (404, "after")


def test_workers_show_devices_and_only_the_own_jobs(shared: House) -> None:
    (worker,) = get(shared, "workers")["data"]
    assert (worker["health"], worker["is_busy"], worker["job_id"]) == ("alive", True, None)
    assert [(device["status"], device["job_id"]) for device in worker["devices"]] == [("busy", None)]
    (seen,) = get(shared, "workers", shared.strange_key)["data"]
    assert seen["job_id"] == seen["devices"][0]["job_id"] is not None
    (all_seen,) = get(shared, "workers", admin(shared))["data"]
    assert all_seen["job_id"] == seen["job_id"]


def test_a_worker_that_takes_no_job_says_why(house: House) -> None:
    with house.ledger.write() as session:
        a_project(session, "none")
        workers.announce(session, worker_id="wrk_full", host="h", pid=1, queue="train", version="1")
        workers.refuse(session, "wrk_full", "no room")
    (worker,) = get(house, "workers")["data"]
    assert (worker["health"], worker["refusal"]) == ("refusing", "no room")


def test_a_project_without_jobs_sees_an_empty_queue(house: House) -> None:
    with house.ledger.write() as session:
        a_project(session, "none")
    assert get(house, "queue")["data"] == []
