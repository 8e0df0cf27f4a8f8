"""The ledger → the policy's picture: who waits, who runs, what is free, what projects used.

No read grows with the number of jobs that wait. The projects that have a job in the queue are found by stepping through the
index `ix_jobs_waiting` from one to the next; of each its first job is read, and more of a project only when the order asks for
them. So a look costs two seeks and a row for each waiting project, and a row for each device and each run that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, String, and_, bindparam, or_, select, text
from sqlalchemy.orm import Session

from core.db.base import UtcDateTime
from core.devices.models import Device
from core.jobs.models import Job, Run
from core.jobs.repository import is_due
from core.projects.models import Project
from core.projects.usage import recent_use
from core.scheduling.cluster import Cluster, Host, Need, Running, Slot
from core.scheduling.order import Share, Waiting, own_order, with_held
from core.scheduling.policy import Policy
from core.workers.models import Worker
from core.workers.service import takes_jobs

PAGE = 16
"""Jobs of one project that are read together."""
ELSEWHERE = "elsewhere"
"""Holds a device that the asking worker does not have at hand."""


def _ids(name: str) -> Any:
    """A list of ids in SQL, empty ones too."""
    return bindparam(name, type_=String(), expanding=True)


_DUE = """state = 'queued' AND (not_before IS NULL OR not_before <= :now)
      AND devices <= :devices AND (memory_bytes IS NULL OR memory_bytes <= :memory_bytes)
      AND (key_id IS NULL OR key_id NOT IN :barred)
      AND (started_at IS NOT NULL OR (project_id NOT IN :spent AND (key_id IS NULL OR key_id NOT IN :spent)))"""
HEADS = text(f"""
WITH RECURSIVE waiting(project_id) AS (
    SELECT min(project_id) FROM jobs WHERE state = 'queued'
    UNION ALL
    SELECT (SELECT min(project_id) FROM jobs WHERE state = 'queued' AND project_id > waiting.project_id)
    FROM waiting WHERE project_id IS NOT NULL
), levels AS (
    SELECT project_id, (
        SELECT priority FROM jobs WHERE project_id = waiting.project_id AND {_DUE} ORDER BY priority DESC LIMIT 1) AS level
    FROM waiting WHERE project_id IS NOT NULL AND project_id NOT IN :barred
)
SELECT (
    SELECT id FROM jobs WHERE project_id = levels.project_id AND priority = levels.level AND {_DUE}
    ORDER BY queued_at, id LIMIT 1) AS id
FROM levels WHERE level IS NOT NULL
""").bindparams(bindparam("now", type_=UtcDateTime()), _ids("barred"), _ids("spent")
               ).columns(id=String())
"""The first due job of each project that a host of so many devices, with so much memory, could run."""


@dataclass(frozen=True)
class Barred:
    """Projects and keys, by their ids, whose jobs may not start now, whatever is free."""

    all: frozenset[str] = frozenset()
    """None of their jobs."""
    fresh: frozenset[str] = frozenset()
    """None of their jobs that no run has begun yet."""


NOBODY = Barred()


@dataclass(frozen=True)
class Limits:
    """What a host could run at most; jobs that need more are not read."""

    devices: int
    memory_bytes: int

    @classmethod
    def of(cls, slots: Sequence[Slot]) -> Limits:
        return cls(len(slots), max((slot.memory_bytes for slot in slots), default=0))


NO_LIMITS = Limits(2**31, 2**62)


@dataclass(frozen=True)
class Asking:
    """The worker that asks, and the devices of its host that it could use now."""

    host: str
    free: tuple[str, ...]
    """Ids of devices that no run holds."""
    of: int
    """How many the host has in all."""


def read_shares(session: Session, running: Sequence[Running], *, now: datetime, policy: Policy) -> dict[str, Share]:
    """Each project's weight, recent use, and what it holds now."""
    used = recent_use(session, now=now, half_life_seconds=policy.half_life_seconds)
    weights = session.execute(select(Project.id, Project.weight))
    return with_held({project_id: Share(weight, used.get(project_id, 0.0)) for project_id, weight in weights}, running)


