from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import event

from core.db.session import Ledger
from core.devices.service import FoundDevice
from core.jobs.models import Job
from core.settings import Settings
from core.storage.artifacts import Artifacts
from tests import factories
from tests.worker.places import HOST, a_place, a_planned_job, free_devices
from worker.presence import Identity
from worker.train import announce_devices, claim_next, mine, run_one

CPU = FoundDevice("cpu", 0, "a processor", 1 << 30)
CARDS = [FoundDevice("cuda", number, "a card", 1 << 30) for number in range(2)]


def a_worker(number: int = 1) -> Identity:
    return Identity(f"wrk_{number}", HOST, "train")


def test_nothing_queued_is_nothing_to_claim(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    announce_devices(sqlite_ledger, a_worker(), [CPU])
    assert claim_next(sqlite_ledger, Settings(home=tmp_path), a_worker(), [CPU]) is None


def take_the_only_device(ledger: Ledger, settings: Settings) -> None:
    """Queue two jobs on a host of one device, and start the first."""
    announce_devices(ledger, a_worker(), [CPU])
    with ledger.write() as session:
        factories.a_queued_job(session)
        factories.a_queued_job(session)
    assert claim_next(ledger, settings, a_worker(1), [CPU]) is not None


def test_a_job_waits_while_every_device_is_taken(ledger: Ledger, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    take_the_only_device(ledger, settings)
    assert claim_next(ledger, settings, a_worker(2), [CPU]) is None


def test_a_look_without_a_free_device_writes_nothing(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    take_the_only_device(sqlite_ledger, settings)
    began: list[str] = []
    event.listen(sqlite_ledger.engine, "before_cursor_execute", lambda _c, _k, sql, *_: began.append(sql))
    assert claim_next(sqlite_ledger, settings, a_worker(2), [CPU]) is None
    assert "BEGIN" in began
    assert "BEGIN IMMEDIATE" not in began


def test_each_worker_of_a_host_gets_a_card_of_its_own(ledger: Ledger, tmp_path: Path) -> None:
    announce_devices(ledger, a_worker(), CARDS)
    with ledger.write() as session:
        factories.a_queued_job(session)
        factories.a_queued_job(session)
    first, second = (claim_next(ledger, Settings(home=tmp_path), a_worker(n), CARDS) for n in (1, 2))
    assert first is not None
    assert second is not None
    assert first.job.id != second.job.id


def test_a_device_that_this_process_did_not_find_is_not_taken() -> None:
    assert mine([], [CPU]) == []


def test_a_claimed_job_is_run_to_its_end(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    announce_devices(sqlite_ledger, a_worker(), [CPU])
    with sqlite_ledger.write() as session:
        a_planned_job(session, place, total_steps=4)
    told: list[str | None] = []
    assert run_one(place, a_worker(), [CPU], refuse=told.append)
    assert not run_one(place, a_worker(), [CPU], refuse=told.append)
    assert told == [None, None]
    assert free_devices(place) == 1


class Watched(Artifacts):
    """A storage that notes whether it is told of its use, and what is fetched meanwhile."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_used, self.fetched = False, []

    @contextmanager
    def using(self) -> Iterator[None]:
        self.is_used = True
        yield
        self.is_used = False

    def fetch(self, key: str) -> Path:
        self.fetched.append((key.partition("/")[0], self.is_used))
        return super().fetch(key)


def test_what_a_run_fetches_is_in_use_until_its_end(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path)
    watched = Watched(place.artifacts.root)
    announce_devices(sqlite_ledger, a_worker(), [CPU])
    with sqlite_ledger.write() as session:
        a_planned_job(session, place, total_steps=4)
    assert run_one(replace(place, artifacts=watched), a_worker(), [CPU], refuse=lambda _: None)
    assert set(watched.fetched) == {("indexes", True)}
    assert not watched.is_used


def test_a_worker_without_room_on_its_disk_leaves_jobs_to_wait(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    place = a_place(sqlite_ledger, tmp_path, min_free_bytes=1 << 60)
    announce_devices(sqlite_ledger, a_worker(), [CPU])
    with sqlite_ledger.write() as session:
        job_id = a_planned_job(session, place, total_steps=4).id
    told: list[str | None] = []
    assert not run_one(place, a_worker(), [CPU], refuse=told.append)
    assert "bytes free" in (told[0] or "")
    with sqlite_ledger.read() as session:
        job = session.get_one(Job, job_id)
        assert (job.state, job.attempts) == ("queued", 0)
