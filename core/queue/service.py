"""The queue as people look at it: places, reasons, forecasts.

The place of a job is counted over the whole queue, whoever looks; which jobs are shown is for the one who asks to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import NotFound, shown
from core.forecast.play import MOST_JOBS, Host
from core.forecast.record import Accuracy, accuracy
from core.forecast.service import NOTHING, Foreseen, foresee, hosts_of, waiting_of
from core.jobs.models import Job
from core.jobs.states import HELD
from core.queue.order import in_turn, jobs_by_id, played
from core.queue.reasons import VALIDATING, Reason, by_devices, held, rests
from core.quotas.limits import Rules
from core.quotas.standing import Standing, read_standing
from core.scheduling.policy import Policy
from core.settings import Settings


@dataclass(frozen=True)
class Entry:
    """One job that waits."""

    job: Job
    place: int | None
    """From 1, over the whole queue; None while it has no plan and so no place."""
    reason: Reason
    foreseen: Foreseen


@dataclass(frozen=True)
class Queue:
    """All that waits, at one moment."""

    entries: Sequence[Entry]
    """Those that were asked for: first the queue in its order, then what is still validated, oldest first."""
    has_more: bool
    waiting: int
    """Of all projects."""
    running: int
    starts: Accuracy
    """How wrong foretold starts were."""
    finishes: Accuracy


@dataclass(frozen=True)
class Sharing:
    """By which settings devices are shared."""

    policy: Policy
    rules: Rules

    @classmethod
    def of(cls, settings: Settings) -> Sharing:
        return cls(Policy.of(settings), Rules.of(settings))


def look(session: Session, *, project_id: str | None, sharing: Sharing, now: datetime, after: str | None = None,
         limit: int = 100) -> Queue:
    """Look at the whole queue; give a page of the jobs of one project, or of all where none is told.

    Raises NotFound for an `after` that does not wait."""
    hosts = hosts_of(session, now=now)
    turns = in_turn(session, policy=sharing.policy, now=now)
    validating = _validating(session)
    asked: list[tuple[str, int | None]] = [(turn.job_id, turn.place) for turn in turns
                                           if project_id in (None, turn.project_id)]
    asked += [(job_id, None) for job_id, owner in validating if project_id in (None, owner)]
    page = asked[_behind(asked, after):]
    foreseen = foresee(session, played(session, turns, MOST_JOBS), hosts, rules=sharing.rules, now=now)
    why = _Why(read_standing(session, rules=sharing.rules, now=now), hosts, now)
    jobs = jobs_by_id(session, (job_id for job_id, _ in page[:limit]))
    entries = [Entry(jobs[job_id], place, why.of(jobs[job_id], place), foreseen.get(job_id, NOTHING))
               for job_id, place in page[:limit]]
    running = session.scalar(select(func.count()).select_from(Job).where(Job.state.in_(HELD))) or 0
    return Queue(entries, len(page) > limit, len(turns) + len(validating), running, accuracy(session, "start"),
                 accuracy(session, "finish"))


@dataclass(frozen=True)
class _Why:
    standing: Standing
    hosts: Sequence[Host]
    now: datetime

    def of(self, job: Job, place: int | None) -> Reason:
        if place is None:
            return VALIDATING
        hold = self.standing.hold(job.project_id, job.key_id, has_begun=job.started_at is not None)
        if hold is not None:
            return held(hold)
        if job.not_before is not None and job.not_before > self.now:
            return rests(job.not_before)
        return by_devices(waiting_of(job, self.now), self.hosts, ahead=place - 1)


def _behind(asked: Sequence[tuple[str, int | None]], after: str | None) -> int:
    """The index behind the job that was seen last."""
    if after is None:
        return 0
    found = next((number for number, (job_id, _) in enumerate(asked, start=1) if job_id == after), None)
    if found is None:
        raise NotFound(f"no waiting job {shown(after)} in this project; it has started or ended meanwhile; list the queue from "
                       "its beginning", param="after")
    return found


def _validating(session: Session) -> list[tuple[str, str]]:
    """Jobs that have no place yet, with their projects."""
    query = select(Job.id, Job.project_id).where(Job.state == "validating_files").order_by(Job.created_at, Job.id)
    return [(job_id, project_id) for job_id, project_id in session.execute(query)]
