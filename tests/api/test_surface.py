"""What holds for every operation, read off the application's own description so that new routes are covered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from api.app import create_app
from core.db.session import Ledger
from core.settings import Settings
from core.storage.artifacts import Artifacts
from core.webhooks.events import EVENT_TYPES
from core.webhooks.service import create_endpoint
from tests.api.serving import House, error_of
from tests.factories import NOW, a_checkpoint, a_dataset, a_file, a_running_job

OPEN = {"/healthz", "/readyz", "/v1/version"}
FORBIDDEN = ("torch", "transformers", "peft", "datasets")


def describe(tmp_path) -> dict[str, Any]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'none.db'}")
    return create_app(Settings(home=tmp_path), ledger, Artifacts(tmp_path)).openapi()


def operations(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, methods in told["paths"].items():
        for method in methods:
            yield method.upper(), path


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    found = [(method, path) for method, path in operations(describe(tmp_path_factory.mktemp("app"))) if path not in OPEN]
    assert len(found) >= 22
    return found


def fill(path: str, **ids: str) -> str:
    told = {"file_id": "file-x", "job_id": "ftjob-x", "checkpoint_id": "ftckpt_x", "name": "adapter_config.json",
            "model": "ft:x", "dataset_id": "ds_x", "step": "1",
            "endpoint_id": "we_x", **ids}
    for name, value in told.items():
        path = path.replace("{" + name + "}", value).replace("{" + name + ":path}", value)
    assert "{" not in path
    return path


def test_no_operation_answers_without_a_key(house: House, guarded: list[tuple[str, str]]) -> None:
    for key in (None, "hr-unknown", "x" * 300):
        with house.client(key) as client:
            for method, path in guarded:
                answer = client.request(method, fill(path))
                assert answer.status_code == 401, (method, path)
                assert error_of(answer)["code"] == "invalid_api_key"


def test_open_paths_answer_without_a_key(house: House) -> None:
    with house.client(None) as client:
        for path in (*OPEN, "/openapi.json"):
            assert client.get(path).status_code == 200, path
        assert client.get("/readyz").json() == {"status": "ready", "database": "ok", "bell": "degraded"}


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic aHI6", "hr-bare", "Bearer a b", "Bearer \xe9"])
def test_other_forms_of_authorization_are_refused(house: House, authorization: str) -> None:
    answer = httpx.get(f"{house.url}/v1/models", headers={"authorization": authorization.encode("latin-1")})
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


def ids_of_a_stranger(house: House) -> dict[str, str]:
    with house.ledger.write() as session:
        file = a_file(session, house.stranger)
        dataset, _ = a_dataset(session, house.stranger, name="theirs", file=file)
        claim = a_running_job(session, house.stranger)
        checkpoint = a_checkpoint(session, claim)
        endpoint = create_endpoint(session, house.stranger.id, name="theirs", url="https://hooks.example.com/",
                                   event_types=EVENT_TYPES, is_private_allowed=False, now=NOW)
        return {"file_id": file.id, "dataset_id": dataset.id, "job_id": claim.job.id, "checkpoint_id": checkpoint.id,
                "endpoint_id": endpoint.id}


BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("PATCH", "mixture"): {"weights": {"a": 1}}, ("POST", "versions"): {"file_id": "file-1"}, ("POST", "{endpoint_id}"): {},
    ("POST", "rotate_secret"): {}, ("POST", "test"): {"event_type": EVENT_TYPES[0]},
}


def test_foreign_things_are_not_found_as_unknown_ones_are(house: House, guarded: list[tuple[str, str]]) -> None:
    foreign = ids_of_a_stranger(house)
    unknown = {name: value[:-6] + "000000" for name, value in foreign.items()}
    bodies = [body for method, path in guarded for body in [(method, path)] if "{" in path]
    assert len(bodies) >= 15
    with house.client() as client:
        for method, path in bodies:
            query = {"model": "tiny"} if path.endswith(("/preview", "/lengths")) else {}
            body = BODIES.get((method, path.rpartition("/")[2]))
            theirs = client.request(method, fill(path, **foreign), params=query, json=body)
            nobodys = client.request(method, fill(path, **unknown), params=query, json=body)
            assert (theirs.status_code, nobodys.status_code) == (404, 404), (method, path, theirs.text)
            assert without(theirs.text, foreign) == without(nobodys.text, unknown)


def without(text: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        text = text.replace(value, name)
    return text


def test_streams_of_foreign_jobs_are_not_found(house: House) -> None:
    foreign = ids_of_a_stranger(house)
    with house.client() as client:
        answer = client.get(f"/v1/fine_tuning/jobs/{foreign['job_id']}/events", params={"stream": "true"})
        assert answer.status_code == 404
        error_of(answer)


def test_foreign_references_in_a_body_read_as_unknown_ones(house: House) -> None:
    foreign = ids_of_a_stranger(house)
    with house.client() as client:
        for field in ("training_file", "validation_file"):
            body = {"model": "tiny", "training_file": foreign["file_id"], field: foreign["file_id"]}
            answer = client.post("/v1/fine_tuning/jobs", json=body)
            assert answer.status_code == 400
            assert error_of(answer)["code"] == "invalid_training_file"
        answer = client.post("/v1/fine_tuning/jobs", json={"model": "tiny", "datasets": [{"dataset": foreign["dataset_id"]}]})
        assert (answer.status_code, error_of(answer)["param"]) == (400, "datasets.0.dataset")
        answer = client.post("/v1/datasets", json={"name": "mine", "file_id": foreign["file_id"]})
        assert (answer.status_code, error_of(answer)["param"]) == (400, "file_id")


def test_every_cursor_of_a_stranger_is_refused(house: House) -> None:
    foreign = ids_of_a_stranger(house)
    with house.client() as client:
        for path, cursor in (("/v1/files", foreign["file_id"]), ("/v1/fine_tuning/jobs", foreign["job_id"]),
                             ("/v1/datasets", foreign["dataset_id"]), ("/v1/webhook_endpoints", foreign["endpoint_id"])):
            answer = client.get(path, params={"after": cursor})
            assert answer.status_code == 404
            assert error_of(answer)["param"] == "after"


def test_unknown_paths_and_methods_have_the_error_shape(house: House, guarded: list[tuple[str, str]]) -> None:
    with house.client() as client:
        for path in ("/", "/v1", "/v1/nothing", "/v1/files/", "/docs", "/v1/fine_tuning/jobs/x/y", "//v1/files"):
            answer = client.get(path)
            assert answer.status_code == 404, path
            error_of(answer)
        by_path: dict[str, set[str]] = {}
        for method, path in guarded:
            by_path.setdefault(path, set()).add(method)
        by_path["/v1/fine_tuning/jobs/estimate"] |= by_path["/v1/fine_tuning/jobs/{job_id}"]  # a word where an id may stand
        for path, methods in by_path.items():
            answer = client.request("PUT", fill(path))
            assert answer.status_code == 405, path
            assert set(answer.headers["allow"].split(", ")) == methods, path
            assert error_of(answer)["code"] == "method_not_allowed"


def test_request_ids_are_fresh_on_every_answer(house: House) -> None:
    with house.client() as client:
        answers = [client.get(path) for path in ("/v1/models", "/v1/models", "/v1/nothing", "/healthz", "/v1/files/none")]
        anonymous = [httpx.get(f"{house.url}/v1/models", headers={"x-request-id": "req_mine"}) for _ in range(2)]
    ids = {answer.headers["x-request-id"] for answer in answers + anonymous}
    assert len(ids) == 7
    assert "req_mine" not in ids


def test_the_description_is_whole(tmp_path) -> None:
    told = describe(tmp_path)
    text = str(told)
    assert "HTTPValidationError" not in text
    bodies = {path: operation["requestBody"]["content"] for path, methods in told["paths"].items()
              for operation in methods.values() if "requestBody" in operation}
    assert set(bodies) == {"/v1/files", "/v1/fine_tuning/jobs", "/v1/fine_tuning/jobs/estimate", "/v1/datasets",
                           "/v1/datasets/{dataset_id}/versions", "/v1/webhook_endpoints",
                           "/v1/webhook_endpoints/{endpoint_id}", "/v1/webhook_endpoints/{endpoint_id}/rotate_secret",
                           "/v1/webhook_endpoints/{endpoint_id}/test",
                           "/v1/fine_tuning/jobs/{job_id}/mixture"}
    assert bodies["/v1/fine_tuning/jobs"]["application/json"]["schema"] == {"$ref": "#/components/schemas/JobSpec"}
    assert "HTTPBearer" in told["components"]["securitySchemes"]
    for method, path in operations(told):
        responses = told["paths"][path][method.lower()]["responses"]
        assert {"200", "4XX", "5XX"} <= set(responses), (method, path)
        if path not in OPEN:
            assert told["paths"][path][method.lower()]["security"] == [{"HTTPBearer": []}]


def test_the_application_imports_light() -> None:
    code = f"import api.app, sys; print([m for m in {FORBIDDEN!r} if m in sys.modules])"
    environment = {"PATH": "/usr/bin:/bin", "HEADRACE_PORT": "not a port"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.strip() == "[]"


def test_an_admin_key_has_no_project(house: House) -> None:
    from core.clock import system_clock
    from core.projects.service import create_key

    with house.ledger.write() as session:
        _, secret = create_key(session, name="admin", project=None, is_admin=True, now=system_clock())
    with house.client(secret) as client:
        answer = client.get("/v1/files")
        assert answer.status_code == 403
        error_of(answer)
        assert client.get("/v1/version").status_code == 200
