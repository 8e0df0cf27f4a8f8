"""What deleted data sets and files leave in storage, and when it goes: with the real passes, and with kills on the way."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.chores import service as chores
from core.chores.kinds import PURGE_DATASET, PURGE_FILE
from core.chores.models import Chore
from core.clock import system_clock
from core.datasets import purging
from core.datasets import service as datasets
from core.datasets.models import Dataset, DatasetVersion
from core.db.session import Ledger
from core.errors import IllegalMove
from core.files import service as files
from core.jobs import service as jobs
from tests import factories
from tests.core.data.files_on_disk import KINDS, jsonl
from tests.worker.desks import Bench


def pairs(count: int) -> list[dict[str, str]]:
    return [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(count)]


def registered(bench: Bench, name: str, *file_ids: str, is_appended: bool = False) -> Dataset:
    with bench.ledger.write() as session:
        project = factories.a_project(session)
        dataset, _ = datasets.register(session, project.id, name=name, rows=datasets.Rows(file_ids), is_appended=is_appended,
                                       now=system_clock())
    bench.work()
    return dataset


def deleted(bench: Bench, dataset: Dataset) -> None:
    with bench.ledger.write() as session:
        datasets.delete_dataset(session, dataset.project_id, dataset.id, now=system_clock())


def lies(bench: Bench) -> list[str]:
    """What lies under the keys of indexes, frames and files."""
    root = bench.desk.artifacts.root
    found = [path for kind in ("indexes", "frames", "files") for path in root.glob(f"{kind}/*")]
    return sorted(path.relative_to(root).as_posix() for path in found)


def due_now(bench: Bench, kind: str) -> None:
    """Let chores of a kind be taken now, as if their waits and the leases of killed workers had passed."""
    with bench.ledger.write() as session:
        for chore in session.scalars(select(Chore).where(Chore.kind == kind)):
            chore.not_before = system_clock() - timedelta(seconds=1)
            chore.lease_until = chore.not_before if chore.lease_until else None


def states(bench: Bench, kind: str) -> list[str]:
    with bench.ledger.read() as session:
        return list(session.scalars(select(Chore.state).where(Chore.kind == kind)))


def test_the_indexes_and_frames_of_a_deleted_data_set_go_and_nobody_elses(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path)
    plain, packed = bench.stored(jsonl(pairs(3))), bench.stored(KINDS["jsonl.gz"](pairs(4)), filename="more.jsonl.gz")
    kept = registered(bench, "kept", packed)
    others = lies(bench)
    gone = registered(bench, "gone", plain)
    registered(bench, "gone", packed, is_appended=True)
    assert len(lies(bench)) == len(others) + 3
    deleted(bench, gone)
    bench.work()
    assert lies(bench) == others
    assert states(bench, PURGE_DATASET) == ["done"]
    with ledger.read() as session:
        assert [d.id for d in datasets.list_datasets(session, kept.project_id, after=None, limit=9).items] == [kept.id]
        assert datasets.latest_version(session, kept.id).status == "ready"


def test_a_purge_that_was_killed_between_two_deletes_is_done_again(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(KINDS["json"](pairs(4)), filename="rows.json")
    gone = registered(bench, "gone", file_id)
    deleted(bench, gone)
    with sqlite_ledger.write() as session:
        assert chores.claim(session, "killed", 30) is not None
        keys = purging.purgeable_keys(session, gone.id)
    assert keys is not None
    bench.desk.artifacts.delete(keys[0])
    assert len(lies(bench)) == 2
    due_now(bench, PURGE_DATASET)
    bench.work()
    assert lies(bench) == [f"files/{file_id}"]
    assert states(bench, PURGE_DATASET) == ["done"]


def test_a_file_that_a_killed_worker_had_marked_as_purged_is_deleted_by_the_next(ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(ledger, tmp_path)
    file_id = bench.stored(jsonl(pairs(3)))
    job = bench.submitted(file_id)
    bench.work()
    with ledger.write() as session:
        jobs.cancel(session, job.project_id, job.id, now=system_clock())
        files.delete_file(session, job.project_id, file_id, now=system_clock())
        assert chores.claim(session, "killed", 30) is not None
        assert files.purgeable_keys(session, file_id, now=system_clock()) is not None
    assert len(lies(bench)) == 2
    due_now(bench, PURGE_FILE)
    bench.work()
    assert lies(bench) == [], "the index of the implicit data set goes with the file"


def test_bytes_stay_while_an_unfinished_job_reads_them(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(jsonl(pairs(12)))
    data = registered(bench, "data", file_id)
    with sqlite_ledger.write() as session:
        job = factories.a_job(session, training_file=None, datasets=[{"dataset": data.id}], now=system_clock())
    with pytest.raises(IllegalMove, match="is used by 1 unfinished job"):
        deleted(bench, data)
    with sqlite_ledger.write() as session:
        purging.retire(session, session.get_one(Dataset, data.id), now=system_clock())
    bench.work()
    assert len(lies(bench)) == 2
    with sqlite_ledger.write() as session:
        jobs.cancel(session, job.project_id, job.id, now=system_clock())
    due_now(bench, PURGE_DATASET)
    bench.work()
    assert lies(bench) == [f"files/{file_id}"]


def test_a_data_set_deleted_while_it_is_indexed_is_purged_when_that_ended(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(jsonl(pairs(3)))
    with sqlite_ledger.write() as session:
        project = factories.a_project(session)
        dataset, version = datasets.register(session, project.id, name="x", rows=datasets.Rows([file_id]), now=system_clock())
        indexing = chores.claim(session, "other", 30)
    assert indexing is not None
    deleted(bench, dataset)
    bench.work()
    assert states(bench, PURGE_DATASET) == ["waiting"]
    bench.desk.artifacts.path(version.shards[0].index_key).mkdir(parents=True)
    with sqlite_ledger.write() as session:
        chores.finish(session, indexing, system_clock())
    due_now(bench, PURGE_DATASET)
    bench.work()
    assert lies(bench) == [f"files/{file_id}"]
    assert bench.read(DatasetVersion, version.id).status == "failed"


def test_an_upload_deleted_first_goes_with_the_last_data_set_that_read_it(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    bench = Bench(sqlite_ledger, tmp_path)
    file_id = bench.stored(jsonl(pairs(3)))
    one, two = registered(bench, "one", file_id), registered(bench, "two", file_id)
    with sqlite_ledger.write() as session:
        files.delete_file(session, one.project_id, file_id, now=system_clock())
    bench.work()
    deleted(bench, one)
    bench.work()
    assert f"files/{file_id}" in lies(bench)
    deleted(bench, two)
    bench.work()
    assert lies(bench) == []
