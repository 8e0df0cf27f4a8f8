"""A worker's right to a job: claim, renew, write under it, settle; and what takes it away.

Invariants, whatever processes do: at most one run holds a job; each claim raises the job's fence, so of two runs the later
has the larger; a run that was ended by anyone can change nothing afterwards (LeaseLost); a job that is not finished is held
by a run or waits. Rows are locked in one order, job before run before devices, so two of these verbs never wait for each
other.

A lease that lapsed by the clock is still held until someone ends it: whoever ends it moves the job in the same transaction,
and a supervisor that renews first goes on undisturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.db.session import database_now
from core.devices import service as devices_service
from core.errors import LeaseLost
from core.forecast.speeds import note_run
from core.ids import new_id
from core.jobs.endings import Ending, Outcome, settle_job
from core.jobs.models import Job, Run
from core.jobs.moves import move
from core.jobs.repository import holding_runs, lock_job, lock_run
from core.projects.models import Project
from core.projects.usage import note_use
from core.quotas.claiming import read_barred
from core.quotas.limits import NO_RULES, Rules
from core.scheduling.policy import DEFAULT, Policy
from core.scheduling.reading import Asking
from core.scheduling.service import choose_next, note_blocked, one_at_a_time
from core.storage.artifacts import run_key


@dataclass(frozen=True)
class Claim:
    """What a worker got: the job as it stood at the claim, and its run."""

    job: Job
    run: Run


def claim_next(session: Session, *, worker_id: str, host: str, devices: Sequence[str], lease_seconds: float,
               of: int | None = None, now: datetime | None = None, policy: Policy = DEFAULT, rules: Rules = NO_RULES
               ) -> Claim | None:
    """Claim the job whose turn it is on this host, with as many of the free `devices` (ids) as it asks for: all, or none.

    `of` is how many devices the host has in all, as many as are free unless told. None when nothing is due that may start here
    now: jobs that wait for several devices are noted as such, and room is kept for them (`core/scheduling/choosing.py`). A host
    without a device of record takes jobs of one, and leases none. Nothing of those whom a quota keeps is
    claimed. Claims are made one after another, on all hosts together, so what is counted here still holds at the commit."""
    now = now or database_now(session)
    one_at_a_time(session)
    asking = Asking(host, tuple(devices), len(devices) if of is None else of)
    barred = read_barred(session, rules=rules, now=now)
    tried: frozenset[str] = frozenset()
    while True:
        choice = choose_next(session, asking, now=now, policy=policy, barred=barred, without=tried)
        note_blocked(session, choice.blocked, now=now)
        if choice.job is None:
            return None
        job = lock_job(session, choice.job.id)
        if job is not None and job.state == "queued":
            return _start(session, job, [slot.id for slot in choice.slots if slot.id], worker_id=worker_id, host=host,
                          lease_seconds=lease_seconds, now=now)
        tried |= {choice.job.id}


def _start(session: Session, job: Job, devices: Sequence[str], *, worker_id: str, host: str, lease_seconds: float, now: datetime
           ) -> Claim | None:
    run = _new_run(job, worker_id=worker_id, host=host, lease_seconds=lease_seconds, now=now)
    if not devices_service.lease(session, run.id, devices, now=now):
        return None
    session.add(run)
    session.flush()
    session.execute(update(Project).where(Project.id == job.project_id).values(served_at=now))
    job = move(session, job.id, "running", code="run.started", message=f"Attempt {run.attempt} started on {host}", now=now,
               data={"run_id": run.id, "attempt": run.attempt}, fence=run.fence, run_id=run.id, attempts=run.attempt,
               started_at=job.started_at or now, not_before=None, blocked_at=None, held_host=None, promised_at=None)
    return Claim(job, run)


def renew(session: Session, run_id: str, fence: int, *, lease_seconds: float, now: datetime | None = None,
          policy: Policy = DEFAULT) -> None:
    """Extend a lease, and count the use of its devices so far; raise LeaseLost when the run was ended.

    The run's row alone is locked, and written once: PostgreSQL checks the foreign key of a row that a transaction writes
    again, and would wait for the job's row, which others lock first."""
    run = lock_run(session, run_id)
    if run is None or run.fence != fence or run.state != "holding":
        raise _lost(run_id, fence)
    now = now or database_now(session)
    run.lease_until, run.renewals = now + timedelta(seconds=lease_seconds), run.renewals + 1
    _note_use(session, run, until=now, policy=policy)


