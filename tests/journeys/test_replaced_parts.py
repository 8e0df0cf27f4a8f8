"""The same commands with PostgreSQL and a separate Redis in place of the embedded parts."""

from __future__ import annotations

from pathlib import Path

from core.signals import server as redis_server
from tests.journeys import jobs
from tests.servers import a_server
from tests.waiting import PATIENCE_SECONDS


def test_a_job_on_postgresql_and_a_separate_redis_survives_the_loss_of_its_supervisor(tmp_path: Path,
                                                                                      empty_postgres_url: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    redis = redis_server.start(elsewhere, elsewhere / "redis.sock")
    try:
        settings = {"HEADRACE_DATABASE_URL": empty_postgres_url, "HEADRACE_REDIS_URL": f"unix://{elsewhere / 'redis.sock'}"}
        with a_server(tmp_path, **settings) as server, server.client() as client:
            job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(48)), epochs=40)
            jobs.wait_for_step(server, client, job_id, 20)
            server.processes("worker", "train")[-1].kill()
            job = jobs.wait_for_end(server, client, job_id)
            events = jobs.all_events(client, job_id)
            assert server.processes("redis.sock") == []
            assert not (server.home / "headrace.db").exists()
    finally:
        redis.terminate()
        redis.wait(PATIENCE_SECONDS)
    assert job["status"] == "succeeded"
    assert jobs.steps(events) == list(range(1, 481))
    assert jobs.codes(events).count("run.started") == 2