def read_running(session: Session, *, now: datetime) -> dict[str, Running]:
    """All runs that hold a job, by their id."""
    finish = Job.progress["estimated_finish"].as_float()
    query = select(Run.id, Run.job_id, Job.project_id, Job.priority, Run.host, Run.devices, Run.started_at, finish, Job.wanted,
                   Job.state).join(Job, Job.id == Run.job_id).where(Run.state == "holding")
    return {row[0]: Running(*row[:7], ends_at=_moment(row[7]), is_leaving=row[8] is not None or row[9] == "pausing")
            for row in session.execute(query)}


def read_cluster(session: Session, running: dict[str, Running], *, now: datetime, asking: Asking | None = None) -> Cluster:
    """The hosts that have a train worker which takes jobs, and the one that asks, with their devices."""
    slots: dict[str, list[Slot]] = {}
    rows = session.execute(select(Device.host, Device.id, Device.kind, Device.memory_bytes, Device.run_id)
                           .order_by(Device.host, Device.kind, Device.ordinal))
    for host, device_id, kind, memory_bytes, run_id in rows:
        slots.setdefault(host, []).append(Slot(device_id, kind, memory_bytes, run_id))
    hosts = {name: Host(name, tuple(slots.get(name, ())), idle) for name, idle in _idle_workers(session, now).items()}
    if asking is not None:
        hosts[asking.host] = Host(asking.host, _at_hand(slots.get(asking.host, []), asking), 1)
    return Cluster(hosts, running)


def read_queues(session: Session, *, now: datetime, ever: Limits = NO_LIMITS, soon: Limits = NO_LIMITS,
                barred: Barred = NOBODY, without: frozenset[str] = frozenset()) -> dict[str, Iterator[Waiting]]:
    """The queue of each project that has a job due, in its own order: its first job within the limits `ever`, then, read as
    they are asked for, those within the limits `soon`: the first of every project together, more of a project by pages. Jobs
    in `without` are left out."""
    heads = _heads(session, now, ever, barred)
    behind = _waiting(now, soon, barred)
    seconds: dict[str, Waiting] = {}

    def first_of_soon(project_id: str) -> Waiting | None:
        if not seconds:
            seconds.update(_heads(session, now, soon, barred))
        return seconds.get(project_id)

    return {project_id: _queue(session, head, first_of_soon, behind, without) for project_id, head in heads.items()}


def read_queue(session: Session, *, now: datetime, project_id: str | None = None) -> list[Waiting]:
    """All jobs that are due, of one project or of all: what `order_queue` orders for people to see."""
    query = _waiting(now) if project_id is None else _waiting(now).where(Job.project_id == project_id)
    return sorted((_from_row(row) for row in session.execute(query)), key=own_order)


def _heads(session: Session, now: datetime, limits: Limits, barred: Barred) -> dict[str, Waiting]:
    """The first due job of each project within the limits."""
    told = {"now": now, "devices": limits.devices, "memory_bytes": limits.memory_bytes}
    found = session.scalars(HEADS, {**told, "barred": list(barred.all), "spent": list(barred.fresh)}).all()
    heads = [_from_row(row) for row in session.execute(_waiting(now).where(Job.id.in_(found)))] if found else []
    return {head.project_id: head for head in heads}


def _queue(session: Session, head: Waiting, first_of_soon: Callable[[str], Waiting | None], query: Any,
           without: frozenset[str]) -> Iterator[Waiting]:
    if head.id not in without:
        yield head
    first = first_of_soon(head.project_id)
    if first is None:
        return
    if first.id not in without and first.id != head.id:
        yield first
    mine = query.where(Job.project_id == head.project_id)
    level: int | None = first.priority
    while level is not None:
        after = (first.queued_at, first.id) if level == first.priority else None
        yield from (job for job in _level(session, mine.where(Job.priority == level), after) if job.id not in without)
        lower = mine.with_only_columns(Job.priority).where(Job.priority < level).order_by(Job.priority.desc()).limit(1)
        level = session.scalar(lower)


