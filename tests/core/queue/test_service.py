from __future__ import annotations

from sqlalchemy.orm import Session

from core.db.session import Ledger
from core.devices import service as devices
from core.devices.service import FoundDevice
from core.jobs import claims
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.queue.service import Queue, Sharing, look
from core.quotas.limits import NO_RULES, Limits, Rules
from core.scheduling.policy import DEFAULT
from core.scheduling.reading import read_cluster
from core.workers import service as workers
from tests.factories import NOW, a_claim, a_job, a_project, a_queued_job, later, report_steps

CARD = 1 << 30


def a_worker(session: Session, host: str = "host", *, devices_of: int = 1, seen_at=NOW) -> list[str]:
    """A train worker and its host's devices; gives their ids."""
    workers.announce(session, worker_id=f"wrk_{host}", host=host, pid=1, queue="train", version="1", now=seen_at)
    found = [FoundDevice("cuda", number, "a card", CARD) for number in range(devices_of)]
    return [device.id for device in devices.announce(session, host, found, now=NOW)]


def looked(session: Session, project_id: str | None = None, *, rules: Rules = NO_RULES, now=NOW) -> Queue:
    return look(session, project_id=project_id, sharing=Sharing(DEFAULT, rules), now=now)


def reasons(queue: Queue) -> dict[str, tuple[int | None, str]]:
    return {entry.job.id: (entry.place, entry.reason.code) for entry in queue.entries}


def running(session: Session, device: str) -> Claim:
    claim = a_claim(session, devices=(device,))
    assert claim is not None
    return claim


