"""Several workers, one ledger: a job is run by one at a time; and a Redis that forgets all changes nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from tests.journeys import jobs
from tests.servers import ROOT, Server, is_alive
from tests.waiting import PATIENCE_SECONDS, wait_for


def test_two_workers_share_a_queue_and_never_a_job(server: Server) -> None:
    with another_worker(server), server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(16))
        submitted = [jobs.submit(client, file_id, epochs=2, suffix=f"n{number}") for number in range(3)]
        most = 0

        def all_ended() -> bool:
            nonlocal most
            most = max(most, len(server.processes("worker.run")))
            return all(jobs.get_job(client, job_id)["status"] in jobs.FINISHED for job_id in submitted)

        wait_for(all_ended, "the jobs did not end", log=server.log)
        for job_id in submitted:
            events = jobs.all_events(client, job_id)
            assert jobs.codes(events).count("run.started") == 1
            assert jobs.codes(events)[-1] == "job.succeeded"
            assert jobs.steps(events) == list(range(1, 9))
    assert most <= 1  # one CPU is one device, whoever asks for it


def test_a_queued_job_runs_although_redis_was_emptied(server: Server) -> None:
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(16))
        first = jobs.submit(client, file_id, epochs=30)
        jobs.wait_for_step(server, client, first, 1)
        second = jobs.submit(client, file_id, epochs=1)
        wait_for(lambda: jobs.get_job(client, second)["status"] == "queued", "it was not queued", log=server.log)
        redis.Redis(unix_socket_path=str(server.home / "redis.sock")).flushall()
        assert jobs.wait_for_end(server, client, first)["status"] == "succeeded"
        assert jobs.wait_for_end(server, client, second)["status"] == "succeeded"


def test_a_worker_that_is_frozen_past_its_lease_is_replaced(server: Server) -> None:
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(48)), epochs=40)
        jobs.wait_for_step(server, client, job_id, 20)
        frozen = server.processes("worker", "train")[-1]
        frozen.send_signal(signal.SIGSTOP)
        wait_for(lambda: not is_alive(frozen), "it was left as it was", log=server.log)
        job = jobs.wait_for_end(server, client, job_id)
        events = jobs.all_events(client, job_id)
    assert job["status"] == "succeeded"
    assert jobs.steps(events) == list(range(1, 481))
    assert jobs.numbers(events) == list(range(1, len(events) + 1))


@contextmanager
def another_worker(server: Server) -> Iterator[None]:
    """A second train worker on the same home."""
    with server.log.open("ab") as out:
        worker = subprocess.Popen([sys.executable, "-m", "worker", "--queue", "train"], env=server.environment, cwd=ROOT,
                                  stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield
    finally:
        worker.terminate()
        assert worker.wait(PATIENCE_SECONDS) == 0
