from __future__ import annotations

import pytest

from core.chores.models import Chore
from core.datasets import service as datasets
from core.db.session import Ledger
from core.errors import InvalidValue, NotFound
from core.files import service as files
from core.jobs import service as jobs
from tests.factories import NOW, a_dataset, a_file, a_job, a_project, later


def test_foreign_file_is_as_unknown_as_no_file(ledger: Ledger):
    with ledger.write() as session:
        mine, theirs = a_project(session, "mine"), a_project(session, "theirs")
        file = a_file(session, theirs)
        told = []
        for file_id in (file.id, "file-unknown"):
            with pytest.raises(NotFound) as caught:
                files.get_file(session, mine.id, file_id)
            told.append(caught.value.message.replace(file_id, "ID"))
    assert told[0] == told[1]


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_do_not_shift_when_files_arrive_meanwhile(ledger: Ledger, order: str):
    with ledger.write() as session:
        project = a_project(session)
        ids = [a_file(session, project, now=later(n)).id for n in range(5)]
        ids = ids if order == "asc" else ids[::-1]
        first = files.list_files(session, project.id, after=None, limit=2, order=order)
        a_file(session, project, now=later(99 if order == "desc" else -99))
        rest = files.list_files(session, project.id, after=first.items[-1].id, limit=3, order=order)
    assert [f.id for f in first.items + rest.items] == ids
    assert (first.has_more, rest.has_more) == (True, False)


def test_files_of_one_moment_are_each_listed_once(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        ids = {a_file(session, project, now=NOW).id for _ in range(7)}
        seen, after = [], None
        while True:
            page = files.list_files(session, project.id, after=after, limit=2)
            seen += [f.id for f in page.items]
            if not page.has_more:
                break
            after = seen[-1]
    assert len(seen) == 7
    assert set(seen) == ids


def test_list_keeps_to_purpose_and_project(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        wanted = a_file(session, project, purpose="evals")
        a_file(session, project)
        a_file(session, a_project(session, "other"), purpose="evals")
        found = files.list_files(session, project.id, after=None, limit=10, purpose="evals")
    assert [f.id for f in found.items] == [wanted.id]


def test_unknown_after_and_order_are_refused(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        with pytest.raises(NotFound) as caught:
            files.list_files(session, project.id, after="file-unknown", limit=2)
        assert caught.value.param == "after"
        with pytest.raises(InvalidValue, match="it is 'asc' or 'desc'"):
            files.list_files(session, project.id, after=None, limit=2, order="up")


def test_deleted_file_is_gone_at_once_and_its_bytes_go_by_a_chore(ledger: Ledger):
    with ledger.write() as session:
        file = a_file(session)
        files.delete_file(session, file.project_id, file.id, now=NOW)
        with pytest.raises(NotFound):
            files.get_file(session, file.project_id, file.id)
        with pytest.raises(NotFound):
            files.delete_file(session, file.project_id, file.id, now=NOW)
        assert session.query(Chore).filter_by(kind=files.PURGE, subject=file.id).count() == 1
        assert files.purgeable(session, file.id)
        assert files.purgeable_keys(session, file.id, now=NOW) == [file.storage_key]
        assert not files.purgeable(session, file.id)
        assert files.purgeable_keys(session, file.id, now=NOW) == [file.storage_key]


def test_bytes_stay_while_an_unfinished_job_needs_them(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        file, validation = a_file(session, project), a_file(session, project)
        job = a_job(session, project, training_file=file.id, validation_file=validation.id)
        for one in (file, validation):
            files.delete_file(session, project.id, one.id, now=NOW)
            assert not files.purgeable(session, one.id)
        jobs.cancel(session, project.id, job.id, now=NOW)
        assert files.purgeable(session, file.id)
        assert files.purgeable(session, validation.id)


def test_bytes_stay_while_a_registered_data_set_has_its_rows_there(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        file = a_file(session, project)
        dataset, _ = a_dataset(session, project, file=file)
        files.delete_file(session, project.id, file.id, now=NOW)
        assert not files.purgeable(session, file.id)
        datasets.delete_dataset(session, project.id, dataset.id, now=NOW)
        assert files.purgeable(session, file.id)


def test_kept_file_is_never_purgeable(ledger: Ledger):
    with ledger.write() as session:
        assert not files.purgeable(session, a_file(session).id)
        assert not files.purgeable(session, "file-unknown")
        assert files.purgeable_keys(session, "file-unknown", now=NOW) == []


def test_file_whose_time_has_come_is_deleted(ledger: Ledger):
    with ledger.write() as session:
        file, other = a_file(session), a_file(session)
        file.expires_at, other.expires_at = later(10), later(30)
        assert files.expire_files(session, now=later(20)) == [file.id]
        assert files.find_file(session, other.project_id, other.id) is not None
