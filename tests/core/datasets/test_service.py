from __future__ import annotations

import pytest
from sqlalchemy import select

from core.chores import service as chores
from core.chores.kinds import PREPARE_JOB
from core.chores.models import Chore
from core.datasets import service as datasets
from core.db.session import Ledger
from core.errors import IllegalMove, InvalidValue, NotFound
from core.jobs import service as jobs
from tests.factories import NOW, a_dataset, a_file, a_job, a_project, a_report, an_index, later


def test_registered_file_is_indexed_by_a_chore(ledger: Ledger):
    with ledger.write() as session:
        dataset, version = a_dataset(session, name="chats", is_ready=False)
        chore = session.scalar(select(Chore).where(Chore.kind == datasets.INDEX))
    assert (dataset.name, version.number, version.status) == ("chats", 1, "indexing")
    assert chore is not None
    assert chore.subject == version.id


def test_same_name_again_adds_a_version(ledger: Ledger):
    with ledger.write() as session:
        first, _ = a_dataset(session, name="chats")
        second, version = a_dataset(session, name="chats")
        assert (second.id, version.number) == (first.id, 2)
        assert [v.number for v in datasets.list_versions(session, first.id)] == [2, 1]
        assert datasets.latest_version(session, first.id).id == version.id
        assert datasets.get_version(session, first.project_id, first.id, 1).number == 1


def test_file_that_a_job_names_gets_one_version_in_no_list(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        file = a_file(session, project)
        first = datasets.version_for_file(session, project.id, file.id, now=NOW)
        again = datasets.version_for_file(session, project.id, file.id, now=NOW)
        assert first.id == again.id
        assert datasets.list_datasets(session, project.id, after=None, limit=10).items == []


def test_version_that_failed_is_made_again_for_the_next_job(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        file = a_file(session, project)
        first = datasets.version_for_file(session, project.id, file.id, now=NOW)
        datasets.fail_index(session, first.id, code="storage_error", message="the disk was away", now=NOW)
        again = datasets.version_for_file(session, project.id, file.id, now=NOW)
    assert (again.dataset_id, again.number, again.status) == (first.dataset_id, 2, "indexing")


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 129])
def test_unusable_name_is_refused(ledger: Ledger, name: str):
    with ledger.write() as session, pytest.raises(InvalidValue) as caught:
        a_dataset(session, name=name)
    assert caught.value.param == "name"


def test_only_own_files_made_to_be_trained_on_are_registered(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        with pytest.raises(InvalidValue, match="purpose 'evals', expected 'fine-tune'"):
            a_dataset(session, project, file=a_file(session, project, purpose="evals"))
        with pytest.raises(NotFound):
            a_dataset(session, project, file=a_file(session, a_project(session, "other")))


def test_report_makes_a_version_ready(ledger: Ledger):
    with ledger.write() as session:
        _, version = a_dataset(session, rows=50, faulty=2)
    assert (version.status, version.rows, version.faulty_rows, version.row_format) == ("ready", 50, 2, "chat")
    assert version.digest == "ab" * 32
    assert [shard.index_key for shard in version.shards] == [f"indexes/{version.id}-00000"]


def test_version_without_a_good_row_fails_with_its_lines(ledger: Ledger):
    with ledger.write() as session:
        _, version = a_dataset(session, rows=9, faulty=9)
    assert version.status == "failed"
    assert version.error is not None
    assert version.error["code"] == "invalid_training_file"
    assert "line 1 has no field 'messages'; and 8 more" in version.error["message"]


def test_empty_file_fails_in_words(ledger: Ledger):
    with ledger.write() as session:
        _, version = a_dataset(session, rows=0, format=None)
    assert version.error is not None
    assert "there are no rows in it" in version.error["message"]


def test_settled_version_is_not_settled_again(ledger: Ledger):
    with ledger.write() as session:
        _, version = a_dataset(session, rows=50)
        datasets.fail_index(session, version.id, code="x", message="late", now=NOW)
        an_index(session, version, rows=60)
        assert (version.status, version.rows) == ("ready", 50)


def test_end_of_the_index_wakes_the_jobs_that_wait_for_it(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        dataset, version = a_dataset(session, project, is_ready=False)
        job = a_job(session, project, datasets=[{"dataset": dataset.id}], now=NOW)
        while (chore := chores.claim(session, "w", 10)) is not None:
            chores.again(session, chore, 60)
        datasets.settle_index(session, version.id, report=a_report(), now=later(901))
        woken = chores.claim(session, "w", 10)
    assert woken is not None
    assert (woken.kind, woken.subject) == (PREPARE_JOB, job.id)


def test_data_set_in_use_is_not_deleted_and_the_jobs_are_named(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        dataset, _ = a_dataset(session, project)
        job = a_job(session, project, datasets=[{"dataset": dataset.id}])
        with pytest.raises(IllegalMove, match=job.id) as caught:
            datasets.delete_dataset(session, project.id, dataset.id, now=NOW)
        assert caught.value.code == "dataset_in_use"
        jobs.cancel(session, project.id, job.id, now=NOW)
        datasets.delete_dataset(session, project.id, dataset.id, now=NOW)
        with pytest.raises(NotFound):
            datasets.get_dataset(session, project.id, dataset.id)


def test_name_of_a_deleted_data_set_is_free(ledger: Ledger):
    with ledger.write() as session:
        dataset, _ = a_dataset(session, name="chats")
        datasets.delete_dataset(session, dataset.project_id, dataset.id, now=NOW)
        again, version = a_dataset(session, name="chats")
    assert again.id != dataset.id
    assert version.number == 1


def test_foreign_data_set_is_as_unknown_as_none(ledger: Ledger):
    with ledger.write() as session:
        dataset, _ = a_dataset(session, a_project(session, "theirs"))
        mine = a_project(session, "mine")
        for ask in (lambda i: datasets.get_dataset(session, mine.id, i), lambda i: datasets.get_version(session, mine.id, i, 1),
                    lambda i: datasets.delete_dataset(session, mine.id, i, now=NOW)):
            with pytest.raises(NotFound, match="no data set"):
                ask(dataset.id)


def test_newest_ready_version_is_chosen_before_one_being_indexed(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        dataset, ready = a_dataset(session, project)
        _, indexing = a_dataset(session, project, is_ready=False)
        chosen = datasets.usable_version(session, project.id, dataset.id, None, param="d")[1]
        asked = datasets.usable_version(session, project.id, dataset.name, 2, param="d")[1]
    assert (chosen.id, asked.id) == (ready.id, indexing.id)


def test_progress_is_shown_while_indexing(ledger: Ledger):
    with ledger.write() as session:
        _, version = a_dataset(session, is_ready=False)
        datasets.note_progress(session, version.id, progress_bytes=400)
        assert version.progress_bytes == 400
