"""What is asked of jobs and runs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from core.errors import NotFound, shown
from core.jobs.models import Job, Run
from core.jobs.states import UNFINISHED


def get_job(session: Session, project_id: str, job_id: str, *, param: str | None = None) -> Job:
    job = session.scalar(select(Job).where(Job.id == job_id, Job.project_id == project_id))
    if job is None:
        raise NotFound(f"no fine-tuning job {shown(job_id)} in this project; list yours with GET /v1/fine_tuning/jobs",
                       param=param)
    return job


def lock_job(session: Session, job_id: str) -> Job | None:
    """Read a job as it stands now and hold its row until the transaction ends."""
    query = select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def lock_run(session: Session, run_id: str) -> Run | None:
    """Read a run as it stands now and hold its row; the job's row is locked before, never after."""
    query = select(Run).where(Run.id == run_id).with_for_update().execution_options(populate_existing=True)
    return session.scalar(query)


def runs_of(session: Session, job_id: str) -> list[Run]:
    """All attempts at a job, first to last."""
    return list(session.scalars(select(Run).where(Run.job_id == job_id).order_by(Run.attempt)))


def holding_runs(session: Session, worker_id: str | None = None) -> list[Run]:
    """Runs that hold a job, of one worker or of all."""
    query = select(Run).where(Run.state == "holding").order_by(Run.started_at)
    return list(session.scalars(query if worker_id is None else query.where(Run.worker_id == worker_id)))


def is_any_due(session: Session, *, now: datetime) -> bool:
    """Whether a job waits that may start now."""
    return session.scalar(select(Job.id).where(is_due(now)).limit(1)) is not None


def is_due(now: datetime) -> ColumnElement[bool]:
    """That a job waits and may start now."""
    return and_(Job.state == "queued", or_(Job.not_before.is_(None), Job.not_before <= now))


def unfinished_jobs_on(session: Session, project_id: str, version_ids: Iterable[str]) -> list[str]:
    """Unfinished jobs of the project that read one of these data set versions."""
    wanted = set(version_ids)
    query = select(Job.id, Job.sources, Job.validation_version_id)
    query = query.where(Job.project_id == project_id, Job.state.in_(UNFINISHED))
    rows = session.execute(query.order_by(Job.created_at))
    return [job_id for job_id, sources, validation in rows if wanted & _versions(sources, validation)]


def _versions(sources: list[Any], validation: str | None) -> set[str]:
    return {source["version_id"] for source in sources} | ({validation} if validation else set())