def _level(session: Session, query: Any, after: tuple[datetime, str] | None) -> Iterator[Waiting]:
    """Jobs of one project and one priority, a page at a time."""
    while True:
        page = query if after is None else query.where(_is_after(after))
        jobs = [_from_row(row) for row in session.execute(page.order_by(Job.queued_at, Job.id).limit(PAGE))]
        yield from jobs
        if len(jobs) < PAGE:
            return
        after = (jobs[-1].queued_at, jobs[-1].id)


def _is_after(after: tuple[datetime, str]) -> Any:
    queued_at, job_id = after
    return or_(Job.queued_at > queued_at, (Job.queued_at == queued_at) & (Job.id > job_id))


def _waiting(now: datetime, limits: Limits = NO_LIMITS, barred: Barred = NOBODY) -> Any:
    seconds, limit = Job.progress["rates"]["seconds"].as_float(), Job.spec["options"]["max_run_seconds"].as_float()
    query = select(Job.id, Job.project_id, Job.priority, Job.queued_at, Job.devices, Job.memory_bytes, Job.blocked_at,
                   Job.held_host, Job.promised_at, Job.step, Job.total_steps, seconds, limit)
    query = query.where(is_due(now))
    if limits is not NO_LIMITS:
        has_room = or_(Job.memory_bytes.is_(None), Job.memory_bytes <= limits.memory_bytes)
        query = query.where(Job.devices <= limits.devices, has_room)
    if barred.all:
        query = query.where(_not_of(barred.all))
    return query.where(or_(Job.started_at.is_not(None), _not_of(barred.fresh))) if barred.fresh else query


def _not_of(subjects: frozenset[str]) -> ColumnElement[bool]:
    return and_(Job.project_id.not_in(subjects), or_(Job.key_id.is_(None), Job.key_id.not_in(subjects)))


def _from_row(row: Any) -> Waiting:
    *asked, devices, memory_bytes, blocked_at, held_host, promised_at, step, total_steps, seconds, limit = row
    job_id, project_id, priority, queued_at = asked
    left = (total_steps - step) * seconds if seconds and total_steps is not None else None
    known = [each for each in (left, limit) if each is not None]
    return Waiting(job_id, project_id, priority, queued_at, Need(devices, memory_bytes), blocked_at, held_host, promised_at,
                   min(known, default=None))


def _idle_workers(session: Session, now: datetime) -> dict[str, int]:
    """How many train workers of each host that take jobs supervise no run."""
    holding = set(session.scalars(select(Run.worker_id).where(Run.state == "holding")))
    query = select(Worker.host, Worker.id).where(takes_jobs(now))
    idle: dict[str, int] = {}
    for host, worker_id in session.execute(query):
        idle[host] = idle.get(host, 0) + (worker_id not in holding)
    return idle


def _at_hand(slots: Sequence[Slot], asking: Asking) -> tuple[Slot, ...]:
    """The asking host's devices as its worker sees them; one that stands for all where none is of record."""
    if not asking.free and asking.of == 0:
        return (Slot("", "cpu", NO_LIMITS.memory_bytes),)
    mine = [slot for slot in slots if slot.id in asking.free]
    others = sorted((slot for slot in slots if slot.id not in asking.free), key=lambda slot: slot.run_id is None)
    return (*mine, *(replace(slot, run_id=slot.run_id or ELSEWHERE) for slot in others[: max(0, asking.of - len(mine))]))


def _moment(stamp: float | None) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp is not None else None


__all__ = [
    "NOBODY", "NO_LIMITS", "Asking", "Barred", "Limits", "read_cluster", "read_queue", "read_queues", "read_running",
    "read_shares",
]
