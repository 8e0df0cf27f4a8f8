"""The queue in the order of its turns, as light rows; whole jobs are read for those that are shown or played."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.jobs.models import Job
from core.scheduling.policy import Policy
from core.scheduling.service import order_queue

CHUNK = 500
"""Ids in one statement."""


@dataclass(frozen=True)
class Turn:
    """A queued job's place, from 1."""

    place: int
    job_id: str
    project_id: str


def in_turn(session: Session, *, policy: Policy, now: datetime) -> list[Turn]:
    """All queued jobs: those that are due in the order of their turns, then those that rest, by the time that they wait for."""
    due = [(job.id, job.project_id) for job in order_queue(session, now=now, policy=policy)]
    resting = select(Job.id, Job.project_id).where(Job.state == "queued", Job.not_before > now)
    rest = [(job_id, project_id) for job_id, project_id in session.execute(resting.order_by(Job.not_before, Job.id))]
    return [Turn(place, *names) for place, names in enumerate([*due, *rest], start=1)]


def jobs_by_id(session: Session, ids: Iterable[str]) -> dict[str, Job]:
    """Read jobs, a statement for each few hundred."""
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Job] = {}
    for start in range(0, len(wanted), CHUNK):
        query = select(Job).where(Job.id.in_(wanted[start:start + CHUNK]))
        found.update({job.id: job for job in session.scalars(query)})
    return found


def played(session: Session, turns: Sequence[Turn], most: int) -> list[Job]:
    """The jobs in front, in order."""
    ids = [turn.job_id for turn in turns[:most]]
    jobs = jobs_by_id(session, ids)
    return [jobs[job_id] for job_id in ids if job_id in jobs]
