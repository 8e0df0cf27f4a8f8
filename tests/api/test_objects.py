"""Objects at each stage of their lives: jobs, checkpoints and their files, logs, models, data sets with rows and previews."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.clock import system_clock
from core.datasets.models import DatasetVersion
from core.db.session import Ledger
from core.jobs.claims import Claim, hold, settle
from core.models.service import add_base_model
from core.storage import manifest
from tests.api.serving import House, error_of, serving
from tests.factories import a_base_model, a_checkpoint, a_dataset, a_file, a_job, a_running_job, report_steps, succeed
from tests.indexing import index_uploads
from tests.tiny import write_tokenizer

JOB_FIELDS = {
    "id", "object", "created_at", "error", "fine_tuned_model", "finished_at", "hyperparameters", "model", "organization_id",
    "result_files", "seed", "status", "trained_tokens", "training_file", "validation_file", "estimated_finish", "integrations",
    "metadata", "method", "suffix", "datasets", "exhaustion", "mixture_schedule",
    "validation_split", "lora", "options", "priority", "progress",
}
PROGRESS_FIELDS = {"step", "total_steps", "epoch", "phase", "tokens_per_second", "train_loss", "data_wait_share", "eta_seconds",
                   "overlong", "skipped_rows", "untrained_rows", "sources"}


def a_row(n: int) -> str:
    return json.dumps({"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]})


ROWS = ["{'no': json}", *[a_row(n) for n in range(30)]]


def get(house: House, path: str, **params: Any) -> dict[str, Any]:
    with house.client() as client:
        answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def job_of(house: House, claim: Claim) -> dict[str, Any]:
    told = get(house, f"/v1/fine_tuning/jobs/{claim.job.id}")
    assert set(told) == JOB_FIELDS
    assert set(told["progress"]) == PROGRESS_FIELDS
    return told


def test_a_running_job_shows_numbers_and_its_finish(house: House) -> None:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project, hyperparameters={"n_epochs": "auto"})
    told = job_of(house, claim)
    assert (told["status"], told["estimated_finish"]) == ("running", None)
    with house.ledger.write() as session:
        report_steps(session, Claim(*hold(session, claim.run.id, claim.run.fence)), 1, 2, 3)
    told = job_of(house, claim)
    numbers = {"n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0}
    assert told["hyperparameters"] == numbers
    assert told["method"] == {"type": "supervised", "supervised": {"hyperparameters": numbers}}
    assert told["progress"]["step"] == 3
    assert told["progress"]["total_steps"] == 12
    assert told["progress"]["tokens_per_second"] == pytest.approx(200)
    assert told["progress"]["eta_seconds"] == pytest.approx(4.5)
    assert isinstance(told["estimated_finish"], int)
    assert (told["trained_tokens"], told["finished_at"], told["fine_tuned_model"]) == (None, None, None)
    assert told["lora"] == {"r": 16, "alpha": 32.0, "dropout": 0.0, "target_modules": "all-linear", "use_rslora": False,
                            "use_dora": False}


def test_a_succeeded_job_names_its_model_which_can_be_used_and_deleted(house: House) -> None:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project, suffix="mill")
        report_steps(session, claim, 1, 2)
        succeed(session, claim)
    told = job_of(house, claim)
    name = told["fine_tuned_model"]
    assert (told["status"], told["estimated_finish"], told["error"]) == ("succeeded", None, None)
    assert told["finished_at"] is not None
    assert name.startswith(f"ft:tiny:{house.project.organization_id}:mill:")
    client = house.openai()
    assert client.models.retrieve(name).owned_by == house.project.organization_id
    checkpoint = client.fine_tuning.jobs.checkpoints.list(claim.job.id).data[0]
    assert checkpoint.fine_tuned_model_checkpoint == f"{name}:ckpt-step-12"
    assert client.models.retrieve(checkpoint.fine_tuned_model_checkpoint).id == checkpoint.fine_tuned_model_checkpoint
    with house.client(house.strange_key) as stranger:
        for method in ("GET", "DELETE"):
            answer = stranger.request(method, f"/v1/models/{name}")
            assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")
    assert client.models.delete(name).deleted
    with house.client() as plain:
        assert plain.get(f"/v1/models/{name}").status_code == 404


def test_a_failed_job_says_why(house: House) -> None:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
        settle(session, claim.run.id, claim.run.fence, "failed", failure="user", now=system_clock(),
               error={"code": "invalid_training_file", "message": "line 3 has no messages", "param": "training_file"})
    told = job_of(house, claim)
    assert told["status"] == "failed"
    assert told["error"] == {"code": "invalid_training_file", "message": "line 3 has no messages", "param": "training_file"}


def test_a_job_on_data_sets_shows_the_versions_it_got(house: House) -> None:
    with house.ledger.write() as session:
        a_base_model(session)
        dataset, version = a_dataset(session, house.project, name="mixed")
    with house.client() as client:
        body = {"model": "tiny", "datasets": [{"dataset": dataset.id, "weight": 2}], "validation_split": 0.1}
        told = client.post("/v1/fine_tuning/jobs", json=body).json()
    assert told["datasets"] == [{"dataset": dataset.id, "version": 1, "version_id": version.id, "weight": 2.0,
                                     "epochs": None}]
    assert (told["training_file"], told["validation_split"]) == (None, 0.1)


def a_sealed_checkpoint(house: House) -> tuple[Claim, str]:
    """A checkpoint with files, those that stay here among them."""
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
        checkpoint = a_checkpoint(session, claim)
    folder = house.artifacts.path(checkpoint.folder_key)
    folder.mkdir(parents=True)
    for name in ("adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
                 "special_tokens_map.json", "chat_template.jinja", "optimizer.safetensors", "random.json", "position.json"):
        (folder / name).write_bytes(name.encode() * 100)
    manifest.seal(folder)
    (folder.parent / "secret.json").write_text("{}")
    return claim, checkpoint.id


def test_an_adapter_is_handed_out_file_by_file(house: House) -> None:
    claim, checkpoint_id = a_sealed_checkpoint(house)
    path = f"/v1/fine_tuning/jobs/{claim.job.id}/checkpoints/{checkpoint_id}/files"
    files = {file["name"]: file for file in get(house, path)["data"]}
    assert set(files) == {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
                          "special_tokens_map.json", "chat_template.jinja"}
    with house.client() as client:
        answer = client.get(f"{path}/adapter_config.json")
        assert answer.content == b"adapter_config.json" * 100
        assert len(answer.content) == files["adapter_config.json"]["bytes"]
        assert answer.headers["content-disposition"] == 'attachment; filename="adapter_config.json"'
        for name in ("optimizer.safetensors", "random.json", "position.json", "manifest.json", "..%2Fsecret.json",
                     "%2Fetc%2Fpasswd", "adapter_config.json%00", "adapter_config.json/", "ADAPTER_CONFIG.JSON", ""):
            answer = client.get(f"{path}/{name}")
            assert answer.status_code == 404, name
            error_of(answer)


def test_a_checkpoint_without_its_files_is_told(house: House) -> None:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
        checkpoint = a_checkpoint(session, claim)
    with house.client() as client:
        answer = client.get(f"/v1/fine_tuning/jobs/{claim.job.id}/checkpoints/{checkpoint.id}/files")
    assert answer.status_code == 404
    assert "gone" in error_of(answer)["message"]


def test_logs_are_the_ends_of_the_runs(house: House) -> None:
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
    path = f"/v1/fine_tuning/jobs/{claim.job.id}/logs"
    with house.client() as client:
        assert client.get(path).text.strip() == f"== attempt 1, run {claim.run.id} =="
        folder = house.artifacts.path(claim.run.folder_key)
        folder.mkdir(parents=True)
        (folder / "run.log").write_bytes(b"x" * 100_000 + "the wheel \u2699 turns\n".encode() + b"\xff<b>\n")
        answer = client.get(path)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert len(answer.content) < 70_000
        assert answer.text.endswith("the wheel \u2699 turns\n\ufffd<b>\n")
        assert client.get(path, params={"tail_bytes": "4"}).text.endswith("==\n<b>\n")


def test_a_log_that_is_a_link_is_not_followed(house: House, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret")
    with house.ledger.write() as session:
        claim = a_running_job(session, house.project)
    folder = house.artifacts.path(claim.run.folder_key)
    folder.mkdir(parents=True)
    (folder / "run.log").symlink_to(tmp_path / "secret")
    with house.client() as client:
        assert "s3cret" not in client.get(f"/v1/fine_tuning/jobs/{claim.job.id}/logs").text


def a_registered_dataset(house: House, name: str, rows: list[str]) -> str:
    """Upload and register rows, and index them as an upkeep worker does."""
    file = house.openai().files.create(file=("rows.jsonl", "\n".join(rows).encode()), purpose="fine-tune")
    with house.client() as client:
        answer = client.post("/v1/datasets", json={"name": name, "file_id": file.id})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["object"], told["name"], told["version"]["status"]) == ("dataset", name, "indexing")
    with house.ledger.write() as session:
        version = session.get_one(DatasetVersion, told["version"]["id"])
        index_uploads(session, version, house.artifacts, now=system_clock())
    return told["id"]


def test_a_data_set_tells_what_its_index_found(house: House) -> None:
    dataset_id = a_registered_dataset(house, "tells", ROWS)
    version = get(house, f"/v1/datasets/{dataset_id}")["version"]
    assert (version["status"], version["number"], version["format"], version["rows"]) == ("ready", 1, "chat", 31)
    assert version["faulty_rows"] == 1
    assert version["faults"][0]["line"] == 1
    assert sum(version["fault_counts"].values()) == 1
    assert version["lengths"]["max"] >= version["lengths"]["min"] > 0
    assert len(version["digest"]) == 64
    assert a_registered_dataset(house, "tells", ROWS[1:]) == dataset_id
    versions = get(house, f"/v1/datasets/{dataset_id}/versions")["data"]
    assert [v["number"] for v in versions] == [2, 1]
    assert [d["id"] for d in get(house, "/v1/datasets")["data"] if d["name"] == "tells"] == [dataset_id]


def test_rows_are_read_in_pages(house: House) -> None:
    dataset_id = a_registered_dataset(house, "pages", ROWS)
    path = f"/v1/datasets/{dataset_id}/rows"
    first = get(house, path, limit=12)
    assert [row["number"] for row in first["data"]] == list(range(12))
    assert first["data"][0]["content"] is None
    assert "line 1" in first["data"][0]["error"]["message"]
    assert (first["data"][3]["line"], first["data"][3]["content"]["messages"][0]["content"]) == (4, "q2")
    assert (first["has_more"], first["last_id"]) == (True, 11)
    rest = get(house, path, limit=100, after=11)
    assert [row["number"] for row in rest["data"]] == list(range(12, 31))
    assert rest["has_more"] is False
    assert get(house, path, after=30)["data"] == []
    assert get(house, path, after=10**15)["data"] == []


def test_rows_of_a_version_that_is_not_ready_are_refused(house: House) -> None:
    with house.ledger.write() as session:
        dataset, _ = a_dataset(session, house.project, name="soon", is_ready=False)
    with house.client() as client:
        answer = client.get(f"/v1/datasets/{dataset.id}/rows")
    assert (answer.status_code, error_of(answer)["code"]) == (400, "dataset_not_ready")


def test_a_preview_shows_tokens_and_what_is_trained_on(house: House, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "model")
    with house.ledger.write() as session:
        add_base_model(session, name="with-tokenizer", folder=str(folder), digest="d", facts={}, now=system_clock())
    dataset_id = a_registered_dataset(house, "previewed", ROWS)
    told = get(house, f"/v1/datasets/{dataset_id}/preview", model="with-tokenizer", row=1, rows=2)
    assert told["rows_total"] == 31
    assert [row["row"] for row in told["rows"]] == [1, 2]
    row = told["rows"][0]
    assert "".join(token["text"] for token in row["tokens"]) == row["text"]
    assert "q0" in row["text"]
    trained = "".join(token["text"] for token in row["tokens"] if token["trained"])
    assert "a0" in trained
    assert "q0" not in trained


def test_a_data_set_shows_its_shape_and_its_rows_as_they_are_stored(house: House) -> None:
    row = {"instruction": "How high?", "input": "", "output": "Two metres."}
    dataset_id = a_registered_dataset(house, "alpaca", [json.dumps(row)] * 2)
    version = get(house, f"/v1/datasets/{dataset_id}")["version"]
    assert (version["format"], version["shape"], version["columns"]["response"]) == ("chat", "alpaca", "output")
    assert version["duplicates"] == {"rows": 1, "is_estimated": False}
    assert get(house, f"/v1/datasets/{dataset_id}/rows")["data"][0]["content"] == row


def test_a_mapping_is_kept_and_one_that_is_none_is_refused(house: House) -> None:
    with house.ledger.write() as session:
        file = a_file(session, house.project)
    body = {"name": "mapped", "file_id": file.id}
    with house.client() as client:
        told = client.post("/v1/datasets", json={**body, "shape": "alpaca", "columns": {"prompt": "question"}}).json()
        refused = client.post("/v1/datasets", json={**body, "columns": {"promt": "question"}})
    assert (told["version"]["shape"], told["version"]["columns"]) == ("alpaca", {"prompt": "question"})
    assert (refused.status_code, error_of(refused)["param"]) == (400, "columns")
    assert "did you mean 'prompt'" in error_of(refused)["message"]


def test_lengths_are_told_in_a_models_tokens(house: House, tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "model")
    with house.ledger.write() as session:
        add_base_model(session, name="counts", folder=str(folder), digest="d", facts={"context_length": 16}, now=system_clock())
    dataset_id = a_registered_dataset(house, "measured", ROWS)
    told = get(house, f"/v1/datasets/{dataset_id}/lengths", model="counts")
    assert (told["rows"], told["measured"], told["context_length"], told["max_length"]) == (30, 30, 16, 16)
    assert 0 < told["over"]["rows"] == len(told["over"]["lines"]) < 30
    assert all(row["tokens"] > 16 for row in told["over"]["lines"])
    assert get(house, f"/v1/datasets/{dataset_id}/lengths", model="counts", max_length=512)["over"]["lines"] == []


def test_a_preview_of_a_model_that_cannot_be_read_is_refused(house: House) -> None:
    with house.ledger.write() as session:
        add_base_model(session, name="hollow", folder="/nowhere", digest="h", facts={}, now=system_clock())
    dataset_id = a_registered_dataset(house, "hollow", ROWS)
    with house.client() as client:
        answer = client.get(f"/v1/datasets/{dataset_id}/preview", params={"model": "hollow"})
    assert answer.status_code == 400, answer.text
    assert "/nowhere" not in error_of(answer)["message"]


def test_a_data_set_in_use_is_not_deleted(house: House) -> None:
    with house.ledger.write() as session:
        a_base_model(session)
        dataset, _ = a_dataset(session, house.project, name="busy")
    with house.client() as client:
        job = client.post("/v1/fine_tuning/jobs", json={"model": "tiny", "datasets": [{"dataset": dataset.id}]}).json()
        answer = client.delete(f"/v1/datasets/{dataset.id}")
        assert answer.status_code == 400
        assert job["id"] in error_of(answer)["message"]
        client.post(f"/v1/fine_tuning/jobs/{job['id']}/cancel")
        assert client.delete(f"/v1/datasets/{dataset.id}").json() == {"id": dataset.id, "object": "dataset", "deleted": True}
        assert client.get(f"/v1/datasets/{dataset.id}").status_code == 404


def test_too_many_unfinished_jobs_are_a_limit(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path, max_queued_jobs=1) as house:
        with house.ledger.write() as session:
            job = a_job(session, house.project)
        with house.client() as client:
            answer = client.post("/v1/fine_tuning/jobs", json={"model": "tiny", "training_file": job.training_file_id})
        assert answer.status_code == 429
        error_of(answer)
        assert int(answer.headers["retry-after"]) >= 1


def test_a_database_that_is_away_is_a_503(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with serving(sqlite_ledger, tmp_path) as house, house.client() as client:
        assert client.get("/readyz").status_code == 200
        with house.ledger.engine.connect() as connection:
            connection.exec_driver_sql("ALTER TABLE files RENAME TO elsewhere")
            connection.commit()
        answer = client.get("/v1/files")
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) >= 1
