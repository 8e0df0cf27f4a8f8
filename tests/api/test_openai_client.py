"""The unmodified `openai` client against a served application. No worker runs: jobs wait."""

from __future__ import annotations

import io

import openai
import pytest

from tests.api.serving import House
from tests.factories import BASE, a_base_model

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12


@pytest.fixture(autouse=True)
def base_model(house: House) -> None:
    with house.ledger.write() as session:
        a_base_model(session)


def upload(house: House, name: str = "rows.jsonl", content: bytes = ROWS) -> str:
    return house.openai().files.create(file=(name, content), purpose="fine-tune").id


def submit(house: House, **fields):
    return house.openai().fine_tuning.jobs.create(**{"model": BASE, "training_file": upload(house), **fields})


def test_a_file_goes_up_and_comes_back(house: House) -> None:
    client = house.openai()
    file = client.files.create(file=("mühle \"1\".jsonl", ROWS), purpose="fine-tune")
    assert (file.object, file.bytes, file.filename, file.purpose) == ("file", len(ROWS), 'mühle "1".jsonl', "fine-tune")
    assert client.files.wait_for_processing(file.id, poll_interval=0.01).status == "processed"
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == ROWS
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


def test_expiry_is_kept(house: House) -> None:
    client = house.openai()
    file = client.files.create(file=io.BytesIO(ROWS), purpose="user_data",
                               expires_after={"anchor": "created_at", "seconds": 3600})
    assert file.expires_at == file.created_at + 3600


def test_lists_of_files_turn_pages(house: House) -> None:
    client = house.openai()
    ids = [client.files.create(file=(f"{n}.jsonl", ROWS), purpose="evals").id for n in range(5)]
    assert [file.id for file in client.files.list(purpose="evals", limit=2)] == ids[::-1]
    assert [file.id for file in client.files.list(purpose="evals", limit=2, order="asc")] == ids
    assert client.files.list(purpose="evals", limit=2).has_more


def test_a_job_is_created_with_every_field(house: House) -> None:
    job = submit(house, suffix="try", seed=7, metadata={"team": "mill"},
                 method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}})
    assert job.object == "fine_tuning.job"
    assert job.status == "validating_files"
    assert job.hyperparameters.n_epochs == 2
    assert job.method.supervised.hyperparameters.n_epochs == 2
    assert job.method.supervised.hyperparameters.batch_size == "auto"
    assert (job.seed, job.metadata, job.result_files, job.error) == (7, {"team": "mill"}, [], None)
    assert job.organization_id == house.project.organization_id
    assert (job.fine_tuned_model, job.finished_at, job.estimated_finish, job.trained_tokens) == (None, None, None, None)
    assert house.openai().fine_tuning.jobs.retrieve(job.id) == job
    assert house.rung[-1] == "upkeep"


def test_deprecated_hyperparameters_are_mirrored(house: House) -> None:
    job = submit(house, hyperparameters={"n_epochs": 3, "learning_rate_multiplier": 0.5})
    assert job.method.supervised.hyperparameters.n_epochs == 3
    assert job.method.supervised.hyperparameters.learning_rate_multiplier == 0.5


def test_jobs_are_listed_by_their_metadata(house: House) -> None:
    client = house.openai()
    made = [submit(house, metadata={"lane": "a.b \"c\""}).id for _ in range(3)]
    submit(house, metadata={"lane": "other"})
    bare = submit(house).id
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={"lane": "a.b \"c\""}, limit=2)] == made[::-1]
    assert bare in [job.id for job in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]
    assert made[0] not in [job.id for job in client.fine_tuning.jobs.list(extra_query={"metadata": "null"})]


def test_a_waiting_job_is_cancelled_in_the_answer(house: House) -> None:
    client = house.openai()
    job = client.fine_tuning.jobs.cancel(submit(house).id)
    assert job.status == "cancelled"
    assert job.finished_at is not None
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=1))
    assert events[0].type == "message"
    assert [e.id.rpartition("-")[2] for e in events] == [str(n) for n in range(len(events), 0, -1)]
    with pytest.raises(openai.BadRequestError):
        client.fine_tuning.jobs.cancel(job.id)


def test_a_job_is_paused_and_resumed(house: House) -> None:
    jobs = house.openai().fine_tuning.jobs
    job = submit(house)
    assert jobs.pause(job.id).status == "paused"
    assert jobs.pause(job.id).status == "paused"
    assert jobs.resume(job.id).status == "validating_files"
    assert house.rung[-2:] == [job.id, "upkeep"]
    with pytest.raises(openai.BadRequestError, match="is validating_files; only a job that is paused") as caught:
        jobs.resume(job.id)
    assert (caught.value.code, caught.value.type) == ("invalid_state", "invalid_request_error")
    jobs.cancel(job.id)
    with pytest.raises(openai.BadRequestError, match="is cancelled; only an unfinished job can be paused"):
        jobs.pause(job.id)


def test_checkpoints_of_a_waiting_job_are_none(house: House) -> None:
    assert list(house.openai().fine_tuning.jobs.checkpoints.list(submit(house).id)) == []


def test_models_are_listed_retrieved_and_guarded(house: House) -> None:
    client = house.openai()
    with house.ledger.write() as session:
        a_base_model(session, "mill/wheel-1.0")
    assert {"tiny", "mill/wheel-1.0"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("mill/wheel-1.0").object == "model"
    with pytest.raises(openai.PermissionDeniedError):
        client.models.delete("mill/wheel-1.0")
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("ft:mill/wheel-1.0:org::none")
    assert caught.value.code == "model_not_found"


def test_errors_are_the_clients_own(house: House) -> None:
    with pytest.raises(openai.AuthenticationError) as unknown:
        house.openai(api_key="hr-unknown").models.list()
    assert unknown.value.code == "invalid_api_key"
    assert unknown.value.request_id
    with pytest.raises(openai.BadRequestError) as misspelt:
        submit(house, extra_body={"hyperparameters": {"n_epoch": 3}})
    assert (misspelt.value.code, misspelt.value.param) == ("unknown_parameter", "hyperparameters.n_epoch")
    with pytest.raises(openai.BadRequestError) as model:
        submit(house, model="nothing")
    assert (model.value.code, model.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as file:
        house.openai().fine_tuning.jobs.create(model=BASE, training_file="file-nothing")
    assert (file.value.code, file.value.param) == ("invalid_training_file", "training_file")


def test_a_repeated_submit_gives_the_same_job(house: House) -> None:
    file = upload(house)
    create = house.openai().fine_tuning.jobs.create
    first = create(model=BASE, training_file=file, extra_headers={"Idempotency-Key": "k1"})
    assert create(model=BASE, training_file=file, extra_headers={"Idempotency-Key": "k1"}).id == first.id
    with pytest.raises(openai.BadRequestError):
        create(model=BASE, training_file=file, seed=1, extra_headers={"Idempotency-Key": "k1"})
    plain = create(model=BASE, training_file=file)
    assert plain.id != first.id
    assert create(model=BASE, training_file=file, extra_headers={"x-stainless-retry-count": "1"}).id == plain.id
    assert create(model=BASE, training_file=file).id != plain.id
