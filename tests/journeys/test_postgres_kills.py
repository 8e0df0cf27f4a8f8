"""PostgreSQL is killed with SIGKILL under a job that trains, alone and with the whole machine, and started again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bench.soak.postgres import Postgres, open_postgres
from tests.journeys import jobs
from tests.journeys.small import LEASE_SECONDS, Small, a_small_server
from tests.servers import is_alive
from tests.waiting import wait_for

STEP_SECONDS = 0.05


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with open_postgres() as postgres:
        yield postgres


@pytest.fixture(scope="module")
def small(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """Parts on their own over PostgreSQL, as on several machines: nobody ends a dead worker's lease at once."""
    folder = tmp_path_factory.mktemp("kills")
    settings = {"HEADRACE_DATABASE_URL": postgres.new_database("kills"),
                "HEADRACE_REDIS_URL": f"unix://{folder / 'home' / 'redis.sock'}"}
    with a_small_server(folder, "--step-seconds", str(STEP_SECONDS), is_apart=True, **settings) as small:
        yield small


def test_a_job_trains_on_in_its_first_attempt_while_postgresql_is_away(small: Small, postgres: Postgres) -> None:
    server = small.server
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(32)), epochs=25)
        jobs.wait_for_step(server, client, job_id, 10)
        child = small.child()
        parts = server.processes("--queue", "train") + server.processes("--queue", "upkeep")
        postgres.kill()
        time.sleep(LEASE_SECONDS + 1)
        assert is_alive(child)
        postgres.start_again()
        job = jobs.wait_for_end(server, client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert all(is_alive(part) for part in parts)
    assert small.attempts(job_id) == 1
    assert small.findings(job_id).words == []


def test_a_machine_that_dies_whole_with_its_postgresql_goes_on_at_the_next_start(small: Small, postgres: Postgres) -> None:
    server = small.server
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(32)), epochs=15)
        jobs.wait_for_step(server, client, job_id, 20)
        assert server.process is not None
        family = server.processes()
        postgres.kill()
        for process in family:
            process.kill()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(is_alive(process) for process in family), "some of its processes live on", log=server.log)
        postgres.start_again()
        server.start()
        job = jobs.wait_for_end(server, client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert jobs.steps(jobs.all_events(client, job_id)) == list(range(1, 8 * 15 + 1))
    assert small.attempts(job_id) == 2
    assert small.findings(job_id).words == []
