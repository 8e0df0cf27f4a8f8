"""Processes that hang and come back, and a Redis that loses all: what is late is refused, what is healthy goes on."""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
import redis

from tests.journeys import jobs
from tests.journeys.small import LEASE_SECONDS, Small, a_small_server, another_worker, frozen, frozen_between_writes
from tests.servers import is_alive
from tests.waiting import wait_for

STEP_SECONDS = 0.05
STALL_SECONDS = 5.0
LEASE, SILENCE = 6.0, 5.0
"""A child that hears nothing of its supervisor leaves before the lease lapses, as with the settings of a shipped server."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    options = ("--step-seconds", str(STEP_SECONDS))
    with a_small_server(tmp_path_factory.mktemp("freezes"), *options, HEADRACE_STALL_SECONDS=str(STALL_SECONDS)) as small:
        yield small


@pytest.mark.parametrize("hanging", ["worker", "worker and child"])
def test_a_worker_that_hangs_past_the_lease_is_refused_when_it_comes_back(tmp_path: Path, hanging: str) -> None:
    options = ("--step-seconds", str(STEP_SECONDS), "--silence-seconds", str(SILENCE))
    settings = {"HEADRACE_LEASE_SECONDS": str(LEASE), "HEADRACE_REDIS_URL": f"unix://{tmp_path / 'redis.sock'}"}
    with (a_small_server(tmp_path, *options, is_apart=True, **settings) as small, another_worker(small.server),
          small.server.client() as client):
        server = small.server
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(32)), epochs=15)
        jobs.wait_for_step(server, client, job_id, 10)
        child = small.child()
        late = child.parent()
        assert late is not None
        with frozen_between_writes(small, late, *([child] if "child" in hanging else [])):
            wait_for(lambda: small.attempts(job_id) == 2, "no other worker took the job over", log=server.log)
            time.sleep(0.5)
        wait_for(lambda: not is_alive(child), "the late child worked on", log=server.log)
        assert jobs.wait_for_end(server, client, job_id)["status"] == "succeeded"
        found = small.findings(job_id)
    if "child" in hanging:  # it may compute a step more before it is ended, of which nothing is written
        assert all(words.startswith("runs_overlapping") for words in found.words)
    else:
        assert found.words == []


def test_a_child_that_hangs_is_ended_by_the_watchdog_and_the_job_goes_on(small: Small) -> None:
    server = small.server
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(32)), epochs=10)
        jobs.wait_for_step(server, client, job_id, 10)
        child = small.child()
        with frozen(child):
            wait_for(lambda: not is_alive(child), "the child was not ended", log=server.log)
        assert jobs.wait_for_end(server, client, job_id)["status"] == "succeeded"
        events = jobs.all_events(client, job_id)
    assert any("reported nothing for 5 seconds" in event["message"] for event in events)
    assert small.findings(job_id).words == []


def test_upkeep_the_api_and_redis_that_hang_past_the_lease_cost_a_healthy_run_nothing(small: Small) -> None:
    server = small.server
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(32)), epochs=25)
        jobs.wait_for_step(server, client, job_id, 5)
        hung = [server.processes(*words)[-1] for words in (("worker", "upkeep"), ("-m", "api"), ("redis.sock",))]
        with frozen(*hung):
            time.sleep(2 * LEASE_SECONDS)
        assert jobs.wait_for_end(server, client, job_id)["status"] == "succeeded"
    assert small.attempts(job_id) == 1
    assert small.findings(job_id).words == []


def test_a_redis_that_loses_all_it_held_loses_no_job_and_a_stream_goes_on_where_it_was(small: Small) -> None:
    server = small.server
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(32))
        submitted = [jobs.submit(client, file_id, epochs=epochs) for epochs in (6, 2, 3)]
        jobs.wait_for_step(server, client, submitted[0], 5)
        numbers, last = read_stream(client, submitted[0], until=10)
        redis.Redis(unix_socket_path=str(server.home / "redis.sock")).flushall()
        kill_without_disk(small)
        server.processes("-m", "api")[-1].kill()
        wait_for(lambda: jobs.patiently(lambda: client.get("/models")), "the API did not come back", log=server.log)
        more, _ = read_stream(client, submitted[0], last=last)
        for job_id in submitted:
            assert jobs.wait_for_end(server, client, job_id)["status"] == "succeeded"
        events = jobs.all_events(client, submitted[0])
        ends = [jobs.get_job(client, job_id) for job_id in submitted]
    assert numbers + more == list(range(1, len(events) + 1))
    assert small.findings(*submitted).words == []
    waits = [after["started_at"] - before["finished_at"] for before, after in itertools.pairwise(ends)
             if "started_at" in after]
    assert all(wait <= 10 for wait in waits)


def kill_without_disk(small: Small) -> None:
    """Take Redis its files, and kill it; it comes back empty."""
    process = small.server.processes("redis.sock")[-1]
    shutil.rmtree(small.server.home / "redis" / "appendonlydir", ignore_errors=True)
    process.kill()
    wait_for(lambda: [p for p in small.server.processes("redis.sock") if p.pid != process.pid], "Redis did not come back",
             log=small.server.log)


def read_stream(client: httpx.Client, job_id: str, *, until: int | None = None, last: str = "") -> tuple[list[int], str]:
    """Follow a job's events after the event `last`, to its end or `until` so many came; give their numbers and the last id."""
    numbers: list[int] = []
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    with client.stream("GET", f"{jobs.JOBS}/{job_id}/events", params={"stream": "true"}, headers=headers) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                last = orjson.loads(line.removeprefix("data: "))["id"]
                numbers.append(int(last.rpartition("-")[2]))
            if line == "data: [DONE]" or len(numbers) == until:
                break
    return numbers, last
