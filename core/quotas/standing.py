"""Which queued jobs quotas keep from starting, as the ledger stands at one moment.

`read_standing` looks once; `hold` then answers for a job, and `start` and `end` play on from there, so that a forecast can ask
what becomes free. Where no quota is set it costs one small query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from core.errors import number_of
from core.jobs.models import Job
from core.jobs.states import HELD
from core.projects.models import DeviceUse, Project
from core.projects.usage import bucket_of
from core.quotas.limits import NO_LIMITS, Limits, Name, Rules, period_at
from core.quotas.models import Quota


@dataclass(frozen=True)
class Hold:
    """Why a quota keeps a job in the queue."""

    name: Name
    of: str
    """project or key."""
    used: int
    limit: int
    until: datetime | None = None
    """When it is over for certain; None where that depends on other jobs."""

    @property
    def words(self) -> str:
        if self.name == "running_jobs":
            jobs = number_of(self.used, "job")
            return f"its {self.of} runs {jobs}, and {self.limit:,} is the most that it may run at once"
        return (f"its {self.of} has used {self.used:,} of its {self.limit:,} device-seconds; a job that has not begun waits "
                f"until {self.until:%Y-%m-%d %H:%M} UTC")


@dataclass
class Standing:
    """Limits, and what is used of them, of all projects and keys by their ids."""

    limits: dict[str, Limits] = field(default_factory=dict)
    """Of those that have limits of their own, and of projects that use anything; keys have no others."""
    defaults: Limits = NO_LIMITS
    """Of all other projects."""
    running: Counter[str] = field(default_factory=Counter)
    """Jobs that run."""
    device_seconds: Mapping[str, float] = field(default_factory=dict)
    """Used in the present period."""
    period_ends_at: datetime | None = None

    def hold(self, project_id: str, key_id: str | None, *, has_begun: bool) -> Hold | None:
        """Say what keeps a job of theirs in the queue, the longest first; one that has begun needs no device-seconds."""
        for of, subject, limits in () if has_begun else self._subjects(project_id, key_id):
            most, seconds = limits.device_seconds, self.device_seconds.get(subject, 0.0)
            if most is not None and seconds >= most:
                return Hold("device_seconds", of, round(seconds), most, self.period_ends_at)
        for of, subject, limits in self._subjects(project_id, key_id):
            most, many = limits.running_jobs, self.running[subject]
            if most is not None and many >= most:
                return Hold("running_jobs", of, many, most)
        return None

    def start(self, project_id: str, key_id: str | None) -> None:
        self.running.update(filter(None, (project_id, key_id)))

    def end(self, project_id: str, key_id: str | None) -> None:
        self.running.subtract(filter(None, (project_id, key_id)))

    def full(self) -> set[str]:
        """Projects and keys that run as many jobs as they may."""
        return {subject for subject, limits in self.limits.items()
                if limits.running_jobs is not None and self.running[subject] >= limits.running_jobs}

    def spent(self) -> set[str]:
        """Projects and keys that have no device-seconds left in this period."""
        return {subject for subject, limits in self.limits.items()
                if limits.device_seconds is not None and self.device_seconds.get(subject, 0.0) >= limits.device_seconds}

    def knows(self, name: Name) -> bool:
        """Whether anyone has that limit."""
        return any(getattr(limits, name) is not None for limits in (self.defaults, *self.limits.values()))

    def _subjects(self, project_id: str, key_id: str | None) -> Iterator[tuple[str, str, Limits]]:
        yield "project", project_id, self.limits.get(project_id, self.defaults)
        if key_id is not None:
            yield "key", key_id, self.limits.get(key_id, NO_LIMITS)


def read_standing(session: Session, *, rules: Rules, now: datetime) -> Standing:
    """Look at all quotas that can keep a job from starting."""
    rows = session.execute(select(Quota.subject, Quota.limits, Project.id).outerjoin(Project, Project.id == Quota.subject))
    limits = {subject: (rules.defaults if project else NO_LIMITS).changed(own) for subject, own, project in rows}
    standing = Standing(limits, rules.defaults)
    if standing.knows("running_jobs"):
        query = select(Job.project_id, Job.key_id, func.count()).where(Job.state.in_(HELD))
        standing.running = _added(session.execute(query.group_by(Job.project_id, Job.key_id)), standing)
    if standing.knows("device_seconds"):
        period = period_at(now, rules.period)
        query = select(DeviceUse.project_id, DeviceUse.key_id, func.sum(DeviceUse.device_seconds))
        query = query.where(DeviceUse.begins_at >= bucket_of(period.started_at))
        used = session.execute(query.group_by(DeviceUse.project_id, DeviceUse.key_id))
        standing.device_seconds = _added(used, standing)
        standing.period_ends_at = period.ends_at
    return standing


def _added(rows: Iterable[tuple[str, str | None, float]], standing: Standing) -> Counter[str]:
    """Add up what projects and keys use; a project that uses anything is known from then on."""
    total: Counter[str] = Counter()
    for project_id, key_id, used in rows:
        standing.limits.setdefault(project_id, standing.defaults)
        for subject in filter(None, (project_id, key_id)):
            total[subject] += used  # pyright: ignore[reportArgumentType]
    return total
