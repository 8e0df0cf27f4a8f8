"""Several threads on one ledger: what a single thread's schedules cannot show, locks that wait for each other included."""

from __future__ import annotations

import contextlib
import random
import time
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from core.db.session import Ledger
from core.errors import IllegalMove, LeaseLost
from core.events.service import append_metrics
from core.jobs import claims
from core.jobs import service as jobs
from core.jobs.claims import Claim
from core.jobs.models import Job
from core.jobs.states import FINISHED
from tests.core.jobs.simulation import TOTAL_STEPS, check_ended
from tests.factories import LEASE_SECONDS, NOW, a_checkpoint, a_device, a_project, a_queued_job, a_step

JOBS = 10
PATIENCE_SECONDS = 60


def are_done(ledger: Ledger) -> bool:
    with ledger.read() as session:
        return all(state in FINISHED for state in session.scalars(select(Job.state)))


def work(ledger: Ledger, worker_id: str, device_id: str) -> None:
    """Claim and do what there is until all jobs have ended."""
    chance, until = random.Random(worker_id), time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and not are_done(ledger):
        with ledger.write() as session:
            claim = claims.claim_next(session, worker_id=worker_id, host="host", devices=(device_id,),
                                      lease_seconds=LEASE_SECONDS)
        if claim is not None:
            with contextlib.suppress(LeaseLost):
                train(ledger, claim, chance)


def train(ledger: Ledger, claim: Claim, chance: random.Random) -> None:
    run = (claim.run.id, claim.run.fence)
    for step in range(1, TOTAL_STEPS + 1):
        with ledger.write() as session:
            job, _ = claims.hold(session, *run)
            append_metrics(session, job, [a_step(step)], now=NOW)
        with ledger.write() as session:
            claims.renew(session, *run, lease_seconds=LEASE_SECONDS)
    with ledger.write() as session:
        if chance.random() < 0.3:
            claims.settle(session, *run, "handed_back")
        else:
            a_checkpoint(session, Claim(*claims.hold(session, *run)), step=TOTAL_STEPS, kind="final")
            claims.settle(session, *run, "succeeded")


def disturb(ledger: Ledger, job_ids: list[str], project_id: str) -> None:
    """Users cancel, and a worker is found dead now and then."""
    chance = random.Random(7)
    for job_id in chance.sample(job_ids, 3):
        with ledger.write() as session, contextlib.suppress(IllegalMove):
            jobs.cancel(session, project_id, job_id, now=NOW)
        with ledger.write() as session:
            claims.end_worker(session, chance.choice(("wrk_a", "wrk_b", "wrk_c")))


def test_workers_users_and_deaths_at_once_leave_every_job_ended_once(ledger: Ledger):
    with ledger.write() as session:
        project = a_project(session)
        devices = [a_device(session, ordinal=n).id for n in range(3)]
        ids = [a_queued_job(session, project, total_steps=TOTAL_STEPS).id for _ in range(JOBS)]
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work, ledger, f"wrk_{name}", device) for name, device in zip("abc", devices, strict=True)]
        done.append(pool.submit(disturb, ledger, ids, project.id))
        for one in done:
            one.result()
    with ledger.read() as session:
        check_ended(session)
