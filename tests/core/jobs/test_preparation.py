from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from core.datasets import service as datasets
from core.datasets.models import DatasetVersion
from core.db.session import Ledger
from core.devices import service as devices
from core.devices.service import FoundDevice
from core.estimates.shape import ModelShape
from core.events.models import Event
from core.events.service import events_after
from core.jobs import service as jobs
from core.jobs.models import Job
from core.jobs.preparation import prepare
from core.jobs.stream_spec import version_ids
from core.models import service as models
from core.storage.artifacts import Artifacts, file_key
from tests.factories import NOW, a_base_model, a_device, a_file, a_job, a_project
from tests.indexing import index_uploads


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(tmp_path / "storage")


def chats(count: int, *, bad_lines: tuple[int, ...] = ()) -> bytes:
    lines = [orjson.dumps({"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]})
             for n in range(1, count + 1)]
    return b"\n".join(b"{broken" if n in bad_lines else line for n, line in enumerate(lines, 1)) + b"\n"


def put(session, artifacts: Artifacts, content: bytes) -> str:
    """Upload a file's bytes."""
    file = a_file(session)
    temporary = artifacts.new_temporary()
    temporary.write_bytes(content)
    artifacts.publish(temporary, file_key(file.id))
    return file.id


def index_all(session, artifacts: Artifacts, job: Job) -> None:
    """Do what an upkeep worker does for each version of the job."""
    for version_id in version_ids(job):
        version = session.get_one(DatasetVersion, version_id)
        if version.status == "indexing":
            index_uploads(session, version, artifacts, now=NOW)


def prepared(ledger: Ledger, artifacts: Artifacts, content: bytes, *, validation: bytes | None = None,
             facts: dict[str, Any] | None = None, **fields) -> Job:
    with ledger.write() as session:
        fields["training_file"] = put(session, artifacts, content)
        if validation is not None:
            fields["validation_file"] = put(session, artifacts, validation)
        job = a_job(session, **fields)
        a_base_model(session, **(facts or {}))
        index_all(session, artifacts, job)
        prepare(session, job.id, artifacts=artifacts, now=NOW)
        return session.get_one(Job, job.id)


def test_auto_becomes_numbers_and_steps_are_counted(ledger: Ledger, artifacts: Artifacts):
    job = prepared(ledger, artifacts, chats(100))
    assert job.state == "queued"
    assert job.resolved == {
        "n_epochs": 3, "batch_size": 4, "learning_rate_multiplier": 1.0, "learning_rate": 2e-4, "max_length": 512, "rows": 100,
        "validation_rows": 0, "base_model": "tiny", "base_digest": "b4se",
        "tokenizer_digest": "t0k", "total_steps": 75, "epoch_ends": [25, 50, 75],
        "memory": {}, "row_bytes": pytest.approx(82.84),
    }
    assert (job.total_steps, job.queued_at) == (75, NOW)


LARGE = {"shape": ModelShape.from_config({
    "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256}, 8_030_000_000).to_json(), "context_length": 32768}
"""A model of 8 billion parameters."""


def queued_beside(ledger: Ledger, artifacts: Artifacts, *, gigabytes: int) -> tuple[Job, Event]:
    """A job on a large model, where the only known GPU has so much memory."""
    with ledger.write() as session:
        devices.announce(session, "host", [FoundDevice("cuda", 0, "a card", gigabytes << 30)], now=NOW)
    job = prepared(ledger, artifacts, chats(20), facts=LARGE)
    with ledger.read() as session:
        return job, events_after(session, job.id, 0, 100)[-1]


def test_the_memory_that_a_device_must_have_is_stored(ledger: Ledger, artifacts: Artifacts):
    job, told = queued_beside(ledger, artifacts, gigabytes=24)
    assert job.resolved is not None
    needed = job.resolved["memory"]
    assert 17 << 30 < needed["cuda"] < 24 << 30
    assert 33 << 30 < needed["cpu"] < 48 << 30
    assert (job.memory_bytes, told.level) == (needed["cuda"], "info")


def test_where_cpus_alone_are_known_the_need_is_that_of_a_cpu(sqlite_ledger: Ledger, artifacts: Artifacts):
    with sqlite_ledger.write() as session:
        devices.announce(session, "host", [FoundDevice("cpu", 0, "x86_64", 1 << 40)], now=NOW)
    job = prepared(sqlite_ledger, artifacts, chats(20), facts=LARGE)
    assert job.resolved is not None
    assert job.memory_bytes == job.resolved["memory"]["cpu"]


def test_a_job_that_fits_no_known_device_is_told_so_and_waits(ledger: Ledger, artifacts: Artifacts):
    job, told = queued_beside(ledger, artifacts, gigabytes=12)
    assert (job.state, told.level) == ("queued", "warn")
    assert "GiB on a GPU" in told.message
    assert "a card on host has 12.0 GiB): it stays queued until a worker with more memory comes" in told.message


def test_a_job_whose_devices_are_not_all_large_enough_is_told_so(ledger: Ledger, artifacts: Artifacts):
    with ledger.write() as session:
        cards = [FoundDevice("cuda", number, "a card", gib << 30) for number, gib in enumerate((80, 12))]
        devices.announce(session, "host", cards, now=NOW)
    job = prepared(ledger, artifacts, chats(20), facts=LARGE, options={"devices": 2})
    with ledger.read() as session:
        told = events_after(session, job.id, 0, 100)[-1]
    assert told.level == "warn"
    assert "no known host has 2 devices with as much" in told.message


def test_short_rows_need_less_memory_than_long_ones(sqlite_ledger: Ledger, artifacts: Artifacts):
    long = orjson.dumps({"messages": [{"role": "user", "content": "q" * 9000}, {"role": "assistant", "content": "a"}]}) + b"\n"

    def needed(content: bytes) -> int:
        job = prepared(sqlite_ledger, artifacts, content, facts=LARGE, options={"max_length": 32768})
        return (job.resolved or {})["memory"]["cuda"]

    assert needed(chats(20)) < needed(chats(20) + long)


def test_what_was_asked_for_stays(ledger: Ledger, artifacts: Artifacts):
    job = prepared(ledger, artifacts, chats(12), options={"learning_rate": 1e-3, "max_length": 64},
                   hyperparameters={"n_epochs": 3, "batch_size": 1, "learning_rate_multiplier": 0.5})
    assert job.resolved is not None
    assert job.total_steps == 36
    assert (job.resolved["learning_rate"], job.resolved["max_length"]) == (5e-4, 64)


def test_validation_rows_are_counted_apart(sqlite_ledger: Ledger, artifacts: Artifacts):
    split = prepared(sqlite_ledger, artifacts, chats(200), validation_split=0.25)
    whole = prepared(sqlite_ledger, artifacts, chats(30), validation=chats(7))
    assert split.resolved is not None
    assert whole.resolved is not None
    assert split.resolved["rows"] + split.resolved["validation_rows"] == 200
    assert 25 < split.resolved["validation_rows"] < 75
    assert (whole.resolved["rows"], whole.resolved["validation_rows"]) == (30, 7)


def test_job_waits_while_its_data_is_indexed(ledger: Ledger, artifacts: Artifacts):
    with ledger.write() as session:
        job = a_job(session, training_file=put(session, artifacts, chats(20)))
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "waiting"
        index_all(session, artifacts, job)
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "queued"
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "gone"
        assert prepare(session, "ftjob-unknown", artifacts=artifacts, now=NOW) == "gone"


def test_cancelled_job_is_not_prepared(ledger: Ledger, artifacts: Artifacts):
    with ledger.write() as session:
        job = a_job(session, training_file=put(session, artifacts, chats(20)))
        jobs.cancel(session, job.project_id, job.id, now=NOW)
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "gone"


def test_faulty_rows_fail_the_job_with_their_lines_and_total(ledger: Ledger, artifacts: Artifacts):
    job = prepared(ledger, artifacts, chats(20, bad_lines=(3, 7, 11)))
    assert job.state == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_training_file", "training_file")
    for words in ("3 faulty rows of 20", "line 3", "and 2 more", "on_bad_row 'skip'"):
        assert words in job.error["message"]
    with ledger.read() as session:
        last = events_after(session, job.id, job.last_event - 1, 9)[0]
    assert (last.level, (last.data or {})["code"]) == ("error", "job.failed")


def test_faulty_rows_may_be_skipped(sqlite_ledger: Ledger, artifacts: Artifacts):
    job = prepared(sqlite_ledger, artifacts, chats(20, bad_lines=(3, 7)), options={"on_bad_row": "skip"})
    assert job.resolved is not None
    assert job.resolved["rows"] == 18


def test_faulty_validation_file_is_named(sqlite_ledger: Ledger, artifacts: Artifacts):
    job = prepared(sqlite_ledger, artifacts, chats(20), validation=chats(5, bad_lines=(2,)))
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_validation_file", "validation_file")
    assert "line 2" in job.error["message"]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{broken\n[]\n", b"\x00\xff\n"])
def test_file_without_a_good_row_fails_the_job(sqlite_ledger: Ledger, artifacts: Artifacts, content: bytes):
    job = prepared(sqlite_ledger, artifacts, content, options={"on_bad_row": "skip"})
    assert job.state == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_training_file", "training_file")


def test_split_that_leaves_nothing_to_validate_on_is_told(sqlite_ledger: Ledger, artifacts: Artifacts):
    job = prepared(sqlite_ledger, artifacts, chats(2), validation_split=0.0001)
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_validation_file", "validation_split")


def test_few_rows_are_warned_of(sqlite_ledger: Ledger, artifacts: Artifacts):
    job = prepared(sqlite_ledger, artifacts, chats(1))
    with sqlite_ledger.read() as session:
        last = events_after(session, job.id, job.last_event - 1, 9)[0]
    assert (job.state, job.total_steps, last.level) == ("queued", 3, "warn")


def test_plan_beyond_all_bounds_fails_in_words(sqlite_ledger: Ledger, artifacts: Artifacts):
    with sqlite_ledger.write() as session:
        a_base_model(session)
        project = a_project(session)
        for name, count in (("few", 2), ("many", 400)):
            file_id = put(session, artifacts, chats(count))
            datasets.register(session, project.id, name=name, rows=datasets.Rows([file_id]), now=NOW)
        job = a_job(session, project, datasets=[{"dataset": "few", "weight": 1000}, {"dataset": "many", "weight": 0.002}],
                    hyperparameters={"n_epochs": 50, "batch_size": 1})
        index_all(session, artifacts, job)
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "failed"
        job = session.get_one(Job, job.id)
    assert job.error is not None
    assert "steps; at most" in job.error["message"]


def test_faulty_rows_of_a_data_set_are_told_with_the_field_that_names_it(sqlite_ledger: Ledger, artifacts: Artifacts):
    with sqlite_ledger.write() as session:
        a_base_model(session)
        project = a_project(session)
        for name, bad_lines in (("good", ()), ("bad", (3,))):
            file_id = put(session, artifacts, chats(20, bad_lines=bad_lines))
            datasets.register(session, project.id, name=name, rows=datasets.Rows([file_id]), now=NOW)
        job = a_job(session, project, datasets=[{"dataset": "good"}, {"dataset": "bad"}])
        index_all(session, artifacts, job)
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "failed"
        job = session.get_one(Job, job.id)
    assert job.error is not None
    assert job.error["param"] == "datasets.1.dataset"
    assert job.error["message"].startswith("datasets.1.dataset has 1 faulty row of 20")


def test_chats_need_a_model_with_a_template(sqlite_ledger: Ledger, artifacts: Artifacts):
    with sqlite_ledger.write() as session:
        a_base_model(session, "plain", has_chat_template=False)
    job = prepared(sqlite_ledger, artifacts, chats(20), model="plain")
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("model_without_chat_template", "model")


def test_model_removed_meanwhile_fails_the_job(sqlite_ledger: Ledger, artifacts: Artifacts):
    with sqlite_ledger.write() as session:
        job = a_job(session, training_file=put(session, artifacts, chats(20)))
        index_all(session, artifacts, job)
        models.get_model(session, job.project_id, "tiny").deleted_at = NOW
        assert prepare(session, job.id, artifacts=artifacts, now=NOW) == "failed"
        job = session.get_one(Job, job.id)
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("model_not_found", "model")


def test_prepared_job_is_the_next_that_a_worker_claims(sqlite_ledger: Ledger, artifacts: Artifacts):
    from tests.factories import a_claim

    job = prepared(sqlite_ledger, artifacts, chats(20))
    with sqlite_ledger.write() as session:
        claim = a_claim(session)
        assert claim is not None
        assert claim.job.id == job.id


def test_preference_pairs_are_refused_with_what_a_supervised_job_needs(sqlite_ledger: Ledger, artifacts: Artifacts):
    pair = orjson.dumps({"prompt": "How", "chosen": " high?", "rejected": " now?"})
    job = prepared(sqlite_ledger, artifacts, b"\n".join([pair] * 12))
    assert job.state == "failed"
    assert job.error is not None
    assert (job.error["code"], job.error["param"]) == ("invalid_training_file", "training_file")
    assert "shape preference_trl" in job.error["message"]
    assert "needs rows with one answer" in job.error["message"]


def test_more_devices_than_any_host_has_are_told(ledger: Ledger, artifacts: Artifacts):
    with ledger.write() as session:
        a_device(session)
    job = prepared(ledger, artifacts, chats(12), options={"devices": 3})
    with ledger.read() as session:
        told = [event.message for event in events_after(session, job.id, 0, limit=100)][-1]
    assert job.state == "queued"
    assert "options.devices is 3 and the largest known host has 1: it stays queued until a worker with as many comes" in told
