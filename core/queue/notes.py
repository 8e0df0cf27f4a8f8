"""Keeps what is foretold of starts, so that forecasts can be measured: once for each job, soon after it is queued.

A job that was claimed before anyone looked leaves no note: it did not wait.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.forecast.models import Forecast
from core.forecast.play import MOST_JOBS
from core.forecast.record import note
from core.forecast.service import NOTHING, foresee, hosts_of
from core.jobs.models import Job
from core.queue.order import in_turn, played
from core.queue.service import Sharing

IS_NOTED = select(Forecast.job_id).where(Forecast.job_id == Job.id, Forecast.what == "start",
                                         Forecast.actual_at.is_(None)).exists()


def has_unnoted(session: Session) -> bool:
    """Whether a queued job waits whose start was not foretold yet."""
    return session.scalar(select(Job.id).where(Job.state == "queued", ~IS_NOTED).limit(1)) is not None


def note_starts(session: Session, *, sharing: Sharing, now: datetime) -> int:
    """Foretell the starts of all queued jobs that have no note yet, and keep them; give how many."""
    lacking = set(session.scalars(select(Job.id).where(Job.state == "queued", ~IS_NOTED)))
    if not lacking:
        return 0
    hosts = hosts_of(session, now=now)
    turns = in_turn(session, policy=sharing.policy, now=now)
    foreseen = foresee(session, played(session, turns, MOST_JOBS), hosts, rules=sharing.rules, now=now)
    for job_id in lacking:
        note(session, job_id, "start", foreseen.get(job_id, NOTHING).start_at, now=now)
    return len(lacking)
