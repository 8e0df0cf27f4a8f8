"""POST /v1/fine_tuning/jobs/estimate: the body of a submit, and nothing is submitted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from core.clock import system_clock
from core.datasets.models import DatasetVersion
from core.db.session import Ledger
from core.devices import service as devices
from core.devices.service import FoundDevice
from core.jobs.models import Job
from core.models import service as models
from core.workers import service as workers
from tests.api.serving import House, error_of, serving
from tests.indexing import index_uploads
from tests.tiny_model import tiny_base
from worker.model_folder import describe


@pytest.fixture
def house(sqlite_ledger: Ledger, tmp_path: Path) -> Iterator[House]:
    with sqlite_ledger.write() as session:
        facts = vars(describe(tiny_base()))
        models.add_base_model(session, name="tiny", folder=str(tiny_base()), digest=facts["digest"], facts=facts,
                              now=system_clock())
    with serving(sqlite_ledger, tmp_path) as opened:
        yield opened


def registered(house: House, count: int = 40) -> str:
    """A data set whose rows have been looked at."""
    rows = [{"messages": [{"role": "user", "content": f"question {n}"},
                          {"role": "assistant", "content": "mill " * (n % 9 + 1)}]} for n in range(count)]
    content = b"\n".join(map(orjson.dumps, rows))
    file = house.openai().files.create(file=("chats.jsonl", content), purpose="fine-tune")
    with house.client() as client:
        dataset = client.post("/v1/datasets", json={"name": "chats", "file_id": file.id}).json()
    with house.ledger.write() as session:
        index_uploads(session, session.get_one(DatasetVersion, dataset["version"]["id"]), house.artifacts, now=system_clock())
    return dataset["id"]


def a_worker(house: House, *, kind: str = "cuda", memory_bytes: int = 24 << 30) -> None:
    with house.ledger.write() as session:
        workers.announce(session, worker_id="wrk_1", host="mill", pid=1, queue="train", version="1")
        devices.announce(session, "mill", [FoundDevice(kind, 0, "a device", memory_bytes)])


def estimated(house: House, query: str = "", **body: Any) -> dict[str, Any]:
    with house.client() as client:
        answer = client.post(f"/v1/fine_tuning/jobs/estimate{query}", json={"model": "tiny", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_an_estimate_tells_all_and_submits_nothing(house: House):
    dataset = registered(house)
    a_worker(house)
    told = estimated(house, datasets=[{"dataset": dataset}], hyperparameters={"n_epochs": 2, "batch_size": 4}, lora={"r": 8})
    assert told["parameters"] == {"total": 133440 + 18688, "trainable": 18688}
    data = told["data"]
    assert (data["rows"], data["steps"], data["n_epochs"], data["is_sampled"], data["measured_rows"]) == (40, 20, 2, False, 40)
    assert data["tokens"] > 40 * 2 * data["longest_tokens"] / 4
    parts = told["memory"]["bytes"]
    assert parts["total"] == sum(size for part, size in parts.items() if part != "total")
    assert (parts["adapter"], parts["optimizer"]) == (4 * 18688, 8 * 18688 + 4 * 28)
    assert (told["fits"], told["seconds"], told["notes"]) == (True, None, [])
    (device,) = told["devices"]
    assert (device["host"], device["fits"], device["reason"]) == ("mill", True, None)
    assert "was not trained on a device yet" in device["time"]["reason"]
    with house.ledger.read() as session:
        assert session.scalar(select(Job.id)) is None


def test_a_device_that_is_too_small_is_told_with_both_sizes(house: House):
    dataset = registered(house)
    a_worker(house, memory_bytes=1 << 29)
    told = estimated(house, datasets=[{"dataset": dataset}])
    assert told["fits"] is False
    assert told["devices"][0]["reason"].startswith("it has 0.5 GiB of memory, and the longest example alone takes a device of")
    assert told["notes"] == ["the job fits on no device that is known; submitted, it waits for a worker that has what it needs"]


def test_without_a_worker_the_memory_is_that_of_a_gpu(house: House):
    told = estimated(house, datasets=[{"dataset": registered(house)}])
    assert (told["fits"], told["devices"], told["memory"]["precision"]) == (None, [], "bf16")
    assert told["notes"][0].startswith("no train worker is alive")


def test_data_that_are_still_looked_at_leave_gaps_with_the_reason(house: House):
    file = house.openai().files.create(file=("chats.jsonl", b'{"text": "a mill"}\n'), purpose="fine-tune")
    told = estimated(house, "?wait_seconds=0", training_file=file.id)
    assert (told["data"], told["seconds"]) == (None, None)
    assert told["parameters"]["trainable"] == 37376
    assert told["notes"][0].startswith("the data are still being looked at")
    assert "upkeep" in house.rung


def test_what_a_submit_refuses_an_estimate_refuses(house: House):
    dataset = registered(house)
    with house.client() as client:
        for body, param in (({"model": "nope", "datasets": [{"dataset": dataset}]}, "model"),
                            ({"model": "tiny", "training_file": "file-nope"}, "training_file"),
                            ({"model": "tiny"}, "training_file")):
            answer = client.post("/v1/fine_tuning/jobs/estimate", json=body)
            assert answer.status_code == 400
            assert error_of(answer)["param"] == param
    with house.client(house.strange_key) as stranger:
        answer = stranger.post("/v1/fine_tuning/jobs/estimate", json={"model": "tiny", "datasets": [{"dataset": dataset}]})
        assert answer.status_code == 400
