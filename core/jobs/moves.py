"""A move of a job: one conditional UPDATE, with its event in the same transaction.

The condition is the table of legal moves itself, so of two that race one changes the row and the other is told where the
job stands.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from core.checkpoints.repository import end_history
from core.errors import IllegalMove, NotFound, shown
from core.events.service import append_message
from core.forecast.record import note_move
from core.jobs.models import Job
from core.jobs.repository import lock_job
from core.jobs.states import FINISHED, State, sources_of
from core.webhooks.outbox import note_end


def move(session: Session, job_id: str, to: State, *, code: str, message: str, now: datetime, level: str = "info",
         data: dict[str, Any] | None = None, **changes: Any) -> Job:
    """Move a job, with further changes of its row, and log it; raise IllegalMove, with the present state, for a forbidden one.

    A move to a finished state sets `finished_at`, drops the recovery points, its message is the last entry of the log, and the
    project's webhooks are to be told. What was foretold of the job is measured or dropped."""
    if to in FINISHED:
        changes.setdefault("finished_at", now)
    session.flush()
    query = update(Job).where(Job.id == job_id, Job.state.in_(sources_of(to))).values(state=to, **changes).returning(Job.id)
    moved = session.execute(query, execution_options={"synchronize_session": False}).first()
    job = lock_job(session, job_id)
    if job is None:
        raise NotFound(f"no fine-tuning job {shown(job_id)}")
    if moved is None:
        raise illegal(job, to)
    note_move(session, job.id, to, now=now)
    append_message(session, job, code=code, message=message, level=level, data=data, now=now)
    if to in FINISHED:
        end_history(session, job.id, now=now)
        note_end(session, job.project_id, job.id, to, now=now)
    return job


def illegal(job: Job, to: State) -> IllegalMove:
    legal = ", ".join(sorted(sources_of(to)))
    return IllegalMove(f"job {job.id} is {job.state}; only a job that is {legal} can become {to}; look at it with "
                       f"GET /v1/fine_tuning/jobs/{job.id}")
