"""Cancel a job wherever its child is; the child is gone within two and a half seconds."""

from __future__ import annotations

import httpx
import psutil
import pytest

from tests.journeys import jobs
from tests.servers import Server, is_alive
from tests.waiting import wait_for

GONE_SECONDS = 2.5
ANSWER_SECONDS = 0.5
"""The supervisor reads the row twice a second."""
EPOCHS = 50


@pytest.mark.parametrize("phase", ["loading", "training", "sampling"])
def test_a_running_job_is_cancelled_in_every_phase(server: Server, phase: str) -> None:
    options = {"sample_prompts": ["Tell me of the mill."] * 8, "sample_max_tokens": 512} if phase == "sampling" else {}
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(600)), epochs=EPOCHS, options=options)
        child = wait_for_phase(server, client, job_id, phase)
        assert client.post(f"{jobs.JOBS}/{job_id}/cancel").status_code == 200
        wait_for(lambda: not is_alive(child), f"the child lived on in phase {phase}", log=server.log,
                 seconds=GONE_SECONDS + ANSWER_SECONDS)
        job = jobs.wait_for_end(server, client, job_id)
        events = jobs.all_events(client, job_id)
    assert job["status"] == "cancelled"
    assert job["fine_tuned_model"] is None
    assert len(jobs.steps(events)) < 600
    assert jobs.codes(events)[-1] == "job.cancelled"
    assert server.processes("worker.run") == []


def test_a_waiting_job_is_cancelled_in_the_answer_itself(server: Server) -> None:
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(48))
        running = jobs.submit(client, file_id, epochs=EPOCHS)
        waiting = jobs.submit(client, file_id, epochs=49)
        answer = client.post(f"{jobs.JOBS}/{waiting}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        client.post(f"{jobs.JOBS}/{running}/cancel")
        assert jobs.wait_for_end(server, client, running)["status"] == "cancelled"


def wait_for_phase(server: Server, client: httpx.Client, job_id: str, phase: str) -> psutil.Process:
    """Wait until the job's child is in the phase; give the child."""
    def look() -> bool:
        return ((jobs.get_job(client, job_id)["progress"] or {}).get("phase")) == phase

    wait_for(look, f"job {job_id} never came to {phase}", log=server.log)
    return wait_for(lambda: server.processes("worker.run"), "there is no child", log=server.log)[-1]
