"""What journeys do with a server: upload rows, submit, read the log, wait, look at the outcome."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import Any

import httpx
import orjson

from tests.servers import BASE, Server
from tests.waiting import PATIENCE_SECONDS, wait_for

JOBS = "/fine_tuning/jobs"
FINISHED = ("succeeded", "failed", "cancelled")


def chat_rows(count: int) -> bytes:
    """Rows that differ, in the form of chats."""
    return b"".join(
        orjson.dumps({"messages": [{"role": "user", "content": f"What is {n} and {n}?"},
                                   {"role": "assistant", "content": f"It is {2 * n}, said the miller."}]}) + b"\n"
        for n in range(count)
    )


def upload(client: httpx.Client, rows: bytes) -> str:
    answer = client.post("/files", data={"purpose": "fine-tune"}, files={"file": ("rows.jsonl", rows)})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def submit(client: httpx.Client, file_id: str, *, epochs: int = 2, batch_size: int = 4, **fields: Any) -> str:
    body = {"model": BASE, "training_file": file_id, "seed": 7,
            "hyperparameters": {"n_epochs": epochs, "batch_size": batch_size}, **fields}
    answer = client.post(JOBS, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def get_job(client: httpx.Client, job_id: str) -> dict[str, Any]:
    return client.get(f"{JOBS}/{job_id}").raise_for_status().json()


def all_events(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    """The whole log, old to new."""
    events: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = client.get(f"{JOBS}/{job_id}/events", params={"limit": 100, **after}).raise_for_status().json()
        events += page["data"]
        if not page["has_more"]:
            return events[::-1]
        after = {"after": page["data"][-1]["id"]}


def codes(events: list[dict[str, Any]]) -> list[str]:
    return [event["data"]["code"] for event in events if event["type"] == "message"]


def steps(events: list[dict[str, Any]]) -> list[int]:
    return [event["data"]["step"] for event in events if event["type"] == "metrics"]


def numbers(events: list[dict[str, Any]]) -> list[int]:
    """The numbers that the events' ids hold."""
    return [int(event["id"].rpartition("-")[2]) for event in events]


def wait_for_end(server: Server, client: httpx.Client, job_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """Wait until the job is finished, over an API that may be away for a moment."""
    def look() -> dict[str, Any] | None:
        job = patiently(lambda: get_job(client, job_id))
        return job if job is not None and job["status"] in FINISHED else None

    return wait_for(look, f"job {job_id} did not end", log=server.log, seconds=seconds)


def wait_for_step(server: Server, client: httpx.Client, job_id: str, step: int) -> None:
    def look() -> bool:
        job = patiently(lambda: get_job(client, job_id))
        return job is not None and ((job["progress"] or {}).get("step") or 0) >= step

    wait_for(look, f"job {job_id} did not reach step {step}", log=server.log)


def patiently(call):
    """Do a request; None while the API is being started again."""
    try:
        return call()
    except httpx.TransportError:
        return None


def adapter_digest(client: httpx.Client, job_id: str) -> str:
    """SHA-256 of the finished job's adapter, as a client downloads it."""
    checkpoints = client.get(f"{JOBS}/{job_id}/checkpoints").raise_for_status().json()["data"]
    path = f"{JOBS}/{job_id}/checkpoints/{checkpoints[0]['id']}/files/adapter_model.safetensors"
    return hashlib.sha256(client.get(path).raise_for_status().content).hexdigest()


def result_rows(client: httpx.Client, job: dict[str, Any]) -> list[dict[str, str]]:
    text = client.get(f"/files/{job['result_files'][0]}/content").raise_for_status().text
    return list(csv.DictReader(io.StringIO(text)))