def hold(session: Session, run_id: str, fence: int) -> tuple[Job, Run]:
    """Lock the job and its run for one write of the run; raise LeaseLost when the run holds the job no more."""
    job_id = session.scalar(select(Run.job_id).where(Run.id == run_id))
    job = lock_job(session, job_id) if job_id is not None else None
    run = lock_run(session, run_id) if job is not None else None
    if job is None or run is None or run.state != "holding" or not job.run_id == run.id or not job.fence == run.fence == fence:
        raise _lost(run_id, fence)
    return job, run


def settle(session: Session, run_id: str, fence: int, outcome: Outcome, *, failure: str | None = None,
           error: dict[str, Any] | None = None, result_file_id: str | None = None, now: datetime | None = None,
           policy: Policy = DEFAULT) -> Job:
    """End a run whose child is dead, and move its job on. Raise LeaseLost when the run was ended by another.

    `failure` (user, memory, infrastructure) tells whose fault a failed run is; `error` is {code, message, param}."""
    job, run = hold(session, run_id, fence)
    now = now or database_now(session)
    job = _end(session, job, run, Ending(outcome, failure, error, result_file_id), now=now)
    _note_use(session, run, until=now, policy=policy)
    return job


def end_lapsed(session: Session, run_id: str, renewals_seen: int, *, now: datetime | None = None, policy: Policy = DEFAULT
               ) -> bool:
    """End a run that its watcher saw unrenewed for a whole lease; False when it was renewed or ended meanwhile."""
    now = now or database_now(session)
    job_id = session.scalar(select(Run.job_id).where(Run.id == run_id))
    job = lock_job(session, job_id) if job_id is not None else None
    run = lock_run(session, run_id)
    if job is None or run is None or run.state != "holding" or run.renewals != renewals_seen or run.lease_until > now:
        return False
    _end(session, job, run, Ending("lost", "infrastructure", _gone("its lease was not renewed")), now=now)
    _note_use(session, run, until=run.lease_until, policy=policy)
    return True


def end_worker(session: Session, worker_id: str, *, now: datetime | None = None, policy: Policy = DEFAULT) -> list[str]:
    """End all that a worker held that was seen dead, at once; give the jobs that wait again."""
    now = now or database_now(session)
    ended: list[Run] = []
    for run_id, job_id in sorted((run.id, run.job_id) for run in holding_runs(session, worker_id)):
        job, run = lock_job(session, job_id), lock_run(session, run_id)
        if job is None or run is None or run.state != "holding":
            continue
        _end(session, job, run, Ending("lost", "infrastructure", _gone("its worker ended")), now=now)
        ended.append(run)
    for run in ended:  # the rows of use are locked last, behind every job and run
        _note_use(session, run, until=min(now, run.lease_until), policy=policy)
    return [run.job_id for run in ended]


def _new_run(job: Job, *, worker_id: str, host: str, lease_seconds: float, now: datetime) -> Run:
    run_id, fence = new_id("run"), job.fence + 1
    return Run(id=run_id, job_id=job.id, attempt=job.attempts + 1, fence=fence, worker_id=worker_id, host=host, state="holding",
               lease_until=now + timedelta(seconds=lease_seconds), renewals=0, folder_key=run_key(job.id, fence, run_id),
               last_step=job.step, devices=job.devices, started_at=now, noted_until=now)


def _end(session: Session, job: Job, run: Run, ending: Ending, *, now: datetime) -> Job:
    note_run(session, job, run, now=now)
    run.state, run.ended_at, run.outcome, run.error, run.last_step = "ended", now, ending.outcome, ending.error, job.step
    session.flush()
    devices_service.release(session, run.id)
    return settle_job(session, job, run, ending, now=now)


def _note_use(session: Session, run: Run, *, until: datetime, policy: Policy) -> None:
    """Count what a run held since it was counted last; the run's row is locked."""
    since = run.noted_until or until
    run.noted_until = max(since, until)
    session.flush()
    project_id, key_id = session.execute(select(Job.project_id, Job.key_id).where(Job.id == run.job_id)).one()
    note_use(session, project_id, key_id=key_id, devices=run.devices, since=since, until=until,
             half_life_seconds=policy.half_life_seconds)


def _gone(reason: str) -> dict[str, Any]:
    return {"code": "run_lost", "message": f"the run was lost: {reason}", "param": None}


def _lost(run_id: str, fence: int) -> LeaseLost:
    return LeaseLost(f"run {run_id} does not hold its job under fence {fence} any more; stop its child and write nothing")


__all__ = [
    "Claim", "claim_next", "end_lapsed", "end_worker", "hold", "renew", "settle",
]