def test_jobs_without_a_worker_wait_for_one(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        assert reasons(looked(session)) == {job.id: (1, "no_worker")}
        a_worker(session, seen_at=later(-91))
        assert reasons(looked(session)) == {job.id: (1, "no_worker")}


def test_the_queue_and_the_scheduler_agree_on_who_is_alive(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        a_worker(session, seen_at=later(-60))
        for now, code, hosts in ((NOW, "next", ["host"]), (later(31), "no_worker", [])):
            assert reasons(looked(session, now=now)) == {job.id: (1, code)}
            assert list(read_cluster(session, {}, now=now).hosts) == hosts


def test_a_host_whose_workers_take_no_job_is_no_place_to_start(ledger: Ledger):
    with ledger.write() as session:
        job = a_queued_job(session)
        a_worker(session)
        workers.refuse(session, "wrk_host", "its disk is full")
        entry = looked(session).entries[0]
        assert (entry.reason.code, entry.foreseen.start_at) == ("no_worker", None)
        workers.refuse(session, "wrk_host", None)
        assert reasons(looked(session)) == {job.id: (1, "next")}


def test_places_count_the_jobs_of_others_who_stay_unnamed(ledger: Ledger):
    with ledger.write() as session:
        mine, theirs = a_project(session, "mine"), a_project(session, "theirs")
        (device,) = a_worker(session)
        a_queued_job(session, theirs, priority=9)
        running(session, device)
        a_queued_job(session, theirs, priority=5)
        job = a_queued_job(session, mine)
        queue = looked(session, mine.id)
        assert reasons(queue) == {job.id: (2, "devices_busy")}
        assert (queue.waiting, queue.running) == (2, 1)
        assert queue.entries[0].reason.message == "0 of 1 devices are free and 1 job is before it"
        assert len(looked(session).entries) == 2


def test_what_each_job_waits_for_is_told(ledger: Ledger):
    with ledger.write() as session:
        a_worker(session, devices_of=2)
        free, big = a_queued_job(session), a_queued_job(session, options={"devices": 3})
        rests, raw = a_queued_job(session), a_job(session)
        rests.not_before = later(40)
        told = looked(session)
    assert reasons(told) == {free.id: (1, "next"), big.id: (2, "needs_devices"), rests.id: (3, "not_before"),
                             raw.id: (None, "validating")}
    messages = {entry.job.id: entry.reason for entry in told.entries}
    assert "asks for 3 devices of one host, and the largest host with a worker has 2" in messages[big.id].message
    assert messages[rests.id].until == later(40)


def test_a_job_of_two_devices_says_that_it_needs_both(ledger: Ledger):
    with ledger.write() as session:
        first, _ = a_worker(session, devices_of=2)
        a_queued_job(session)
        running(session, first)
        pair = a_queued_job(session, options={"devices": 2})
        entry = looked(session).entries[0]
    assert (entry.job.id, entry.reason.code) == (pair.id, "devices_busy")
    assert entry.reason.message == "it needs 2 devices of one host at once; 1 of 2 devices are free and no job is before it"


def test_free_devices_of_several_hosts_are_no_room_for_one_job(ledger: Ledger):
    with ledger.write() as session:
        for host in ("host", "other"):
            first, _ = a_worker(session, host, devices_of=2)
            assert devices.lease(session, f"run on {host}", [first], now=NOW)
        a_queued_job(session, options={"devices": 2})
        assert looked(session).entries[0].reason.message == (
            "it needs 2 devices of one host at once; 2 of 4 devices are free and no job is before it")


def test_free_devices_that_are_too_small_are_no_room(ledger: Ledger):
    with ledger.write() as session:
        a_worker(session)
        workers.announce(session, worker_id="wrk_mixed", host="mixed", pid=1, queue="train", version="1", now=NOW)
        found = [FoundDevice("cpu", 0, "a processor", CARD), FoundDevice("cuda", 0, "a large card", 4 * CARD)]
        _, large = devices.announce(session, "mixed", found, now=NOW)
        assert devices.lease(session, "run_1", [large.id], now=NOW)
        one, pair = a_queued_job(session), a_queued_job(session, options={"devices": 2})
        one.memory_bytes = 2 * 10**9
        told = {entry.job.id: entry.reason for entry in looked(session).entries}
    assert told[one.id].message == "it needs 2.0 GB on each device; 2 of 3 devices are free and no job is before it"
    assert told[pair.id].code == "needs_devices"


def test_a_quota_is_a_reason_with_its_numbers(ledger: Ledger):
    with ledger.write() as session:
        first, _ = a_worker(session, devices_of=2)
        a_queued_job(session)
        running(session, first)
        job = a_queued_job(session)
        entry = looked(session, rules=Rules(Limits(running_jobs=1))).entries[0]
    assert (entry.job.id, entry.reason.code) == (job.id, "quota")
    assert entry.reason.message == "its project runs 1 job, and 1 is the most that it may run at once"


def half_done(session: Session, claim: Claim, *, until: float = 6.0) -> None:
    """Six of twelve steps, a second each."""
    for step in range(1, 7):
        report_steps(session, claim, step, now=later(until * step / 6))


def test_starts_are_foretold_from_what_runs(ledger: Ledger):
    with ledger.write() as session:
        (device,) = a_worker(session, seen_at=later(5))
        a_queued_job(session)
        claim = running(session, device)
        first, second = a_queued_job(session), a_queued_job(session)
        half_done(session, claim)
        told = {entry.job.id: entry.foreseen for entry in looked(session, now=later(6)).entries}
    start = told[first.id].start_at
    assert start is not None
    assert abs((start - later(12)).total_seconds()) < 1.5
    assert told[first.id].seconds is None, "nobody knows how long it takes"
    assert told[second.id].start_at is None


def test_a_measured_speed_foretells_jobs_that_never_ran(ledger: Ledger):
    with ledger.write() as session:
        (device,) = a_worker(session, seen_at=later(5))
        jobs = [a_queued_job(session) for _ in range(3)]
        for job in jobs:
            job.resolved = {**(job.resolved or {}), "row_bytes": 50.0}
        claim = running(session, device)
        half_done(session, claim)
        claims.settle(session, claim.run.id, claim.run.fence, "cancelled", now=later(7))
        told = {entry.job.id: entry.foreseen for entry in looked(session, now=later(7)).entries}
        left = [job for job in jobs if job.id != claim.job.id]
        assert session.get_one(Job, claim.job.id).state == "cancelled"
    first, second = (told[job.id] for job in left)
    assert first.start_at == later(7)
    assert first.seconds is not None
    assert 10 < first.seconds < 16, "twelve steps of a second, and the load"
    assert second.start_at == first.finish_at


def test_a_start_beyond_all_calendars_is_told_by_nobody(ledger: Ledger):
    with ledger.write() as session:
        (device,) = a_worker(session, seen_at=later(5))
        for row_bytes in (50.0, 5e9, 5e9, 5e9, 5e9):  # of which the first is measured, and the others take 38 years each
            job = a_queued_job(session)
            job.resolved = {**(job.resolved or {}), "row_bytes": row_bytes}
        claim = running(session, device)
        half_done(session, claim)
        claims.settle(session, claim.run.id, claim.run.fence, "cancelled", now=later(7))
        told = [entry.foreseen for entry in looked(session, now=later(7)).entries]
    assert [each.start_at is not None for each in told] == [True, True, True, False]
