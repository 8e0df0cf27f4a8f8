"""What a job's owner may do with its course: cancel it, pause it, resume it.

| the job | cancel | pause | resume |
| --- | --- | --- | --- |
| validating_files, queued | cancelled at once | paused at once | refused |
| running | marked; its run is stopped without saving | pausing; its run saves and lets go | refused |
| pausing | marked; a cancel goes before a pause | no change | running: the pause is taken back |
| paused | cancelled at once | no change | queued, at the place it had; validating_files if it has no plan yet |
| finished | refused | refused | refused |

A pause that is taken back before the run heard of it costs nothing; a run that had heard of it saves, lets go, and the job is
queued by itself. Asking for the same again changes nothing, so a request that is repeated does no harm.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from core.chores import service as chores
from core.chores.kinds import PREPARE_JOB
from core.errors import IllegalMove
from core.events.service import append_message
from core.jobs.models import Job
from core.jobs.moves import move
from core.jobs.repository import get_job, lock_job
from core.jobs.states import WAITING, is_finished


def cancel(session: Session, project_id: str, job_id: str, *, now: datetime) -> Job:
    """End a job: at once when it waits; otherwise mark it for its supervisor."""
    job = _locked(session, project_id, job_id)
    if is_finished(job.state):
        raise IllegalMove(f"job {job.id} is {job.state}; only an unfinished job can be cancelled")
    if job.state in WAITING:
        return move(session, job.id, "cancelled", code="job.cancelled", message="The job was cancelled", now=now, wanted=None)
    if job.wanted != "cancel":
        job.wanted = "cancel"
        append_message(session, job, code="job.cancelling", message="A cancel was asked for; the run is being stopped", now=now)
    session.flush()
    return job


def pause(session: Session, project_id: str, job_id: str, *, now: datetime) -> Job:
    """Hold a job until it is resumed: at once when it waits; otherwise its run saves its last step and lets go."""
    job = _locked(session, project_id, job_id)
    if is_finished(job.state):
        raise IllegalMove(f"job {job.id} is {job.state}; only an unfinished job can be paused")
    if job.wanted == "cancel":
        raise IllegalMove(f"job {job.id} is being cancelled; it cannot be paused any more")
    if job.state in ("pausing", "paused"):
        return job
    if job.state == "running":
        return move(session, job.id, "pausing", code="job.pausing", now=now, wanted="pause",
                    message="A pause was asked for; the run saves its last step and lets go")
    return move(session, job.id, "paused", code="job.paused", message="The job is paused", now=now,
                blocked_at=None, held_host=None, promised_at=None)


def resume(session: Session, project_id: str, job_id: str, *, now: datetime) -> Job:
    """Let a paused job go on; it keeps the place in the queue that it had."""
    job = _locked(session, project_id, job_id)
    if job.wanted == "cancel":
        raise IllegalMove(f"job {job.id} is being cancelled; it cannot be resumed")
    if job.state == "pausing":
        return move(session, job.id, "running", code="job.resumed", now=now, wanted=None, message="The pause was taken back")
    if job.state != "paused":
        raise IllegalMove(f"job {job.id} is {job.state}; only a job that is paused or pausing can be resumed")
    if job.resolved is None:
        chores.add(session, PREPARE_JOB, job.id)
        return move(session, job.id, "validating_files", code="job.resumed", now=now,
                    message="The job was resumed; checking the data and making the plan")
    return move(session, job.id, "queued", code="job.resumed", now=now, not_before=None,
                message="The job was resumed; it waits for a worker")


def _locked(session: Session, project_id: str, job_id: str) -> Job:
    get_job(session, project_id, job_id)
    job = lock_job(session, job_id)
    assert job is not None
    return job
