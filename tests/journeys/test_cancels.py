"""Cancel a job wherever its child is; the child is gone within two and a half seconds."""

from __future__ import annotations

import time

import httpx
import psutil
import pytest

from tests.journeys import jobs
from tests.servers import Server, is_alive, wait_for

GONE_SECONDS = 2.5
ANSWER_SECONDS = 0.5
"""The supervisor reads the row twice a second."""


@pytest.mark.parametrize("phase", ["loading", "training", "sampling"])
def test_a_running_job_is_cancelled_in_every_phase(server: Server, phase: str) -> None:
    options = {"sample_prompts": ["Tell me of the mill."] * 8, "sample_max_tokens": 512} if phase == "sampling" else {}
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(48)), epochs=50, options=options)
        child = wait_for_phase(server, client, job_id, phase)
        began = time.monotonic()
        assert client.post(f"{jobs.JOBS}/{job_id}/cancel").status_code == 200
        wait_for(lambda: not is_alive(child), GONE_SECONDS + ANSWER_SECONDS, f"the child lived on in phase {phase}", server.log)
        took = time.monotonic() - began
        job = jobs.wait_for_end(server, client, job_id, 15)
        events = jobs.all_events(client, job_id)
    assert took <= GONE_SECONDS + ANSWER_SECONDS
    assert job["status"] == "cancelled"
    assert job["fine_tuned_model"] is None
    assert jobs.codes(events)[-1] == "job.cancelled"
    assert server.processes("worker.run") == []


def test_a_waiting_job_is_cancelled_in_the_answer_itself(server: Server) -> None:
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(48))
        running = jobs.submit(client, file_id, epochs=50)
        waiting = jobs.submit(client, file_id, epochs=49)
        answer = client.post(f"{jobs.JOBS}/{waiting}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        client.post(f"{jobs.JOBS}/{running}/cancel")
        assert jobs.wait_for_end(server, client, running, 20)["status"] == "cancelled"


def wait_for_phase(server: Server, client: httpx.Client, job_id: str, phase: str) -> psutil.Process:
    """Wait until the job's child is in the phase; give the child."""
    def look() -> bool:
        return ((jobs.get_job(client, job_id)["progress"] or {}).get("phase")) == phase

    wait_for(look, 40, f"job {job_id} never came to {phase}", server.log)
    return wait_for(lambda: server.processes("worker.run"), 10, "there is no child", server.log)[-1]

