"""The ledger → the policy's picture: who waits, who runs, what is free, what projects used.

No read grows with the number of jobs that wait. The projects that have a job in the queue are found by stepping through the
index `ix_jobs_waiting` from one to the next; of each its first job is read, and more of a project only when the order asks for
them. So a look costs two seeks and a row for each waiting project, and a row for each device and each run that holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, String, and_, bindparam, false, or_, select, text
from sqlalchemy.orm import Session

from core.db.base import UtcDateTime
from core.devices.models import Device
from core.jobs.models import Job, Run
from core.jobs.repository import is_due
from core.projects.models import Project
from core.projects.usage import recent_use
from core.quotas.claiming import NOBODY, Barred
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


_FITS = "devices <= :devices_{n} AND (memory_bytes IS NULL OR memory_bytes <= :memory_{n})"
_DUE = """state = 'queued' AND (not_before IS NULL OR not_before <= :now) AND ({fits})
      AND (key_id IS NULL OR key_id NOT IN :barred)
      AND (started_at IS NOT NULL OR (project_id NOT IN :spent AND (key_id IS NULL OR key_id NOT IN :spent)))"""
_HEADS = """
WITH RECURSIVE waiting(project_id) AS (
    SELECT min(project_id) FROM jobs WHERE state = 'queued'
    UNION ALL
    SELECT (SELECT min(project_id) FROM jobs WHERE state = 'queued' AND project_id > waiting.project_id)
    FROM waiting WHERE project_id IS NOT NULL
), levels AS (
    SELECT project_id, (
        SELECT priority FROM jobs WHERE project_id = waiting.project_id AND {due} ORDER BY priority DESC LIMIT 1) AS level
    FROM waiting WHERE project_id IS NOT NULL AND project_id NOT IN :barred
)
SELECT (
    SELECT id FROM jobs WHERE project_id = levels.project_id AND priority = levels.level AND {due}
    ORDER BY queued_at, id LIMIT 1) AS id
FROM levels WHERE level IS NOT NULL
"""


@cache
def heads(limits: int) -> Any:
    """The statement that gives the first due job of each project which fits into one of so many limits (`devices_0` …)."""
    fits = " OR ".join(_FITS.format(n=n) for n in range(limits))
    told = (bindparam("now", type_=UtcDateTime()), _ids("barred"), _ids("spent"))
    return text(_HEADS.format(due=_DUE.format(fits=fits))).bindparams(*told).columns(id=String())


@dataclass(frozen=True)
class Limits:
    """What some hosts could run; jobs that fit into none of it are not read."""

    fits: frozenset[tuple[int, int]]
    """So many devices with so much memory each: a job fits into one that has no less of both."""

    @classmethod
    def of(cls, *hosts: Sequence[Slot]) -> Limits:
        """For each size of a device, how many of its host and kind are no smaller; without what fits into another of these."""
        found = {(sum(_replaces(other, slot) for other in slots), slot.memory_bytes) for slots in hosts for slot in slots}
        return cls(frozenset((devices, memory) for devices, memory in found
                             if not any(d >= devices and m >= memory and (d, m) != (devices, memory) for d, m in found)))


MOST_BYTES = 2**62
NO_LIMITS = Limits(frozenset({(2**31, MOST_BYTES)}))


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
    firsts = _heads(session, now, ever, barred)
    behind = _waiting(now, soon, barred)
    seconds: dict[str, Waiting] = {}

    def first_of_soon(project_id: str) -> Waiting | None:
        if not seconds:
            seconds.update(_heads(session, now, soon, barred))
        return seconds.get(project_id)

    return {project_id: _queue(session, head, first_of_soon, behind, without) for project_id, head in firsts.items()}


def read_queue(session: Session, *, now: datetime, project_id: str | None = None) -> list[Waiting]:
    """All jobs that are due, of one project or of all: what `order_queue` orders for people to see."""
    query = _waiting(now) if project_id is None else _waiting(now).where(Job.project_id == project_id)
    return sorted((_from_row(row) for row in session.execute(query)), key=own_order)


def _heads(session: Session, now: datetime, limits: Limits, barred: Barred) -> dict[str, Waiting]:
    """The first due job of each project within the limits."""
    if not limits.fits:
        return {}
    told: dict[str, Any] = {"now": now, "barred": list(barred.all), "spent": list(barred.fresh)}
    for n, (devices, memory_bytes) in enumerate(sorted(limits.fits)):
        told |= {f"devices_{n}": devices, f"memory_{n}": memory_bytes}
    found = session.scalars(heads(len(limits.fits)), told).all()
    firsts = [_from_row(row) for row in session.execute(_waiting(now).where(Job.id.in_(found)))] if found else []
    return {first.project_id: first for first in firsts}


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
    seconds = Job.progress["rates"]["seconds"].as_float().label("seconds")
    limit = Job.spec["options"]["max_run_seconds"].as_float().label("limit")
    query = select(Job.id, Job.project_id, Job.priority, Job.queued_at, Job.devices, Job.memory_bytes, Job.blocked_at,
                   Job.held_host, Job.promised_at, Job.key_id, Job.started_at, Job.step, Job.total_steps, seconds, limit)
    query = query.where(is_due(now))
    if limits is not NO_LIMITS:
        query = query.where(or_(false(), *(_fits(*each) for each in sorted(limits.fits))))
    if barred.all:
        query = query.where(_not_of(barred.all))
    return query.where(or_(Job.started_at.is_not(None), _not_of(barred.fresh))) if barred.fresh else query


def _fits(devices: int, memory_bytes: int) -> ColumnElement[bool]:
    return and_(Job.devices <= devices, or_(Job.memory_bytes.is_(None), Job.memory_bytes <= memory_bytes))


def _not_of(subjects: frozenset[str]) -> ColumnElement[bool]:
    return and_(Job.project_id.not_in(subjects), or_(Job.key_id.is_(None), Job.key_id.not_in(subjects)))


def _from_row(row: Any) -> Waiting:
    left = (row.total_steps - row.step) * row.seconds if row.seconds and row.total_steps is not None else None
    known = [each for each in (left, row.limit) if each is not None]
    return Waiting(row.id, row.project_id, row.priority, row.queued_at, Need(row.devices, row.memory_bytes), row.blocked_at,
                   row.held_host, row.promised_at, min(known, default=None), row.key_id, row.started_at is not None)


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
        return (Slot("", "cpu", MOST_BYTES),)
    mine = [slot for slot in slots if slot.id in asking.free]
    others = sorted((slot for slot in slots if slot.id not in asking.free), key=lambda slot: slot.run_id is None)
    return (*mine, *(replace(slot, run_id=slot.run_id or ELSEWHERE) for slot in others[: max(0, asking.of - len(mine))]))


def _replaces(slot: Slot, other: Slot) -> bool:
    """Whether a job that could use the other device could use this one."""
    return slot.kind == other.kind and slot.memory_bytes >= other.memory_bytes


def _moment(stamp: float | None) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp is not None else None


__all__ = [
    "NO_LIMITS", "Asking", "Limits", "read_cluster", "read_queue", "read_queues", "read_running", "read_shares",
]
