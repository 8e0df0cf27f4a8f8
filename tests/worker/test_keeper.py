from __future__ import annotations

import time

from core.db.patience import Patience
from core.db.session import Ledger
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.models import Run
from tests import factories
from tests.core.db.silence import silent_way
from tests.waiting import wait_for
from worker.keeper import LeaseKeeper


def a_run(ledger: Ledger) -> Claim:
    with ledger.write() as session:
        return factories.a_running_job(session)


def a_keeper(ledger: Ledger, claim: Claim) -> LeaseKeeper:
    return LeaseKeeper(ledger, job_id=claim.job.id, run_id=claim.run.id, fence=claim.run.fence, lease_seconds=1.0)


def renewals(ledger: Ledger, claim: Claim) -> int:
    with ledger.read() as session:
        return session.get_one(Run, claim.run.id).renewals


def test_a_lease_is_renewed_while_it_is_kept(ledger: Ledger) -> None:
    claim = a_run(ledger)
    with a_keeper(ledger, claim) as keeper:
        wait_for(lambda: renewals(ledger, claim) >= 2)
    assert not keeper.is_lost
    kept = renewals(ledger, claim)
    time.sleep(0.8)
    assert renewals(ledger, claim) == kept


def test_a_cancel_is_seen(sqlite_ledger: Ledger) -> None:
    claim = a_run(sqlite_ledger)
    with a_keeper(sqlite_ledger, claim) as keeper:
        assert keeper.wanted is None
        with sqlite_ledger.write() as session:
            jobs.cancel(session, claim.job.project_id, claim.job.id, now=factories.NOW)
        wait_for(lambda: keeper.wanted == "cancel")


def test_a_run_that_another_ended_is_lost(ledger: Ledger) -> None:
    claim = a_run(ledger)
    with a_keeper(ledger, claim) as keeper:
        with ledger.write() as session:
            claims.end_worker(session, claim.run.worker_id)
        wait_for(lambda: keeper.is_lost)


def test_a_ledger_that_is_away_loses_no_run(sqlite_ledger: Ledger, tmp_path) -> None:
    nowhere = Ledger(f"sqlite:///{tmp_path / 'no folder' / 'headrace.db'}")
    with a_keeper(nowhere, a_run(sqlite_ledger)) as keeper:
        time.sleep(1.2)
        assert not keeper.is_lost


def test_a_lease_is_renewed_by_another_connection_when_the_first_falls_silent(postgres_url: str) -> None:
    beside = Ledger(postgres_url, pool_size=2)
    claim = a_run(beside)
    with silent_way(postgres_url) as way:
        ledger = Ledger(way.url, pool_size=2, patience=Patience(answer_seconds=1.5))
        with a_keeper(ledger, claim) as keeper:
            wait_for(lambda: renewals(beside, claim) >= 1)
            way.silence()
            kept = renewals(beside, claim)
            wait_for(lambda: renewals(beside, claim) >= kept + 2)
            assert not keeper.is_lost
        ledger.close()
    beside.close()
