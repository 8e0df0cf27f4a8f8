"""Chores of each kind, with the real indexing process."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from sqlalchemy import select

from core.chores.models import Chore
from core.clock import system_clock
from core.datasets import service as datasets
from core.datasets.shape import shape_of
from core.db.session import Ledger
from core.files import service as files
from core.files.models import StoredFile
from core.jobs.models import Job
from tests import factories
from tests.streams import chat_rows
from tests.worker.desks import Bench

GOOD = b"".join(orjson.dumps(row) + b"\n" for row in chat_rows(30))


def test_a_job_on_a_fresh_file_is_indexed_prepared_and_rung_for(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path)
    file_id = bench.stored(GOOD)
    job = bench.submitted(file_id)
    bench.work()
    version, job = bench.version_of(file_id), bench.read(Job, job.id)
    assert (version.status, version.rows, version.faulty_rows, version.row_format) == ("ready", 30, 0, "chat")
    assert (job.state, (job.resolved or {})["rows"]) == ("queued", 30)
    assert bench.desk.artifacts.path(version.shards[0].index_key).is_dir()
    assert (bench.wakes, bench.rung) == ([1], [job.id])


def test_an_index_is_the_same_after_an_attempt_that_was_cut_off(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(GOOD)
    bench.submitted(file_id)
    left = bench.desk.artifacts.path(bench.version_of(file_id).shards[0].index_key)
    left.mkdir(parents=True)
    (left / "debris").write_text("half of an index")
    bench.work()
    assert bench.version_of(file_id).status == "ready"
    assert not (left / "debris").exists()


@pytest.mark.parametrize("content", [b"", b"no json\n", b'{"messages": []}\n'])
def test_a_file_without_a_good_row_fails_its_job_in_words(sqlite_ledger: Ledger, tmp_path: Path, content: bytes) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(content)
    job = bench.submitted(file_id)
    bench.work()
    job = bench.read(Job, job.id)
    assert bench.version_of(file_id).status == "failed"
    assert job.state == "failed"
    assert (job.error or {})["code"] == "invalid_training_file"
    assert list((tmp_path / "storage" / ".incoming").iterdir()) == []


def test_faulty_rows_are_counted_and_the_rest_is_ready(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(GOOD + b"no json\n")
    job = bench.submitted(file_id)
    bench.work()
    version = bench.version_of(file_id)
    assert (version.status, version.rows, version.faulty_rows) == ("ready", 31, 1)
    assert "line 31" in (bench.read(Job, job.id).error or {})["message"]


def test_bytes_that_are_gone_end_the_version_after_three_attempts(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    with sqlite_ledger.write() as session:
        file = factories.a_file(session, now=system_clock())
        job = factories.a_job(session, training_file=file.id, now=system_clock())
    for _ in range(3):
        with sqlite_ledger.write() as session:
            for chore in session.scalars(select(Chore)):
                chore.not_before = system_clock()
        bench.work()
    assert bench.version_of(file.id).status == "failed"
    assert bench.read(Job, job.id).state == "failed"


def test_a_full_disk_is_the_machines_fault_and_the_job_waits(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path, min_free_bytes=1 << 60)
    file_id = bench.stored(GOOD)
    job = bench.submitted(file_id)
    bench.work()
    assert bench.version_of(file_id).status == "indexing"
    assert bench.read(Job, job.id).state == "validating_files"


def test_a_deleted_files_bytes_go_when_nothing_needs_them(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path)
    file_id = bench.stored(GOOD)
    with ledger.write() as session:
        project = factories.a_project(session)
        dataset, _ = datasets.register(session, project.id, name="kept", rows=datasets.Rows([file_id]), now=system_clock())
        files.delete_file(session, project.id, file_id, now=system_clock())
    bench.work()
    path = bench.desk.artifacts.path(bench.read(StoredFile, file_id).storage_key)
    assert path.exists()
    with ledger.write() as session:
        datasets.delete_dataset(session, project.id, dataset.id, now=system_clock())
        session.scalars(select(Chore).where(Chore.kind == files.PURGE)).one().not_before = system_clock()
    bench.work()
    assert not path.exists()
    assert bench.read(StoredFile, file_id).purged_at is not None


def test_a_job_that_waits_long_for_its_data_is_not_given_up(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    job = bench.submitted(bench.stored(GOOD))
    for _ in range(5):
        with sqlite_ledger.write() as session:
            for chore in session.scalars(select(Chore)):
                chore.not_before = system_clock() if chore.kind == "prepare_job" else system_clock() + timedelta(hours=1)
        bench.work()
    assert bench.read(Job, job.id).state == "validating_files"
    bench.work()
    with sqlite_ledger.write() as session:
        for chore in session.scalars(select(Chore).where(Chore.kind == "index_version")):
            chore.not_before = system_clock()
    bench.work()
    assert bench.read(Job, job.id).state == "queued"


def test_a_version_is_read_by_the_columns_that_were_said(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(b'{"question": "How", "answer": " high?"}\n' * 3)
    with bench.ledger.write() as session:
        project = factories.a_project(session)
        datasets.register(session, project.id, name="quiz", now=system_clock(), rows=datasets.Rows(
            [file_id], shape="prompt_completion", columns={"prompt": "question", "completion": "answer"}))
    bench.work()
    version = bench.version_of(file_id)
    assert (version.status, version.row_format, version.faulty_rows) == ("ready", "prompt_completion", 0)
    assert shape_of(version)["columns"] == {"prompt": "question", "completion": "answer"}
    assert (version.report or {})["duplicates"]["rows"] == 2
