"""Runs whose storage is a bucket: what is saved goes up, and comes down at another host."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from core.checkpoints import service as checkpoints
from core.checkpoints.garbage import unnamed
from core.checkpoints.models import Checkpoint
from core.data.shards.patience import Patience
from core.datasets.models import DatasetShard
from core.db.session import Ledger
from core.errors import StorageAway
from core.events.models import Event
from core.files.models import StoredFile
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.places import storage_place
from core.storage import manifest
from core.storage.bucket import Bucket
from core.storage.shared import SharedArtifacts
from tests import remote
from tests.waiting import PATIENCE_SECONDS, wait_for
from tests.worker.places import a_claim, a_place, claim_again, read_job, read_run
from worker.supervisor import Place, Supervisor


class Store(SharedArtifacts):
    """A storage that may be away for whoever wants to write."""

    is_away = False
    fault: Exception | None = None

    def upload(self, folder: Path, key: str, *, must_stop: Callable[[], bool] = lambda: False) -> None:
        if self.fault is not None:
            raise self.fault
        if self.is_away:
            raise StorageAway("the storage does not answer")
        super().upload(folder, key, must_stop=must_stop)


@pytest.fixture(scope="module")
def store() -> Iterator[remote.Bucket]:
    with remote.a_bucket() as store:
        yield store


def a_host(ledger: Ledger, store: remote.Bucket, folder: Path, prefix: str, *options: str) -> Place:
    """A host with a home of its own, whose children are fake ones."""
    told = {"storage_url": f"s3://{remote.BUCKET}/{prefix}", "storage_endpoint_url": store.endpoint, "storage_key": remote.KEY,
            "storage_secret": remote.SECRET}
    place = a_place(ledger, folder, *options, rung=None, **told)
    bucket = Bucket(storage_place(place.settings), patience=Patience(tries=1))
    return replace(place, artifacts=Store(place.settings.storage_root, bucket, copies_bytes=1 << 30))


def a_run(place: Place, *, total_steps: int = 6) -> Claim:
    claim = a_claim(place, total_steps=total_steps)
    with place.ledger.read() as session:
        for shard in session.scalars(select(DatasetShard)):
            index = place.artifacts.new_temporary()
            index.mkdir()
            place.artifacts.publish(index, shard.index_key)
    return claim


def codes(place: Place, claim: Claim) -> list[str]:
    with place.ledger.read() as session:
        events = session.scalars(select(Event).where(Event.job_id == claim.job.id).order_by(Event.number))
        return [event.data["code"] for event in events if event.step is None and event.data]


def test_a_run_goes_on_at_a_host_that_has_nothing_of_the_first(sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path
                                                               ) -> None:
    dies = ("--saves-each", "--die-at", "5", "--step-seconds", "0.1")
    left = a_host(sqlite_ledger, store, tmp_path / "left", "two-hosts", *dies)
    claim = a_run(left)
    Supervisor(left, claim).supervise()
    right = a_host(sqlite_ledger, store, tmp_path / "right", "two-hosts")
    again = claim_again(right)
    Supervisor(right, again).supervise()
    job = read_job(right, claim)
    assert (job.state, read_run(right, again).from_step) == ("succeeded", 4)
    assert "run.restored" in codes(right, claim)
    with sqlite_ledger.read() as session:
        file = session.get_one(StoredFile, job.result_file_id)
        final = checkpoints.final_of(session, job.id)
    assert final is not None
    there = a_host(sqlite_ledger, store, tmp_path / "third", "two-hosts").artifacts
    assert (there.stream(file.storage_key) or (0,))[0] == file.bytes
    assert (there.whole(final.folder_key, final.manifest_digest) / "state.json").read_bytes() == b'{"step":6}'
    assert b"out of luck" in there.read_end(f"{claim.run.folder_key}/run.log", 1000)


def test_a_checkpoint_that_is_damaged_in_the_bucket_is_passed_over_for_the_one_before(
        sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path) -> None:
    left = a_host(sqlite_ledger, store, tmp_path / "left", "damaged", "--saves-each", "--die-at", "5", "--step-seconds", "0.1")
    claim = a_run(left)
    Supervisor(left, claim).supervise()
    with sqlite_ledger.read() as session:
        newest = checkpoints.restorable(session, claim.job.id)[0]
    store.put(f"{newest.folder_key}/state.json", b'{"step": 9}', prefix="damaged")
    right = a_host(sqlite_ledger, store, tmp_path / "right", "damaged")
    again = claim_again(right)
    Supervisor(right, again).supervise()
    assert newest.step == 4
    assert (read_run(right, again).from_step, read_job(right, claim).state) == (3, "succeeded")
    assert "checkpoint.damaged" in codes(right, claim)


def test_a_host_without_room_hands_back_a_job_whose_checkpoints_all_stay(sqlite_ledger: Ledger, store: remote.Bucket,
                                                                          tmp_path: Path) -> None:
    left = a_host(sqlite_ledger, store, tmp_path / "left", "room", "--saves-each", "--die-at", "5", "--step-seconds", "0.1")
    claim = a_run(left)
    Supervisor(left, claim).supervise()
    saved = [row.step for row in checkpoints_of(left, claim)]
    full = a_host(sqlite_ledger, store, tmp_path / "full", "room")
    bucket = Bucket(storage_place(full.settings), patience=Patience(tries=1))
    full = replace(full, artifacts=Store(full.settings.storage_root, bucket, copies_bytes=0, min_free_bytes=1 << 60))
    bad_ends = read_job(left, claim).failed_attempts
    for _ in range(4):
        Supervisor(full, claim_again(full)).supervise()
    job = read_job(full, claim)
    assert (job.state, job.failed_attempts, job.not_before is None) == ("queued", bad_ends, False)
    assert [row.step for row in checkpoints_of(full, claim)] == saved
    right = a_host(sqlite_ledger, store, tmp_path / "right", "room")
    Supervisor(right, again := claim_again(right)).supervise()
    assert (read_job(right, claim).state, read_run(right, again).from_step) == ("succeeded", 4)


def test_uploads_that_end_by_a_fault_end_the_run_and_are_not_taken_for_done(
        sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path) -> None:
    place = a_host(sqlite_ledger, store, tmp_path, "faulty")
    claim = a_run(place)
    place.artifacts.fault = NotImplementedError("odd")  # pyright: ignore[reportAttributeAccessIssue]
    Supervisor(place, claim).supervise()
    run = read_run(place, claim)
    assert (read_job(place, claim).state, run.outcome) == ("queued", "interrupted")
    assert "odd" in (run.error or {})["message"]


def test_the_end_of_a_job_waits_for_the_bucket(sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path) -> None:
    place = a_host(sqlite_ledger, store, tmp_path, "waits")
    claim = a_run(place)
    place.artifacts.is_away = True  # pyright: ignore[reportAttributeAccessIssue]
    supervising = threading.Thread(target=Supervisor(place, claim).supervise)
    supervising.start()
    wait_for(lambda: "saving.paused" in codes(place, claim) and read_job(place, claim).step == 6)
    assert read_job(place, claim).state == "running"
    place.artifacts.is_away = False  # pyright: ignore[reportAttributeAccessIssue]
    supervising.join(PATIENCE_SECONDS)
    assert read_job(place, claim).state == "succeeded"
    told = codes(place, claim)
    assert told.index("saving.paused") < told.index("saving.resumed") < told.index("job.succeeded")


def test_a_cancel_and_a_shutdown_wait_for_no_bucket(sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path) -> None:
    for name, state in (("cancel", "cancelled"), ("stop", "queued")):
        place = a_host(sqlite_ledger, store, tmp_path / name, name)
        claim = a_run(place)
        place.artifacts.is_away = True  # pyright: ignore[reportAttributeAccessIssue]
        supervising = threading.Thread(target=Supervisor(place, claim).supervise)
        supervising.start()
        wait_for(lambda place=place, claim=claim: "saving.paused" in codes(place, claim))
        if name == "cancel":
            with sqlite_ledger.write() as session:
                jobs.cancel(session, claim.job.project_id, claim.job.id, now=place.clock())
        else:
            place.stop.set()
        supervising.join(PATIENCE_SECONDS)
        job = read_job(place, claim)
        assert (job.state, job.failed_attempts) == (state, 0)


def test_a_run_waits_for_a_bucket_that_is_away_when_it_begins(sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path
                                                              ) -> None:
    place = a_host(sqlite_ledger, store, tmp_path, "begins")
    claim = a_run(place)
    nowhere = replace(storage_place(place.settings), options={"endpoint_url": "http://127.0.0.1:9", "key": "k", "secret": "s"})
    away = Store(tmp_path / "fresh", Bucket(nowhere, patience=Patience(tries=1)), copies_bytes=0)
    supervising = threading.Thread(target=Supervisor(replace(place, artifacts=away), claim).supervise)
    supervising.start()
    time.sleep(1.0)
    assert read_job(place, claim).state == "running"
    with sqlite_ledger.write() as session:
        jobs.cancel(session, claim.job.project_id, claim.job.id, now=place.clock())
    supervising.join(PATIENCE_SECONDS)
    assert read_job(place, claim).state == "cancelled"


def test_a_run_whose_rows_cannot_be_read_is_handed_back_and_costs_no_attempt(
        sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path) -> None:
    place = a_host(sqlite_ledger, store, tmp_path, "unreached", "--unreached-at", "3")
    claim = a_run(place)
    Supervisor(place, claim).supervise()
    job = read_job(place, claim)
    assert (job.state, job.failed_attempts, read_run(place, claim).outcome) == ("queued", 0, "handed_back")


def test_what_a_run_uploads_that_lost_its_lease_is_named_by_no_row(sqlite_ledger: Ledger, store: remote.Bucket, tmp_path: Path
                                                                  ) -> None:
    place = a_host(sqlite_ledger, store, tmp_path / "left", "late", "--saves-each", "--step-seconds", "0.05")
    claim = a_run(place, total_steps=10_000)
    late = Supervisor(place, claim)
    supervising = threading.Thread(target=late.supervise)
    supervising.start()
    wait_for(lambda: checkpoints_of(place, claim))
    with sqlite_ledger.write() as session:
        claims.end_worker(session, "wrk_1")
    supervising.join(PATIENCE_SECONDS)
    kept = {row.folder_key for row in checkpoints_of(place, claim)}
    key = f"{claim.run.folder_key}/checkpoints/step-99999999"
    place.artifacts.path(key).mkdir()
    manifest.seal(place.artifacts.path(key))
    place.artifacts.upload(place.artifacts.path(key), key)  # pyright: ignore[reportAttributeAccessIssue]
    assert f"{claim.run.fence:06d}-{claim.run.id}" in key
    assert {row.folder_key for row in checkpoints_of(place, claim)} == kept
    with sqlite_ledger.read() as session:
        assert key in unnamed(session, list(place.artifacts.iter_checkpoints()), now=place.clock() + timedelta(hours=2))


def checkpoints_of(place: Place, claim: Claim) -> list[Checkpoint]:
    with place.ledger.read() as session:
        return checkpoints.restorable(session, claim.job.id)
