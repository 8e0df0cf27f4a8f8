"""Jobs on rows that lie on an S3 server and behind a web server: named by place and path, killed on the way, and sealed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.journeys import jobs
from tests.remote import KEY, SECRET, TOKEN, Bucket, WebServer, a_bucket, a_web_server
from tests.servers import Server, a_server
from tests.waiting import wait_for

ROWS = 48
SHARDS = 3
EPOCHS, BATCH = 20, 4
TOTAL = 2 * ROWS // BATCH * EPOCHS


@dataclass(frozen=True)
class Scene:
    server: Server
    bucket: Bucket
    web: WebServer
    datasets: list[dict[str, Any]]
    """What a job names: one set of each place."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("places")
    lines = jobs.chat_rows(2 * ROWS).splitlines(keepends=True)
    with a_bucket() as bucket, a_web_server({"rows.jsonl": b"".join(lines[ROWS:])}, token=TOKEN) as web:
        for number in range(SHARDS):
            bucket.put(f"chats/part-{number}.jsonl", b"".join(lines[number:ROWS:SHARDS]))
        (folder / "places.toml").write_text(
            f'[places.lake]\nurl = "s3://lake/team"\nendpoint_url = "{bucket.endpoint}"\nkey_env = "LAKE_KEY"\n'
            f'secret_env = "LAKE_SECRET"\n[places.web]\nurl = "{web.url}/data"\ntoken = "{TOKEN}"\n')
        told = {"HEADRACE_PLACES": str(folder / "places.toml"), "LAKE_KEY": KEY, "LAKE_SECRET": SECRET}
        with a_server(folder, **told) as server, server.client() as client:
            names = [registered(server, client, "chats", "lake", "chats/part-*.jsonl"),
                     registered(server, client, "rows", "web", "rows.jsonl")]
            yield Scene(server, bucket, web, [{"dataset": name} for name in names])


def registered(server: Server, client: httpx.Client, name: str, place: str, path: str) -> str:
    answer = client.post("/datasets", json={"name": name, "place": place, "path": path})
    assert answer.status_code == 200, answer.text
    dataset_id = answer.json()["id"]

    def look() -> dict[str, Any] | None:
        version = client.get(f"/datasets/{dataset_id}").json()["version"]
        assert version["status"] != "failed", version["error"]
        return version if version["status"] == "ready" else None

    version = wait_for(look, f"data set {name} was not ready", log=server.log)
    assert (version["rows"], version["faulty_rows"]) == (ROWS, 0)
    return dataset_id


def submit(scene: Scene, client: httpx.Client) -> str:
    body = {"model": "tiny", "datasets": scene.datasets, "seed": 7, "lora": {"dropout": 0.1}, "validation_split": 0.1,
            "hyperparameters": {"n_epochs": EPOCHS, "batch_size": BATCH}}
    answer = client.post(jobs.JOBS, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_a_job_on_remote_rows_that_is_killed_ends_in_the_bytes_of_its_twin(scene: Scene) -> None:
    with scene.server.client() as client:
        twin = submit(scene, client)
        assert jobs.wait_for_end(scene.server, client, twin)["status"] == "succeeded"
        job_id = submit(scene, client)
        for step, words in {TOTAL // 8: ("core.data.ahead",), TOTAL // 3: ("worker.run",)}.items():
            jobs.wait_for_step(scene.server, client, job_id, step)
            scene.web.fail("drop", "503")
            kill(scene.server, *words)
        job = jobs.wait_for_end(scene.server, client, job_id)
        events = jobs.all_events(client, job_id)
        assert job["status"] == "succeeded", job["error"]
        assert jobs.codes(events).count("run.started") >= 2
        assert jobs.steps(events) == list(range(1, job["progress"]["total_steps"] + 1))
        assert jobs.adapter_digest(client, job_id) == jobs.adapter_digest(client, twin)


def test_no_process_below_the_supervisor_and_no_file_of_the_server_holds_a_secret(scene: Scene) -> None:
    secrets = [SECRET.encode(), TOKEN.encode()]
    with scene.server.client() as client:
        job_id = submit(scene, client)
        jobs.wait_for_step(scene.server, client, job_id, 2)
        shown = b"".join(shown_by(process) for words in ("worker.run", "core.data.ahead")
                         for process in scene.server.processes(words))
        client.post(f"{jobs.JOBS}/{job_id}/cancel").raise_for_status()
        jobs.wait_for_end(scene.server, client, job_id)
        answers = client.get("/places").text + client.get("/datasets").text + str(jobs.all_events(client, job_id))
    assert shown
    written = [path for path in scene.server.home.rglob("*") if path.is_file() and holds(path, secrets)]
    assert written == []
    assert not holds(scene.server.log, secrets)
    assert not any(secret in shown or secret.decode() in answers for secret in secrets)


def test_rows_that_changed_in_their_place_fail_the_job_with_what_to_do(scene: Scene) -> None:
    shutil.rmtree(scene.server.home / "cache")  # its blocks are those that were registered, and would serve
    old = scene.web.files["rows.jsonl"]
    scene.web.files["rows.jsonl"] = old.replace(b"miller", b"MILLER")
    try:
        with scene.server.client() as client:
            job = jobs.wait_for_end(scene.server, client, submit(scene, client))
    finally:
        scene.web.files["rows.jsonl"] = old
    assert job["status"] == "failed"
    assert "'rows.jsonl' in place 'web'" in job["error"]["message"]
    assert "register it again" in job["error"]["message"]


def kill(server: Server, *words: str) -> None:
    process = wait_for(lambda: server.processes(*words), f"no process {words}", log=server.log)[-1]
    process.kill()


def shown_by(process: psutil.Process) -> bytes:
    folder = Path(f"/proc/{process.pid}")
    return (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()


def holds(path: Path, secrets: list[bytes]) -> bool:
    content = path.read_bytes()
    return any(secret in content for secret in secrets)
