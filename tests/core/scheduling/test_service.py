from __future__ import annotations

from sqlalchemy import select

from core.db.session import Ledger
from core.devices import service as devices
from core.devices.models import Device
from core.devices.service import FoundDevice
from core.events.models import Event
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.projects.models import Project
from core.projects.usage import note_use
from core.queue.order import in_turn
from core.quotas.service import set_limits
from core.scheduling.policy import Policy
from core.scheduling.service import is_any_higher, order_queue, preempt
from core.workers import service as workers
from core.workers.equipment import note_found
from tests.factories import NOW, a_project, a_queued_job, later

POLICY = Policy(backfill_seconds=600, preempt_after_seconds=60)


def a_host(session, name: str = "h", *, cards: int = 2, gib: int = 24, idle: int = 2) -> list[Device]:
    for number in range(idle):
        workers.announce(session, worker_id=f"wrk_{name}{number}", host=name, pid=1, queue="train", version="1", now=later(0))
    return devices.announce(session, name, [FoundDevice("cuda", n, "a card", gib << 30) for n in range(cards)], now=NOW)


def claim(session, host: str = "h", *, at: float = 0.0, worker: int = 0) -> Claim | None:
    free = [device.id for device in devices.free(session, host)]
    held = session.scalars(select(Device).where(Device.host == host)).all()
    return claims.claim_next(session, worker_id=f"wrk_{host}{worker}", host=host, devices=free, of=len(held), lease_seconds=30,
                             now=later(at), policy=POLICY)


def claimed(session, host: str = "h", **told) -> str | None:
    found = claim(session, host, **told)
    return found.job.id if found else None


def codes(session, job_id: str) -> list[str]:
    return [(event.data or {})["code"] for event in session.scalars(
        select(Event).where(Event.job_id == job_id, Event.type == "message").order_by(Event.number))]


def test_the_project_that_used_least_per_share_goes_first(ledger: Ledger):
    with ledger.write() as session:
        a_host(session)
        heavy, light = a_project(session, "heavy"), a_project(session, "light")
        a_queued_job(session, heavy, queued_at=later(-100))
        second = a_queued_job(session, light)
        note_use(session, heavy.id, devices=1, since=later(-1000), until=later(-500))
        assert claimed(session) == second.id


def test_a_project_of_more_shares_may_use_more(ledger: Ledger):
    with ledger.write() as session:
        a_host(session)
        heavy, light = a_project(session, "heavy"), a_project(session, "light")
        session.get_one(Project, heavy.id).weight = 10.0
        first = a_queued_job(session, heavy)
        a_queued_job(session, light, queued_at=later(-100))
        for project, seconds in ((heavy, 900), (light, 100)):
            note_use(session, project.id, devices=1, since=later(-seconds), until=NOW)
        assert claimed(session) == first.id


def test_a_job_runs_only_where_its_memory_fits(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, "small", cards=1, gib=24)
        a_host(session, "large", cards=1, gib=80)
        job = a_queued_job(session)
        job.memory_bytes = 40 << 30
        session.flush()
        assert claimed(session, "small") is None
        assert claimed(session, "large") == job.id


def test_a_blocked_job_is_noted_and_what_follows_stays_behind_it_once_it_holds(ledger: Ledger):
    with ledger.write() as session:
        a_host(session)
        running = a_queued_job(session)
        assert claimed(session) == running.id
        big = a_queued_job(session, options={"devices": 2})
        small = [a_queued_job(session) for _ in range(2)]
        assert claimed(session, at=1, worker=1) == small[0].id
        assert (big.blocked_at, big.held_host) == (None, None)
        session.refresh(big)
        assert (big.blocked_at, big.held_host) == (later(1), "h")
        ended = session.get_one(Job, small[0].id)
        claims.settle(session, ended.run_id or "", 1, "cancelled", now=later(602))
        assert claimed(session, at=602, worker=1) is None
        claims.settle(session, running.run_id or "", 1, "cancelled", now=later(603))
        assert claimed(session, at=603) == big.id
        session.refresh(big)
        assert (big.blocked_at, big.held_host, big.promised_at) == (None, None, None)


def test_a_job_of_higher_priority_makes_one_run_leave_and_takes_its_place(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=1, idle=1)
        low = claim_of_new(session, a_project(session, "low"))
        high = a_queued_job(session, a_project(session, "high"), priority=5)
        assert is_any_higher(session)
        assert preempt(session, now=later(59), policy=POLICY) == []
        assert preempt(session, now=later(61), policy=POLICY) == [low.job.id]
        assert preempt(session, now=later(62), policy=POLICY) == []
        queued_at = low.job.queued_at
        job = claims.settle(session, low.run.id, 1, "preempted", now=later(63))
        assert (job.state, job.wanted, job.failed_attempts, job.preemptions) == ("queued", None, 0, 1)
        assert job.queued_at == queued_at
        assert codes(session, low.job.id)[-2:] == ["run.preempting", "run.preempted"]
        assert claimed(session, at=63) == high.id
        assert preempt(session, now=later(500), policy=POLICY) == []


def test_nobody_makes_room_for_a_job_that_a_quota_keeps(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=1)
        low, high = claim_of_new(session, a_project(session, "low")), a_project(session, "high")
        a_queued_job(session, high, priority=5)
        set_limits(session, high.id, {"running_jobs": 0})
        assert preempt(session, now=later(61), policy=POLICY) == []
        set_limits(session, high.id, {"running_jobs": 1})
        assert preempt(session, now=later(61), policy=POLICY) == [low.job.id]


