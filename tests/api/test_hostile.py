"""Requests that mean no good, or make no sense: each is refused in the error's shape, on both databases; none gives a 5xx."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.db.session import Ledger
from tests.api.serving import House, error_of, serving
from tests.factories import a_base_model, a_dataset, a_file, a_job

JSON = {"content-type": "application/json"}
LONG = "x" * 5000
STRANGE = ["\0", "a\0b", "\u202e", "../../etc/passwd", "' OR 1=1 --", "%s%n{}", "\x1b[31m", "😀" * 100, LONG, "", " ", "\ud7ff"]

NO_JSON: list[bytes] = [
    b"", b" ", b"{", b"}", b"[]", b"null", b"true", b"1", b'"text"', b"{]", b"{'model': 1}", b'{"model": }', b'{"a": 1,}',
    b"\xff\xfe{}", b"\xef\xbb\xbf{}", b'{"model": "\xff"}', b'{"model": "\\ud800"}', b'{"model": "a\\u0000b"}',
    b'{"\\u0000": 1}',
    b'{"seed": NaN}', b'{"seed": Infinity}', b'{"seed": -Infinity}', b'{"seed": 1e999}', b'{"seed": 12345678901234567890}',
    b'{"seed": ' + b"9" * 5000 + b"}", b'{"a":' * 40 + b"1" + b"}" * 40, b"[" * 30000, b'{"a":' * 10000, b'{"a": 1, "a": 2}',
    b'{"metadata": {"a": "1", "a": "2"}}', b'{"model": "a"} {}', b'{"model": "a"}\0', b"\0" * 100, b"<xml/>", b"model=a",
    b'{"a": "' + b"x" * 100 + b"\n" + b'"}', b'{"model": "tiny", "options": {"sample_prompts": ["\\udfff"]}}',
]

GOOD = {"model": "tiny", "training_file": "FILE"}


def job(**fields: Any) -> dict[str, Any]:
    return {**GOOD, **fields}


def hyper(**fields: Any) -> dict[str, Any]:
    return job(method={"type": "supervised", "supervised": {"hyperparameters": fields}})


NO_JOBS: list[tuple[dict[str, Any], str, str]] = [
    # body, code, param
    ({}, "missing_required_parameter", "model"),
    ({"model": "tiny"}, "missing_required_parameter", "training_file"),
    ({"training_file": "FILE"}, "missing_required_parameter", "model"),
    (job(model=None), "invalid_type", "model"),
    (job(model=1), "invalid_type", "model"),
    (job(model=""), "invalid_value", "model"),
    (job(model=["tiny"]), "invalid_type", "model"),
    (job(model={"a": 1}), "invalid_type", "model"),
    (job(model=LONG), "invalid_value", "model"),
    (job(model="../tiny"), "model_not_found", "model"),
    (job(model="/etc/passwd"), "model_not_found", "model"),
    (job(model="ft:tiny:ckpt-step-999999999999"), "model_not_found", "model"),
    (job(training_file=1), "invalid_type", "training_file"),
    (job(training_file=""), "invalid_value", "training_file"),
    (job(training_file=LONG), "invalid_value", "training_file"),
    (job(training_file="file-unknown"), "invalid_training_file", "training_file"),
    (job(training_file="EVALS"), "invalid_training_file", "training_file"),
    (job(validation_file="file-unknown"), "invalid_validation_file", "validation_file"),
    (job(validation_file="EVALS"), "invalid_validation_file", "validation_file"),
    (job(validation_file="FILE", validation_split=0.1), "invalid_value", ""),
    (job(datasets=[{"dataset": "ds_x"}]), "invalid_value", ""),
    ({"model": "tiny", "datasets": []}, "invalid_value", "datasets"),
    ({"model": "tiny", "datasets": {}}, "invalid_type", "datasets"),
    ({"model": "tiny", "datasets": ["ds_x"]}, "invalid_type", "datasets.0"),
    ({"model": "tiny", "datasets": [{}]}, "missing_required_parameter", "datasets.0.dataset"),
    ({"model": "tiny", "datasets": [{"dataset": "ds_x"}]}, "not_found", "datasets.0.dataset"),
    ({"model": "tiny", "datasets": [{"dataset": "DATASET", "version": 0}]}, "invalid_value", "datasets.0.version"),
    ({"model": "tiny", "datasets": [{"dataset": "DATASET", "version": 9}]}, "not_found", "datasets.0.dataset"),
    ({"model": "tiny", "datasets": [{"dataset": "DATASET", "version": 10**18}]}, "not_found", "datasets.0.dataset"),
    ({"model": "tiny", "datasets": [{"dataset": "DATASET", "weight": 0}]}, "invalid_value", ""),
    ({"model": "tiny", "datasets": [{"dataset": "DATASET", "weight": -1}]}, "invalid_value", "datasets.0.weight"),
    ({"model": "tiny", "datasets": [{"dataset": "DATASET"}] * 2}, "invalid_value", "datasets.1.dataset"),
    (job(validation_split=0), "invalid_value", "validation_split"),
    (job(validation_split=1), "invalid_value", "validation_split"),
    (job(validation_split="a"), "invalid_type", "validation_split"),
    (job(method="supervised"), "invalid_type", "method"),
    (job(method={}), "missing_required_parameter", "method.type"),
    (job(method={"type": "dpo"}), "invalid_value", "method.type"),
    (job(method={"type": "supervised", "dpo": {}}), "unknown_parameter", "method.dpo"),
    (job(method={"type": "supervised", "supervised": []}), "invalid_type", "method.supervised"),
    (hyper(n_epochs=0), "invalid_value", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs=51), "invalid_value", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs=-1), "invalid_value", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs=True), "invalid_type", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs=1.5), "invalid_type", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs="3"), "invalid_value", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs="automatic"), "invalid_value", "method.supervised.hyperparameters.n_epochs"),
    (hyper(n_epochs=[1]), "invalid_type", "method.supervised.hyperparameters.n_epochs"),
    (hyper(batch_size=0), "invalid_value", "method.supervised.hyperparameters.batch_size"),
    (hyper(batch_size=257), "invalid_value", "method.supervised.hyperparameters.batch_size"),
    (hyper(batch_size=10**18), "invalid_value", "method.supervised.hyperparameters.batch_size"),
    (hyper(learning_rate_multiplier=0), "invalid_value", "method.supervised.hyperparameters.learning_rate_multiplier"),
    (hyper(learning_rate_multiplier=-1), "invalid_value", "method.supervised.hyperparameters.learning_rate_multiplier"),
    (hyper(learning_rate_multiplier=False), "invalid_type", "method.supervised.hyperparameters.learning_rate_multiplier"),
    (hyper(n_epoch=1), "unknown_parameter", "method.supervised.hyperparameters.n_epoch"),
    (job(hyperparameters={"n_epochs": 0}), "invalid_value", "hyperparameters.n_epochs"),
    (job(hyperparameters=[]), "invalid_type", "hyperparameters"),
    (job(hyperparameters={"beta": 1}), "unknown_parameter", "hyperparameters.beta"),
    (job(suffix="x" * 65), "invalid_value", "suffix"),
    (job(suffix="a/b"), "invalid_value", "suffix"),
    (job(suffix="a\nb"), "invalid_value", "suffix"),
    (job(suffix="ü"), "invalid_value", "suffix"),
    (job(suffix=1), "invalid_type", "suffix"),
    (job(seed=-1), "invalid_value", "seed"),
    (job(seed=2**63), "invalid_value", "seed"),
    (job(seed=1.5), "invalid_type", "seed"),
    (job(seed=True), "invalid_type", "seed"),
    (job(seed="1"), "invalid_type", "seed"),
    (job(metadata=[]), "invalid_type", "metadata"),
    (job(metadata={"a": 1}), "invalid_type", "metadata.a"),
    (job(metadata={"a": None}), "invalid_type", "metadata.a"),
    (job(metadata={"a": "x" * 513}), "invalid_value", "metadata.a"),
    (job(metadata={str(n): "x" for n in range(17)}), "invalid_value", "metadata"),
    (job(integrations={}), "invalid_type", "integrations"),
    (job(integrations=[{"type": "other"}]), "invalid_value", "integrations.0.type"),
    (job(integrations=[{"type": "wandb"}]), "missing_required_parameter", "integrations.0.wandb"),
    (job(integrations=[{"type": "wandb", "wandb": {}}]), "missing_required_parameter", "integrations.0.wandb.project"),
    (job(lora={"r": 0}), "invalid_value", "lora.r"),
    (job(lora={"r": 513}), "invalid_value", "lora.r"),
    (job(lora={"alpha": 0}), "invalid_value", "lora.alpha"),
    (job(lora={"dropout": 1}), "invalid_value", "lora.dropout"),
    (job(lora={"target_modules": []}), "invalid_value", "lora.target_modules"),
    (job(lora={"target_modules": ["a b"]}), "invalid_value", "lora.target_modules.0"),
    (job(lora={"rank": 1}), "unknown_parameter", "lora.rank"),
    (job(options={"learning_rate": 0}), "invalid_value", "options.learning_rate"),
    (job(options={"schedule": "step"}), "invalid_value", "options.schedule"),
    (job(options={"warmup_ratio": 2}), "invalid_value", "options.warmup_ratio"),
    (job(options={"max_length": 7}), "invalid_value", "options.max_length"),
    (job(options={"eval_every_steps": 0}), "invalid_value", "options.eval_every_steps"),
    (job(options={"sample_prompts": [""]}), "invalid_value", "options.sample_prompts.0"),
    (job(options={"sample_prompts": ["a"] * 9}), "invalid_value", "options.sample_prompts"),
    (job(options={"sample_prompts": ["x" * 2001]}), "invalid_value", "options.sample_prompts.0"),
    (job(options={"push_to_hub": True}), "unknown_parameter", "options.push_to_hub"),
    (job(priority=101), "invalid_value", "priority"),
    (job(priority="high"), "invalid_type", "priority"),
    (job(trust_remote_code=True), "unknown_parameter", "trust_remote_code"),
    (job(**{"a\u2028b": 1}), "unknown_parameter", "a\u2028b"),
    (job(**{LONG: 1}), "unknown_parameter", LONG),
]

NO_DATASETS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "missing_required_parameter", "name"),
    ({"name": "a"}, "missing_required_parameter", "file_id"),
    ({"name": 1, "file_id": "FILE"}, "invalid_type", "name"),
    ({"name": "", "file_id": "FILE"}, "invalid_value", "name"),
    ({"name": " ", "file_id": "FILE"}, "invalid_value", "name"),
    ({"name": "a\nb", "file_id": "FILE"}, "invalid_value", "name"),
    ({"name": "x" * 129, "file_id": "FILE"}, "invalid_value", "name"),
    ({"name": "a", "file_id": None}, "missing_required_parameter", "file_id"),
    ({"name": "a", "file_id": 7}, "invalid_type", "file_id"),
    ({"name": "a", "file_ids": "FILE"}, "invalid_type", "file_ids"),
    ({"name": "a", "file_id": "FILE", "append": "yes"}, "invalid_type", "append"),
    ({"name": "a", "file_id": "file-none"}, "not_found", "file_id"),
    ({"name": "a", "file_id": "EVALS"}, "invalid_training_file", "file_id"),
    ({"name": "a", "file_id": "FILE", "path": "/etc"}, "invalid_value", "place"),
    ({"name": "a", "place": "p", "path": "/etc"}, "invalid_value", "place"),
    ({"name": "a", "file_id": "FILE", "folder": "/etc"}, "unknown_parameter", "folder"),
]

LISTS = ("/v1/files", "/v1/fine_tuning/jobs", "/v1/datasets", "/v1/fine_tuning/jobs/JOB/events",
         "/v1/fine_tuning/jobs/JOB/checkpoints", "/v1/datasets/DATASET/rows")

NO_QUERIES: list[str] = [
    *[f"{path}?limit={limit}" for path in LISTS
      for limit in ("0", "-1", "a", "1.5", "", "NaN", "9" * 4400, "%00", "0x10", "1e3")],
    *[f"{path}?after={after}" for path in LISTS
      for after in ("unknown", "%00", "%ff", "x" * 300, "-1", "%F0%9F%98%80", "ftevent-JOB-999", "..%2F..")],
    "/v1/files?order=up", "/v1/files?order=",
    "/v1/fine_tuning/jobs?metadata=all", "/v1/fine_tuning/jobs?metadata[a%00]=b",
    "/v1/fine_tuning/jobs?" + "&".join(f"metadata[{n}]=a" for n in range(20)),
    "/v1/fine_tuning/jobs/JOB/events?stream=maybe", "/v1/fine_tuning/jobs/JOB/events?stream=true&after=unknown",
    "/v1/fine_tuning/jobs/JOB/logs?tail_bytes=0", "/v1/fine_tuning/jobs/JOB/logs?tail_bytes=a",
    "/v1/datasets/DATASET/rows?version=0", "/v1/datasets/DATASET/rows?version=9",
    "/v1/datasets/DATASET/rows?version=" + "9" * 30,
    "/v1/datasets/DATASET/rows?after=" + "9" * 30, "/v1/datasets/DATASET/preview", "/v1/datasets/DATASET/preview?model=",
    "/v1/datasets/DATASET/lengths?model=none", "/v1/datasets/DATASET/lengths?model=tiny&sample=9999",
    "/v1/datasets/DATASET/preview?model=none", "/v1/datasets/DATASET/preview?model=tiny&rows=99",
    "/v1/datasets/DATASET/preview?model=tiny&row=-1", "/v1/datasets/DATASET/preview?model=tiny&max_length=1",
    "/v1/models/%00", "/v1/models/..%2F..%2Fetc", "/v1/models/%ff%fe", "/v1/models/" + "x" * 3000,
    "/v1/models/ft:a:b:c:d:ckpt-step-1",
    "/v1/files/%2e%2e", "/v1/files/file-%00", "/v1/files/%F0%9F%98%80", "/v1/files/x%0d%0aset-cookie:a/content",
    "/v1/fine_tuning/jobs/%00", "/v1/fine_tuning/jobs/JOB/checkpoints/x/files/..%2F..%2Fheadrace.db",
    "/v1/fine_tuning/jobs/JOB/checkpoints/..%2F..%2F/files",
]

FINE_QUERIES: list[str] = [
    "/v1/files?limit=99999", "/v1/fine_tuning/jobs?limit=99999999999", "/v1/fine_tuning/jobs?metadata[a]=%F0%9F%98%80",
    "/v1/fine_tuning/jobs?metadata[]=", "/v1/fine_tuning/jobs?metadata[a%22b%5C]=%22", "/v1/fine_tuning/jobs?metadata[$.a]=b",
    "/v1/fine_tuning/jobs?metadata[a%27]=%27%3B--", "/v1/fine_tuning/jobs?metadata[a.b]=c&unknown=1", "/v1/files?purpose=%27",
    "/v1/fine_tuning/jobs?metadata[0]=1", "/v1/fine_tuning/jobs?metadata=null", "/v1/fine_tuning/jobs?metadata[%22]=x",
    "/v1/fine_tuning/jobs/JOB/logs?tail_bytes=" + "9" * 18,
]


@pytest.fixture
def served(ledger: Ledger, tmp_path: Path):
    """Both databases, one after the other."""
    with serving(ledger, tmp_path, max_body_bytes=64 * 1024) as house:
        yield house


def prepare(house: House) -> dict[str, str]:
    """Make one of each thing; give the ids that stand in the tables above."""
    with house.ledger.write() as session:
        a_base_model(session)
        file = a_file(session, house.project)
        return {"FILE": file.id, "EVALS": a_file(session, house.project, purpose="evals").id,
                "JOB": a_job(session, house.project).id, "DATASET": a_dataset(session, house.project)[0].id}


def with_ids(text: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        text = text.replace(f'"{name}"', f'"{value}"').replace(f"/{name}/", f"/{value}/").replace(f"-{name}-", f"-{value[6:]}-")
    return text


def refused(answer: httpx.Response, case: object) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, (answer.status_code, str(case)[:200], answer.text[:400])
    error = error_of(answer)
    assert len(error["message"]) < 700, error
    assert "nan" not in error["message"].lower().split(), error
    return error


def test_bodies_that_are_no_json_are_refused(served: House) -> None:
    prepare(served)
    with served.client() as client:
        for path in ("/v1/fine_tuning/jobs", "/v1/datasets"):
            for body in NO_JSON:
                answer = client.post(path, content=body, headers=JSON)
                refused(answer, body)
                assert answer.status_code == 400


def test_jobs_that_make_no_sense_are_refused_by_field(served: House) -> None:
    ids = prepare(served)
    with served.client() as client:
        for body, code, param in NO_JOBS:
            answer = client.post("/v1/fine_tuning/jobs", content=with_ids(json.dumps(body), ids), headers=JSON)
            error = refused(answer, body)
            assert (answer.status_code, error["code"], error["param"] or "") == (400, code, param), (body, error)
        assert len(client.get("/v1/fine_tuning/jobs").json()["data"]) == 1
        answer = client.post("/v1/fine_tuning/jobs", content=with_ids(json.dumps(GOOD), ids), headers=JSON)
        assert answer.status_code == 200, answer.text


def test_data_sets_that_make_no_sense_are_refused_by_field(served: House) -> None:
    ids = prepare(served)
    with served.client() as client:
        for body, code, param in NO_DATASETS:
            answer = client.post("/v1/datasets", content=with_ids(json.dumps(body), ids), headers=JSON)
            error = refused(answer, body)
            assert (answer.status_code, error["code"], error["param"]) == (400, code, param), (body, error)


def test_strange_texts_in_every_field_are_never_the_servers_fault(served: House) -> None:
    ids = prepare(served)
    with served.client() as client:
        for text in STRANGE:
            bodies = [job(model=text), job(training_file=text), job(suffix=text), job(metadata={text: text}),
                      job(**{text: text}), job(options={"sample_prompts": [text]}), job(validation_file=text),
                      job(integrations=[{"type": text}]), {"model": "tiny", "datasets": [{"dataset": text}]},
                      job(lora={"target_modules": [text]})]
            for body in bodies:
                answer = client.post("/v1/fine_tuning/jobs", content=with_ids(json.dumps(body), ids), headers=JSON)
                assert answer.status_code in (200, 400), (body, answer.text)
            body = {"name": text, "file_id": "FILE"}
            answer = client.post("/v1/datasets", content=with_ids(json.dumps(body), ids), headers=JSON)
            assert answer.status_code in (200, 400), (text, answer.text)
        listed = client.get("/v1/fine_tuning/jobs", params={"limit": 100})
        assert listed.status_code == 200


def test_queries_and_paths_that_make_no_sense_are_refused(served: House) -> None:
    ids = prepare(served)
    with served.client() as client:
        for path in NO_QUERIES:
            refused(client.get(with_ids(path, ids)), path)
        for path in FINE_QUERIES:
            answer = client.get(with_ids(path, ids))
            assert answer.status_code == 200, (path, answer.text)


@pytest.mark.parametrize("headers,status", [
    ({"content-type": "text/plain"}, 415),
    ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ({"content-type": "application/jsonp"}, 415),
    ({"content-type": ""}, 415),
    ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
    ({"content-type": "application/json", "content-encoding": "br, gzip"}, 415),
    ({"content-type": "application/json", "idempotency-key": ""}, 400),
    ({"content-type": "application/json", "idempotency-key": "x" * 256}, 400),
    ({"content-type": "application/json", "idempotency-key": "a\tb"}, 400),
    ({"content-type": "application/json", "idempotency-key": "\u00fc"}, 400),
    ({"content-type": "application/json", "x-long": "x" * 40_000}, 431),
])
def test_heads_that_make_no_sense_are_refused(house: House, headers: dict[str, str], status: int) -> None:
    ids = prepare(house)
    with house.client() as client:
        told = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = client.post("/v1/fine_tuning/jobs", content=with_ids(json.dumps(GOOD), ids), headers=told)
        refused(answer, headers)
        assert answer.status_code == status, answer.text


def test_a_charset_beside_the_content_type_is_fine(house: House) -> None:
    ids = prepare(house)
    with house.client() as client:
        answer = client.post("/v1/fine_tuning/jobs", content=with_ids(json.dumps(GOOD), ids),
                             headers={"content-type": "Application/JSON; charset=utf-8"})
        assert answer.status_code == 200, answer.text


def test_null_means_absent(house: House) -> None:
    ids = prepare(house)
    names = ("validation_file", "method", "hyperparameters", "suffix", "seed", "metadata", "integrations", "lora", "options",
             "priority", "validation_split", "datasets")
    with house.client() as client:
        body = {**GOOD, "training_file": ids["FILE"], **dict.fromkeys(names)}
        assert client.post("/v1/fine_tuning/jobs", json=body).status_code == 200


def test_values_are_shown_escaped_and_cut(house: House) -> None:
    with house.client() as client:
        answer = client.post("/v1/fine_tuning/jobs", json=job(suffix="<b>\u202e" + "y" * 5000))
        message = error_of(answer)["message"]
        assert message.isprintable()
        assert "y" * 100 not in message
        assert "\\u202e" in message
