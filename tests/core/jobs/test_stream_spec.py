from __future__ import annotations

from pathlib import Path

from core.data.spec import MixtureEntry
from core.datasets.models import DatasetVersion
from core.db.session import Ledger
from core.jobs.sources import first_weights, named_sources
from core.jobs.stream_spec import build_streams, max_length_of, version_ids
from core.storage.artifacts import Artifacts
from tests.factories import a_base_model, a_dataset, a_file, a_project, a_queued_job, an_index


def streams(session, job, root: Path, **told):
    versions = {v: an_index(session, session.get_one(DatasetVersion, v)) for v in version_ids(job)}
    return build_streams(job, versions, log=(MixtureEntry(1, first_weights(job)),), artifacts=Artifacts(root),
                         base=a_base_model(session), micro_batch_tokens=256, **told)


def test_training_stream_is_what_the_job_says(sqlite_ledger: Ledger, tmp_path: Path):
    with sqlite_ledger.write() as session:
        project = a_project(session)
        names = [a_dataset(session, project, name=name)[0].name for name in ("chats", "facts")]
        job = a_queued_job(session, project, seed=5, options={"overlong": "drop", "on_bad_row": "skip", "max_length": 100},
                           datasets=[{"dataset": name, "weight": n} for n, name in enumerate(names, 1)])
        train, validation = streams(session, job, tmp_path)
    assert validation is None
    assert [s.name for s in train.sources] == names
    assert train.mixture[0].weights == (1.0, 2.0)
    assert (train.seed, train.epochs, train.batch_size, train.max_length) == (5, 3, 4, 100)
    assert (train.overlong, train.on_bad_row, train.part, train.is_shuffled) == ("drop", "skip", "train", True)
    assert (train.tokenizer_path, train.tokenizer_digest, train.micro_batch_tokens) == ("/models/tiny", "t0k", 256)
    assert train.sources[0].shards[0].index_path == str(tmp_path / "indexes" / f"{job.sources[0]['version_id']}-00000")


def test_validation_file_is_read_whole_once_in_order(sqlite_ledger: Ledger, tmp_path: Path):
    with sqlite_ledger.write() as session:
        job = a_queued_job(session, validation_file=a_file(session).id)
        train, validation = streams(session, job, tmp_path)
    assert validation is not None
    told = (validation.part, validation.epochs, validation.is_shuffled, validation.validation_fraction)
    assert told == ("whole", 1, False, 0.0)
    assert validation.sources[0].shards[0].path != train.sources[0].shards[0].path


def test_split_gives_two_sides_of_the_same_sources(sqlite_ledger: Ledger, tmp_path: Path):
    with sqlite_ledger.write() as session:
        job = a_queued_job(session, validation_split=0.2)
        train, validation = streams(session, job, tmp_path)
    assert validation is not None
    assert validation.sources == train.sources
    assert (train.part, validation.part) == ("train", "validation")
    assert train.validation_fraction == validation.validation_fraction == 0.2


def test_each_attempt_gets_the_same_fingerprint(sqlite_ledger: Ledger, tmp_path: Path):
    with sqlite_ledger.write() as session:
        job = a_queued_job(session)
        first, again = streams(session, job, tmp_path)[0], streams(session, job, tmp_path / "moved")[0]
    assert first.fingerprint() == again.fingerprint()


def test_sources_of_one_name_are_told_apart(sqlite_ledger: Ledger):
    with sqlite_ledger.write() as session:
        job = a_queued_job(session)
        job.sources = [{"version_id": str(n), "name": name, "weight": 1} for n, name in enumerate(("a", "b", "a"))]
        assert [s["name"] for s in named_sources(job)] == ["a", "b", "a #3"]


def test_length_is_bound_by_the_model_s_context(sqlite_ledger: Ledger):
    with sqlite_ledger.write() as session:
        job, long = a_queued_job(session), a_queued_job(session, options={"max_length": 4096})
        small, large = a_base_model(session, "small", context_length=512), a_base_model(session, "large", context_length=32_768)
    assert [max_length_of(job, small), max_length_of(job, large)] == [512, 2048]
    assert [max_length_of(long, small), max_length_of(long, large)] == [512, 4096]
