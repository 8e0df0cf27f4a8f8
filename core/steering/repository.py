"""What is asked of the changes of a job's mixture."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.data.spec import MixtureEntry
from core.datasets.models import DatasetVersion
from core.jobs.models import Job
from core.jobs.sources import first_weights
from core.jobs.stream_spec import version_ids
from core.steering.log import Asked, Change, entries
from core.steering.models import MixtureChange


def changes_of(session: Session, job_id: str) -> list[MixtureChange]:
    """All changes, in the order in which they were asked."""
    query = select(MixtureChange).where(MixtureChange.job_id == job_id).order_by(MixtureChange.number)
    return list(session.scalars(query))


def held_changes(session: Session, job_id: str) -> list[Change]:
    return [Change(row.number, row.from_step, Asked.from_json(row.body)) for row in changes_of(session, job_id)
            if row.state == "held" and row.from_step is not None]


def log_of(session: Session, job: Job) -> tuple[MixtureEntry, ...]:
    """The job's mixture log, as its streams read it."""
    return entries(first_weights(job), held_changes(session, job.id))


def first_pending(session: Session, job_id: str) -> int | None:
    """The number of the change that waits longest for its step."""
    query = select(func.min(MixtureChange.number)).where(MixtureChange.job_id == job_id, MixtureChange.state == "pending")
    return session.scalar(query)


def last_asked_step(session: Session, job_id: str) -> int:
    """The last step from which a change holds that a client asked for; 0 where there is none. What the submit planned for
    later steps is laid over, and does not count."""
    is_asked = MixtureChange.created_by.is_not(None)
    return session.scalar(select(func.max(MixtureChange.from_step)).where(MixtureChange.job_id == job_id, is_asked)) or 0


def versions_of(session: Session, job: Job) -> dict[str, DatasetVersion]:
    """All data set versions that the job reads, by id."""
    found = session.scalars(select(DatasetVersion).where(DatasetVersion.id.in_(version_ids(job))))
    return {version.id: version for version in found}


def next_number(session: Session, job_id: str) -> int:
    return (session.scalar(select(func.max(MixtureChange.number)).where(MixtureChange.job_id == job_id)) or 0) + 1