def test_room_is_made_on_a_host_that_once_had_another_device(ledger: Ledger):
    with ledger.write() as session:
        devices.announce(session, "h", [FoundDevice("cpu", 0, "a processor", 64 << 30)], now=later(-1000))
        a_host(session, cards=1)
        note_found(session, "wrk_h0", "h", [FoundDevice("cuda", 0, "a card", 24 << 30)], now=NOW)
        note_found(session, "wrk_h1", "h", [FoundDevice("cuda", 0, "a card", 24 << 30)], now=NOW)
        low = claim_of_new(session, a_project(session, "low"))
        a_queued_job(session, a_project(session, "high"), priority=5)
        assert preempt(session, now=later(61), policy=POLICY) == [low.job.id]


def test_nobody_waits_for_what_is_free_on_a_host_that_takes_no_job(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, "b")
        claim_of_new(session, a_project(session, "low"), "b")
        a_host(session, "full")
        big = a_queued_job(session, a_project(session, "high"), options={"devices": 2}, priority=5)
        assert (claimed(session, "b", at=1, worker=1), preempt(session, now=later(61), policy=POLICY)) == (None, [])
        for number in (0, 1):
            workers.refuse(session, f"wrk_full{number}", "its disk is full")
        assert claimed(session, "b", at=2, worker=1) is None
        session.refresh(big)
        assert (big.blocked_at, big.held_host) == (later(2), "b")
        assert len(preempt(session, now=later(62), policy=POLICY)) == 1


def test_no_more_runs_leave_than_a_quota_lets_start(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=4, idle=4)
        low, high = a_project(session, "low"), a_project(session, "high")
        for number in range(4):
            a_queued_job(session, low)
            assert claim(session, worker=number) is not None
        set_limits(session, high.id, {"running_jobs": 2})
        for _ in range(4):
            a_queued_job(session, high, priority=5)
        assert len(preempt(session, now=later(61), policy=POLICY)) == 2
        assert preempt(session, now=later(62), policy=POLICY) == []


def test_room_is_made_for_a_job_behind_many_that_fit_no_host(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=1)
        low = claim_of_new(session, a_project(session, "low"))
        for _ in range(70):
            a_queued_job(session, options={"devices": 2}, priority=5)
        a_queued_job(session, priority=5)
        assert preempt(session, now=later(61), policy=POLICY) == [low.job.id]


def test_a_job_behind_one_that_fits_no_host_gets_its_room_kept(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=0)
        devices.announce(session, "h", [FoundDevice("cuda", n, "a card", gib << 30) for n, gib in enumerate((80, 24))], now=NOW)
        claim_of_new(session, a_project(session, "others"))
        mine = a_project(session, "mine")
        a_queued_job(session, mine, options={"devices": 2}).memory_bytes = 70 << 30
        pair = a_queued_job(session, mine, options={"devices": 2})
        assert claimed(session, at=1, worker=1) is None
        session.refresh(pair)
        assert pair.blocked_at == later(1)


def test_a_cancel_or_a_pause_goes_before_making_room(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=2)
        runs = [claim_of_new(session, a_project(session, "low")) for _ in range(2)]
        for _ in range(2):
            a_queued_job(session, a_project(session, "high"), priority=5)
        assert len(preempt(session, now=later(61), policy=POLICY)) == 2
        jobs.cancel(session, runs[0].job.project_id, runs[0].job.id, now=NOW)
        jobs.pause(session, runs[1].job.project_id, runs[1].job.id, now=NOW)
        ended = [claims.settle(session, run.run.id, 1, "preempted", now=later(63)).state for run in runs]
    assert ended == ["cancelled", "paused"]


def test_the_order_is_told_for_the_whole_queue(ledger: Ledger):
    with ledger.write() as session:
        names = {a_queued_job(session, a_project(session, project), priority=priority).id: f"{project}{priority}"
                 for project, priority in (("a", 0), ("a", 0), ("b", 0), ("b", 7))}
        told = [names[job.id] for job in order_queue(session, now=NOW)]
        assert told == ["b7", "a0", "a0", "b0"]
        assert [turn.place for turn in in_turn(session, policy=POLICY, now=NOW)] == [1, 2, 3, 4]


def test_a_host_finds_its_job_behind_many_that_it_could_never_run(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=1)
        for _ in range(40):
            a_queued_job(session, options={"devices": 2}, priority=3)
        small = a_queued_job(session)
        assert claimed(session) == small.id


def test_a_host_finds_its_job_behind_many_that_lack_devices_now(ledger: Ledger):
    with ledger.write() as session:
        a_host(session, cards=2)
        claim_of_new(session, a_project(session))
        for _ in range(40):
            a_queued_job(session, options={"devices": 2}, priority=3)
        small = a_queued_job(session)
        assert claimed(session, at=1, worker=1) == small.id


def test_nothing_of_those_whom_a_quota_keeps_is_claimed(ledger: Ledger):
    with ledger.write() as session:
        full, spent, other = (a_project(session, name) for name in ("full", "spent", "other"))
        a_queued_job(session, full)
        begun, fresh = a_queued_job(session, spent, priority=1), a_queued_job(session, spent, priority=2)
        begun.started_at = NOW
        free, keyed = a_queued_job(session, other), a_queued_job(session, other, priority=3)
        keyed.key_id = "key_full"
        session.flush()
        for subject in (full.id, "key_full"):
            set_limits(session, subject, {"running_jobs": 0})
        set_limits(session, spent.id, {"device_seconds": 0})
        told = [claims.claim_next(session, worker_id="w", host="x", devices=(), lease_seconds=30, now=NOW) for _ in range(3)]
        assert [found.job.id if found else None for found in told] == [begun.id, free.id, None]
        assert fresh.state == "queued"


def claim_of_new(session, project: Project, host: str = "h") -> Claim:
    a_queued_job(session, project)
    found = claim(session, host)
    assert found is not None
    return found
