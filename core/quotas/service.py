"""Quotas: set them, tell what is used of them, and refuse what goes beyond.

The checks run in the transaction that adds what they count, under the project's row, so of two requests that race for the last
place one is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.checkpoints.models import Checkpoint
from core.db.upsert import upsert
from core.errors import LimitReached, number_of
from core.files.models import StoredFile
from core.jobs.models import Job
from core.jobs.states import HELD, WAITING
from core.projects.models import ApiKey, Project
from core.projects.repository import lock_project
from core.projects.usage import used_since
from core.quotas.limits import NO_LIMITS, Limits, Name, Rules, period_at, read_limits
from core.quotas.models import Quota

CODE = "insufficient_quota"
QUEUE_SECONDS = 30.0
"""When to try again while a queue is full; nobody knows."""


@dataclass(frozen=True)
class Subject:
    """Whose quota: a project's, or one of its keys'."""

    project_id: str
    project_name: str
    key_id: str | None = None
    key_name: str = ""

    @property
    def words(self) -> str:
        return f"key '{self.key_name}'" if self.key_id else f"project '{self.project_name}'"


def set_limits(session: Session, subject_id: str, changes: Mapping[str, Any], *, dropped: frozenset[str] = frozenset()
               ) -> dict[str, Any]:
    """Change limits of a project or a key, by name; `dropped` ones are as the settings say again. Gives what is set now."""
    known = session.get(Quota, subject_id)
    limits = {**(known.limits if known else {}), **read_limits(changes)}
    limits = {name: value for name, value in limits.items() if name not in dropped}
    insert = upsert(session, Quota).values(subject=subject_id, limits=limits)
    session.execute(insert.on_conflict_do_update(index_elements=["subject"], set_={"limits": limits}))
    return limits


def limits_of(session: Session, subject: Subject, rules: Rules) -> Limits:
    """What holds for a project (the settings', but for its own) or for a key (its own alone)."""
    own = session.scalar(select(Quota.limits).where(Quota.subject == (subject.key_id or subject.project_id))) or {}
    return (NO_LIMITS if subject.key_id else rules.defaults).changed(own)


def subjects_of(session: Session, project_id: str, key_id: str | None = None) -> Iterator[Subject]:
    """The project, and its key if one is told."""
    project = session.get_one(Project, project_id)
    yield Subject(project_id, project.name)
    key = session.get(ApiKey, key_id) if key_id else None
    if key is not None:
        yield Subject(project_id, project.name, key.id, key.name)


def used(session: Session, subject: Subject, name: Name, *, rules: Rules, now: datetime) -> int:
    """What is used of a limit at this moment."""
    if name == "device_seconds":
        since = period_at(now, rules.period).started_at
        return round(used_since(session, subject.project_id, since, key_id=subject.key_id))
    if name == "stored_bytes":
        return _stored(session, subject)
    return _jobs(session, subject, HELD if name == "running_jobs" else WAITING)


def check_submit(session: Session, project_id: str, key_id: str | None, *, rules: Rules, now: datetime) -> None:
    """Raise LimitReached when one more job would go beyond a quota of the project or of the key."""
    lock_project(session, project_id)
    period = period_at(now, rules.period)
    for subject in subjects_of(session, project_id, key_id):
        limits = limits_of(session, subject, rules)
        for name in ("queued_jobs", "device_seconds"):
            if getattr(limits, name) == 0:
                raise _refused(f"{subject.words} may submit no job: its quota of {name} is 0; ask the operator for one", None)
        if (many := _reached(session, subject, "queued_jobs", limits, rules=rules, now=now)) is not None:
            jobs = number_of(many, "job that waits", "jobs that wait")
            raise _refused(f"{subject.words} has {jobs}, and {limits.queued_jobs:,} is the most it may have; "
                           "wait for some to start, or cancel some", QUEUE_SECONDS)
        if (seconds := _reached(session, subject, "device_seconds", limits, rules=rules, now=now)) is not None:
            raise _refused(f"{subject.words} has used {seconds:,} device-seconds of the {limits.device_seconds:,} that it may "
                           f"in a {period.name}; the next begins at {period.ends_at:%Y-%m-%d %H:%M} UTC; submit again then, "
                           "or ask the operator for more", (period.ends_at - now).total_seconds())
        _check_stored(session, subject, limits, 0)


def check_stored(session: Session, project_id: str, key_id: str | None, more_bytes: int, *, rules: Rules) -> None:
    """Raise LimitReached when so many more bytes would go beyond a quota of the project or of the key."""
    lock_project(session, project_id)
    check_room(session, project_id, key_id, more_bytes, rules=rules)


def check_room(session: Session, project_id: str, key_id: str | None, more_bytes: int, *, rules: Rules) -> None:
    """The same without waiting for others, for a first look: another may take the room meanwhile."""
    for subject in subjects_of(session, project_id, key_id):
        _check_stored(session, subject, limits_of(session, subject, rules), more_bytes)


def _check_stored(session: Session, subject: Subject, limits: Limits, more_bytes: int) -> None:
    most = limits.stored_bytes
    if most is None:
        return
    stored = _stored(session, subject)
    if stored + max(1, more_bytes) > most:
        more = f", and {more_bytes:,} more were to come" if more_bytes else ""
        raise _refused(f"{subject.words} stores {stored:,} bytes of the {most:,} that it may{more}; delete files or "
                       "checkpoints, or ask the operator for more", None)


def _reached(session: Session, subject: Subject, name: Name, limits: Limits, *, rules: Rules, now: datetime) -> int | None:
    """What is used when nothing is left of a limit; None when something is."""
    most = getattr(limits, name)
    if most is None:
        return None
    found = used(session, subject, name, rules=rules, now=now)
    return found if found >= most else None


def _jobs(session: Session, subject: Subject, states: frozenset) -> int:
    query = select(func.count()).select_from(Job).where(Job.project_id == subject.project_id, Job.state.in_(states))
    return session.scalar(query.where(Job.key_id == subject.key_id) if subject.key_id else query) or 0


def _stored(session: Session, subject: Subject) -> int:
    files = select(func.sum(StoredFile.bytes)).where(StoredFile.project_id == subject.project_id,
                                                     StoredFile.purged_at.is_(None))
    saved = select(func.sum(Checkpoint.bytes)).join(Job, Job.id == Checkpoint.job_id).where(
        Job.project_id == subject.project_id, Checkpoint.deleted_at.is_(None))
    if subject.key_id:
        files, saved = files.where(StoredFile.key_id == subject.key_id), saved.where(Job.key_id == subject.key_id)
    return int(session.scalar(files) or 0) + int(session.scalar(saved) or 0)


def _refused(message: str, seconds: float | None) -> LimitReached:
    return LimitReached(f"{message}; GET /v1/usage shows all quotas", code=CODE, retry_after_seconds=seconds)


__all__ = ["CODE", "Subject", "check_room", "check_stored", "check_submit", "limits_of", "set_limits", "subjects_of", "used"]
