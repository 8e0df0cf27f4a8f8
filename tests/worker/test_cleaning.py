"""What is dropped when it has had its time, and what is left."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import PURGE_DATASET, PURGE_FILE
from core.chores.models import Chore
from core.clock import system_clock
from core.datasets import service as datasets
from core.db.session import Ledger, database_now
from core.devices.models import Device
from core.files import service as files
from core.files.models import StoredFile
from core.jobs import claims
from core.jobs.models import IdempotencyKey
from core.storage.artifacts import INCOMING, Artifacts
from core.storage.bucket import Bucket
from core.storage.shared import SharedArtifacts
from core.workers import service as workers
from core.workers.models import Worker
from tests import factories, remote
from worker import cleaning
from worker.cleaning import rounds_of
from worker.rounds import Rounds

NOW = system_clock()


def clean(ledger: Ledger, folder: Path, *, at: datetime = NOW, artifacts: Artifacts | None = None) -> list[str]:
    """Do all rounds once, as they are due an hour after the start."""
    hours = [0]
    rounds = Rounds(ledger, rounds_of(ledger, artifacts or Artifacts(folder), lambda: at), holder="me", lease_seconds=30.0,
                    clock=lambda: 3600.0 * hours[0])
    hours[0] = 1
    return rounds.look()


def names(ledger: Ledger, folder: Path) -> set[str]:
    return {round.name for round in rounds_of(ledger, Artifacts(folder), system_clock)}


def test_files_go_at_their_time_and_their_bytes_by_a_chore(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as session:
        over, not_yet, _ = (factories.a_file(session) for _ in range(3))
        over.expires_at, not_yet.expires_at = NOW - timedelta(seconds=1), NOW + timedelta(seconds=60)
    assert set(clean(ledger, tmp_path)) == names(ledger, tmp_path)
    with ledger.read() as session:
        gone = session.scalars(select(StoredFile.id).where(StoredFile.deleted_at.is_not(None))).all()
        assert gone == [over.id]
        assert session.scalars(select(Chore.subject).where(Chore.kind == files.PURGE)).all() == [over.id]


def test_rows_that_nobody_asks_for_any_more_are_dropped(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as session:
        project = factories.a_project(session)
        for key, age in (("old", 25), ("fresh", 23)):
            session.add(IdempotencyKey(project_id=project.id, key=key, request_digest="d", object_id="o",
                                       created_at=NOW - timedelta(hours=age)))
        for worker, age in (("wrk_old", 8), ("wrk_fresh", 6)):
            workers.announce(session, worker_id=worker, host="h", pid=1, queue="train", version="1",
                             now=NOW - timedelta(days=age))
        for host in ("h", "long_gone"):
            factories.a_device(session, host).seen_at = NOW - timedelta(days=8)
        for subject, age in (("ended", 8), ("fresh", 6), ("open", 8)):
            chores.add(session, "a_kind", subject, now=NOW - timedelta(days=age))
        for chore in session.scalars(select(Chore).where(Chore.subject != "open")):
            chore.state = "done"
    clean(ledger, tmp_path)
    with ledger.read() as session:
        assert session.scalars(select(IdempotencyKey.key)).all() == ["fresh"]
        assert session.scalars(select(Worker.id)).all() == ["wrk_fresh"]
        assert session.scalars(select(Device.host)).all() == ["h"]
        assert set(session.scalars(select(Chore.subject))) == {"fresh", "open"}


def test_bytes_of_a_deleted_file_are_asked_for_again_after_a_chore_was_given_up(ledger: Ledger, tmp_path: Path) -> None:
    with ledger.write() as session:
        file = factories.a_file(session)
        files.delete_file(session, file.project_id, file.id, now=NOW)
        session.scalars(select(Chore)).one().state = "failed"
    clean(ledger, tmp_path)
    with ledger.read() as session:
        assert session.scalars(select(Chore.state).where(Chore.subject == file.id)).all() == ["waiting"]


@pytest.mark.parametrize(("kind", "days"), [(PURGE_FILE, 0), (PURGE_DATASET, 0), (PURGE_DATASET, 8)])
def test_a_purge_that_was_given_up_is_asked_for_again_however_old(sqlite_ledger: Ledger, tmp_path: Path, kind: str,
                                                                  days: int) -> None:
    with sqlite_ledger.write() as session:
        chores.add(session, kind, "marked as purged, and not removed", now=NOW - timedelta(days=days))
        chores.add(session, "another", "of no concern", now=NOW)
        for chore in session.scalars(select(Chore)):
            chore.state, chore.attempts, chore.error = "failed", 3, {"code": "server_error", "message": "the disk is read-only"}
    clean(sqlite_ledger, tmp_path)
    with sqlite_ledger.read() as session:
        found = session.execute(select(Chore.kind, Chore.state, Chore.attempts, Chore.not_before).order_by(Chore.state)).all()
        assert [row[:3] for row in found] == [("another", "failed", 3), (kind, "waiting", 0)]
        assert found[1].not_before <= database_now(session)


@pytest.mark.parametrize("at_once", [1, 3, 500])
def test_old_debris_is_removed_and_nothing_else(sqlite_ledger: Ledger, tmp_path: Path, at_once: int,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "AT_ONCE", at_once)
    with sqlite_ledger.write() as session:
        known = factories.a_running_job(session).run.folder_key
        file, purged = factories.a_file(session), factories.a_file(session)
        purged.deleted_at = purged.purged_at = NOW
    old = [tmp_path / INCOMING / "old", tmp_path / "jobs/ftjob-x/runs/000001-run_x", tmp_path / "files/file-nobody",
           tmp_path / purged.storage_key]
    kept = [tmp_path / known, tmp_path / file.storage_key]
    fresh = [tmp_path / INCOMING / "fresh", tmp_path / "jobs/ftjob-x/runs/000002-run_y", tmp_path / "files/file-soon"]
    for path in old + kept + fresh:
        path.mkdir(parents=True) if "runs" in path.parts else (path.parent.mkdir(parents=True, exist_ok=True), path.touch())
    for path in old + kept:
        os.utime(path, (1, 1))
    clean(sqlite_ledger, tmp_path)
    assert [path.exists() for path in old] == [False] * 4
    assert all(path.exists() for path in kept + fresh)


STORED = {
    "named": ("files/{file}", "indexes/{version}-00000.2/index.json", "frames/{version}-00000.2"),
    "nobodys": ("files/file-nobody", "indexes/{version}-00000.1/index.json", "frames/{version}-00000.1",
                "indexes/dsv_gone-00000/index.json", "frames/dsv_gone-00000"),
}


def some_stored(session: Session) -> dict[str, list[str]]:
    """Paths of an upload, and of what the second attempt at its index published, which rows name; and of what none does."""
    file = factories.a_file(session)
    _, version = factories.a_dataset(session, file=file, is_ready=False)
    datasets.settle_shard(session, version.id, 0, report=factories.a_report(), index_key=f"indexes/{version.id}-00000.2",
                          frames_key=f"frames/{version.id}-00000.2")
    return {which: [path.format(file=file.id, version=version.id) for path in paths] for which, paths in STORED.items()}


def test_uploads_indexes_and_frames_without_a_row_go_from_a_folder(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with sqlite_ledger.write() as session:
        stored = some_stored(session)
    for path in (tmp_path / each for each in stored["named"] + stored["nobodys"]):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    clean(sqlite_ledger, tmp_path, at=NOW + timedelta(hours=23))
    assert all((tmp_path / path).is_file() for path in stored["named"] + stored["nobodys"])
    clean(sqlite_ledger, tmp_path, at=NOW + timedelta(hours=25))
    assert [(tmp_path / path).is_file() for path in stored["named"] + stored["nobodys"]] == [True] * 3 + [False] * 5


def test_uploads_indexes_and_frames_without_a_row_go_from_a_bucket(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    with sqlite_ledger.write() as session:
        stored = some_stored(session)
    with remote.a_bucket() as store:
        for path in stored["named"] + stored["nobodys"]:
            store.put(path, b"rows")
        artifacts = SharedArtifacts(tmp_path, Bucket(store.place()), copies_bytes=0)
        clean(sqlite_ledger, tmp_path, at=NOW + timedelta(hours=23), artifacts=artifacts)
        assert len(store.paths("team")) == 8
        clean(sqlite_ledger, tmp_path, at=NOW + timedelta(hours=25), artifacts=artifacts)
        assert store.paths("team") == sorted(f"team/{path}" for path in stored["named"])


@pytest.mark.parametrize("at_once", [1, 4, 500])
def test_folders_of_checkpoints_without_a_row_go_however_many(sqlite_ledger: Ledger, tmp_path: Path, at_once: int,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "AT_ONCE", at_once)
    with sqlite_ledger.write() as session:
        claim = factories.a_running_job(session)
        named = {factories.a_checkpoint(session, claim, step=step).folder_key for step in (2, 4, 6)}
        claims.settle(session, claim.run.id, 1, "handed_back", now=factories.NOW)
    nobodys = {f"{claim.run.folder_key}/checkpoints/step-{step}" for step in range(10, 17)}
    for key in named | nobodys:
        (tmp_path / key).mkdir(parents=True)
    clean(sqlite_ledger, tmp_path, at=factories.later(7200))
    assert set(Artifacts(tmp_path).iter_checkpoints()) == named
