from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from core.clock import system_clock
from core.db.session import Ledger
from core.jobs import claims
from core.jobs.models import Job, Run
from core.jobs.repository import lock_job
from core.scheduling.policy import Policy
from core.workers import service as workers
from tests import factories
from worker.reaper import ROLE, Reaper, Rings, Watch


class Bells:
    """What was rung, and how many wake-ups wait."""

    def __init__(self, depth: int | None = 0) -> None:
        self.jobs: list[str] = []
        self.trains = 0
        self.depth = depth

    def train(self) -> None:
        self.trains += 1

    def rings(self) -> Rings:
        return Rings(self.jobs.append, self.train, lambda: self.depth)


def a_reaper(ledger: Ledger, bells: Bells | None = None, *, holder: str = "me", lease: float = 3.0) -> Reaper:
    return Reaper(ledger, (bells or Bells()).rings(), holder=holder, lease_seconds=lease)


def a_lapsed_run(ledger: Ledger) -> Run:
    """A run whose lease is over by the clock, and whose supervisor is gone."""
    with ledger.write() as session:
        claim = factories.a_running_job(session)
        claim.run.lease_until = system_clock() - timedelta(seconds=60)
        return claim.run


def state_of(ledger: Ledger, run: Run) -> str:
    with ledger.read() as session:
        return session.scalars(select(Run.state).where(Run.id == run.id)).one()


def test_a_run_that_stood_still_for_a_whole_lease_is_ended_and_its_job_queued(ledger: Ledger) -> None:
    run, bells = a_lapsed_run(ledger), Bells()
    reaper = a_reaper(ledger, bells)
    for second in range(4):
        reaper.tick(100.0 + second)
    with ledger.read() as session:
        assert session.get_one(Job, run.job_id).state == "queued"
    assert state_of(ledger, run) == "ended"
    assert bells.jobs == [run.job_id]


def test_a_lease_that_is_over_by_the_clock_alone_is_left(ledger: Ledger) -> None:
    run = a_lapsed_run(ledger)
    a_reaper(ledger).tick(100.0)
    assert state_of(ledger, run) == "holding"


def test_a_renewed_run_is_watched_anew(sqlite_ledger: Ledger) -> None:
    run = a_lapsed_run(sqlite_ledger)
    reaper = a_reaper(sqlite_ledger)
    for second in range(8):
        if second % 2 == 0:
            with sqlite_ledger.write() as session:
                claims.renew(session, run.id, run.fence, lease_seconds=1)
        reaper.tick(100.0 + second)
    assert state_of(sqlite_ledger, run) == "holding"


def test_only_the_holder_of_the_role_reaps(ledger: Ledger) -> None:
    run = a_lapsed_run(ledger)
    with ledger.write() as session:
        workers.hold_role(session, ROLE, "another", 3600)
    reaper = a_reaper(ledger)
    for second in range(8):
        reaper.tick(100.0 + second)
    assert state_of(ledger, run) == "holding"


def test_a_watcher_that_slept_begins_anew() -> None:
    watch = Watch(3.0)
    assert watch.look({"run": 1}, 100.0) == {}
    assert watch.look({"run": 1}, 110.0) == {}
    assert watch.look({"run": 1}, 112.0) == {}
    assert watch.look({"run": 1}, 113.0) == {"run": 1}


def test_a_watcher_whose_ledger_was_away_begins_anew() -> None:
    watch = Watch(3.0)
    watch.look({"run": 1}, 100.0)
    watch.forget()
    assert watch.look({"run": 1}, 103.0) == {}


@pytest.mark.parametrize("depth, trains", [(0, 1), (None, 1), (2, 0)])
def test_queued_jobs_are_rung_for_unless_a_wake_up_waits(sqlite_ledger: Ledger, depth: int | None,
                                                         trains: int) -> None:
    with sqlite_ledger.write() as session:
        factories.a_queued_job(session)
    bells = Bells(depth)
    a_reaper(sqlite_ledger, bells).tick(100.0)
    assert bells.trains == trains


def test_no_job_means_no_ring(sqlite_ledger: Ledger) -> None:
    bells = Bells()
    a_reaper(sqlite_ledger, bells).tick(100.0)
    assert bells.trains == 0


def test_a_run_is_told_to_make_room_for_what_comes_first(ledger: Ledger) -> None:
    bells = Bells()
    reaper = Reaper(ledger, bells.rings(), holder="me", lease_seconds=3.0, policy=Policy(preempt_after_seconds=0))
    with ledger.write() as session:
        workers.announce(session, worker_id="wrk_1", host="host", pid=1, queue="train", version="1")
        device = factories.a_device(session)
        factories.a_queued_job(session)
        claim = claims.claim_next(session, worker_id="wrk_1", host="host", devices=[device.id], lease_seconds=3.0)
        assert claim is not None
        factories.a_queued_job(session, priority=1)
    for second in range(2):
        reaper.tick(100.0 + second)
    with ledger.read() as session:
        assert session.get_one(Job, claim.job.id).wanted == "preempt"
    assert bells.jobs == [claim.job.id]


def test_a_run_whose_row_another_transaction_keeps_holds_up_no_other(postgres_url: str) -> None:
    ledger = Ledger(postgres_url, pool_size=4)
    stuck, lapsed = a_lapsed_run(ledger), a_lapsed_run(ledger)
    reaper = a_reaper(ledger)
    with ledger.write() as frozen:
        lock_job(frozen, stuck.job_id)
        for second in range(4):
            reaper.tick(100.0 + second)
        assert [state_of(ledger, run) for run in (stuck, lapsed)] == ["holding", "ended"]
    reaper.tick(104.0)
    assert state_of(ledger, stuck) == "ended"
    ledger.close()


def test_a_fault_in_another_duty_keeps_no_dead_run_from_being_ended(sqlite_ledger: Ledger) -> None:
    run = a_lapsed_run(sqlite_ledger)

    def faulty() -> int:
        raise ValueError("what the bell said is no number")

    with sqlite_ledger.write() as session:
        factories.a_queued_job(session)
    reaper = Reaper(sqlite_ledger, Rings(lambda job: None, lambda: None, faulty), holder="me", lease_seconds=3.0)
    for second in range(4):
        reaper.tick(100.0 + second)
    assert state_of(sqlite_ledger, run) == "ended"
