"""SIGKILL to every process of a server while a job runs: it succeeds without help, as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.journeys import jobs
from tests.servers import Server, a_server, is_alive
from tests.waiting import wait_for

ROWS, EPOCHS, BATCH = 48, 40, 4
TOTAL = ROWS // BATCH * EPOCHS
"""Steps enough for the job to be running when each kill comes."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str, str]]:
    """A server, a file on it, and the adapter's digest of a job that ran in peace."""
    with a_server(tmp_path_factory.mktemp("kills")) as server, server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(ROWS))
        job_id = jobs.submit(client, file_id, epochs=EPOCHS, batch_size=BATCH, lora={"dropout": 0.1})
        assert jobs.wait_for_end(server, client, job_id)["status"] == "succeeded"
        yield server, file_id, jobs.adapter_digest(client, job_id)


def test_a_job_whose_child_read_ahead_and_supervisor_are_killed_ends_in_the_same_bytes(undisturbed) -> None:
    def kill_all(server: Server, client: httpx.Client, job_id: str) -> None:
        victims = {TOTAL // 8: ("core.data.ahead",), TOTAL // 4: ("worker.run",), TOTAL // 2: ("worker", "train")}
        for step, words in victims.items():
            jobs.wait_for_step(server, client, job_id, step)
            kill(server, *words)

    attempts = went_on_as_if_nothing_had_happened(undisturbed, kill_all)
    assert attempts in (3, 4)  # a read-ahead process that has given all it had is not missed


def test_a_job_does_not_notice_that_api_upkeep_and_redis_are_killed(undisturbed) -> None:
    def kill_all(server: Server, client: httpx.Client, job_id: str) -> None:
        for step, words in {1: ("redis.sock",), TOTAL // 8: ("-m", "api"), TOTAL // 4: ("worker", "upkeep")}.items():
            jobs.wait_for_step(server, client, job_id, step)
            kill(server, *words)

    assert went_on_as_if_nothing_had_happened(undisturbed, kill_all) == 1


def went_on_as_if_nothing_had_happened(undisturbed: tuple[Server, str, str],
                                       harm: Callable[[Server, httpx.Client, str], None]) -> int:
    """Run a job, harm it, and look at all that a client sees; give the number of attempts."""
    server, file_id, digest = undisturbed
    with server.client() as client:
        job_id = jobs.submit(client, file_id, epochs=EPOCHS, batch_size=BATCH, lora={"dropout": 0.1})
        harm(server, client, job_id)
        job = jobs.wait_for_end(server, client, job_id)
        wait_for(lambda: jobs.patiently(lambda: client.get("/models")), "the API did not come back", log=server.log)
        events = jobs.all_events(client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert jobs.steps(events) == list(range(1, TOTAL + 1))
        assert jobs.numbers(events) == list(range(1, len(events) + 1))
        assert [int(row["step"]) for row in jobs.result_rows(client, job)] == list(range(1, TOTAL + 1))
        assert jobs.adapter_digest(client, job_id) == digest
    return jobs.codes(events).count("run.started")


def kill(server: Server, *words: str) -> None:
    """Kill the process with SIGKILL, and see it dead."""
    process = wait_for(lambda: server.processes(*words), f"no process {words}", log=server.log)[-1]
    process.kill()
    wait_for(lambda: not is_alive(process), f"{words} did not die")


def test_a_stopped_server_goes_on_at_the_next_start_and_counts_no_failed_attempt(tmp_path: Path) -> None:
    with a_server(tmp_path) as server, server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(ROWS))
        job_id = jobs.submit(client, file_id, epochs=EPOCHS, batch_size=BATCH)
        jobs.wait_for_step(server, client, job_id, TOTAL // 8)
        assert server.stop() < 30
        server.start()
        job = jobs.wait_for_end(server, client, job_id)
        events = jobs.all_events(client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert jobs.steps(events) == list(range(1, TOTAL + 1))
        assert "run.interrupted" not in jobs.codes(events)
        assert jobs.codes(events).count("run.handed_back") == 1
        restored = next(e for e in events if e["data"].get("code") == "run.restored")
        assert restored["data"]["from_step"] >= TOTAL // 8


def test_a_whole_server_that_is_killed_leaves_no_process_and_goes_on_at_the_next_start(tmp_path: Path) -> None:
    with a_server(tmp_path) as server, server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(ROWS)), epochs=EPOCHS, batch_size=BATCH)
        jobs.wait_for_step(server, client, job_id, TOTAL // 4)
        assert server.process is not None
        family = server.processes()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(is_alive(process) for process in family), "some of its processes live on", log=server.log)
        server.start()
        job = jobs.wait_for_end(server, client, job_id)
        events = jobs.all_events(client, job_id)
    assert job["status"] == "succeeded", job["error"]
    assert jobs.steps(events) == list(range(1, TOTAL + 1))
    assert jobs.numbers(events) == list(range(1, len(events) + 1))
    assert len(family) >= 6
