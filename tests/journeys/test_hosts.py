"""Hosts that share PostgreSQL, Redis and a bucket, and no disk: a job goes on at another host when its own is lost."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests import remote
from tests.fleet import Fleet, a_fleet
from tests.journeys import jobs
from tests.servers import BASE
from tests.waiting import wait_for

TRAIN = ("worker", "--queue", "train")


def test_a_job_goes_on_at_another_host_from_the_bucket_and_ends_as_an_undisturbed_one(tmp_path: Path, empty_postgres_url: str
                                                                                      ) -> None:
    with remote.a_bucket() as store, a_fleet(tmp_path, empty_postgres_url, store) as fleet:
        open_house(fleet)
        workers = {host: fleet.start(host, *TRAIN) for host in ("left", "right")}
        with fleet.client() as client:
            file_id = jobs.upload(client, jobs.chat_rows(48))
            job_id = jobs.submit(client, file_id, epochs=8, lora={"dropout": 0.1})
            lost = host_of_run(fleet, client, job_id)
            wait_for(lambda: has_checkpoint(client, job_id), "no checkpoint came into the bucket", log=fleet.log)
            assert remote.SECRET not in seen_by_child(workers[lost])
            workers[lost].kill()
            shutil.rmtree(fleet.home(lost), ignore_errors=True)
            job = wait_for_end(fleet, client, job_id)
            events = jobs.all_events(client, job_id)
            twin = wait_for_end(fleet, client, jobs.submit(client, file_id, epochs=8, lora={"dropout": 0.1}))
            assert (job["status"], twin["status"]) == ("succeeded", "succeeded"), events[-3:]
            assert jobs.steps(events) == list(range(1, 97))
            assert jobs.codes(events).count("run.started") == 2
            assert "run.restored" in jobs.codes(events)
            assert adapter_of(client, job) == adapter_of(client, twin)
            assert client.get(f"/files/{job['result_files'][0]}/content").text.count("\n") == 97
            assert client.get(f"/files/{file_id}/content").content == jobs.chat_rows(48)
            assert f"attempt 2, run {run_of(events, -1)}" in client.get(f"/fine_tuning/jobs/{job_id}/logs").text
            deleted_frees_objects(client, store, job_id)
        assert not list(fleet.home("front").glob("storage/jobs/*/runs/*/checkpoints/*"))


def open_house(fleet: Fleet) -> None:
    """API and upkeep on a host of theirs, which a base model was added at whose folder no other host has."""
    fleet.run("front", "migrate")
    fleet.key = fleet.run("front", "keys", "create", "journey").strip()
    fleet.run("front", "models", "add", BASE, "--builtin", "tiny")
    shutil.rmtree(fleet.home("front") / "models")
    fleet.start("front", "api")
    fleet.start("front", "worker", "--queue", "upkeep")
    fleet.wait_until_ready()


def started(client: httpx.Client, job_id: str) -> list[dict[str, Any]]:
    return [event for event in jobs.all_events(client, job_id) if (event["data"] or {}).get("code") == "run.started"]


def host_of_run(fleet: Fleet, client: httpx.Client, job_id: str) -> str:
    (event, *_) = wait_for(lambda: started(client, job_id), "no worker took the job", log=fleet.log)
    return event["message"].rpartition(" ")[2]


def run_of(events: list[dict[str, Any]], number: int) -> str:
    return [event["data"]["run_id"] for event in events if (event["data"] or {}).get("code") == "run.started"][number]


def seen_by_child(worker: psutil.Process) -> str:
    """The environment of a worker's training process, its command line, and the spec that it names."""
    (child,) = [process for process in worker.children() if "worker.run" in process.cmdline()]
    return f"{child.environ()} {child.cmdline()} {Path(child.cmdline()[-1]).read_text()}"


def has_checkpoint(client: httpx.Client, job_id: str) -> bool:
    return len(client.get(f"/fine_tuning/jobs/{job_id}/checkpoints").json()["data"]) >= 2


def wait_for_end(fleet: Fleet, client: httpx.Client, job_id: str) -> dict[str, Any]:
    wait_for(lambda: jobs.get_job(client, job_id)["status"] in jobs.FINISHED, f"job {job_id} did not end", log=fleet.log)
    return jobs.get_job(client, job_id)


def adapter_of(client: httpx.Client, job: dict[str, Any]) -> bytes:
    base = f"/fine_tuning/jobs/{job['id']}/checkpoints"
    checkpoint = client.get(base).json()["data"][0]["id"]
    return client.get(f"{base}/{checkpoint}/files/adapter_model.safetensors").raise_for_status().content


def deleted_frees_objects(client: httpx.Client, store: remote.Bucket, job_id: str) -> None:
    base = f"/fine_tuning/jobs/{job_id}/checkpoints"
    last = client.get(base, params={"limit": 100}).json()["data"][-1]
    before = len(store.paths(f"headrace/jobs/{job_id}"))
    assert client.delete(f"{base}/{last['id']}").status_code == 200
    assert before - len(store.paths(f"headrace/jobs/{job_id}")) >= 6
