"""A job is steered while it runs, its child is killed, and it ends as the job that was given the whole log at submit."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.journeys import jobs
from tests.journeys.test_kills import kill
from tests.servers import BASE, Server
from tests.waiting import wait_for

EPOCHS, BATCH = 30, 4


@pytest.fixture(scope="module")
def datasets(server: Server) -> list[str]:
    """Two registered data sets, of 40 and 24 rows."""
    names = ["river", "mill"]
    with server.client() as client:
        for name, rows in zip(names, (jobs.chat_rows(40), b"".join(jobs.chat_rows(64).splitlines(True)[40:])), strict=True):
            made = client.post("/datasets", json={"name": name, "file_id": jobs.upload(client, rows)}).raise_for_status().json()
            wait_for(lambda made=made: client.get(f"/datasets/{made['id']}").json()["version"]["status"] == "ready",
                     "a data set was not indexed", log=server.log)
    return names


def submit(client: httpx.Client, names: list[str], **fields: Any) -> str:
    body = {"model": BASE, "datasets": [{"dataset": name} for name in names], "seed": 7, "lora": {"dropout": 0.1},
            "hyperparameters": {"n_epochs": EPOCHS, "batch_size": BATCH}, **fields}
    answer = client.post(jobs.JOBS, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def change(server: Server, client: httpx.Client, job_id: str, **update: Any) -> int:
    """Change the mixture; give the step from which it holds, waited for if need be."""
    answer = client.patch(f"{jobs.JOBS}/{job_id}/mixture", json=update)
    assert answer.status_code in (200, 202), answer.text
    number = answer.json()["number"]

    def step() -> int | None:
        told = client.get(f"{jobs.JOBS}/{job_id}/mixture").raise_for_status().json()
        return told["changes"][number - 1]["from_step"]

    return wait_for(step, "the change got no step", log=server.log)


def rows_of(client: httpx.Client, job_id: str, step: int) -> list[tuple[str, int, bool]]:
    told = client.get(f"{jobs.JOBS}/{job_id}/steps/{step}/rows").raise_for_status().json()
    assert told["verified"] is True
    return [(row["source"], row["row"], row["trained"]) for row in told["data"]]


def receipt(client: httpx.Client, job_id: str) -> dict[str, Any]:
    newest = client.get(f"{jobs.JOBS}/{job_id}/checkpoints").json()["data"][0]["id"]
    return client.get(f"{jobs.JOBS}/{job_id}/checkpoints/{newest}/receipt").raise_for_status().json()


def test_a_steered_and_killed_job_is_the_one_whose_schedule_said_so(server: Server, datasets: list[str]) -> None:
    with server.client() as client:
        job_id = submit(client, datasets)
        total = wait_for(lambda: jobs.get_job(client, job_id)["progress"]["total_steps"], "no plan", log=server.log)
        jobs.wait_for_step(server, client, job_id, total // 10)
        first = change(server, client, job_id, weights={"mill": 0.25})
        jobs.wait_for_step(server, client, job_id, first)
        second = change(server, client, job_id, weights={"river": 0.0, "mill": 1.0})
        kill(server, "worker.run")
        job = jobs.wait_for_end(server, client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert total // 10 < first < second
        events = jobs.all_events(client, job_id)
        assert jobs.steps(events) == list(range(1, total + 1))
        assert jobs.codes(events).count("run.started") == 2

        twin = submit(client, datasets, mixture_schedule=[{"from_step": first, "weights": {"mill": 0.25}},
                                                          {"from_step": second, "weights": {"river": 0.0, "mill": 1.0}}])
        assert jobs.wait_for_end(server, client, twin)["status"] == "succeeded"
        assert jobs.adapter_digest(client, twin) == jobs.adapter_digest(client, job_id)
        mine, theirs = receipt(client, job_id), receipt(client, twin)
        for name in ("order_digest", "sources", "step", "base_model"):
            assert mine[name] == theirs[name]
        for step in (1, first - 1, first, second - 1, second, total):
            assert rows_of(client, job_id, step) == rows_of(client, twin, step)
        assert {source for source, _, _ in rows_of(client, job_id, second)} == {"mill"}
        assert job["progress"]["sources"][1]["epochs"] > job["progress"]["sources"][0]["epochs"]


def test_a_row_taken_out_of_a_running_job_is_a_hole_from_its_step_on(server: Server, datasets: list[str]) -> None:
    with server.client() as client:
        job_id = submit(client, datasets[:1])
        jobs.wait_for_step(server, client, job_id, 20)
        from_step = change(server, client, job_id, quarantine={"rows": [{"source": "river", "row": 11}]}, reason="odd")
        job = jobs.wait_for_end(server, client, job_id)
        assert job["status"] == "succeeded", job["error"]
        epoch = 40 // BATCH
        for first in (1, -(-from_step // epoch) * epoch + 1):
            seen = [row for step in range(first, first + epoch) for row in rows_of(client, job_id, step)]
            assert sorted(row for _, row, _ in seen) == list(range(40))
            assert [row for _, row, is_trained in seen if not is_trained] == ([] if first == 1 else [11])
