"""A running job is preempted and paused wherever its child is: the child is gone within seconds, its last step is saved, and
the job goes on from that very step."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.journeys import jobs
from tests.journeys.test_cancels import wait_for_phase
from tests.servers import Server, a_server, is_alive
from tests.waiting import wait_for

GONE_SECONDS = 5.0
LONG = {
    "evaluating": {"validation_split": 0.5, "options": {"eval_every_steps": 1}},
    "sampling": {"options": {"sample_prompts": ["Tell me of the mill."] * 8, "sample_max_tokens": 512}},
}
"""What makes a phase last."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One on which a job of higher priority takes the device at once, and no recovery point is as new as a stop's."""
    told = {"HEADRACE_PREEMPT_AFTER_SECONDS": "0", "HEADRACE_RECOVERY_SECONDS": "600"}
    with a_server(tmp_path_factory.mktemp("stops"), **told) as server:
        yield server


@pytest.mark.parametrize("phase", ["loading", "training", "evaluating", "sampling"])
def test_a_preempted_job_leaves_from_every_phase_and_goes_on_where_it_was(server: Server, phase: str) -> None:
    with server.client() as client:
        file_id = jobs.upload(client, jobs.chat_rows(600))
        job_id = jobs.submit(client, file_id, epochs=50, priority=-10, **LONG.get(phase, {}))
        child = wait_for_phase(server, client, job_id, phase)
        urgent = jobs.submit(client, file_id, epochs=50, priority=10)
        wait_for(lambda: "run.preempting" in told(client, job_id), "nobody made room", log=server.log)
        wait_for(lambda: not is_alive(child), "the child lived on", log=server.log, seconds=GONE_SECONDS)
        wait_for(lambda: "run.preempted" in told(client, job_id), "the job was not handed back", log=server.log)
        step = jobs.get_job(client, job_id)["progress"]["step"]
        client.post(f"{jobs.JOBS}/{urgent}/cancel")
        goes_on_from(server, client, job_id, step)


@pytest.mark.parametrize("phase", ["loading"])
def test_a_paused_job_leaves_from_every_phase_and_goes_on_where_it_was(server: Server, phase: str) -> None:
    with server.client() as client:
        job_id = jobs.submit(client, jobs.upload(client, jobs.chat_rows(600)), epochs=50)
        child = wait_for_phase(server, client, job_id, phase)
        assert client.post(f"{jobs.JOBS}/{job_id}/pause").json()["status"] == "pausing"
        wait_for(lambda: not is_alive(child), "the child lived on", log=server.log, seconds=GONE_SECONDS)
        wait_for(lambda: jobs.get_job(client, job_id)["status"] == "paused", "the job is not paused", log=server.log)
        step = jobs.get_job(client, job_id)["progress"]["step"]
        assert client.post(f"{jobs.JOBS}/{job_id}/resume").json()["status"] == "queued"
        goes_on_from(server, client, job_id, step)


def told(client: httpx.Client, job_id: str) -> list[str]:
    return jobs.codes(jobs.all_events(client, job_id))


def goes_on_from(server: Server, client: httpx.Client, job_id: str, step: int) -> None:
    """See that the next run begins after `step` and that no failed attempt was counted; then end the job.

    A step that was left in its evaluation is saved, and reported once that is done again: it may be the one after."""
    code, times = ("run.restored", 1) if step else ("run.started", 2)
    wait_for(lambda: told(client, job_id).count(code) == times, "the job did not go on", log=server.log)
    events = jobs.all_events(client, job_id)
    restored = [event["data"]["from_step"] for event in events if event["data"].get("code") == "run.restored"]
    assert restored in ([step], [step + 1]) or (step == 0 and restored == [])
    assert "run.interrupted" not in jobs.codes(events)
    client.post(f"{jobs.JOBS}/{job_id}/cancel")
    assert jobs.wait_for_end(server, client, job_id)["status"] == "cancelled"
